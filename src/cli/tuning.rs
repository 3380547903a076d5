//! The options under "Tuning": how fast a job runs and in how much memory. They never change what is stored.

use std::time::Duration;

use clap::Args;
use lockstone_actors::Tuning;
use lockstone_host::process::{self, IoPriority};

use crate::agent::settings::throttle::Overrides;
use crate::failure::Failure;
use crate::text::units::{self, Rate};

/// Settings of a job's pipeline. The defaults are in `lockstone_actors::Tuning`, with their reasons.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Tuning")]
pub(crate) struct TuningArgs {
    /// Threads for hashing, compressing and sealing (default: the processor's cores)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: Option<u16>,
    /// Threads that read files (default: two for each core)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) readers: Option<u16>,
    /// Requests to the vault at once (default: 4)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) uploads: Option<u16>,
    /// File content in memory at once (default: 48MiB)
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) memory_budget: Option<u64>,
    /// zstd level of what is new (default: 3)
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(1..=19))]
    pub(crate) compression: Option<u8>,
    /// Send no faster than this: 20Mbps, 8MiB/s, unlimited (instead of what `throttle set` says)
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub(crate) upload_limit: Option<Rate>,
    /// Fetch no faster than this
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub(crate) download_limit: Option<Rate>,
    /// Let other programs have the processor first: 1 (a little) to 19 (whenever they want it)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=19))]
    pub(crate) nice: Option<u8>,
    /// Let other programs have the disks first: idle, or best-effort:0 (first) to best-effort:7 (last)
    #[arg(long, value_name = "CLASS")]
    pub(crate) ionice: Option<IoPriority>,
    /// Write a checkpoint at least this often (default: 20)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) checkpoint_seconds: Option<u32>,
    /// Messages that wait between two stages
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) channel_capacity: Option<u16>,
    /// First pause before a job begins again after a fault, milliseconds (default: 1000)
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) restart_pause_ms: Option<u32>,
}

impl TuningArgs {
    /// Lets other programs go first, if that was asked for. Applies to this process with all of its threads. Fails if
    /// the system does not allow it.
    pub(crate) fn lower_priority(&self) -> Result<(), Failure> {
        let failed = |what: &str, error: std::io::Error| {
            Failure::failed(
                "failed",
                format!("{what} could not be set: {error}"),
                "leave the option away, or run as root",
            )
        };
        if let Some(nice) = self.nice {
            process::set_nice(nice).map_err(|error| failed("--nice", error))?;
        }
        if let Some(priority) = self.ionice {
            process::set_io_priority(priority).map_err(|error| failed("--ionice", error))?;
        }
        Ok(())
    }

    /// The limits of the throttle that were given for this job.
    pub(crate) fn throttle_overrides(&self) -> Overrides {
        Overrides {
            up: self.upload_limit,
            down: self.download_limit,
        }
    }

    /// The settings of the pipeline, with defaults for what was not given. Fails with `usage` if the memory budget is
    /// less than a pipeline needs.
    pub(crate) fn tuning(&self) -> Result<Tuning, Failure> {
        let mut tuning = Tuning::default();
        if let Some(threads) = self.threads {
            tuning.threads = threads.into();
        }
        if let Some(readers) = self.readers {
            tuning.readers = readers.into();
        }
        if let Some(uploads) = self.uploads {
            tuning.uploads = uploads.into();
        }
        if let Some(budget) = self.memory_budget {
            let least = Tuning::minimal().budget_bytes;
            if budget < least {
                let least = least >> 20;
                return Err(Failure::usage(
                    format!("--memory-budget is at least {least}MiB"),
                    "give more, or leave it away",
                ));
            }
            tuning.budget_bytes = budget;
        }
        if let Some(level) = self.compression {
            tuning.zstd_level = level.into();
        }
        if let Some(seconds) = self.checkpoint_seconds {
            tuning.checkpoint_after = Duration::from_secs(seconds.into());
        }
        if let Some(capacity) = self.channel_capacity {
            tuning.capacity = capacity.into();
        }
        if let Some(pause) = self.restart_pause_ms {
            tuning.backoff = Duration::from_millis(pause.into());
        }
        Ok(tuning.clamped())
    }
}
