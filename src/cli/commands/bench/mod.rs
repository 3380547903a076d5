//! `lockstone bench …`: measures this machine.

pub mod throttle;

use clap::Subcommand;

use crate::cli::Context;
use crate::cli::output::Outcome;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// What the throttle does to bytes on their way, counted where they arrive
    #[command(
        after_help = "Examples:\n  lockstone bench throttle --svg throttle.svg\n  lockstone bench throttle --limits \
                      20Mbps,100Mbps --parallel 1,2,4,8 --seconds 10\n  lockstone bench throttle /srv --vault \
                      s3://bucket/prefix --changes 20Mbps:0"
    )]
    Throttle(throttle::ThrottleArgs),
}

/// Runs a bench command.
///
/// # Errors
/// What failed, in words, with its exit code.
pub fn run(context: &Context, command: BenchCommand) -> Outcome {
    match command {
        BenchCommand::Throttle(args) => throttle::run(context, &args),
    }
}
