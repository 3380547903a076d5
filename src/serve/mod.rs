//! What this server shows over HTTP: its metrics and its jobs.
//!
//! `http` listens and answers, `bounded` limits its clients. `metrics` makes the page of one process. `records` reads
//! the records of the server's jobs for the agent's page, `outlook` its policy and alerts.

mod bounded;
pub(crate) mod http;
pub(crate) mod metrics;
mod outlook;
mod records;
