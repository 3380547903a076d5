//! `lockstone bench …`: measures this machine, or the throttle. The measuring is in `crate::bench`.

mod primitives;
mod throttle;

use clap::Subcommand;

pub(crate) use self::primitives::PrimitivesArgs;
pub(crate) use self::throttle::ThrottleArgs;
use crate::bench::Listener;
use crate::cli::context::Context;
use crate::cli::output::{Outcome, Output};

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// What the cores, the disk and the vault can do, and which of them backups will wait for
    #[command(
        after_help = "Files that were read lately come from memory. To see the disk, give a large PATH that was not, or, \
                      as root, first: echo 3 > /proc/sys/vm/drop_caches"
    )]
    Primitives(PrimitivesArgs),
    /// What the throttle does to bytes on their way, counted where they arrive
    #[command(
        after_help = "Examples:\n  lockstone bench throttle --svg throttle.svg\n  lockstone bench throttle --limits \
                      20Mbps,100Mbps --parallel 1,2,4,8 --seconds 10\n  lockstone bench throttle /srv --vault \
                      s3://bucket/prefix --changes 20Mbps:0"
    )]
    Throttle(ThrottleArgs),
}

/// Runs a bench command.
///
/// # Errors
/// What could not be measured.
pub(crate) fn run(context: &Context, command: BenchCommand) -> Outcome {
    match command {
        BenchCommand::Primitives(args) => primitives::run(context, args),
        BenchCommand::Throttle(args) => throttle::run(context, args),
    }
}

impl Listener for Output {
    fn note(&self, text: &str) {
        Output::note(self, text);
    }

    fn warn(&self, text: &str) {
        Output::warn(self, text);
    }
}
