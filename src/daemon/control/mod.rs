//! The control socket: HTTP and JSON over a Unix socket in the state folder. Only root and the owner of the state
//! folder are answered. `server` answers, `client` asks; the command line uses the client.

mod auth;
pub(crate) mod client;
pub(crate) mod server;
