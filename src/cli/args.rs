//! What a person may type: the commands, and the options they share. The options of each command are in its file in
//! `commands/`. Commands and options of later versions are not here (see `misuse`).

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use super::commands::{
    agent, alerts, backup, bench, cache, check, complete, completions, credentials, demo, dump, gc, guard, jobs, man,
    passphrase, points, policy, protection, register, restore, test_restore, throttle, unregister, vault,
};
use super::global::Global;

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
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Vaults, as their operator sees them (no passphrase needed)
    #[command(subcommand)]
    Vault(vault::VaultCommand),
    /// Credentials files: what they admit to
    #[command(subcommand)]
    Credentials(credentials::CredentialsCommand),
    /// Make this server known to a vault, and set the passphrase of its backups
    #[command(
        after_help = "A server whose name is registered already takes up its old backups, by their passphrase; \
                            --new-domain starts afresh."
    )]
    Register(register::RegisterArgs),
    /// Forget the registration of this server (its backups stay in the vault)
    Unregister(unregister::UnregisterArgs),
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
    /// Write a file of a recovery point, or a folder as tar, to stdout
    Dump(dump::DumpArgs),
    /// Check that what is in the vault can be restored
    Check(check::CheckArgs),
    /// Restore some files on trial, compare them, and remove them again
    TestRestore(test_restore::TestRestoreArgs),
    /// Free the space in the vault that no recovery point needs
    Gc(gc::GcArgs),
    /// Jobs of this server
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    /// What somebody should have heard of
    #[command(subcommand)]
    Alerts(alerts::AlertsCommand),
    /// The passphrase of this server's backups
    #[command(subcommand)]
    Passphrase(passphrase::PassphraseCommand),
    /// What this server backs up by itself, when, and for how long it is kept
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Stop the protection of this server, keeping or deleting its recovery points, and begin it again
    #[command(subcommand)]
    Protection(protection::ProtectionCommand),
    /// The alarm about a backup that looks strange
    #[command(subcommand)]
    Guard(guard::GuardCommand),
    /// The local cache folder
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    /// How fast the agent may send and fetch, and when
    #[command(subcommand)]
    Throttle(throttle::ThrottleCommand),
    /// The daemon: runs the policy's schedule, and gives metrics and the jobs of this server
    Agent(agent::AgentArgs),
    /// Volumes of this server, and whether they can be backed up
    Volumes,
    /// Measure this machine
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// A whole round trip in a scratch folder, on real files
    Demo(demo::DemoArgs),
    /// Print the completions of a shell
    Completions(completions::CompletionsArgs),
    /// Print what may stand at the cursor (the completions ask this)
    #[command(hide = true)]
    Complete(complete::CompleteArgs),
    /// Print the page that describes the metrics (docs/metrics.md)
    #[command(hide = true)]
    MetricsPage,
    /// Print the OpenAPI document of the agent's control socket (docs/openapi.json)
    #[command(hide = true)]
    Openapi,
    /// Write the manual pages, or print the first one
    Man(man::ManArgs),
}

/// The command, as clap describes it: for parsing, completions and manual pages.
pub(crate) fn command() -> clap::Command {
    let hide = |command: clap::Command, options: &[&'static str]| {
        let hide_one = |command: clap::Command, option: &&'static str| command.mut_arg(*option, |arg| arg.hide(true));
        options.iter().fold(command, hide_one)
    };
    // These jobs take all options of "Tuning", so that one set of options fits all jobs. Help shows those that do
    // something.
    Cli::command()
        .mut_subcommand("restore", |restore| {
            hide(
                restore,
                &["readers", "compression", "checkpoint_seconds", "upload_limit"],
            )
        })
        .mut_subcommand("check", |check| {
            hide(check, &["readers", "compression", "checkpoint_seconds", "upload_limit"])
        })
}

/// Understands a command line.
pub(crate) fn parse(line: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Cli, clap::Error> {
    let mut command = command();
    let mut matches = command.try_get_matches_from_mut(line)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
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
    fn help_shows_the_tuning_that_a_job_uses() {
        let help = |name: &str| {
            let command = command();
            command
                .find_subcommand(name)
                .unwrap()
                .clone()
                .render_long_help()
                .to_string()
        };
        let ours = ["--readers", "--compression", "--checkpoint-seconds", "--upload-limit"];
        for option in ours {
            assert!(help("backup").contains(option), "{option}");
            assert!(
                !help("restore").contains(option) && !help("check").contains(option),
                "{option}"
            );
        }
        assert!(help("restore").contains("--download-limit"));
    }

    #[test]
    fn global_options_are_taken_before_and_after_the_command() {
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
