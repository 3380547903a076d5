//! Segments and the content of packs. Which packs are read, and what follows from what was found in them.

use std::sync::Arc;

use futures::StreamExt;
use lockstone_proto::ids::{PackId, SegmentId};
use lockstone_proto::limits::SEGMENT_MAX;
use lockstone_proto::vault::{ChunkKind, PackEntry};

use super::pack::{Lost, PackJob, PackOutcome, check_pack};
use super::{Check, Damage, DamageKind};
use crate::domain::accounted_for;
use crate::error::VaultError;
use crate::pack::segment::decode_segment;
use crate::store::names;

impl Check<'_> {
    /// Checks that every segment opens and, as far as requested, that the packs it lists have the right content.
    pub(super) async fn segments(&mut self, segments: &[SegmentId]) -> Result<(), VaultError> {
        for (at, id) in segments.iter().enumerate() {
            if self.is_cancelled() {
                return Ok(());
            }
            let what = if self.options.reads_data() { "data" } else { "segments" };
            if self.options.reads_data() {
                self.progress(what, self.report.packs_read, self.report.packs_to_read);
            } else {
                self.progress(what, at as u64, segments.len() as u64);
            }
            let name = names::segment(self.domain.id(), id);
            let object = match self.domain.store().get(&name, SEGMENT_MAX).await {
                Ok(object) => object,
                Err(error) if error.is_object_fault() => {
                    self.unreadable_segment(*id, Damage::new(DamageKind::Segment, name, error));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let segment = match decode_segment(self.domain.keys(), *id, &object) {
                Ok(segment) => segment,
                Err(why) => {
                    self.unreadable_segment(*id, Damage::new(DamageKind::Segment, name, why));
                    continue;
                }
            };
            drop(object);
            let mut jobs = Vec::new();
            for entry in segment.packs {
                jobs.extend(self.job(entry)?);
            }
            self.read_packs(what, jobs).await?;
        }
        self.unlisted_packs().await
    }

    /// Reports a segment that cannot be read, unless an earlier repair accounts for it.
    fn unreadable_segment(&mut self, id: SegmentId, damage: Damage) {
        self.lost_segments.push(id);
        if self.repairs.is_lost_segment(&id) {
            self.report.harmless.push(accounted_for(&damage));
        } else {
            self.damage(damage);
        }
    }

    /// Checks packs of unreadable segments that the cache still knows, with the directories in the packs.
    async fn unlisted_packs(&mut self) -> Result<(), VaultError> {
        for first in 0..=u8::MAX {
            let mut known = Vec::new();
            self.domain.index().packs_beginning(first, &mut |id, number| {
                known.push((id, number));
                true
            })?;
            let mut jobs = Vec::new();
            for (id, number) in known {
                if !self.is_wanted(&id, number)? {
                    continue;
                }
                let Some(pack) = self.domain.index().pack(number)? else {
                    continue;
                };
                self.seen.add(number);
                jobs.push(PackJob {
                    number,
                    id,
                    kind: pack.kind,
                    len: pack.len,
                    directory: None,
                });
            }
            self.read_packs("data", jobs).await?;
        }
        Ok(())
    }

    /// Notes that a segment lists the pack. Returns what has to be read of it, if it has to be read.
    fn job(&mut self, entry: PackEntry) -> Result<Option<PackJob>, VaultError> {
        let Ok(id) = PackId::try_from(entry.pack_id.as_ref()) else {
            return Ok(None);
        };
        let Some(number) = self.domain.index().pack_number(&id)? else {
            return Ok(None);
        };
        self.listed.add(number);
        if !self.is_wanted(&id, number)? {
            return Ok(None);
        }
        self.seen.add(number);
        let kind: ChunkKind = entry.kind();
        Ok(Some(PackJob {
            number,
            id,
            kind,
            len: entry.len,
            directory: entry.directory,
        }))
    }

    /// Whether the pack has to be read: only once, and only if it was chosen, has a wrong length, or was found damaged
    /// before. Condemned packs are not read: nothing relies on them.
    pub(super) fn is_wanted(&self, id: &PackId, number: u32) -> Result<bool, VaultError> {
        let index = self.domain.index();
        if self.seen.has(number) || index.is_condemned(id) {
            return Ok(false);
        }
        let is_short = matches!(self.lost.get(&number), Some(Lost::Unknown));
        Ok(is_short || index.is_suspect(id)? || self.choice.has(id, number, index)?)
    }

    async fn read_packs(&mut self, what: &'static str, jobs: Vec<PackJob>) -> Result<(), VaultError> {
        let (keys, store, spawn) = (Arc::clone(self.domain.keys()), self.domain.store().clone(), self.spawn);
        let cancelled = self.cancelled;
        let works = jobs.into_iter().take_while(|_| !cancelled()).map(|job| {
            let work = check_pack(Arc::clone(&keys), store.clone(), job);
            spawn.spawn(Box::pin(work))
        });
        let mut outcomes = futures::stream::iter(works).buffer_unordered(self.options.workers.max(1));
        while let Some(outcome) = outcomes.next().await {
            self.outcome(outcome).await?;
            self.progress(what, self.report.packs_read, self.report.packs_to_read);
        }
        Ok(())
    }

    async fn outcome(&mut self, outcome: PackOutcome) -> Result<(), VaultError> {
        self.report.packs_read += 1;
        self.report.bytes_read += outcome.bytes_read;
        if let Some(error) = outcome.error {
            return Err(error);
        }
        self.domain
            .index()
            .note_read(&outcome.id, self.options.now, self.choice.round())?;
        let Some(reason) = outcome.damage else {
            self.lost.remove(&outcome.number);
            if self.repairs.word(&outcome.id).is_some() {
                self.whole.push(outcome.id);
            }
            return Ok(self.domain.index().trust(&[outcome.id])?);
        };
        self.distrust(&outcome.id, &reason)?;
        let name = names::pack(self.domain.id(), &outcome.id);
        let known = self.damage(Damage::new(DamageKind::Pack, name, &reason));
        if known.reason != reason {
            known.reason = reason;
        }
        self.lost.insert(outcome.number, outcome.lost.clone());
        self.save(outcome.number, &outcome.id, outcome.directory, &outcome.lost)
            .await
    }
}
