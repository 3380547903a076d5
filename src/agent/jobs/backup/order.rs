//! What a backup is asked to do: by a person who names paths, or by the policy.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lockstone_actors::{OnFile, Tuning};
use lockstone_host::snapshot::SnapshotMode;
use lockstone_host::walk::Pattern;

use crate::agent::excludes;
use crate::agent::held_policy::InForce;
use crate::failure::Failure;
use crate::policy::{Item, Run, Source, Tag};

/// The name by which `--item` knows the system state.
const SYSTEM_STATE: &str = "system state";
/// The longest name of a tag, in bytes.
const MAX_TAG_LEN: usize = 64;
/// The most tags of one's own. A recovery point has at most 32, and those of the retention need room.
const MAX_TAGS: usize = 24;

/// What to back up, and how.
#[derive(Clone)]
pub(crate) struct BackupOrder {
    pub(crate) sources: Vec<OrderedSource>,
    /// Globs of what to leave out, as in a .gitignore.
    pub(crate) exclude: Vec<Pattern>,
    /// Files of more bytes are left out.
    pub(crate) exclude_larger_than: Option<u64>,
    /// Folders that have an entry with one of these names are left out, apart from that entry.
    pub(crate) exclude_if_present: Vec<String>,
    /// Mount points of volumes that are backed up although they are not eligible.
    pub(crate) allow_volumes: Vec<PathBuf>,
    /// When the recovery point expires, seconds since the epoch; 0: never.
    pub(crate) expires_s: i64,
    pub(crate) label: String,
    /// The user's own tags.
    pub(crate) tags: Vec<String>,
    /// The policy whose items these are; `None` if a person named the paths.
    pub(crate) policy: Option<PolicyBackup>,
    /// Read every file, also those that look unchanged.
    pub(crate) full: bool,
    /// Only count what a backup would do.
    pub(crate) dry_run: bool,
    /// Hears of each new or changed file.
    pub(crate) on_file: Option<OnFile>,
    pub(crate) tuning: Tuning,
}

/// One thing to back up.
#[derive(Debug, Clone)]
pub(crate) struct OrderedSource {
    pub(crate) what: What,
    pub(crate) options: SourceOptions,
}

/// Where the content of a source comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A file or folder, as a person names it.
    Path(PathBuf),
    /// What a program prints, as one file.
    Command {
        name: String,
        command: Vec<String>,
        required: bool,
    },
    /// What comes from standard input, as one file of this name.
    Stdin(String),
    /// What describes the system.
    SystemState {
        /// Whether the files of all packages are compared with what was installed.
        package_check: bool,
    },
}

/// How a file or folder is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SourceOptions {
    /// Back up the content of folders marked by a CACHEDIR.TAG, too.
    pub(crate) include_caches: bool,
    pub(crate) one_file_system: bool,
    pub(crate) snapshot: SnapshotMode,
}

/// A backup of items of the policy.
#[derive(Debug, Clone)]
pub(crate) struct PolicyBackup {
    pub(crate) in_force: InForce,
    /// The scheduled run that it does; `None` on demand.
    pub(crate) run: Option<Run>,
    /// All items are backed up. A backup of some of them is no tier's backup.
    pub(crate) is_whole: bool,
}

impl BackupOrder {
    /// An order of these paths, with the options that hold where nothing is said.
    pub(crate) fn of_paths(paths: Vec<PathBuf>, tuning: Tuning) -> BackupOrder {
        let mut order = BackupOrder {
            sources: Vec::new(),
            exclude: Vec::new(),
            exclude_larger_than: None,
            exclude_if_present: Vec::new(),
            allow_volumes: Vec::new(),
            expires_s: 0,
            label: String::new(),
            tags: Vec::new(),
            policy: None,
            full: false,
            dry_run: false,
            on_file: None,
            tuning,
        };
        for path in paths {
            order.add(What::Path(path));
        }
        order
    }

    /// The order that the policy gives: its items, with their options. `run` is the run of the schedule that the backup
    /// does; `None` on demand.
    pub(crate) fn of_policy(in_force: &InForce, run: Option<Run>, tuning: Tuning) -> Result<BackupOrder, Failure> {
        let mut order = BackupOrder::of_paths(Vec::new(), tuning);
        let policy = &in_force.policy;
        // A policy means the same wherever its backup is started.
        let anywhere = excludes::Place::default();
        order.exclude = policy.exclude.iter().map(|pattern| anywhere.option(pattern)).collect();
        order.allow_volumes.clone_from(&policy.allow_volume);
        for item in &policy.items {
            order.add_item(item);
        }
        if policy.system_state {
            order.add(What::SystemState {
                package_check: policy.package_check,
            });
        }
        order.policy = Some(PolicyBackup {
            in_force: in_force.clone(),
            run,
            is_whole: true,
        });
        Ok(order)
    }

    /// Adds a source with the options that hold where nothing is said.
    pub(crate) fn add(&mut self, what: What) {
        self.sources.push(OrderedSource {
            what,
            options: SourceOptions::default(),
        });
    }

    fn add_item(&mut self, item: &Item) {
        let what = match &item.source {
            Source::Path(path) => {
                for pattern in &item.exclude {
                    let line = excludes::within(path, pattern);
                    let shown = pattern.clone();
                    self.exclude.push(Pattern { line, shown });
                }
                What::Path(path.clone())
            }
            Source::Command {
                name,
                command,
                required,
            } => What::Command {
                name: name.clone(),
                command: command.clone(),
                required: *required,
            },
        };
        let options = SourceOptions {
            include_caches: item.include_caches,
            one_file_system: item.one_file_system,
            snapshot: match item.snapshot.as_deref() {
                Some("off") => SnapshotMode::Off,
                Some("require") => SnapshotMode::Require,
                _ => SnapshotMode::Auto,
            },
        };
        self.sources.push(OrderedSource { what, options });
    }

    /// Leaves only the items of these paths and names. Fails if there is no such item.
    pub(crate) fn keep_items(&mut self, named: &[String]) -> Result<(), Failure> {
        let unknown = named
            .iter()
            .find(|name| !self.sources.iter().any(|source| source.what.is(name)));
        if let Some(unknown) = unknown {
            let items: Vec<String> = self.sources.iter().map(|source| source.what.name()).collect();
            let hint = format!("its items are {}", items.join(", "));
            return Err(Failure::usage(format!("the policy has no item {unknown}"), hint));
        }
        let all = self.sources.len();
        self.sources
            .retain(|source| named.iter().any(|name| source.what.is(name)));
        let is_whole = self.sources.len() == all;
        if let Some(policy) = &mut self.policy {
            policy.is_whole = is_whole;
        }
        Ok(())
    }

    /// Whether anything of it can only be read by the process that a person started.
    #[allow(dead_code, reason = "for a backup that a daemon does for a command")]
    pub(crate) fn needs_this_process(&self) -> bool {
        self.sources.iter().any(|source| matches!(source.what, What::Stdin(_)))
    }

    /// Fails if the user's tags are not good.
    pub(super) fn check_tags(&self) -> Result<(), Failure> {
        if self.tags.len() > MAX_TAGS {
            let message = format!("a recovery point has at most {MAX_TAGS} tags of your own");
            return Err(Failure::usage(message, ""));
        }
        for tag in &self.tags {
            if Tag::from_name(&tag.to_lowercase()).is_some() {
                let hint = "the policy gives the tags daily, weekly, monthly, yearly and on-demand";
                return Err(Failure::usage(
                    format!("the tag {tag} says for how long a point is kept"),
                    hint,
                ));
            }
            let is_bad = |c: char| c.is_whitespace() || c.is_control() || c == ',';
            if tag.is_empty() || tag.len() > MAX_TAG_LEN || tag.contains(is_bad) {
                let message = format!("{tag:?} cannot be a tag");
                let hint = format!("a tag is one word of up to {MAX_TAG_LEN} bytes, without commas");
                return Err(Failure::usage(message, hint));
            }
        }
        Ok(())
    }
}

impl What {
    /// Whether `--item` means it by this word.
    fn is(&self, named: &str) -> bool {
        match self {
            What::Path(path) => path.components().eq(Path::new(named).components()),
            What::Command { name, .. } | What::Stdin(name) => name == named,
            What::SystemState { .. } => named == SYSTEM_STATE,
        }
    }

    fn name(&self) -> String {
        match self {
            What::Path(path) => path.display().to_string(),
            What::Command { name, .. } | What::Stdin(name) => name.clone(),
            What::SystemState { .. } => format!("\"{SYSTEM_STATE}\""),
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_tag_of_the_user_is_one_word_and_no_tag_of_the_policy() {
        let check = |tags: &[&str]| {
            let mut order = BackupOrder::of_paths(Vec::new(), Tuning::default());
            order.tags = tags.iter().map(|&tag| tag.to_owned()).collect();
            order.check_tags()
        };
        check(&["before-upgrade", "ticket:17", "été"]).unwrap();
        for bad in [
            "daily",
            "Weekly",
            "on-demand",
            "YEARLY",
            "",
            "a b",
            "a,b",
            "a\n",
            &"x".repeat(65),
        ] {
            assert!(check(&[bad]).is_err(), "{bad}");
        }
        assert!(check(&["x"; 25]).is_err());
    }

    #[test]
    fn an_item_is_known_by_its_path_or_name() {
        let mut order = BackupOrder::of_paths(vec!["/srv".into(), "/home".into()], Tuning::default());
        order.add(What::SystemState { package_check: false });
        let failure = order.keep_items(&["/srv/x".to_owned()]).unwrap_err();
        assert!(
            failure.hint.contains("/home") && failure.hint.contains("system state"),
            "{failure}"
        );
        order
            .keep_items(&["/srv/".to_owned(), SYSTEM_STATE.to_owned()])
            .unwrap();
        assert_eq!(order.sources.len(), 2);
    }
}
