//! What a backup is asked to do: by a person who names paths, or by the policy.

use std::path::PathBuf;

use jiff::Timestamp;
use lockstone_actors::Tuning;
use lockstone_host::snapshot::SnapshotMode;
use lockstone_host::walk::Pattern;

use crate::agent::excludes;
use crate::agent::held_policy::InForce;
use crate::failure::Failure;
use crate::policy::{Item, Run, Source};

/// What to back up, and how.
#[derive(Debug, Clone)]
pub(crate) struct BackupOrder {
    /// Files and folders, as a person names them.
    pub(crate) paths: Vec<PathBuf>,
    /// Globs of what to leave out, as in a .gitignore.
    pub(crate) exclude: Vec<Pattern>,
    /// Back up the content of folders marked by a CACHEDIR.TAG, too.
    pub(crate) include_caches: bool,
    pub(crate) one_file_system: bool,
    /// When the recovery point expires, seconds since the epoch; 0: never.
    pub(crate) expires_s: i64,
    pub(crate) label: String,
    /// The policy whose items these are; `None` if a person named the paths.
    pub(crate) policy: Option<PolicyBackup>,
    /// Read every file, also those that look unchanged.
    pub(crate) full: bool,
    pub(crate) snapshot: SnapshotMode,
    pub(crate) tuning: Tuning,
}

/// A backup of the items of the policy.
#[derive(Debug, Clone)]
pub(crate) struct PolicyBackup {
    pub(crate) in_force: InForce,
    /// The scheduled run that it does; `None` on demand.
    pub(crate) run: Option<Run>,
}

impl BackupOrder {
    /// An order of these paths, with the options that hold where nothing is said.
    pub(crate) fn of_paths(paths: Vec<PathBuf>, tuning: Tuning) -> BackupOrder {
        BackupOrder {
            paths,
            exclude: Vec::new(),
            include_caches: false,
            one_file_system: false,
            expires_s: 0,
            label: String::new(),
            policy: None,
            full: false,
            snapshot: SnapshotMode::Auto,
            tuning,
        }
    }

    /// The order that the policy gives: its items, with their options. `run` is the run of the schedule that the backup
    /// does; `None` on demand.
    pub(crate) fn of_policy(in_force: &InForce, run: Option<Run>, tuning: Tuning) -> Result<BackupOrder, Failure> {
        let mut order = BackupOrder::of_paths(Vec::new(), tuning);
        // A policy means the same wherever its backup is started.
        let anywhere = excludes::Place::default();
        for pattern in &in_force.policy.exclude {
            order.exclude.push(anywhere.option(pattern));
        }
        for item in &in_force.policy.items {
            order.add(item)?;
        }
        order.take_options(&in_force.policy.items)?;
        order.policy = Some(PolicyBackup {
            in_force: in_force.clone(),
            run,
        });
        Ok(order)
    }

    fn add(&mut self, item: &Item) -> Result<(), Failure> {
        match &item.source {
            Source::Path(path) => {
                for pattern in &item.exclude {
                    let line = excludes::within(path, pattern);
                    let shown = pattern.clone();
                    self.exclude.push(Pattern { line, shown });
                }
                self.paths.push(path.clone());
                Ok(())
            }
            Source::Command { name, .. } => {
                let message = format!("the item {name} is a command, which this version cannot back up");
                Err(Failure::failed("failed", message, "remove it from the policy"))
            }
        }
    }

    /// Takes over the options of the items, which must be the same for all: one backup has one set of them.
    fn take_options(&mut self, items: &[Item]) -> Result<(), Failure> {
        let options = |item: &Item| (item.one_file_system, item.include_caches, item.snapshot.clone());
        let Some(first) = items.first().map(options) else {
            return Ok(());
        };
        if items.iter().any(|item| options(item) != first) {
            let message = "the items of the policy differ in one_file_system, include_caches or snapshot, which this \
                           version cannot do in one backup";
            return Err(Failure::failed("failed", message, "give all items the same"));
        }
        let (one_file_system, include_caches, snapshot) = first;
        self.one_file_system = one_file_system;
        self.include_caches = include_caches;
        match snapshot.as_deref() {
            Some("off") => self.snapshot = SnapshotMode::Off,
            Some("require") => self.snapshot = SnapshotMode::Require,
            _ => {}
        }
        Ok(())
    }
}

/// The run of the schedule that is due at this time.
pub(crate) fn run_due(in_force: &InForce, at: Timestamp) -> Result<Run, Failure> {
    let schedule = &in_force.policy.schedule;
    let run = schedule.latest(at, at);
    run.ok_or_else(|| {
        Failure::usage(
            format!("no run of the schedule is due at {at}"),
            "see `lockstone policy preview`",
        )
    })
}
