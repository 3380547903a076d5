//! The control socket: HTTP and JSON over a Unix socket in the state folder. Only root and the owner of the state
//! folder are answered. `routes` lists the requests, `answers` has what is answered, `server` serves it, `client` asks;
//! the command line uses the client.

mod answers;
mod auth;
pub(crate) mod client;
pub(crate) mod routes;
pub(crate) mod server;
