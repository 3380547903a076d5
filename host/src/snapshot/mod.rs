//! Freezes the source before it is read. The snapshotter calls [`freeze`]; what comes back lives as long as a generation
//! reads from it, and [`cleanup_leftovers`] removes what a crashed run left behind.
//!
//! A source is one or more *parts*: what lies on the mount it begins on, and every mount below it. Each part is frozen by
//! the first [`Provider`] that can, or read live. A snapshot shows what is mounted or nested below it as empty folders,
//! so the walk is told for each where to read instead ([`Inside`]).

mod btrfs;
mod live;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

pub use lockstone_proto::vault::Consistency;

pub use self::btrfs::Btrfs;
pub use self::live::Live;
use crate::stat::Stat;
use crate::volumes::{Mount, mount_of, mounts};

/// Folders whose names begin so hold our snapshots; no walk looks into them.
pub const SNAPSHOT_FOLDER_PREFIX: &str = ".lockstone-snapshots-";

/// Whether sources are frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SnapshotMode {
    /// Where it can be done; else they are read live.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Always: what cannot be frozen is an error.
    Require,
}

/// A source that cannot be frozen, or a snapshot that cannot be removed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The source is not there, or cannot be looked at.
    #[error("{path}: {error}", path = path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Nothing can freeze it, and it must be.
    #[error("{path} cannot be frozen: {reason}", path = path.display())]
    NotPossible {
        /// The part of the source.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A snapshot or the record of it could not be made.
    #[error("no snapshot of {path} could be made: {error}", path = path.display())]
    Make {
        /// The part of the source.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A snapshot could not be removed.
    #[error("the snapshots in {folder} could not be removed: {error}", folder = folder.display())]
    Remove {
        /// Where they are.
        folder: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Something that freezes what lies on one mount.
pub trait Provider: Send {
    /// Its name, for messages.
    fn name(&self) -> &'static str;

    /// Whether it knows how to freeze what lies on this mount; if not, why.
    ///
    /// # Errors
    /// The reason, in words.
    fn offers(&self, mount: &Mount) -> Result<(), String>;

    /// Freezes the part of a source at `path`, which lies on `mount`. Called for one part after another; parts on the
    /// same volume share a snapshot.
    ///
    /// # Errors
    /// It could not be done; nothing is left behind.
    fn freeze(&mut self, path: &Path, mount: &Mount) -> Result<Part, SnapshotError>;

    /// Removes all that it made. Once is enough; later calls do what is left to do.
    ///
    /// # Errors
    /// The first thing that could not be removed; the others are.
    fn release(&mut self) -> Result<(), SnapshotError>;
}

/// A frozen part of a source.
#[derive(Debug, Clone)]
pub struct Part {
    /// Where it can be read now.
    pub read_from: PathBuf,
    /// What it is like.
    pub consistency: Consistency,
    /// `st_dev` seen there, and that of the source.
    pub devices: Vec<(u64, u64)>,
    /// What is nested in it and must be read elsewhere.
    pub inside: Vec<Inside>,
}

/// A folder below a source that must be read elsewhere than where the walk would find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inside {
    /// Absolute, in the source.
    pub path: PathBuf,
    /// Where it can be read.
    pub read_from: PathBuf,
    /// It is a mount of its own, not just nested.
    pub is_mount: bool,
}

/// A source, and where it can be read now.
#[derive(Debug, Clone)]
pub struct FrozenSource {
    /// As it was asked for; absolute.
    pub source: PathBuf,
    /// Where it can be read now.
    pub read_from: PathBuf,
    /// Whether all of it that is on disks is frozen.
    pub consistency: Consistency,
    /// `st_dev` seen where it is read, and that of the source.
    pub devices: Vec<(u64, u64)>,
    /// What lies below it and must be read elsewhere.
    pub inside: Vec<Inside>,
}

impl FrozenSource {
    /// A source that is read where and as it is.
    #[must_use]
    pub fn live(source: impl Into<PathBuf>) -> Self {
        let source = source.into();
        Self {
            read_from: source.clone(),
            source,
            consistency: Consistency::Live,
            devices: Vec::new(),
            inside: Vec::new(),
        }
    }
}

/// Frozen sources. Dropping it releases them, without a word about what could not be removed.
pub trait Frozen: Send + Sync {
    /// The sources, in the order they were asked for.
    fn sources(&self) -> &[FrozenSource];

    /// What is read live although it was not asked to be, and why: lines for the user.
    fn notes(&self) -> &[String];

    /// Removes the snapshots.
    ///
    /// # Errors
    /// One could not be removed; [`cleanup_leftovers`] will try again.
    fn release(&mut self) -> Result<(), SnapshotError>;
}

struct FrozenParts {
    sources: Vec<FrozenSource>,
    notes: Vec<String>,
    // Only `release` uses them, which is exclusive: the lock makes this shareable and is never waited for.
    providers: std::sync::Mutex<Vec<Box<dyn Provider>>>,
}

impl Frozen for FrozenParts {
    fn sources(&self) -> &[FrozenSource] {
        &self.sources
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn release(&mut self) -> Result<(), SnapshotError> {
        let providers = self
            .providers
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut outcome = Ok(());
        for provider in providers {
            outcome = outcome.and(provider.release());
        }
        outcome
    }
}

impl Drop for FrozenParts {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            tracing::warn!("{error}");
        }
    }
}

/// Freezes sources, given as absolute paths without symbolic links. Records of what must be removed are kept in
/// `<state_dir>/snapshots`. With `one_file_system`, what is mounted below a source is no part of it.
///
/// # Errors
/// A source is not there; or with [`SnapshotMode::Require`], it cannot be frozen. Nothing is left behind.
pub fn freeze(
    mode: SnapshotMode,
    sources: &[PathBuf],
    state_dir: &Path,
    one_file_system: bool,
) -> Result<Box<dyn Frozen>, SnapshotError> {
    let providers: Vec<Box<dyn Provider>> = match mode {
        SnapshotMode::Off => Vec::new(),
        SnapshotMode::Auto | SnapshotMode::Require => vec![Box::new(Btrfs::new(state_dir))],
    };
    let mounts = mounts().map_err(|error| SnapshotError::Source {
        path: "/proc/self/mountinfo".into(),
        error,
    })?;
    let mut frozen = FrozenParts {
        sources: Vec::new(),
        notes: Vec::new(),
        providers: std::sync::Mutex::new(Vec::new()),
    };
    let mut freezer = Freezer {
        mode,
        mounts: &mounts,
        providers,
        notes: Vec::new(),
    };
    let made: Result<Vec<_>, _> = sources
        .iter()
        .map(|source| freezer.source(source, one_file_system))
        .collect();
    // Also after an error: dropping `frozen` releases what was made.
    frozen.providers = std::sync::Mutex::new(freezer.providers);
    frozen.notes = freezer.notes;
    frozen.sources = made?;
    Ok(Box::new(frozen))
}

struct Freezer<'a> {
    mode: SnapshotMode,
    mounts: &'a [Mount],
    providers: Vec<Box<dyn Provider>>,
    notes: Vec<String>,
}

impl Freezer<'_> {
    fn source(&mut self, source: &Path, one_file_system: bool) -> Result<FrozenSource, SnapshotError> {
        let gone = |error| SnapshotError::Source {
            path: source.to_owned(),
            error,
        };
        let mount = mount_of(self.mounts, source).map_err(gone)?.cloned();
        let first = self.part(source, mount.as_ref())?;
        let mut frozen = FrozenSource {
            source: source.to_owned(),
            read_from: first.read_from,
            consistency: first.consistency,
            devices: first.devices,
            inside: first.inside,
        };
        if one_file_system && frozen.consistency == Consistency::Live {
            return Ok(frozen);
        }
        let mut below = Vec::new();
        for mount in self.mounts_below(source) {
            let live = |path: &Path| Live.freeze(path, &mount);
            let part = if mount.is_pseudo() || one_file_system {
                live(&mount.point)?
            } else if mount.is_memory() {
                if self.mode != SnapshotMode::Off {
                    self.notes
                        .push(format!("{} is read live: it is in memory", mount.point.display()));
                }
                live(&mount.point)?
            } else {
                let part = self.part(&mount.point, Some(&mount))?;
                if part.consistency == Consistency::Live {
                    frozen.consistency = Consistency::Live;
                }
                part
            };
            below.push((mount.point, part));
        }
        let is_live = |part: &Part| part.consistency == Consistency::Live;
        if frozen.read_from == frozen.source && below.iter().all(|(_, part)| is_live(part)) {
            return Ok(frozen);
        }
        for (point, part) in below {
            frozen.inside.push(Inside {
                path: point,
                read_from: part.read_from,
                is_mount: true,
            });
            frozen.inside.extend(part.inside);
            frozen.devices.extend(part.devices);
        }
        Ok(frozen)
    }

    fn part(&mut self, path: &Path, mount: Option<&Mount>) -> Result<Part, SnapshotError> {
        let live = || match mount {
            Some(mount) => Live.freeze(path, mount),
            None => Ok(live::part(path)),
        };
        if self.mode == SnapshotMode::Off {
            return live();
        }
        let mut reason = "its mount is unknown".to_owned();
        for provider in &mut self.providers {
            let Some(mount) = mount else { break };
            match provider.offers(mount) {
                Ok(()) => match provider.freeze(path, mount) {
                    Ok(part) => return Ok(part),
                    Err(error) => reason = error.to_string(),
                },
                Err(why) => reason = why,
            }
        }
        if self.mode == SnapshotMode::Require {
            return Err(SnapshotError::NotPossible {
                path: path.to_owned(),
                reason,
            });
        }
        self.notes.push(format!("{} is read live: {reason}", path.display()));
        live()
    }

    /// The mounts strictly below a source that can be seen there, in the order of their points.
    fn mounts_below(&self, source: &Path) -> Vec<Mount> {
        let mut below: Vec<Mount> = self
            .mounts
            .iter()
            .filter(|mount| mount.point != source && mount.point.starts_with(source))
            // A later mount may cover it.
            .filter(|mount| {
                Stat::at(rustix::fs::CWD, &*mount.point)
                    .is_ok_and(|stat| stat.is_folder() && (stat.mount_id == mount.id || stat.mount_id == 0))
            })
            .cloned()
            .collect();
        below.sort_by(|a, b| a.point.cmp(&b.point));
        below
    }
}

/// Removes snapshots that crashed runs left behind, by their records in `<state_dir>/snapshots`; those of runs that are
/// still going are left alone. Returns what could not be removed: lines for the user.
#[must_use]
pub fn cleanup_leftovers(state_dir: &Path) -> Vec<String> {
    btrfs::cleanup(state_dir)
}
