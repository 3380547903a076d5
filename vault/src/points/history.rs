//! The versions of one path over many recovery points. Points of one server share most of their pages, so for each page
//! on the way to the path the answer is remembered by its id, and no page is looked at twice.

use std::collections::HashMap;
use std::ops::ControlFlow;

use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{Entry, EntryKind};

use super::diff::{Change, change, diff};
use super::{FolderCursor, PageSource, folder_page};
use crate::error::VaultError;
use crate::log::Point;

/// At most this many answers are remembered. They need some 10 MiB.
const ANSWERS_MAX: usize = 16_384;

/// A version of the path: how it differs from the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// How it changed.
    pub change: Change,
    /// The entry, as it is from then on. If it was removed, as it was before.
    pub entry: Box<Entry>,
}

/// Whether a recovery point says something about a path: one of its sources is there, above it or below it. The path
/// is in its normal form; the root is empty.
#[must_use]
pub fn tells_about(point: &Point, path: &[u8]) -> bool {
    let is_within = |path: &[u8], folder: &[u8]| {
        let folder = folder.strip_suffix(b"/").unwrap_or(folder);
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    let mut sources = point.body.sources.iter();
    sources.any(|source| is_within(path, source) || is_within(source, path))
}

/// Follows one path from point to point.
pub struct History<'a> {
    source: &'a dyn PageSource,
    names: Vec<Vec<u8>>,
    /// What each folder on the way has under the next name, by the depth of that name and the folder's top page.
    answers: HashMap<(usize, ChunkId), Option<Box<Entry>>>,
    last: Option<Box<Entry>>,
}

impl<'a> History<'a> {
    /// Of a path in its normal form; the root is empty.
    #[must_use]
    pub fn new(source: &'a dyn PageSource, path: &[u8]) -> Self {
        let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        Self {
            source,
            names: names.map(<[u8]>::to_vec).collect(),
            answers: HashMap::new(),
            last: None,
        }
    }

    /// Goes on to the next point, and returns the version that it has, if the path changed. A folder has changed too if
    /// anything below it has.
    pub async fn next(&mut self, point: &Point) -> Result<Option<Version>, VaultError> {
        let found = self.at(point).await?;
        let change = match (&self.last, &found) {
            (None, None) => None,
            (None, Some(_)) => Some(Change::Added),
            (Some(_), None) => Some(Change::Removed),
            (Some(before), Some(now)) => match change(before, now) {
                Some(Change::Modified) => Some(Change::Modified),
                _ if self.differs_below(before, now).await? => Some(Change::Modified),
                metadata => metadata,
            },
        };
        let before = std::mem::replace(&mut self.last, found);
        let entry = self.last.clone().or(before);
        Ok(change.zip(entry).map(|(change, entry)| Version { change, entry }))
    }

    /// The path's entry in a point.
    async fn at(&mut self, point: &Point) -> Result<Option<Box<Entry>>, VaultError> {
        let root = Entry {
            kind: EntryKind::Folder.into(),
            page: point.body.root.clone(),
            ..point.body.root_folder.clone().unwrap_or_default()
        };
        let mut found = Some(Box::new(root));
        for (depth, name) in self.names.iter().enumerate() {
            let Some(folder) = found.as_deref().and_then(folder_page) else {
                return Ok(None);
            };
            if let Some(answer) = self.answers.get(&(depth, folder)) {
                found = answer.clone();
                continue;
            }
            let mut cursor = FolderCursor::new(self.source, Some(folder));
            cursor.seek(name).await?;
            let entry = cursor.next().await?.filter(|entry| *entry.name == *name);
            found = entry.map(|entry| Box::new(own(&entry)));
            if self.answers.len() >= ANSWERS_MAX {
                self.answers.clear();
            }
            self.answers.insert((depth, folder), found.clone());
        }
        Ok(found)
    }

    async fn differs_below(&self, before: &Entry, now: &Entry) -> Result<bool, VaultError> {
        let (before, now) = (folder_page(before), folder_page(now));
        let mut differs = false;
        diff((self.source, before), (self.source, now), &mut |_, _, _, _| {
            differs = true;
            ControlFlow::Break(())
        })
        .await?;
        Ok(differs)
    }
}

/// The entry with bytes of its own: those of the cursor are parts of a page, which would stay in memory.
fn own(entry: &Entry) -> Entry {
    use prost::Message as _;
    Entry::decode(bytes::Bytes::from(entry.encode_to_vec())).unwrap_or_default()
}

impl std::fmt::Debug for History<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History")
            .field("answers", &self.answers.len())
            .finish_non_exhaustive()
    }
}
