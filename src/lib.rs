//! Lockstone's agent: the command line, and what this server keeps of itself.
//!
//! `cli` turns what a person typed into requests, `agent` holds the state folder and opens the vault, `console` gives
//! numbers away. The work itself is done by `lockstone_actors`; this package starts it, shows it and reports it.

pub mod agent;
pub mod bench;
pub mod cli;
pub(crate) mod demo;
pub mod failure;
pub(crate) mod serve;
pub(crate) mod text;
