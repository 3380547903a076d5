//! Decoded packs in memory. The number is bounded, and packs that were used lately stay.

use std::collections::HashMap;
use std::sync::Arc;

use super::places::PackInfo;

/// At most this many packs are kept in each of the two generations.
const PACKS_KEPT: usize = 512;

/// Two generations of decoded packs. A pack that is used moves to the young one; the old one is dropped when the young
/// one is full.
#[derive(Default)]
pub(super) struct PackCache {
    young: HashMap<u32, Arc<PackInfo>>,
    old: HashMap<u32, Arc<PackInfo>>,
}

impl PackCache {
    pub(super) fn get(&mut self, number: u32) -> Option<Arc<PackInfo>> {
        if let Some(pack) = self.young.get(&number) {
            return Some(Arc::clone(pack));
        }
        let pack = self.old.remove(&number)?;
        self.put(number, Arc::clone(&pack));
        Some(pack)
    }

    pub(super) fn put(&mut self, number: u32, pack: Arc<PackInfo>) {
        if self.young.len() >= PACKS_KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(number, pack);
    }
}
