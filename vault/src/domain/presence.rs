//! Whether the packs that the index knows, and the entries that the cache has, are still in the vault. A check asks
//! that of every vault. A backup asks it only if entries of the log are lost: one of them may have condemned packs.

use std::collections::HashMap;

use futures::StreamExt;
use lockstone_proto::ids::PackId;
use lockstone_proto::limits::LOG_ENTRY_MAX;

use super::Domain;
use crate::error::VaultError;
use crate::store::names;

impl Domain {
    /// Whether an entry is in the vault as it is in the cache.
    pub(crate) async fn has_entry(&self, n: u64) -> Result<bool, VaultError> {
        let Some(kept) = self.index.log_get(n)? else {
            return Ok(false);
        };
        match self.store().get(&names::log_entry(self.id, n), LOG_ENTRY_MAX).await {
            Ok(object) => Ok(object == kept),
            Err(error) if error.is_object_fault() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The packs that the index knows whose ids begin with `first`: id, number, and length in the vault, or `None` if
    /// it is not there.
    pub(crate) async fn packs_there(&self, first: u8) -> Result<Vec<(PackId, u32, Option<u64>)>, VaultError> {
        let mut known = Vec::new();
        self.index.packs_beginning(first, &mut |id, number| {
            known.push((id, number));
            true
        })?;
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let mut there: HashMap<String, u64> = HashMap::new();
        let mut listing = self.store().list(&names::packs(self.id, first));
        while let Some(listed) = listing.next().await {
            let listed = listed?;
            there.insert(listed.path, listed.len);
        }
        drop(listing);
        let mut found = Vec::with_capacity(known.len());
        for (id, number) in known {
            let name = names::pack(self.id, &id);
            let len = match there.get(&name) {
                Some(len) => Some(*len),
                // A listing may be old, so the object itself is asked for.
                None => match self.store().head(&name).await {
                    Err(error) if error.is_object_fault() => None,
                    found => found?,
                },
            };
            found.push((id, number, len));
        }
        Ok(found)
    }

    /// Distrusts every pack that is not in the vault, so that no backup relies on it. Returns how many there are.
    pub async fn distrust_missing(&self) -> Result<usize, VaultError> {
        let mut count = 0;
        for first in 0..=u8::MAX {
            let there = self.packs_there(first).await?.into_iter();
            let missing: Vec<_> = there
                .filter(|(id, _, len)| len.is_none() && !self.index.is_condemned(id))
                .map(|(id, ..)| (id, "it is missing".to_owned()))
                .collect();
            count += missing.len();
            self.index.distrust(&missing)?;
        }
        Ok(count)
    }
}
