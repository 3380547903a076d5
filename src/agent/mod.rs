//! What one server knows and does: its state folder, its registration, the opened vault, its jobs.
//!
//! The commands call this, and so will the daemon. Nothing here knows clap, terminals, HTTP or the end of the
//! process: what the agent has to say goes out as notices, reports and failures.

pub(crate) mod access;
mod ageing;
pub(crate) mod alerts;
pub(crate) mod cache;
pub(crate) mod care;
pub(crate) mod dump;
pub(crate) mod environment;
pub(crate) mod excludes;
pub(crate) mod find;
pub(crate) mod guard;
pub(crate) mod held_policy;
pub(crate) mod hooks;
pub(crate) mod housekeeping;
pub(crate) mod ids;
pub(crate) mod jobs;
pub(crate) mod kept_points;
pub(crate) mod known_damage;
pub(crate) mod notices;
pub(crate) mod programs;
pub(crate) mod protection;
pub(crate) mod retention;
pub(crate) mod settings;
pub(crate) mod sources;
pub(crate) mod state;
pub(crate) mod suggest;
pub(crate) mod system_state;
pub(crate) mod vault_policy;
pub(crate) mod volumes;
