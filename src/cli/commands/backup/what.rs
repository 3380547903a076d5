//! Options of `backup` that say what is backed up.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use lockstone_actors::Tuning;
use lockstone_host::snapshot::SnapshotMode;

use crate::agent::access::right::registered;
use crate::agent::jobs::backup::{BackupOrder, What, run_due};
use crate::agent::vault_policy;
use crate::cli::context::Context;
use crate::failure::Failure;

/// What is backed up.
#[derive(Debug, Args)]
pub(crate) struct WhatArgs {
    /// Files and folders to back up; without any, the items of the policy
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Also back up the paths in this file, one a line or with a zero byte after each; `-`: standard input (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) files_from: Vec<PathBuf>,
    /// Back up what comes from standard input, as the file `/stdin/NAME` of the recovery point
    #[arg(long, value_name = "NAME")]
    pub(crate) stdin: Option<String>,
    /// Back up what describes the system, with `/etc` and `/boot`, as `/system state` of the recovery point
    #[arg(long)]
    pub(crate) system_state: bool,
    /// With `--system-state`: do not check the files of all packages
    #[arg(long, requires = "system_state")]
    pub(crate) no_package_check: bool,
    /// Only this item of the policy: its path, or the name of a command's file (repeatable)
    #[arg(long, value_name = "PATH-OR-NAME", conflicts_with_all = ["paths", "files_from", "stdin", "system_state"])]
    pub(crate) item: Vec<String>,
    /// Do the run of the schedule that was due at this time (RFC 3339), as the scheduler does it
    #[arg(long, value_name = "TIME",
          conflicts_with_all = ["paths", "files_from", "stdin", "system_state", "item", "retain_until", "dry_run"])]
    pub(crate) scheduled: Option<Timestamp>,
}

/// Whether the sources are frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Snapshot {
    /// Where it can be done
    Auto,
    /// Never
    Off,
    /// Or fail
    Require,
}

impl From<Snapshot> for SnapshotMode {
    fn from(snapshot: Snapshot) -> SnapshotMode {
        match snapshot {
            Snapshot::Auto => SnapshotMode::Auto,
            Snapshot::Off => SnapshotMode::Off,
            Snapshot::Require => SnapshotMode::Require,
        }
    }
}

/// The order of what was named, or of the policy if nothing was.
pub(super) fn ordered(context: &Context, args: &WhatArgs, tuning: Tuning) -> Result<BackupOrder, Failure> {
    let names_nothing = args.paths.is_empty() && args.files_from.is_empty() && args.stdin.is_none();
    if names_nothing && !args.system_state {
        return by_policy(context, args, tuning);
    }
    if args.stdin.is_some() && args.files_from.iter().any(|file| is_stdin(file)) {
        let message = "standard input cannot be both a list of paths and a file of the recovery point";
        return Err(Failure::usage(message, "write the list to a file"));
    }
    let mut paths = args.paths.clone();
    for file in &args.files_from {
        paths.extend(paths_in(file)?);
    }
    let mut order = BackupOrder::of_paths(paths, tuning);
    if let Some(name) = &args.stdin {
        if std::io::stdin().is_terminal() {
            let hint = "pipe something into it: `pg_dump shop | lockstone backup --stdin shop.sql`";
            return Err(Failure::usage("standard input is a terminal", hint));
        }
        order.add(What::Stdin(name.clone()));
    }
    if args.system_state {
        order.add(What::SystemState {
            package_check: !args.no_package_check,
        });
    }
    if order.sources.is_empty() {
        return Err(Failure::usage("the file of `--files-from` names no path", ""));
    }
    Ok(order)
}

/// The order that the policy gives.
fn by_policy(context: &Context, args: &WhatArgs, tuning: Tuning) -> Result<BackupOrder, Failure> {
    let (state, registration) = registered()?;
    let in_force = context.block_on(vault_policy::required(&context.environment, &state, &registration))?;
    let run = args.scheduled.map(|at| run_due(&in_force, at)).transpose()?;
    let mut order = BackupOrder::of_policy(&in_force, run, tuning)?;
    if !args.item.is_empty() {
        order.keep_items(&args.item)?;
    }
    Ok(order)
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// The paths in a file of `--files-from`.
fn paths_in(file: &Path) -> Result<Vec<PathBuf>, Failure> {
    let read = if is_stdin(file) {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    let bytes = read.map_err(|error| {
        let message = format!("cannot read {}: {error}", file.display());
        Failure::usage(message, "--files-from wants a file of paths")
    })?;
    Ok(split(&bytes))
}

/// The paths of a list. If there is a zero byte in it, each path ends with one, so that it may have a line break in it.
fn split(bytes: &[u8]) -> Vec<PathBuf> {
    let end = if bytes.contains(&0) { 0 } else { b'\n' };
    let paths = bytes.split(|&byte| byte == end).filter(|path| !path.is_empty());
    paths
        .map(|path| PathBuf::from(OsString::from_vec(path.to_vec())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_paths_has_lines_or_zero_bytes() {
        let list = |bytes: &[u8]| -> Vec<String> {
            let paths = split(bytes).into_iter();
            paths.map(|path| path.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(list(b"/a\n/b c\n\n"), ["/a", "/b c"]);
        assert_eq!(list(b"/a"), ["/a"]);
        assert_eq!(list(b"/a\nb\0/c\0"), ["/a\nb", "/c"]);
        assert!(list(b"").is_empty() && list(b"\n").is_empty());
    }
}
