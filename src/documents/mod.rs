//! The documents that `--json` prints, and that records of jobs keep: one struct for each kind of answer.

pub(crate) mod agent;
pub(crate) mod alerts;
pub(crate) mod backup;
pub(crate) mod cache;
pub(crate) mod check;
pub(crate) mod common;
pub(crate) mod control;
pub(crate) mod gc;
pub(crate) mod guard;
pub(crate) mod job;
pub(crate) mod openapi;
pub(crate) mod pages;
pub(crate) mod passphrase;
pub(crate) mod point;
pub(crate) mod policy;
pub(crate) mod progress;
pub(crate) mod protection;
pub(crate) mod register;
pub(crate) mod restore;
pub(crate) mod schema;
pub(crate) mod server;
pub(crate) mod status;
pub(crate) mod throttle;
pub(crate) mod vault;
pub(crate) mod volumes;
mod words;
