//! Pages: writing the entries of a folder into pages, and checking a page that was read. The rules are described at the
//! top of `tree`.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use lockstone_proto::ids::ChunkId;
use lockstone_proto::limits::{KEPT_INODE_FLAGS, LEVEL_MAX, PAGE_MAX, PAGE_MAX_ENTRIES};
use lockstone_proto::vault::{ChunkKind, Entry, EntryKind, Page, PageRef};
use prost::Message;

use super::NewPage;
use super::content::check_content;
use super::error::TreeError;
use crate::bounds::{Malformed, count_parts};
use crate::canonical;
use crate::crypto::keys::Keys;

/// A page with fewer bytes ends only at the end of the folder.
const PAGE_MIN: usize = 32 * 1024;
/// The longest name, bytes. Linux allows 255; names of other systems may be longer.
const NAME_MAX: usize = 4095;
/// Field numbers of `Page` and wire types, as a key byte: `entries` and `children`.
const ENTRY_KEY: u8 = 2 << 3 | 2;
const CHILD_KEY: u8 = 3 << 3 | 2;
const LEVEL_KEY: u8 = 1 << 3;

/// Turns a folder's entries into pages.
pub struct FolderWriter {
    keys: Arc<Keys>,
    levels: Vec<Level>,
    last: Bytes,
}

/// The page of one level that is being filled.
#[derive(Default)]
struct Level {
    /// The encoded page so far.
    buf: Vec<u8>,
    items: usize,
    first: Bytes,
    /// The level's first page while it has no second one. When there is a second, both are listed one level up.
    only: Option<PageRef>,
}

impl FolderWriter {
    /// A writer for one folder.
    #[must_use]
    pub fn new(keys: Arc<Keys>) -> Self {
        Self {
            keys,
            levels: vec![Level::default()],
            last: Bytes::new(),
        }
    }

    /// Adds the folder's next entry, in strict byte order of names. Completed pages are added to `out`. Refuses an
    /// entry that a reader would refuse, or that is too large for a page; the writer can go on without it.
    pub fn push(&mut self, entry: &Entry, out: &mut Vec<NewPage>) -> Result<(), TreeError> {
        check_entry(entry)?;
        if !self.last.is_empty() && self.last >= entry.name {
            return Err(TreeError::Entry {
                name: entry.name.clone(),
                what: "is out of order",
            });
        }
        self.add(0, &entry.name, ENTRY_KEY, entry, out)?;
        self.last = entry.name.clone();
        Ok(())
    }

    /// Ends the folder. Returns the id of its top page; `None` if it is empty. The last pages are added to `out`.
    pub fn finish(mut self, out: &mut Vec<NewPage>) -> Result<Option<ChunkId>, TreeError> {
        let mut level = 0;
        loop {
            self.end_page(level, out)?;
            level += 1;
            if level == self.levels.len() {
                let top = self.levels.pop().and_then(|level| level.only);
                return Ok(top.and_then(|top| ChunkId::try_from(&top.id[..]).ok()));
            }
        }
    }

    fn add(
        &mut self,
        level: usize,
        name: &Bytes,
        key: u8,
        item: &impl Message,
        out: &mut Vec<NewPage>,
    ) -> Result<(), TreeError> {
        let page = &mut self.levels[level];
        if page.buf.is_empty() && level > 0 {
            page.buf.extend_from_slice(&[LEVEL_KEY, level as u8]);
        }
        // The item is encoded once, after the others. If the page gets too long, the item moves to the next page.
        let start = page.buf.len();
        page.buf.put_u8(key);
        prost::encoding::encode_varint(item.encoded_len() as u64, &mut page.buf);
        item.encode_raw(&mut page.buf);
        let item_len = page.buf.len() - start;
        if page.buf.len() > PAGE_MAX {
            if page.items == 0 {
                page.buf.truncate(start);
                return Err(TreeError::Entry {
                    name: name.clone(),
                    what: "is larger than a page can be",
                });
            }
            let carried = page.buf.split_off(start);
            if carried.len() > PAGE_MAX - 2 {
                return Err(TreeError::Entry {
                    name: name.clone(),
                    what: "is larger than a page can be",
                });
            }
            self.end_page(level, out)?;
            let page = &mut self.levels[level];
            if level > 0 {
                page.buf.extend_from_slice(&[LEVEL_KEY, level as u8]);
            }
            page.buf.extend_from_slice(&carried);
        }
        let page = &mut self.levels[level];
        if page.items == 0 {
            page.first = name.clone();
        }
        page.items += 1;
        let ends = page.items == PAGE_MAX_ENTRIES
            || page.buf.len() >= PAGE_MIN
                && u64::from(self.keys.page_end(level as u32, name)) < (item_len as u64) << 16;
        if ends { self.end_page(level, out) } else { Ok(()) }
    }

    fn end_page(&mut self, level: usize, out: &mut Vec<NewPage>) -> Result<(), TreeError> {
        let page = &mut self.levels[level];
        if page.items == 0 {
            return Ok(());
        }
        // Copied to its exact size; the buffer stays for the next page.
        let raw = Bytes::copy_from_slice(&page.buf);
        page.buf.clear();
        page.items = 0;
        let id = self.keys.chunk_id(ChunkKind::Tree, &raw);
        out.push(NewPage { id, raw });
        let child = PageRef {
            id: Bytes::copy_from_slice(id.as_bytes()),
            first: std::mem::take(&mut page.first),
        };

        let above = level + 1;
        if above == self.levels.len() {
            let page = &mut self.levels[level];
            let Some(only) = page.only.take() else {
                page.only = Some(child);
                return Ok(());
            };
            if above as u32 > LEVEL_MAX {
                return Err(TreeError::Page("would be above the highest level"));
            }
            self.levels.push(Level::default());
            self.add(above, &only.first, CHILD_KEY, &only, out)?;
        }
        self.add(above, &child.first, CHILD_KEY, &child, out)
    }
}

/// Decodes a page and checks all of it.
pub fn decode_page(raw: Bytes) -> Result<Page, TreeError> {
    decode_by(raw, canonical::decode::<Page>)
}

/// Decodes a page that this machine has encoded. Everything but the encoding is checked.
pub(crate) fn decode_own_page(raw: Bytes) -> Result<Page, TreeError> {
    decode_by(raw, |raw| Ok(Page::decode(raw)?))
}

fn decode_by(raw: Bytes, decode: impl FnOnce(Bytes) -> Result<Page, Malformed>) -> Result<Page, TreeError> {
    if raw.len() > PAGE_MAX {
        return Err(TreeError::TooLong(raw.len()));
    }
    if count_parts(&raw)? > PAGE_MAX_ENTRIES {
        return Err(TreeError::Page("has too many entries"));
    }
    let page = decode(raw)?;
    if page.level > LEVEL_MAX {
        return Err(TreeError::Page("is above the highest level"));
    }
    if page.entries.is_empty() != (page.level > 0) || page.children.is_empty() != (page.level == 0) {
        return Err(TreeError::Page("is empty, or has entries and children"));
    }
    let mut last: &[u8] = b"";
    for entry in &page.entries {
        check_entry(entry)?;
        if *entry.name <= *last {
            return Err(TreeError::Entry {
                name: entry.name.clone(),
                what: "is out of order",
            });
        }
        last = &entry.name;
    }
    for child in &page.children {
        check_name(&child.first)?;
        if *child.first <= *last || child.id.len() != ChunkId::LEN {
            return Err(TreeError::Page("has a child out of order, or without id"));
        }
        last = &child.first;
    }
    Ok(page)
}

/// Checks that `child` is the page that its parent's `children[index]` describes: one level lower, beginning with that
/// name, and ending before the next child begins. To be called for every page below another.
pub fn check_child(parent: &Page, index: usize, child: &Page) -> Result<(), TreeError> {
    let names = |page: &Page| match page.level {
        0 => (
            page.entries.first().map(|e| e.name.clone()),
            page.entries.last().map(|e| e.name.clone()),
        ),
        _ => (
            page.children.first().map(|c| c.first.clone()),
            page.children.last().map(|c| c.first.clone()),
        ),
    };
    let (first, last) = names(child);
    let promised = parent.children.get(index).map(|child| child.first.clone());
    let next = parent.children.get(index + 1).map(|next| next.first.clone());
    let fits = parent.level.checked_sub(1) == Some(child.level)
        && first.is_some()
        && first == promised
        && next.is_none_or(|next| last < Some(next));
    if fits {
        Ok(())
    } else {
        Err(TreeError::Page("is not the one its parent promises"))
    }
}

/// Checks that the page ends before the name with which the next one begins.
pub(crate) fn check_end(page: &Page, next: &Bytes) -> Result<(), TreeError> {
    let last = match page.level {
        0 => page.entries.last().map(|entry| &entry.name),
        _ => page.children.last().map(|child| &child.first),
    };
    if last < Some(next) {
        Ok(())
    } else {
        Err(TreeError::Page("goes on behind the page that follows it"))
    }
}

/// Checks that a name cannot leave its folder.
fn check_name(name: &Bytes) -> Result<(), TreeError> {
    let legal = !matches!(name.as_ref(), b"" | b"." | b"..")
        && name.len() <= NAME_MAX
        && !name.iter().any(|byte| matches!(byte, 0 | b'/'));
    if legal {
        Ok(())
    } else {
        Err(TreeError::Entry {
            name: name.clone(),
            what: "has an impossible name",
        })
    }
}

/// Checks what a Commit says of the folder `/`, which is in no page.
pub(crate) fn check_root_folder(entry: &Entry) -> Result<(), TreeError> {
    let placed = !entry.name.is_empty() || !entry.page.is_empty() || entry.implied;
    if placed || entry.kind() != EntryKind::Folder {
        return Err(TreeError::Page("cannot be what its Commit says of the root folder"));
    }
    check_attributes(entry)
}

fn check_entry(entry: &Entry) -> Result<(), TreeError> {
    check_name(&entry.name)?;
    check_attributes(entry)
}

fn check_attributes(entry: &Entry) -> Result<(), TreeError> {
    let broken = |what| {
        Err(TreeError::Entry {
            name: entry.name.clone(),
            what,
        })
    };
    let Some(kind) = EntryKind::try_from(entry.kind)
        .ok()
        .filter(|kind| *kind != EntryKind::Unspecified)
    else {
        return broken("is of an unknown kind");
    };
    if entry.mode > 0o7777 || entry.flags & !KEPT_INODE_FLAGS != 0 {
        return broken("has mode or flags the format does not know");
    }
    if entry.mtime_ns >= 1_000_000_000 || entry.ctime_ns >= 1_000_000_000 {
        return broken("has an impossible time");
    }
    match &entry.content {
        Some(_) if kind != EntryKind::File => return broken("has content and is not a file"),
        Some(content) if check_content(content, 0)? > entry.size => return broken("has content beyond its size"),
        _ => {}
    }
    match entry.page.len() {
        0 => {}
        ChunkId::LEN if kind == EntryKind::Folder => {}
        _ => return broken("has a page and is not a folder, or has a page without id"),
    }
    if entry.link_target.is_empty() == (kind == EntryKind::Symlink) || entry.link_target.contains(&0) {
        return broken("is a symlink without a target, or has a target and is not a symlink");
    }
    let mut last: &[u8] = b"";
    for xattr in &entry.xattrs {
        if *xattr.name <= *last || xattr.name.contains(&0) {
            return broken("has an attribute out of order, or with an impossible name");
        }
        last = &xattr.name;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
