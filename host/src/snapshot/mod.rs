//! Freezes the source before it is read. The Snapshotter stage calls [`freeze`] and holds the result for as long as the
//! pipeline reads from it. [`cleanup_leftovers`] removes what a crashed run left behind.
//!
//! A source has one or more *parts*: what lies on the mount that the source begins on, and every mount below it. The
//! first [`Provider`] that can freezes a part; a part that none can freeze is read live. A snapshot shows what is
//! mounted or nested below it as empty folders, so for each such folder the walk is told where to read instead
//! ([`Inside`]).

mod btrfs;
mod frozen;
mod leftovers;
mod provider;
mod registry;
#[cfg(test)]
mod tests;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use self::btrfs::SNAPSHOT_FOLDER_PREFIX;
pub use self::frozen::{Frozen, FrozenSource};
pub(crate) use self::leftovers::is_recorded;
pub use self::provider::{Consistency, Inside, Leftover, Part, Provider, SnapshotError};
use crate::boundaries::Boundaries;
use crate::stat::Stat;
use crate::volumes::{Mount, mount_of, mounts};

/// Whether sources are frozen before they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SnapshotMode {
    /// Sources are frozen where possible, and read live where not.
    #[default]
    Auto,
    /// Sources are always read live.
    Off,
    /// Sources must be frozen: a part that cannot be is an error.
    Require,
}

/// A source that is to be frozen.
#[derive(Debug, Clone)]
pub struct ToFreeze {
    /// Its absolute path, without symbolic links.
    pub source: PathBuf,
    /// Whether it is frozen.
    pub mode: SnapshotMode,
    /// Which of the mounts below it belong to it.
    pub boundaries: Boundaries,
}

impl ToFreeze {
    /// A source with everything that is mounted below it.
    #[must_use]
    pub fn new(source: impl Into<PathBuf>, mode: SnapshotMode) -> Self {
        Self {
            source: source.into(),
            mode,
            boundaries: Boundaries::default(),
        }
    }
}

/// Freezes sources. Records of what must be removed later are kept in `<state_dir>/snapshots`.
///
/// # Errors
/// A source does not exist, or it cannot be frozen and its mode is [`SnapshotMode::Require`]. Nothing is left behind.
pub fn freeze(sources: &[ToFreeze], state_dir: &Path) -> Result<Frozen, SnapshotError> {
    // Without /proc, as in a chroot, the mounts are not known. Sources are then read live.
    let (mounts, unknown) = match mounts() {
        Ok(mounts) => (mounts, None),
        Err(error) => (Vec::new(), Some(format!("/proc/self/mountinfo: {error}"))),
    };
    let mut freezer = Freezer {
        mounts: &mounts,
        providers: if sources.iter().all(|source| source.mode == SnapshotMode::Off) {
            Vec::new()
        } else {
            registry::providers(state_dir)
        },
        records: leftovers::folder(state_dir),
        notes: Vec::new(),
        unknown,
    };
    let made: Result<Vec<_>, _> = sources.iter().map(|source| freezer.source(source)).collect();
    let mut frozen = Frozen {
        sources: Vec::new(),
        notes: freezer.notes,
        providers: freezer.providers,
    };
    // After an error, dropping `frozen` removes the snapshots that were made.
    frozen.sources = made?;
    Ok(frozen)
}

/// Removes snapshots that crashed runs left behind, by their records in `<state_dir>/snapshots`. Snapshots of runs that
/// are still going are left alone. Returns a line for the user for each thing that could not be removed.
#[must_use]
pub fn cleanup_leftovers(state_dir: &Path) -> Vec<String> {
    leftovers::cleanup(state_dir, &registry::providers(state_dir))
}

/// Freezes the sources of one run, one after another.
struct Freezer<'a> {
    mounts: &'a [Mount],
    providers: Vec<Box<dyn Provider>>,
    records: PathBuf,
    /// A line for the user for each part that is read live although it should be frozen.
    notes: Vec<String>,
    /// Why the mounts are not known; `None` if they are.
    unknown: Option<String>,
}

impl Freezer<'_> {
    fn source(&mut self, asked: &ToFreeze) -> Result<FrozenSource, SnapshotError> {
        let source = &*asked.source;
        let gone = |error| SnapshotError::Source {
            path: source.to_owned(),
            error,
        };
        let mount = mount_of(self.mounts, source).map_err(gone)?.cloned();
        let first = self.part(source, mount.as_ref(), asked.mode)?;
        let mut frozen = FrozenSource {
            source: source.to_owned(),
            read_from: first.read_from,
            consistency: first.consistency,
            devices: first.devices,
            inside: first.inside,
            records: Some(self.records.clone()),
        };
        let boundaries = &asked.boundaries;
        if boundaries.one_file_system && boundaries.entered.is_empty() && frozen.consistency == Consistency::Live {
            return Ok(frozen);
        }
        let mut below = Vec::new();
        for mount in self.mounts_below(source) {
            let part = self.part_below(&mount, asked, &mut frozen.consistency)?;
            below.push((mount.point, part));
        }
        if frozen.read_from == frozen.source && below.iter().all(|(_, part)| part.is_live()) {
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

    /// The part on a mount below a source. A part on a disk that is read live makes the whole source live.
    fn part_below(&mut self, mount: &Mount, asked: &ToFreeze, source: &mut Consistency) -> Result<Part, SnapshotError> {
        if mount.is_pseudo() || asked.boundaries.leave_out(mount.point.as_os_str().as_bytes()) {
            return Ok(Part::live(&mount.point));
        }
        if mount.is_memory() {
            if asked.mode != SnapshotMode::Off {
                self.notes
                    .push(format!("{} is read live: it is in memory", mount.point.display()));
            }
            return Ok(Part::live(&mount.point));
        }
        let part = self.part(&mount.point, Some(mount), asked.mode)?;
        if part.is_live() {
            *source = Consistency::Live;
        }
        Ok(part)
    }

    /// Freezes a part by the first provider that can, or reads it live if the mode allows that.
    fn part(&mut self, path: &Path, mount: Option<&Mount>, mode: SnapshotMode) -> Result<Part, SnapshotError> {
        if mode == SnapshotMode::Off {
            return Ok(Part::live(path));
        }
        let mut reason = match &self.unknown {
            Some(why) => format!("its mount is unknown ({why})"),
            None => "its mount is unknown".to_owned(),
        };
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
        if mode == SnapshotMode::Require {
            return Err(SnapshotError::NotPossible {
                path: path.to_owned(),
                reason,
            });
        }
        self.notes.push(format!("{} is read live: {reason}", path.display()));
        Ok(Part::live(path))
    }

    /// The visible mounts strictly below a source, in the order of their mount points.
    fn mounts_below(&self, source: &Path) -> Vec<Mount> {
        let mut below: Vec<Mount> = self
            .mounts
            .iter()
            .filter(|mount| mount.point != source && mount.point.starts_with(source))
            // A later mount may hide this one.
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
