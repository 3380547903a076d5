//! The commands, a file each: their options, and what they do with them. A command parses its options, calls the
//! agent, and shows the outcome: text for people, or one document for scripts, and an exit code.

pub(crate) mod agent;
pub(crate) mod alerts;
pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod cache;
pub(crate) mod check;
pub(crate) mod complete;
pub(crate) mod completions;
pub(crate) mod credentials;
pub(crate) mod demo;
pub(crate) mod dump;
pub(crate) mod gc;
pub(crate) mod guard;
pub(crate) mod jobs;
mod kdf;
pub(crate) mod man;
pub(crate) mod metrics_page;
pub(crate) mod openapi;
pub(crate) mod passphrase;
pub(crate) mod points;
pub(crate) mod policy;
pub(crate) mod protection;
pub(crate) mod register;
pub(crate) mod restore;
pub(crate) mod status;
pub(crate) mod test_restore;
pub(crate) mod throttle;
pub(crate) mod unregister;
pub(crate) mod vault;
pub(crate) mod volumes;
