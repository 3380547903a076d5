//! Lockstone's agent: a command line, and what one server knows and does.
//!
//! `cli` turns what a person typed into orders. `agent` opens the vault and runs jobs with the pipelines of
//! `lockstone_actors`. `daemon` runs them by a schedule. `serve` shows their metrics over HTTP. The program has one
//! entry, [`run`].

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod agent;
#[doc(hidden)]
pub mod bench;
mod cli;
mod daemon;
mod demo;
mod documents;
mod failure;
mod operator;
mod policy;
mod serve;
mod text;

use std::process::ExitCode;

/// Runs the program with the arguments of this process, and returns its exit code.
#[must_use]
pub fn run() -> ExitCode {
    cli::run()
}
