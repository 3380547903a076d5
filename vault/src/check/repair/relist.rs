//! Packs that no readable segment lists, because a segment or the log entry that named it is lost. Each pack has its
//! own directory, so a new segment can list it again. The directory's seal shows that it is that of the pack.

use futures::StreamExt;
use lockstone_proto::ids::PackId;
use lockstone_proto::vault::{ChunkKind, PackEntry};

use super::super::Check;
use super::Fresh;
use crate::domain::Domain;
use crate::error::VaultError;
use crate::pack::{LENGTH_LEN, PackSeal, read_directory_len};
use crate::store::{Listed, names};

/// How many directories are read at the same time.
const READ_AHEAD: usize = 16;

impl Check<'_> {
    /// Lists again what no readable segment lists. Returns the packs.
    pub(super) async fn relist(&self, fresh: &mut Fresh) -> Result<Vec<PackId>, VaultError> {
        let mut again = Vec::new();
        for first in 0..=u8::MAX {
            if self.is_cancelled() {
                break;
            }
            let mut listing = self.domain.store().list(&names::packs(self.domain.id(), first));
            let mut unlisted = Vec::new();
            while let Some(listed) = listing.next().await {
                let listed = listed?;
                if let Some(id) = self.unlisted_pack(&listed)? {
                    unlisted.push((id, listed.len));
                }
            }
            drop(listing);
            let read = unlisted.into_iter().map(|(id, len)| own_entry(self.domain, id, len));
            let mut read = futures::stream::iter(read).buffer_unordered(READ_AHEAD);
            while let Some(entry) = read.next().await {
                if let Some((id, entry)) = entry? {
                    again.push(id);
                    fresh.list(self.domain, entry).await?;
                }
            }
        }
        Ok(again)
    }

    /// The id of a pack that no readable segment lists and that is not condemned.
    fn unlisted_pack(&self, listed: &Listed) -> Result<Option<PackId>, VaultError> {
        let index = self.domain.index();
        let id = listed.path.rsplit('/').next().and_then(|id| id.parse::<PackId>().ok());
        let Some(id) = id.filter(|id| names::pack(self.domain.id(), id) == listed.path && !index.is_condemned(id))
        else {
            return Ok(None);
        };
        let is_listed = index.pack_number(&id)?.is_some_and(|number| self.listed.has(number));
        Ok((!is_listed).then_some(id))
    }
}

/// How a segment lists the pack, by its own directory. `None` if that cannot be read.
async fn own_entry(domain: &Domain, id: PackId, len: u64) -> Result<Option<(PackId, PackEntry)>, VaultError> {
    let Some(end) = len.checked_sub(LENGTH_LEN as u64) else {
        return Ok(None);
    };
    let name = names::pack(domain.id(), &id);
    let last = match domain.store().get_range(&name, end..len).await {
        Ok(last) => last,
        Err(error) if error.is_object_fault() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let directory_len = <[u8; LENGTH_LEN]>::try_from(last.as_ref()).ok();
    let Some(Ok(directory_len)) = directory_len.map(|last| read_directory_len(last, len)) else {
        return Ok(None);
    };
    let frames_end = end - directory_len as u64;
    let sealed = match domain.store().get_range(&name, frames_end..end).await {
        Ok(sealed) => sealed,
        Err(error) if error.is_object_fault() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // The kind is in the seal, so only the right one opens it.
    Ok([ChunkKind::Data, ChunkKind::Tree].into_iter().find_map(|kind| {
        let seal = PackSeal::for_id(domain.keys(), id, kind);
        let directory = seal.open_directory(&sealed, frames_end).ok()?;
        Some((id, seal.entry(directory, len)))
    }))
}
