//! Files of a recovery point, chosen at random: from the root downwards, each time one entry of a folder by lot. Only
//! the pages on the way are read, so it costs little in any tree. Files in small folders are chosen more often.

use std::collections::BTreeSet;

use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{Entry, EntryKind};
use lockstone_vault::domain::Domain;
use lockstone_vault::points::{PageSource as _, folder_page};

use crate::agent::ids::random;
use crate::failure::Failure;

/// So many ways downwards are tried for each file.
const TRIES: usize = 20;
/// No larger file is chosen: a trial must not fill a disk.
const LARGEST: u64 = 1 << 30;

/// A file that was chosen.
pub(super) struct Chosen {
    /// Its absolute path in the point.
    pub(super) path: Vec<u8>,
    pub(super) entry: Entry,
}

/// At most so many files, each once.
pub(super) async fn sample(domain: &Domain, root: Option<ChunkId>, files: usize) -> Result<Vec<Chosen>, Failure> {
    let (mut chosen, mut seen) = (Vec::new(), BTreeSet::new());
    let Some(root) = root else { return Ok(chosen) };
    for _ in 0..files.saturating_mul(TRIES) {
        if chosen.len() == files {
            break;
        }
        if let Some(found) = descend(domain, root).await?
            && seen.insert(found.path.clone())
        {
            chosen.push(found);
        }
    }
    Ok(chosen)
}

/// One way downwards. `None` if it ended at something that is no file.
async fn descend(domain: &Domain, root: ChunkId) -> Result<Option<Chosen>, Failure> {
    let (mut page, mut path) = (root, Vec::new());
    loop {
        let mut read = domain.page(&page).await?;
        if let Some(child) = pick(&mut read.children)? {
            match ChunkId::try_from(child.id.as_ref()) {
                Ok(id) => page = id,
                Err(_) => return Ok(None),
            }
            continue;
        }
        let Some(entry) = pick(&mut read.entries)? else {
            return Ok(None);
        };
        path.push(b'/');
        path.extend_from_slice(&entry.name);
        match folder_page(&entry) {
            Some(below) => page = below,
            None if entry.kind() == EntryKind::File && entry.size <= LARGEST => {
                return Ok(Some(Chosen { path, entry }));
            }
            None => return Ok(None),
        }
    }
}

/// One of them by lot.
fn pick<T>(all: &mut Vec<T>) -> Result<Option<T>, Failure> {
    if all.is_empty() {
        return Ok(None);
    }
    let number = u64::from_le_bytes(random()?) % all.len() as u64;
    Ok(Some(all.swap_remove(usize::try_from(number).unwrap_or_default())))
}
