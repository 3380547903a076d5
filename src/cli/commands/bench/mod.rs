//! `lockstone bench …`: measures this machine.

pub mod primitives;
pub mod sample;

use clap::Subcommand;

use crate::cli::Context;
use crate::cli::output::Outcome;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// What the cores, the disk and the vault can do, and which of them backups will wait for
    #[command(
        after_help = "Files that were read lately come from memory. To see the disk, give a large PATH that was not, or, \
                      as root, first: echo 3 > /proc/sys/vm/drop_caches"
    )]
    Primitives(primitives::PrimitivesArgs),
}

/// Runs a bench command.
///
/// # Errors
/// What failed, in words, with its exit code.
pub fn run(context: &Context, command: BenchCommand) -> Outcome {
    match command {
        BenchCommand::Primitives(args) => primitives::run(context, &args),
    }
}
