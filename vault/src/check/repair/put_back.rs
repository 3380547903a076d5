//! Log entries that are lost in the vault, but kept in the cache of this server. They are put back as they were, if the
//! entry behind them still names them. A damaged object in their place is moved aside first.
//!
//! That is done only where an entry stands behind. So no other server can write at the position in between.

use std::collections::BTreeSet;

use bytes::Bytes;
use lockstone_proto::limits::LOG_ENTRY_MAX;

use super::super::{Check, DamageKind};
use super::aside::{Moved, move_aside};
use crate::error::VaultError;
use crate::log::{IDS_MAX, PlainEntry};
use crate::store::names;

impl Check<'_> {
    /// Puts back what can be put back. Returns the other positions.
    pub(super) async fn put_back(&mut self) -> Result<Vec<u64>, VaultError> {
        let lost: BTreeSet<(u64, u64)> = self.lost_positions.iter().copied().collect();
        let mut left = Vec::new();
        // From the last one, because each is known by the one behind it.
        for (first, last) in lost.into_iter().rev() {
            let mut is_whole = true;
            for n in (first..=last).rev().take(IDS_MAX) {
                is_whole &= self.put_entry_back(n).await?;
            }
            if !is_whole {
                left.push(first);
            }
        }
        Ok(left)
    }

    /// Puts one entry back. `false` if that is not possible.
    async fn put_entry_back(&mut self, n: u64) -> Result<bool, VaultError> {
        let (domain, store) = (self.domain.id(), self.domain.store().clone());
        let Some(kept) = self.domain.index().log_get(n)? else {
            return Ok(false);
        };
        let hash = *blake3::hash(&kept).as_bytes();
        let Some(behind) = self.entry(n.saturating_add(1)).await? else {
            return Ok(false);
        };
        if PlainEntry::read(domain, n, &kept, None).is_err() || behind.previous != hash {
            return Ok(false);
        }
        let name = names::log_entry(domain, n);
        match store.get(&name, LOG_ENTRY_MAX).await {
            Ok(there) if there == kept => return Ok(false),
            Err(error) if error.is_not_found() => {}
            Err(error) if !error.is_object_fault() => return Err(error.into()),
            Ok(_) | Err(_) => match move_aside(&store, &name, LOG_ENTRY_MAX).await? {
                Moved::To(to) => self.repaired(&name, DamageKind::Log, format!("what stood there was moved to {to}")),
                Moved::Not(why) => {
                    self.not_repaired(&name, &why);
                    return Ok(false);
                }
            },
        }
        if !store.create_own(&name, kept).await? {
            return Ok(false);
        }
        self.repaired(
            &name,
            DamageKind::Log,
            "it was put back from the cache of this server".to_owned(),
        );
        Ok(true)
    }

    async fn entry(&self, n: u64) -> Result<Option<PlainEntry>, VaultError> {
        let domain = self.domain.id();
        let object: Bytes = match self
            .domain
            .store()
            .get(&names::log_entry(domain, n), LOG_ENTRY_MAX)
            .await
        {
            Ok(object) => object,
            Err(error) if error.is_object_fault() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(PlainEntry::read(domain, n, &object, None).ok())
    }
}
