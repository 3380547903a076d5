//! Packs that writers must not rely on. A condemned pack will be deleted, or is deleted already: the log says so. A
//! distrusted pack was found damaged or missing by this machine. Writers count neither as known. Readers use them after
//! all other places of a chunk.
//!
//! In the family `packs`: `c` id → the log entry that condemned it, and when it may be deleted (`Condemned`); `d` id →
//! why it is distrusted. Both may be noted before the pack itself is added. Both are in memory as well. Where there are
//! none, a lookup costs one load of an atomic number more.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use lockstone_proto::ids::PackId;
use rocksdb::{DB, Direction, IteratorMode, WriteBatch};

use super::{BATCH_BYTES, CHUNK_COUNT, CHUNKS, Index, META, PACKS, Result, records};

const CONDEMNED: u8 = b'c';
const DISTRUSTED: u8 = b'd';
/// The longest reason that is kept, bytes.
const REASON_MAX: usize = 512;

/// The reason of a distrusted pack that no recovery point needs any more.
pub const NOT_NEEDED: &str = "no recovery point needs it any more";

/// The reason of a pack that a server wrote after its right had ended. What is in it may be right all the same.
pub const BY_ENDED_SERVER: &str = "the server that wrote it had no right to any more";

/// How far a pack can be relied on, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing is known against it.
    Good,
    /// It was found damaged or missing.
    Distrusted,
    /// The log says that it is deleted, or will be.
    Condemned,
}

/// The log entry that condemned a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condemned {
    /// Its position.
    pub n: u64,
    /// When it was written, seconds since the epoch.
    pub time_s: i64,
    /// The time before which the pack is not deleted, as the entry says, seconds since the epoch.
    pub delete_after_s: i64,
}

impl Condemned {
    /// n u64 ‖ time i64 ‖ delete after i64.
    fn encode(self) -> [u8; 24] {
        let mut value = [0; 24];
        value[..8].copy_from_slice(&self.n.to_le_bytes());
        value[8..16].copy_from_slice(&self.time_s.to_le_bytes());
        value[16..].copy_from_slice(&self.delete_after_s.to_le_bytes());
        value
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let (n, rest) = value.split_first_chunk()?;
        let (time_s, rest) = rest.split_first_chunk()?;
        Some(Self {
            n: u64::from_le_bytes(*n),
            time_s: i64::from_le_bytes(*time_s),
            delete_after_s: i64::from_le_bytes(rest.try_into().ok()?),
        })
    }
}

/// The packs that are not good, in memory.
#[derive(Debug, Default)]
pub(super) struct BadPacks {
    /// How many ids are in `known`.
    count: AtomicUsize,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<PackId, Marks>,
    /// The standing of those that the index has, by their numbers.
    by_number: HashMap<u32, Standing>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    condemned: bool,
    distrusted: bool,
    number: Option<u32>,
}

impl Marks {
    fn standing(self) -> Standing {
        if self.condemned {
            Standing::Condemned
        } else if self.distrusted {
            Standing::Distrusted
        } else {
            Standing::Good
        }
    }
}

impl BadPacks {
    /// Reads the notes of a database.
    pub(super) fn read(db: &DB) -> std::result::Result<Self, rocksdb::Error> {
        let bad = Self::default();
        let Some(family) = db.cf_handle(PACKS) else {
            return Ok(bad);
        };
        for prefix in [CONDEMNED, DISTRUSTED] {
            for item in db.iterator_cf(family, IteratorMode::From(&[prefix], Direction::Forward)) {
                let (key, _) = item?;
                let Some(id) = key.strip_prefix(&[prefix]).and_then(|id| PackId::try_from(id).ok()) else {
                    break;
                };
                let number = db.get_cf(family, records::id_key(b'i', id.as_bytes()))?;
                let number = number.and_then(|number| number.try_into().ok()).map(u32::from_le_bytes);
                bad.change(id, |marks| {
                    marks.number = number;
                    marks.condemned |= prefix == CONDEMNED;
                    marks.distrusted |= prefix == DISTRUSTED;
                });
            }
        }
        Ok(bad)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn standing(&self, number: u32) -> Standing {
        if self.is_empty() {
            return Standing::Good;
        }
        self.known().by_number.get(&number).copied().unwrap_or(Standing::Good)
    }

    fn change(&self, id: PackId, change: impl FnOnce(&mut Marks)) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let Known { by_id, by_number } = &mut *known;
        let marks = by_id.entry(id).or_default();
        change(marks);
        let marks = *marks;
        if marks.standing() == Standing::Good {
            by_id.remove(&id);
        }
        if let Some(number) = marks.number {
            match marks.standing() {
                Standing::Good => by_number.remove(&number),
                bad => by_number.insert(number, bad),
            };
        }
        self.count.store(by_id.len(), Ordering::Release);
    }

    /// A pack was added under this number.
    pub(super) fn added(&self, id: PackId, number: u32) {
        if !self.is_empty() && self.known().by_id.contains_key(&id) {
            self.change(id, |marks| marks.number = Some(number));
        }
    }
}

impl Index {
    /// Whether any pack is condemned or distrusted.
    #[must_use]
    pub fn has_bad_packs(&self) -> bool {
        !self.bad.is_empty()
    }

    /// Whether any pack is distrusted.
    #[must_use]
    pub fn has_distrusted(&self) -> bool {
        !self.bad.is_empty() && self.bad.known().by_id.values().any(|marks| marks.distrusted)
    }

    /// How far the pack of that number can be relied on.
    #[must_use]
    pub fn standing(&self, number: u32) -> Standing {
        self.bad.standing(number)
    }

    /// Notes that an entry of the log condemned these packs. It must be noted before the entry is kept (`log_put`).
    pub(crate) fn condemn(&self, packs: &[PackId], by: Condemned) -> Result<()> {
        let notes = packs.iter().map(|id| (*id, by.encode()));
        self.mark(CONDEMNED, notes, |marks| marks.condemned = true)
    }

    /// Notes that these packs are damaged or missing, with the reason in words. From now on no backup counts what is
    /// in them as stored.
    pub fn distrust(&self, packs: &[(PackId, String)]) -> Result<()> {
        let notes = packs.iter().map(|(id, reason)| {
            let mut end = reason.len().min(REASON_MAX);
            while !reason.is_char_boundary(end) {
                end -= 1;
            }
            (*id, &reason.as_bytes()[..end])
        });
        self.mark(DISTRUSTED, notes, |marks| marks.distrusted = true)
    }

    /// Distrusts those of the packs that are not distrusted yet.
    pub fn distrust_new(&self, packs: &[PackId], reason: &str) -> Result<()> {
        let known = self.bad.known();
        let is_new = |id: &&PackId| !known.by_id.get(id).is_some_and(|marks| marks.distrusted);
        let new: Vec<(PackId, String)> = packs.iter().filter(is_new).map(|id| (*id, reason.to_owned())).collect();
        drop(known);
        self.distrust(&new)
    }

    /// Whether that pack is distrusted, and was or may be damaged.
    pub(crate) fn is_suspect(&self, id: &PackId) -> Result<bool> {
        if self.bad.is_empty() || !self.bad.known().by_id.get(id).is_some_and(|marks| marks.distrusted) {
            return Ok(false);
        }
        let reason = self.get(PACKS, &records::id_key(DISTRUSTED, id.as_bytes()))?;
        Ok(reason.is_some_and(|reason| reason.as_ref() != BY_ENDED_SERVER.as_bytes()))
    }

    fn mark<V: AsRef<[u8]>>(
        &self,
        prefix: u8,
        notes: impl Iterator<Item = (PackId, V)>,
        set: impl Fn(&mut Marks),
    ) -> Result<()> {
        // No pack may get its number between the look and the mark.
        let _numbering = self.next_pack.lock().unwrap_or_else(PoisonError::into_inner);
        let family = self.family(PACKS)?;
        let mut batch = WriteBatch::default();
        let mut ids = Vec::new();
        for (id, note) in notes {
            batch.put_cf(family, records::id_key(prefix, id.as_bytes()), note);
            ids.push((id, self.pack_number(&id)?));
        }
        self.write(batch)?;
        for (id, number) in ids {
            self.bad.change(id, |marks| {
                marks.number = number;
                set(marks);
            });
        }
        Ok(())
    }

    /// Trusts these packs again, because they were read whole. Condemned packs stay condemned.
    pub fn trust(&self, packs: &[PackId]) -> Result<()> {
        if self.bad.is_empty() {
            return Ok(());
        }
        let family = self.family(PACKS)?;
        let mut batch = WriteBatch::default();
        for id in packs {
            batch.delete_cf(family, records::id_key(DISTRUSTED, id.as_bytes()));
        }
        self.write(batch)?;
        for id in packs {
            self.bad.change(*id, |marks| marks.distrusted = false);
        }
        Ok(())
    }

    /// The distrusted packs, with the reasons.
    pub fn distrusted(&self) -> Result<Vec<(PackId, String)>> {
        let mut found = Vec::new();
        if self.bad.is_empty() {
            return Ok(found);
        }
        self.scan(PACKS, &[DISTRUSTED], &mut |key, reason| {
            if let Some(id) = key.get(1..).and_then(|id| PackId::try_from(id).ok()) {
                found.push((id, String::from_utf8_lossy(reason).into_owned()));
            }
            true
        })?;
        Ok(found)
    }

    /// The distrusted packs that were found damaged or missing and whose content is not stored again, as far as a check
    /// knows, with the reasons.
    pub fn still_bad(&self) -> Result<Vec<(PackId, String)>> {
        let mut found = self.distrusted()?;
        found.retain(|(_, reason)| reason != NOT_NEEDED && reason != BY_ENDED_SERVER);
        Ok(found)
    }

    /// Whether the log condemned any of these packs: by number, or by id.
    pub(crate) fn has_condemned(&self, numbers: &HashSet<u32>, ids: &[PackId]) -> bool {
        if self.bad.is_empty() {
            return false;
        }
        let known = self.bad.known();
        let by_number = || {
            let bad = known.by_number.iter();
            bad.filter(|(_, standing)| **standing == Standing::Condemned)
                .any(|(number, _)| numbers.contains(number))
        };
        by_number()
            || ids
                .iter()
                .any(|id| known.by_id.get(id).is_some_and(|marks| marks.condemned))
    }

    /// Calls `each` with the condemned packs in order of their ids, until it returns `false`.
    pub(crate) fn condemned(&self, each: &mut dyn FnMut(PackId, Condemned) -> bool) -> Result<()> {
        if self.bad.is_empty() {
            return Ok(());
        }
        self.scan(PACKS, &[CONDEMNED], &mut |key, note| {
            let id = key.get(1..).and_then(|id| PackId::try_from(id).ok());
            match (id, Condemned::decode(note)) {
                (Some(id), Some(by)) => each(id, by),
                _ => true,
            }
        })
    }

    /// What the entries of the log at these positions said of packs does not count any more: the entries are lost.
    pub(crate) fn uncondemn(&self, positions: &[u64]) -> Result<()> {
        let mut back = Vec::new();
        self.condemned(&mut |id, by| {
            if positions.contains(&by.n) {
                back.push(id);
            }
            true
        })?;
        let family = self.family(PACKS)?;
        let mut batch = WriteBatch::default();
        for id in &back {
            batch.delete_cf(family, records::id_key(CONDEMNED, id.as_bytes()));
        }
        self.write(batch)?;
        for id in back {
            self.bad.change(id, |marks| marks.condemned = false);
        }
        Ok(())
    }

    /// Takes the chunks of packs out of the index that entries up to `n` condemned, except of those that are still
    /// `there`. What is known of the packs themselves stays. One pass over all chunks.
    pub(crate) fn forget_condemned(&self, there: &HashSet<PackId>, n: u64) -> Result<()> {
        let mut gone = Vec::new();
        self.condemned(&mut |id, by| {
            if by.n <= n && !there.contains(&id) {
                gone.push(id);
            }
            true
        })?;
        // Places that are added meanwhile must not be lost.
        let _numbering = self.next_pack.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that an earlier call took out have no number under their id any more.
        let mut listed = HashMap::new();
        for id in gone {
            if let Some(number) = self.pack_number(&id)? {
                listed.insert(number, id);
            }
        }
        if listed.is_empty() {
            return Ok(());
        }
        self.drop_places(&listed)?;
        let family = self.family(PACKS)?;
        let mut batch = WriteBatch::default();
        for (number, id) in &listed {
            batch.delete_cf(family, records::id_key(b'i', id.as_bytes()));
            batch.delete_range_cf(
                family,
                records::member_key(*number, 0),
                records::member_key(*number, u32::MAX),
            );
        }
        self.write(batch)
    }

    fn drop_places(&self, packs: &HashMap<u32, PackId>) -> Result<()> {
        let (family, meta) = (self.family(CHUNKS)?, self.family(META)?);
        let mut batch = WriteBatch::default();
        let (mut failed, mut dropped) = (None, 0);
        self.scan(CHUNKS, b"", &mut |id, value| {
            let Some(kept) = records::places_without(value, &|pack| packs.contains_key(&pack)) else {
                return true;
            };
            dropped += (value.len() - kept.len()) / records::PLACE_LEN;
            if kept.is_empty() {
                batch.delete_cf(family, id);
            } else {
                batch.put_cf(family, id, kept);
            }
            if batch.size_in_bytes() >= BATCH_BYTES {
                failed = self.write(std::mem::take(&mut batch)).err();
            }
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let left = self.chunks.load(Ordering::Relaxed).saturating_sub(dropped as u64);
        batch.put_cf(meta, CHUNK_COUNT, left.to_le_bytes());
        self.write(batch)?;
        self.chunks.store(left, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the log condemned that pack.
    #[must_use]
    pub fn is_condemned(&self, id: &PackId) -> bool {
        !self.bad.is_empty() && self.bad.known().by_id.get(id).is_some_and(|marks| marks.condemned)
    }
}
