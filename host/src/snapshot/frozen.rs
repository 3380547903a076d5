//! What [`freeze`](super::freeze) returns: the sources, and where each can be read while the snapshots exist.

use std::path::PathBuf;

use super::provider::{Consistency, Inside, Provider, SnapshotError};

/// A source, and where it can be read now.
#[derive(Debug, Clone)]
pub struct FrozenSource {
    /// The source's absolute path, as the user gave it.
    pub source: PathBuf,
    /// Where the source can be read now.
    pub read_from: PathBuf,
    /// `Snapshot` if every part of the source that lies on a disk is frozen.
    pub consistency: Consistency,
    /// Pairs of `st_dev`: the one seen where the source is read, and the one it has in the source.
    pub devices: Vec<(u64, u64)>,
    /// What lies below the source and must be read elsewhere.
    pub inside: Vec<Inside>,
    /// The folder with the records of snapshots, by which the walk knows this program's snapshots.
    pub(crate) records: Option<PathBuf>,
}

impl FrozenSource {
    /// A source that is not frozen but read where and as it is.
    #[must_use]
    pub fn live(source: impl Into<PathBuf>) -> Self {
        let source = source.into();
        Self::elsewhere(source.clone(), source)
    }

    /// A source that is not frozen, and whose content is in another folder.
    #[must_use]
    pub fn elsewhere(source: impl Into<PathBuf>, read_from: impl Into<PathBuf>) -> Self {
        Self {
            read_from: read_from.into(),
            source: source.into(),
            consistency: Consistency::Live,
            devices: Vec::new(),
            inside: Vec::new(),
            records: None,
        }
    }
}

/// The frozen sources of one run. Dropping it removes the snapshots; a snapshot that cannot be removed is logged as a
/// warning, and [`cleanup_leftovers`](super::cleanup_leftovers) tries again later.
pub struct Frozen {
    pub(super) sources: Vec<FrozenSource>,
    pub(super) notes: Vec<String>,
    pub(super) providers: Vec<Box<dyn Provider>>,
}

impl Frozen {
    /// The sources, in the order in which they were given.
    #[must_use]
    pub fn sources(&self) -> &[FrozenSource] {
        &self.sources
    }

    /// What is read live although it should be frozen, and why: lines for the user.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Removes the snapshots. After an error, another call removes what is left.
    ///
    /// # Errors
    /// The first snapshot that could not be removed; [`cleanup_leftovers`](super::cleanup_leftovers) will try again.
    pub fn release(&mut self) -> Result<(), SnapshotError> {
        let mut outcome = Ok(());
        for provider in &mut self.providers {
            outcome = outcome.and(provider.release());
        }
        outcome
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            tracing::warn!("{error}");
        }
    }
}
