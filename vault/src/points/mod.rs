//! Recovery points: finding the one that is meant, and reading what is in it. Used by the commands that list, search
//! and compare points, by restore and by `check`.
//!
//! A point's root is the folder `/`. The code here reads trees page by page, in byte order of names. Its memory grows
//! neither with the size of a folder nor with the depth of a tree. Paths are absolute raw bytes, `/a/b`.

mod barren;
mod cursor;
mod diff;
mod file;
mod glance;
mod history;
mod paths;
mod search;
mod walk;

use std::ops::ControlFlow;

use async_trait::async_trait;
use bytes::Bytes;
use lockstone_proto::ids::{ChunkId, PointId, ServerId};
use lockstone_proto::vault::{Content, Entry, EntryKind, Page};
use prost::Message as _;

use crate::damage::DamageKind;
use crate::domain::Domain;
use crate::error::VaultError;
use crate::log::{LogView, Point};
use crate::tree::content::decode_content;
use crate::tree::{decode_own_page, decode_page};

pub use cursor::FolderCursor;
pub(crate) use cursor::Peek;
pub use diff::{Change, OnChange, Side, diff};
pub use file::{FileChunks, PlacedChunk};
pub use history::{History, Version, tells_about};
pub use paths::candidates;
pub use search::{Findings, Search, Wanted};
pub use walk::{TreeWalk, Walked};

/// The shortest prefix of an id that may name a point, hex digits.
pub const PREFIX_MIN: usize = 6;

/// Finds the point that an id, a unique prefix of an id, or `latest` means, among the points of one server or of all.
/// `latest` never means a forgotten point; ids and prefixes may.
pub fn resolve<'a>(view: &'a LogView, text: &str, server: Option<ServerId>) -> Result<&'a Point, VaultError> {
    let none = || VaultError::NoSuchPoint(text.to_owned());
    if text == "latest" {
        return view.latest(server).ok_or_else(none);
    }
    let wanted = text.to_ascii_lowercase();
    let is_hex = wanted.len() <= 2 * PointId::LEN && wanted.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_hex || wanted.len() < PREFIX_MIN {
        return Err(VaultError::BadPoint(text.to_owned()));
    }
    let of_server = |point: &&Point| server.is_none_or(|server| point.server == server);
    let mut found = view
        .points
        .iter()
        .filter(of_server)
        .filter(|point| point.id.hex().starts_with(&wanted));
    match (found.next(), found.next()) {
        (None, _) => Err(none()),
        (Some(point), None) => Ok(point),
        (Some(first), Some(second)) => {
            let points = [first, second]
                .into_iter()
                .chain(found)
                .take(8)
                .map(|point| point.id)
                .collect();
            Err(VaultError::AmbiguousPoint {
                prefix: text.to_owned(),
                points,
            })
        }
    }
}

/// Where tree chunks come from, decoded and validated.
#[async_trait]
pub trait PageSource: Send + Sync {
    /// A page of a folder.
    async fn page(&self, id: &ChunkId) -> Result<Page, VaultError>;

    /// The same page as it is encoded.
    async fn raw_page(&self, id: &ChunkId) -> Result<Bytes, VaultError> {
        Ok(self.page(id).await?.encode_to_vec().into())
    }

    /// A content list of that level, which covers `len` bytes of its file from `base` on.
    async fn content(&self, id: &ChunkId, level: u32, base: u64, len: u64) -> Result<Content, VaultError>;
}

#[async_trait]
impl PageSource for Domain {
    async fn page(&self, id: &ChunkId) -> Result<Page, VaultError> {
        let page = match self.kept_page(id)? {
            Some(kept) if kept.is_own => decode_own_page(kept.raw),
            Some(kept) => decode_page(kept.raw),
            None => decode_page(self.fetch_tree_chunk(id).await?),
        };
        page.map_err(|why| VaultError::damaged(DamageKind::Page, id.hex(), why))
    }

    async fn raw_page(&self, id: &ChunkId) -> Result<Bytes, VaultError> {
        let raw = match self.kept_page(id)? {
            // What this machine has encoded was checked when it was encoded.
            Some(kept) if kept.is_own => return Ok(kept.raw),
            Some(kept) => kept.raw,
            None => self.fetch_tree_chunk(id).await?,
        };
        match decode_page(raw.clone()) {
            Ok(_) => Ok(raw),
            Err(why) => Err(VaultError::damaged(DamageKind::Page, id.hex(), why)),
        }
    }

    async fn content(&self, id: &ChunkId, level: u32, base: u64, len: u64) -> Result<Content, VaultError> {
        let raw = self.read_tree_chunk(id).await?;
        decode_content(raw, level, base, len).map_err(|why| VaultError::damaged(DamageKind::Page, id.hex(), why))
    }
}

/// The top page of an entry that is a folder; `None` for other entries, and for empty folders.
#[must_use]
pub fn folder_page(entry: &Entry) -> Option<ChunkId> {
    if entry.kind() != EntryKind::Folder {
        return None;
    }
    ChunkId::try_from(entry.page.as_ref()).ok()
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// The root itself, which has no entry.
    Root,
    /// An entry.
    Entry(Box<Entry>),
    /// Nothing.
    Missing,
}

/// Looks up a path. Empty parts and `.` are skipped; nothing is found at `..`.
pub async fn lookup(source: &dyn PageSource, root: Option<ChunkId>, path: &[u8]) -> Result<Found, VaultError> {
    let (mut found, mut folder) = (Found::Root, root);
    for name in path
        .split(|byte| *byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
    {
        let mut cursor = FolderCursor::new(source, folder);
        cursor.seek(name).await?;
        match cursor.next().await? {
            Some(entry) if *entry.name == *name => {
                folder = folder_page(&entry);
                found = Found::Entry(Box::new(entry));
            }
            _ => return Ok(Found::Missing),
        }
    }
    Ok(found)
}

/// Calls `each` for the entries of the folder at `path`, or for the entry there if it is not a folder, until it breaks.
/// Returns whether there is anything at that path.
pub async fn list(
    source: &dyn PageSource,
    root: Option<ChunkId>,
    path: &[u8],
    each: &mut (dyn FnMut(&[u8], &Entry) -> ControlFlow<()> + Send),
) -> Result<bool, VaultError> {
    let clean = clean_path(path);
    let folder = match lookup(source, root, path).await? {
        Found::Missing => return Ok(false),
        Found::Root => root,
        Found::Entry(entry) if entry.kind() == EntryKind::Folder => folder_page(&entry),
        Found::Entry(entry) => {
            let _ = each(&clean, &entry);
            return Ok(true);
        }
    };
    let mut cursor = FolderCursor::new(source, folder);
    let mut at = clean;
    let len = at.len();
    while let Some(entry) = cursor.next().await? {
        at.truncate(len);
        at.push(b'/');
        at.extend_from_slice(&entry.name);
        if each(&at, &entry).is_break() {
            break;
        }
    }
    Ok(true)
}

/// Calls `each` for every entry of a tree, until it breaks. Damage is an error here; `TreeWalk` goes on after damage.
pub async fn find(
    source: &dyn PageSource,
    root: Option<ChunkId>,
    each: &mut (dyn FnMut(&[u8], &Entry) -> ControlFlow<()> + Send),
) -> Result<(), VaultError> {
    let mut walk = TreeWalk::new(source, root, Vec::new());
    while let Some(walked) = walk.next().await? {
        match walked {
            Walked::Entry { path, entry } => {
                if each(&path, &entry).is_break() {
                    return Ok(());
                }
            }
            Walked::Leave { .. } => {}
            Walked::Damaged { error, .. } => return Err(error),
        }
    }
    Ok(())
}

/// The path in its normal form: `/a/b`, and empty for the root.
#[must_use]
pub fn clean_path(path: &[u8]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(path.len() + 1);
    for name in path
        .split(|byte| *byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
    {
        clean.push(b'/');
        clean.extend_from_slice(name);
    }
    clean
}

#[cfg(test)]
mod tests;
