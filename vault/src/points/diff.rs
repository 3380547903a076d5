//! The differences between two trees. Pages with equal ids are not read, so the cost depends on the size of the
//! difference.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use lockstone_proto::ids::ChunkId;
use lockstone_proto::limits::TREE_MAX_DEPTH;
use lockstone_proto::vault::{Entry, EntryKind};

use super::{FolderCursor, PageSource, Peek, folder_page};
use crate::damage::DamageKind;
use crate::error::VaultError;

/// A pair of folders frees its pages while the comparison is more than this many folders below it.
const OPEN_MAX: usize = 8;

/// How an entry differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Only in the second tree.
    Added,
    /// Only in the first tree.
    Removed,
    /// Its content, link target, device number or kind differs.
    Modified,
    /// The content is the same, but owner, mode, times, extended attributes or flags differ.
    Metadata,
}

/// Called for each difference with the path, the kind of change, and the entry in the first and in the second tree.
pub type OnChange<'a> = dyn FnMut(&[u8], Change, Option<&Entry>, Option<&Entry>) -> ControlFlow<()> + Send + 'a;

/// One side of a comparison: where its tree chunks come from, and its root.
pub type Side<'a> = (&'a dyn PageSource, Option<ChunkId>);

struct Pair<'a> {
    first: FolderCursor<'a>,
    second: FolderCursor<'a>,
    path_len: usize,
}

impl<'a> Pair<'a> {
    fn new(first: Side<'a>, second: Side<'a>, path_len: usize) -> Self {
        let (first, second) = (
            FolderCursor::new(first.0, first.1),
            FolderCursor::new(second.0, second.1),
        );
        Self {
            first,
            second,
            path_len,
        }
    }
}

/// What is next on the two sides.
enum Next {
    SkipBoth,
    Expand {
        first: bool,
        second: bool,
    },
    Compare {
        first: Option<Box<Entry>>,
        second: Option<Box<Entry>>,
    },
    Done,
}

/// Calls `each` for every difference until it breaks: in byte order of names, folders before their content. The content
/// of added and removed folders is reported, too. Fields that only serve to detect changes (ctime, inode, device,
/// links) are not compared.
pub async fn diff(first: Side<'_>, second: Side<'_>, each: &mut OnChange<'_>) -> Result<(), VaultError> {
    if first.1 == second.1 {
        return Ok(());
    }
    let mut path = Vec::new();
    let mut open = vec![Pair::new(first, second, 0)];
    while let Some(pair) = open.last_mut() {
        path.truncate(pair.path_len);
        pair.first.ready().await?;
        pair.second.ready().await?;
        let (a, b) = match decide(pair.first.peek(), pair.second.peek()) {
            Next::Done => {
                open.pop();
                continue;
            }
            Next::SkipBoth => {
                pair.first.skip();
                pair.second.skip();
                continue;
            }
            Next::Expand { first, second } => {
                if first {
                    pair.first.expand().await?;
                }
                if second {
                    pair.second.expand().await?;
                }
                continue;
            }
            Next::Compare { first, second } => (first, second),
        };
        if a.is_some() {
            pair.first.skip();
        }
        if b.is_some() {
            pair.second.skip();
        }
        let Some(name) = a.as_ref().or(b.as_ref()).map(|entry| &entry.name) else {
            continue;
        };
        path.push(b'/');
        path.extend_from_slice(name);
        let change = match (&a, &b) {
            (Some(a), Some(b)) => change(a, b),
            (Some(_), None) => Some(Change::Removed),
            (None, _) => Some(Change::Added),
        };
        if let Some(change) = change
            && each(&path, change, a.as_deref(), b.as_deref()).is_break()
        {
            return Ok(());
        }
        let below = (a.as_deref().and_then(folder_page), b.as_deref().and_then(folder_page));
        if below.0 != below.1 {
            if open.len() >= TREE_MAX_DEPTH {
                let page = below.0.or(below.1).map(|page| page.hex()).unwrap_or_default();
                return Err(VaultError::damaged(
                    DamageKind::Page,
                    page,
                    "it is deeper than the format allows",
                ));
            }
            open.push(Pair::new((first.0, below.0), (second.0, below.1), path.len()));
            if let Some(far) = open.len().checked_sub(OPEN_MAX + 1) {
                open[far].first.park();
                open[far].second.park();
            }
        }
    }
    Ok(())
}

fn decide(first: Peek<'_>, second: Peek<'_>) -> Next {
    let own = |entry: &Entry| Some(Box::new(entry.clone()));
    match (first, second) {
        (Peek::End, Peek::End) => Next::Done,
        (Peek::Page { id: a, .. }, Peek::Page { id: b, .. }) if a == b => Next::SkipBoth,
        // The higher of two pages is opened, so that equal pages below it can still be found.
        (Peek::Page { level: a, .. }, Peek::Page { level: b, .. }) => {
            // Top pages, whose level is not known yet, count as the highest.
            let height = |level: Option<u32>| level.unwrap_or(u32::MAX);
            Next::Expand {
                first: height(a) >= height(b),
                second: height(b) >= height(a),
            }
        }
        (Peek::Page { first: name, .. }, Peek::Entry(entry)) if entry.name < *name => Next::Compare {
            first: None,
            second: own(entry),
        },
        (Peek::Entry(entry), Peek::Page { first: name, .. }) if entry.name < *name => Next::Compare {
            first: own(entry),
            second: None,
        },
        (Peek::Page { .. }, _) => Next::Expand {
            first: true,
            second: false,
        },
        (_, Peek::Page { .. }) => Next::Expand {
            first: false,
            second: true,
        },
        (Peek::Entry(a), Peek::End) => Next::Compare {
            first: own(a),
            second: None,
        },
        (Peek::End, Peek::Entry(b)) => Next::Compare {
            first: None,
            second: own(b),
        },
        (Peek::Entry(a), Peek::Entry(b)) => match a.name.cmp(&b.name) {
            Ordering::Less => Next::Compare {
                first: own(a),
                second: None,
            },
            Ordering::Greater => Next::Compare {
                first: None,
                second: own(b),
            },
            Ordering::Equal => Next::Compare {
                first: own(a),
                second: own(b),
            },
        },
    }
}

/// How an entry differs from what it was. What is in a folder is not compared.
pub(super) fn change(a: &Entry, b: &Entry) -> Option<Change> {
    let content_differs = a.kind != b.kind
        || a.content != b.content
        || a.size != b.size
        || a.link_target != b.link_target
        || (a.rdev_major, a.rdev_minor) != (b.rdev_major, b.rdev_minor);
    if content_differs {
        return Some(Change::Modified);
    }
    // The content of folders is compared elsewhere, and fields that only serve to detect changes are not compared.
    let bare = |entry: &Entry| Entry {
        content: None,
        page: bytes::Bytes::new(),
        ctime_s: 0,
        ctime_ns: 0,
        inode: 0,
        device: 0,
        links: 0,
        unsettled: false,
        ..entry.clone()
    };
    debug_assert!(a.kind() != EntryKind::Folder || a.content.is_none());
    (bare(a) != bare(b)).then_some(Change::Metadata)
}
