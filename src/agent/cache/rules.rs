//! The rules of the cache folder: from what is known of a folder to what is to be said of it. Nothing is read here.
//!
//! A folder is refused only for what is certain. What cannot be told is no reason.

use std::fmt;
use std::path::PathBuf;

use super::limits::Limits;
use crate::text::render;

/// So much must be free before the first backup, when nobody knows how much is protected.
const FIRST_FREE: u64 = 64 << 20;

/// What is known of a cache folder, or of a place for one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// What this user may still write to its file system. `None`: not known.
    pub(crate) free_bytes: Option<u64>,
    /// The bytes of the newest recovery point. `None` before the first.
    pub(crate) protected_bytes: Option<u64>,
    /// The policy protects the system state.
    pub(crate) system_state: bool,
    pub(crate) storage: Storage,
    /// The folder itself is a symbolic link.
    pub(crate) is_link: bool,
    pub(crate) is_encrypted: bool,
    pub(crate) is_compressed: bool,
    /// The sparse file that its file system lies in.
    pub(crate) sparse_file: Option<PathBuf>,
    /// A device below it stores equal blocks once.
    pub(crate) deduplicates: bool,
    /// Why its stamp and the settings do not agree.
    pub(crate) misplaced: Option<String>,
}

/// What kind of storage a folder is on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Storage {
    /// A disk of this machine, or not known.
    #[default]
    Fixed,
    /// In memory, with this type of file system.
    Temporary(String),
    /// It can be taken away, and why that is known.
    Removable(String),
    /// On another machine, with this type of file system.
    Network(String),
}

/// What a rule says of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Ok,
    Warn,
    Refuse,
}

/// The rules, by what they are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Both records of its place agree.
    Place,
    /// Enough of the file system is free.
    Space,
    /// It is on a disk of this machine.
    Storage,
    /// It is no symbolic link.
    Link,
    /// It is not encrypted by fscrypt.
    Encryption,
    /// It is not compressed.
    Compression,
    /// Its file system is not in a sparse file.
    Sparse,
    /// No device below it deduplicates.
    Deduplication,
}

/// One rule, and how a folder stands to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    pub(crate) state: State,
    pub(crate) reason: String,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Refuse => "refuse",
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rule::Place => "place",
            Rule::Space => "space",
            Rule::Storage => "storage",
            Rule::Link => "link",
            Rule::Encryption => "encryption",
            Rule::Compression => "compression",
            Rule::Sparse => "sparse",
            Rule::Deduplication => "deduplication",
        })
    }
}

/// What each rule says of a folder, in a fixed order.
pub(crate) fn judge(known: &Known, limits: &Limits) -> Vec<Finding> {
    let place = known.misplaced.as_ref();
    vec![
        refused_if(
            Rule::Place,
            place.is_some(),
            || place.cloned().unwrap_or_default(),
            "its stamp and the settings agree",
        ),
        space(known, limits),
        storage(&known.storage),
        refused_if(
            Rule::Link,
            known.is_link,
            || "it is a symbolic link".to_owned(),
            "it is no symbolic link",
        ),
        refused_if(
            Rule::Encryption,
            known.is_encrypted,
            || "it is encrypted by its file system (fscrypt): a job that runs without the key cannot use it".to_owned(),
            "it is not encrypted by its file system",
        ),
        refused_if(
            Rule::Compression,
            known.is_compressed,
            || "its file system compresses it, and free space cannot be told".to_owned(),
            "its file system does not compress it",
        ),
        sparse(known),
        refused_if(
            Rule::Deduplication,
            known.deduplicates,
            || "a device below it deduplicates (VDO), and free space cannot be told".to_owned(),
            "no device below it is known to deduplicate",
        ),
    ]
}

fn refused_if(rule: Rule, is_bad: bool, why: impl FnOnce() -> String, good: &str) -> Finding {
    let (state, reason) = if is_bad {
        (State::Refuse, why())
    } else {
        (State::Ok, good.to_owned())
    };
    Finding { rule, state, reason }
}

fn storage(storage: &Storage) -> Finding {
    let (state, reason) = match storage {
        Storage::Fixed => (
            State::Ok,
            "it is not known to be on removable or network storage".to_owned(),
        ),
        Storage::Temporary(fs) => (
            State::Warn,
            format!("it is on temporary storage ({fs}): it is built anew after a restart"),
        ),
        Storage::Removable(why) => (
            State::Refuse,
            format!("it is on storage that can be taken away ({why})"),
        ),
        Storage::Network(fs) => (State::Refuse, format!("it is on a network file system ({fs})")),
    };
    Finding {
        rule: Rule::Storage,
        state,
        reason,
    }
}

fn sparse(known: &Known) -> Finding {
    let file = known.sparse_file.as_ref();
    let why = || {
        let file = file.map(|file| file.display().to_string()).unwrap_or_default();
        format!("its file system is in a sparse file ({file}): it may run out of space although it says it is free")
    };
    refused_if(
        Rule::Sparse,
        file.is_some(),
        why,
        "its file system is not known to be in a sparse file",
    )
}

/// Free space against what is protected.
fn space(known: &Known, limits: &Limits) -> Finding {
    let finding = |state, reason| Finding {
        rule: Rule::Space,
        state,
        reason,
    };
    let Some(free) = known.free_bytes else {
        return finding(State::Ok, "how much space is free is not known".to_owned());
    };
    let more = if known.system_state {
        limits.system_state_bytes
    } else {
        0
    };
    let share = |percent: u8| {
        let part = known
            .protected_bytes
            .map(|bytes| u128::from(bytes) * u128::from(percent) / 100);
        part.map(|part| u64::try_from(part).unwrap_or(u64::MAX).saturating_add(more))
    };
    // Without a backup there is nothing to warn of.
    let refuse = share(limits.refuse_percent).unwrap_or(FIRST_FREE.saturating_add(more));
    let warn = share(limits.warn_percent).unwrap_or(0);
    let of = |percent: u8| {
        let part = match known.protected_bytes {
            Some(bytes) => format!("{percent} % of the {} that are protected", render::bytes(bytes)),
            None => format!("{} before the first backup", render::bytes(FIRST_FREE)),
        };
        let for_system = match more {
            0 => String::new(),
            more => format!(" and {} for the system state", render::bytes(more)),
        };
        format!("{part}{for_system}")
    };
    let shown = render::bytes(free);
    if free < refuse {
        let least = render::bytes(refuse);
        let reason = format!(
            "{shown} are free, and at least {least} must be: {}",
            of(limits.refuse_percent)
        );
        return finding(State::Refuse, reason);
    }
    if free < warn {
        let least = render::bytes(warn);
        let reason = format!("{shown} are free, and {least} should be: {}", of(limits.warn_percent));
        return finding(State::Warn, reason);
    }
    finding(State::Ok, format!("{shown} are free"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn of(known: &Known, rule: Rule) -> Finding {
        let mut found = judge(known, &Limits::default());
        let at = found.iter().position(|finding| finding.rule == rule).unwrap();
        found.remove(at)
    }

    fn space(free: u64, protected: Option<u64>, system_state: bool) -> State {
        let known = Known {
            free_bytes: Some(free),
            protected_bytes: protected,
            system_state,
            ..Known::default()
        };
        of(&known, Rule::Space).state
    }

    #[test]
    fn space_is_measured_against_what_is_protected() {
        let all = Some(100 * GIB);
        for (free, state) in [
            (5 * GIB - 1, State::Refuse),
            (5 * GIB, State::Warn),
            (10 * GIB - 1, State::Warn),
            (10 * GIB, State::Ok),
        ] {
            assert_eq!(space(free, all, false), state, "{free}");
            assert_eq!(space(free + 35 * GIB, all, true), state, "{free} with system state");
        }
        assert_eq!(space(0, Some(0), false), State::Ok);
        assert_eq!(space(u64::MAX, Some(u64::MAX), true), State::Ok);
    }

    #[test]
    fn before_the_first_backup_a_little_must_be_free() {
        assert_eq!(space(FIRST_FREE - 1, None, false), State::Refuse);
        assert_eq!(space(FIRST_FREE, None, false), State::Ok);
        assert_eq!(space(FIRST_FREE, None, true), State::Refuse);
        assert_eq!(of(&Known::default(), Rule::Space).state, State::Ok, "not known");
    }

    #[test]
    fn the_limits_can_be_set() {
        let known = Known {
            free_bytes: Some(GIB),
            protected_bytes: Some(100 * GIB),
            system_state: true,
            ..Known::default()
        };
        let with = |refuse_percent, warn_percent, system_state_bytes| {
            let limits = Limits {
                refuse_percent,
                warn_percent,
                system_state_bytes,
            };
            judge(&known, &limits).remove(1)
        };
        assert_eq!(with(1, 1, 0).state, State::Ok);
        assert_eq!(with(1, 2, 0).state, State::Warn);
        assert_eq!(with(0, 0, 2 * GIB).state, State::Refuse);
        assert_eq!(
            with(2, 3, GIB).reason,
            "1.00 GiB are free, and at least 3.00 GiB must be: 2 % of the 100.00 GiB that are protected and 1.00 GiB \
             for the system state"
        );
    }

    #[test]
    fn a_folder_of_which_nothing_bad_is_known_is_good() {
        let all = judge(&Known::default(), &Limits::default());
        assert_eq!(all.len(), 8);
        assert!(
            all.iter()
                .all(|finding| finding.state == State::Ok && !finding.reason.is_empty())
        );
    }

    #[test]
    fn each_bad_thing_is_found_by_its_own_rule() {
        let none = Known::default;
        let cases = [
            (
                Rule::Place,
                State::Refuse,
                Known {
                    misplaced: Some("x".into()),
                    ..none()
                },
            ),
            (
                Rule::Storage,
                State::Warn,
                Known {
                    storage: Storage::Temporary("tmpfs".into()),
                    ..none()
                },
            ),
            (
                Rule::Storage,
                State::Refuse,
                Known {
                    storage: Storage::Removable("USB".into()),
                    ..none()
                },
            ),
            (
                Rule::Storage,
                State::Refuse,
                Known {
                    storage: Storage::Network("nfs4".into()),
                    ..none()
                },
            ),
            (
                Rule::Link,
                State::Refuse,
                Known {
                    is_link: true,
                    ..none()
                },
            ),
            (
                Rule::Encryption,
                State::Refuse,
                Known {
                    is_encrypted: true,
                    ..none()
                },
            ),
            (
                Rule::Compression,
                State::Refuse,
                Known {
                    is_compressed: true,
                    ..none()
                },
            ),
            (
                Rule::Sparse,
                State::Refuse,
                Known {
                    sparse_file: Some("/image".into()),
                    ..none()
                },
            ),
            (
                Rule::Deduplication,
                State::Refuse,
                Known {
                    deduplicates: true,
                    ..none()
                },
            ),
        ];
        for (rule, state, known) in cases {
            for finding in judge(&known, &Limits::default()) {
                let expected = if finding.rule == rule { state } else { State::Ok };
                assert_eq!(finding.state, expected, "{rule}: {finding:?}");
            }
        }
    }
}
