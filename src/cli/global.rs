//! The options of every command.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::log::LogFormat;
use crate::text::units;

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_display_order = 900)]
pub(crate) struct Global {
    /// Print one JSON document on stdout and nothing else there
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// No progress, no notes, and no summary of a job that went well; errors and warnings stay
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
    /// How progress is shown on stderr
    #[arg(long, global = true, value_enum, default_value_t = ProgressMode::Auto, value_name = "HOW", help_heading = "Global options")]
    pub(crate) progress: ProgressMode,
    /// How lines of the log look [default: journal where stderr is the journal, else text]
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        help_heading = "Global options"
    )]
    pub(crate) log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or a filter (else LOCKSTONE_LOG, RUST_LOG)
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Global options")]
    pub(crate) log_level: Option<String>,
    /// Read the passphrase from this file (else LOCKSTONE_PASSPHRASE_FILE, LOCKSTONE_PASSPHRASE, or a prompt)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// How long a store that does not answer is waited for: 30s, 15m, 2h (default: 15m, but 10s before its first
    /// answer)
    #[arg(long, global = true, value_name = "TIME", value_parser = units::duration, help_heading = "Global options")]
    pub(crate) store_patience: Option<Duration>,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// Live on a terminal, plain lines otherwise
    Auto,
    /// A live display
    Live,
    /// A line every ten seconds
    Plain,
    /// A JSON object a line, every second
    Json,
    /// None
    None,
}
