//! What a person may type: the commands and the options they share. Each command's own options stand in its file in
//! `commands/`.
//!
//! Commands and options of later versions are not here. Who uses one is told so (see `not_yet`), instead of being
//! served something that pretends.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use super::commands::{
    agent, backup, bench, cache, check, demo, extras, jobs, passphrase, points, register, restore, throttle, vault,
};
use super::log::LogFormat;
use crate::text::units;

/// Encrypted, deduplicated backups of a server, restorable file by file or whole.
#[derive(Debug, Parser)]
#[command(
    name = "lockstone",
    version,
    propagate_version = true,
    disable_help_subcommand = false,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 done with warnings, 4 cancelled, 5 refused, 6 the vault is \
                  damaged, 7 busy, 8 not registered.\nThe state folder is LOCKSTONE_HOME, by default /var/lib/lockstone \
                  (root) or ~/.local/state/lockstone."
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_display_order = 900)]
pub struct Global {
    /// Print one JSON document on stdout and nothing else there
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// No progress and no notes on stderr; errors and warnings stay
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// How progress is shown on stderr
    #[arg(long, global = true, value_enum, default_value_t = ProgressMode::Auto, value_name = "HOW", help_heading = "Global options")]
    pub progress: ProgressMode,
    /// How lines of the log look [default: journal where stderr is the journal, else text]
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        help_heading = "Global options"
    )]
    pub log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or a filter (else LOCKSTONE_LOG, RUST_LOG)
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Global options")]
    pub log_level: Option<String>,
    /// Read the passphrase from this file (else LOCKSTONE_PASSPHRASE_FILE, LOCKSTONE_PASSPHRASE, or a prompt)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub passphrase_file: Option<PathBuf>,
    /// How long a store that does not answer is waited for: 30s, 15m, 2h (default: 15m, but 10s before its first answer)
    #[arg(long, global = true, value_name = "TIME", value_parser = units::duration, help_heading = "Global options")]
    pub store_patience: Option<Duration>,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
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

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Vaults, as their operator sees them (no passphrase needed)
    #[command(subcommand)]
    Vault(vault::VaultCommand),
    /// Make this server known to a vault, and set the passphrase of its backups
    #[command(
        after_help = "A server whose name is registered already takes up its old backups, by their passphrase; \
                            --new-domain starts afresh."
    )]
    Register(register::RegisterArgs),
    /// Forget the registration of this server (its backups stay in the vault)
    Unregister(register::UnregisterArgs),
    /// Whether this server is registered, and how old its last backup is
    Status,
    /// Back up files and folders
    #[command(
        after_help = "Examples:\n  lockstone backup /etc /home --exclude '**/node_modules' --exclude '*.tmp'\n  \
                            lockstone backup /srv -x --retain-until 2030-12-31 --label 'before the move'"
    )]
    Backup(backup::BackupArgs),
    /// Recovery points: list them, look into them, compare, delete
    #[command(subcommand)]
    Points(points::PointsCommand),
    /// Give files back, here or on another machine
    #[command(
        after_help = "Examples:\n  lockstone restore latest --target /tmp/back\n  lockstone restore 3f9c02 \
                            /etc/nginx --original --on-conflict overwrite\n  lockstone restore latest --target /mnt \
                            --credentials rescue.vaultcredentials --source-server web1"
    )]
    Restore(restore::RestoreArgs),
    /// Check that what is in the vault can be restored
    Check(check::CheckArgs),
    /// Jobs of this server
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    /// The passphrase of this server's backups
    #[command(subcommand)]
    Passphrase(passphrase::PassphraseCommand),
    /// The local cache folder
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    /// How fast the agent may send and fetch, and when
    #[command(subcommand)]
    Throttle(throttle::ThrottleCommand),
    /// The daemon: gives metrics and the jobs of this server (schedule and console come with a later version)
    Agent(agent::AgentArgs),
    /// Volumes of this server, and whether they can be backed up
    Volumes,
    /// Measure this machine
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// A whole round trip in a scratch folder, on real files
    Demo(demo::DemoArgs),
    /// Print the completions of a shell
    Completions(extras::CompletionsArgs),
    /// Print the page that describes the metrics (docs/metrics.md)
    #[command(hide = true)]
    MetricsPage,
    /// Write the manual pages, or print the first one
    Man(extras::ManArgs),
}

/// Reading a vault as a machine that is not registered: the credentials, and whose backups.
#[derive(Debug, Clone, Default, Args)]
pub struct Access {
    /// Use these credentials instead of this machine's registration; asks for the passphrase
    #[arg(
        long,
        value_name = "FILE",
        requires = "source_server",
        help_heading = "Another machine's backups"
    )]
    pub credentials: Option<PathBuf>,
    /// The server whose backups are wanted
    #[arg(
        long,
        value_name = "NAME",
        requires = "credentials",
        help_heading = "Another machine's backups"
    )]
    pub source_server: Option<String>,
}

/// The command, as clap describes it: for parsing, completions and manual pages.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Commands (by their whole path) and options of the contract that later versions bring.
const LATER: &[&str] = &["gc", "policy", "replicate", "regenerate", "--repair"];

/// What of a later version the command line asked for, if that is why it was not understood.
#[must_use]
pub fn not_yet(error: &clap::Error) -> Option<String> {
    let asked = |kind| match error.get(kind) {
        Some(ContextValue::String(asked)) => {
            // An option comes with its value: `--repair=all`.
            let word = asked.split('=').next().unwrap_or(asked);
            LATER.contains(&word).then(|| word.to_owned())
        }
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => asked(ContextKind::InvalidSubcommand),
        ErrorKind::UnknownArgument => asked(ContextKind::InvalidArg),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn what_later_versions_bring_is_named_and_not_pretended() {
        for line in [
            "gc --dry-run",
            "vault replicate x",
            "check --repair",
            "policy show",
            "passphrase regenerate",
        ] {
            let error = Cli::try_parse_from(std::iter::once("lockstone").chain(line.split(' '))).unwrap_err();
            assert!(not_yet(&error).is_some(), "{line}: {error}");
        }
        let error = Cli::try_parse_from(["lockstone", "bakcup"]).unwrap_err();
        assert_eq!(not_yet(&error), None);
    }

    #[test]
    fn global_options_stand_before_and_behind_the_command() {
        for line in [
            "lockstone --json -q status",
            "lockstone status --json -q",
            "lockstone points --json list -q",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert!(cli.global.json && cli.global.quiet, "{line}");
        }
    }
}
