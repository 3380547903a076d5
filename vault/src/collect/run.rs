//! One collection, step by step.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use lockstone_proto::ids::{ChunkId, PackId, PointId};
use lockstone_proto::vault::{CondemnBody, PackEntry};

use super::plan::{GATHER, Limits, PackFacts, Plan, SMALL, plan};
use super::rest::Rest;
use super::sweep::{Found, Listing, list};
use super::walk::{Spawn, Walker};
use super::{Cancelled, CollectOptions, CollectProgress, CollectReport, OnProgress};
use crate::domain::Domain;
use crate::error::VaultError;
use crate::index::Standing;
use crate::log::{Body, IDS_MAX, LogHead, LogView, Point};

/// How the caller follows a collection.
pub(super) struct Callbacks<'a> {
    pub(super) progress: &'a OnProgress<'a>,
    pub(super) cancelled: &'a Cancelled<'a>,
}

/// A collection that runs.
pub(super) struct Run<'a> {
    pub(super) domain: &'a Arc<Domain>,
    pub(super) options: &'a CollectOptions,
    pub(super) callbacks: Callbacks<'a>,
    pub(super) walker: Walker<'a>,
    /// How many chunks are in no pack although the log was read to its end.
    known_lost: u64,
    /// The time, bounded by the store's clock.
    pub(super) now: Timestamp,
    /// How many packs the index knew when marking began. Those that came later are not judged: a chunk that was not
    /// found when it was looked up may be in one of them.
    packs_known: u32,
    /// The entry up to which the log was read before the packs were listed.
    pub(super) listed_at: u64,
    /// The entry up to which the points are marked.
    pub(super) head: LogHead,
    /// The points whose needs are marked.
    roots: HashSet<PointId>,
    /// The points that will be gone.
    pub(super) gone: HashSet<PointId>,
    /// Whether a deleted point lost a part of its tree, so that not everything below it is marked.
    is_partial: bool,
    /// What this collection condemned.
    pub(super) condemned: Vec<Found>,
    pub(super) report: CollectReport,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        domain: &'a Arc<Domain>,
        options: &'a CollectOptions,
        spawn: &'a dyn Spawn,
        callbacks: Callbacks<'a>,
    ) -> Self {
        let store_time = domain.vault().store_time(options.now);
        Self {
            domain,
            options,
            callbacks,
            walker: Walker::new(domain, spawn, options.workers),
            known_lost: 0,
            now: store_time.map_or(options.now, |store| store.min(options.now)),
            packs_known: 0,
            listed_at: 0,
            head: LogHead::START,
            roots: HashSet::new(),
            gone: HashSet::new(),
            is_partial: false,
            condemned: Vec::new(),
            report: CollectReport::default(),
        }
    }

    pub(super) async fn all(mut self) -> Result<CollectReport, VaultError> {
        self.progress("log", 0, 0);
        let view = self.domain.refresh().await?;
        self.domain.refuse_if_set_back().await?;
        refuse_damaged(&view)?;
        self.domain.verify_foreign().await?;
        self.gone = self.over(&view);
        self.listed_at = view.head.n;
        self.progress("packs", 0, 0);
        let old = self.now.checked_sub(self.options.grace).unwrap_or(Timestamp::MIN);
        let mut listing = list(self.domain, old).await?;
        self.believe(&mut listing, &view)?;
        if self.options.dry_run || !self.is_at_rest(&listing, &view).await? {
            let (plan, spared) = self.condemn(&listing).await?;
            if !self.is_cancelled() && !self.options.dry_run {
                self.repack(&plan).await?;
            }
            if self.options.dry_run {
                self.foresee(&plan, &listing);
                self.count_alone(&view).await?;
            } else if !self.is_cancelled() && spared == 0 {
                self.rest()?.write(self.domain)?;
            }
        }
        self.delete(&listing).await?;
        self.sum_up(&listing)?;
        self.report.cancelled = self.is_cancelled();
        Ok(self.report)
    }

    pub(super) fn progress(&self, what: &'static str, done: u64, total: u64) {
        (self.callbacks.progress)(CollectProgress {
            what,
            done,
            total,
            bytes_moved: self.report.bytes_written,
            bytes_freed: self.report.bytes_freed,
        });
    }

    pub(super) fn is_cancelled(&self) -> bool {
        (self.callbacks.cancelled)()
    }

    /// The deleted points that can no longer be brought back, once this collection says so.
    fn over(&self, view: &LogView) -> HashSet<PointId> {
        let days = self.domain.vault().descriptor().soft_delete_days;
        let window = i64::from(days) * 86_400;
        let is_over = |point: &&Point| {
            let forgotten = point.forgotten;
            forgotten.is_some_and(|at| at.saturating_add(window) <= self.now.as_second())
        };
        view.points.iter().filter(is_over).map(|point| point.id).collect()
    }

    /// Takes what is missing out of the index's good packs, and leaves orphans alone if they cannot be told.
    fn believe(&mut self, listing: &mut Listing, view: &LogView) -> Result<(), VaultError> {
        let mut missing = Vec::new();
        for number in &listing.missing {
            if let Some(pack) = self.domain.index().pack(*number)? {
                missing.push((pack.id, "it is missing".to_owned()));
            }
        }
        if !missing.is_empty() {
            self.domain.index().distrust(&missing)?;
            let count = missing.len();
            self.warn(format!(
                "{count} packs are missing from the vault: run `lockstone check` to see what that costs"
            ));
        }
        let orphans = listing.orphans.len();
        let lists_all = view
            .damage
            .iter()
            .all(|damage| damage.kind != crate::damage::DamageKind::Segment);
        if orphans > 0 && !(lists_all && listing.is_plausible() && view.head.n > 0) {
            listing.orphans.clear();
            self.warn(format!(
                "{orphans} of {} packs are listed by nothing that can be read, which is more than backups leave \
                 behind: they stay; run `lockstone check`",
                listing.packs
            ));
        }
        Ok(())
    }

    pub(super) fn warn(&mut self, warning: String) {
        tracing::warn!(warning, "collecting");
        self.report.warnings.push(warning);
    }

    /// Whether nothing can have become free since the last collection, as it noted.
    async fn is_at_rest(&self, listing: &Listing, view: &LogView) -> Result<bool, VaultError> {
        let Some(rest) = Rest::read(self.domain)? else {
            return Ok(false);
        };
        let is_changed = !self.gone.is_empty()
            || !listing.orphans.is_empty()
            || rest.repack_below != self.options.repack_below
            || rest.distrusted != self.distrusted()?
            || rest.roots.iter().any(|root| view.point(root).is_none());
        if is_changed || self.has_given_up().await? {
            return Ok(false);
        }
        let mut small = BTreeMap::new();
        for number in rest.packs..self.domain.index().packs_numbered() {
            if let Some(pack) = self.domain.index().pack(number)?
                && pack.len < self.options.pack_target / SMALL
            {
                *small.entry(pack.kind as i32).or_insert(0) += 1;
            }
        }
        Ok(small.values().all(|count| *count < GATHER))
    }

    /// Whether there are packs of interrupted backups that are not kept any longer.
    async fn has_given_up(&self) -> Result<bool, VaultError> {
        let spared = self.unfinished().await?;
        for segment in self.domain.uncommitted(Timestamp::MIN).await {
            let packs = self.domain.packs_of_segment(&segment).await?.unwrap_or_default();
            let stays = |pack: &PackId| spared.contains(pack) || self.domain.index().is_condemned(pack);
            if !packs.iter().all(stays) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn distrusted(&self) -> Result<u32, VaultError> {
        Ok(u32::try_from(self.domain.index().distrusted()?.len()).unwrap_or(u32::MAX))
    }

    fn rest(&self) -> Result<Rest, VaultError> {
        Ok(Rest {
            repack_below: self.options.repack_below,
            packs: self.domain.index().packs_numbered(),
            distrusted: self.distrusted()?,
            roots: self.roots.clone(),
        })
    }

    /// Marks what points need that are not marked yet, of the log as it was last read.
    pub(super) async fn mark_new(&mut self) -> Result<(), VaultError> {
        while !self.mark_points().await? {}
        Ok(())
    }

    /// The same once. `false` if all of it has to be done again, because the log has grown.
    async fn mark_points(&mut self) -> Result<bool, VaultError> {
        let view = self.domain.view();
        refuse_damaged(&view)?;
        // A point may have been brought back meanwhile, and deleted again.
        let over = self.over(&view);
        self.gone.retain(|id| over.contains(id));
        if self.walker.is_overtaken() {
            self.begin_anew();
        }
        if self.packs_known == 0 {
            self.packs_known = self.domain.index().packs_numbered();
        }
        let is_new = |point: &&Point| !self.gone.contains(&point.id) && !self.roots.contains(&point.id);
        let mut new: Vec<(PointId, Option<ChunkId>, bool)> = view
            .points
            .iter()
            .filter(is_new)
            .map(|point| (point.id, point.root(), point.forgotten.is_some()))
            .collect();
        // What only a deleted point lost does not keep the others from being collected.
        new.sort_by_key(|(_, _, is_forgotten)| *is_forgotten);
        if self.is_partial && new.iter().any(|(_, _, is_forgotten)| !is_forgotten) {
            // A new point may need what was lost and is passed over now. A new attempt looks at it first.
            return Err(VaultError::LostRace { n: view.head.n });
        }
        let total = new.len() as u64;
        for (done, (id, root, is_forgotten)) in (0..).zip(new) {
            self.progress("points", done, total);
            if let Some(root) = root {
                self.walker.mark(root, self.callbacks.cancelled).await?;
            }
            if self.is_cancelled() {
                return Ok(true);
            }
            if self.is_behind(&view).await? {
                return Ok(false);
            }
            self.check_damage(&id, is_forgotten)?;
            self.roots.insert(id);
        }
        if self.walker.only_condemned > 0 {
            let count = self.walker.only_condemned;
            return Err(VaultError::NotCollected(format!(
                "{count} chunks that recovery points need are only in packs that were condemned"
            )));
        }
        self.head = view.head;
        Ok(true)
    }

    fn begin_anew(&mut self) {
        self.walker.begin_anew();
        self.roots.clear();
        self.is_partial = false;
        self.known_lost = 0;
        self.packs_known = 0;
    }

    /// Whether something was not found that the log explains by now: another job has read that a point is gone, or that
    /// packs were replaced. Then the marks are worth nothing, and no entry can be written behind `view`.
    async fn is_behind(&mut self, view: &LogView) -> Result<bool, VaultError> {
        let lost = self.walker.lost;
        let lacks_something =
            !self.walker.damaged.is_empty() || self.walker.only_condemned > 0 || lost > self.known_lost;
        if !lacks_something {
            return Ok(false);
        }
        if self.domain.refresh().await?.head == view.head {
            self.known_lost = lost;
            return Ok(false);
        }
        self.begin_anew();
        Ok(true)
    }

    /// A page that a point needs and that cannot be read ends the collection, unless the point is deleted.
    fn check_damage(&mut self, id: &PointId, is_forgotten: bool) -> Result<(), VaultError> {
        let Some(first) = self.walker.damaged.first() else {
            return Ok(());
        };
        if !is_forgotten {
            return Err(VaultError::NotCollected(format!(
                "recovery point {id} lost a part of its tree, so it is not known what it needs: {first}"
            )));
        }
        let warning =
            format!("the deleted recovery point {id} lost a part of its tree, and what is below it is not kept");
        self.walker.damaged.clear();
        self.is_partial = true;
        self.warn(warning);
        Ok(())
    }

    /// Condemns what nothing needs, and names the points that are gone. Returns what is left to do, and how many packs
    /// of unfinished backups are kept although no point needs them.
    async fn condemn(&mut self, listing: &Listing) -> Result<(Plan, u64), VaultError> {
        let limits = Limits {
            repack_below: self.options.repack_below,
            pack_target: self.options.pack_target,
        };
        loop {
            self.mark_new().await?;
            if self.is_cancelled() {
                return Ok((Plan::default(), 0));
            }
            let facts = self.facts().await?;
            let spared = facts.iter().filter(|pack| pack.spared && pack.live == 0).count() as u64;
            self.report.packs_spared = spared;
            let plan = plan(&facts, &limits);
            let mut dead = Vec::new();
            for number in plan.dead.iter().take(IDS_MAX) {
                let pack = self.domain.pack(*number)?;
                dead.push(Found {
                    id: pack.id,
                    len: pack.len,
                });
            }
            let mut orphans = Vec::new();
            for orphan in &listing.orphans {
                // A segment may list it by now, or an entry before this one may have condemned it.
                let index = self.domain.index();
                if index.pack_number(&orphan.id)?.is_none() && !index.is_condemned(&orphan.id) {
                    orphans.push(*orphan);
                }
            }
            orphans.truncate(IDS_MAX - dead.len());
            if self.options.dry_run || (dead.is_empty() && orphans.is_empty() && self.gone.is_empty()) {
                self.warn_of_lost();
                return Ok((plan, spared));
            }
            self.progress("condemn", 0, (dead.len() + orphans.len()) as u64);
            let count = orphans.len() as u64;
            dead.extend(orphans);
            let gone: Vec<PointId> = self.gone.iter().copied().take(IDS_MAX).collect();
            let body = CondemnBody {
                pack_ids: bytes_of(&dead),
                delete_after_s: self.delete_after_s(),
            };
            let body = Body::Condemn(gone.clone(), body);
            if self.append(&body, &[]).await? {
                self.report.points_gone += gone.len() as u64;
                self.report.packs_condemned += dead.len() as u64;
                self.report.orphans += count;
                self.gone.retain(|id| !gone.contains(id));
                self.condemned.extend(dead);
            }
        }
    }

    fn warn_of_lost(&mut self) {
        if self.walker.lost > 0 {
            let lost = self.walker.lost;
            self.warn(format!(
                "{lost} chunks that recovery points need are in no pack that can be relied on: run `lockstone check`"
            ));
        }
    }

    pub(super) fn delete_after_s(&self) -> i64 {
        self.now.as_second().saturating_add(self.options.grace.as_secs())
    }

    /// Appends an entry behind the one up to which everything is marked. False if others wrote meanwhile.
    pub(super) async fn append(&mut self, body: &Body, packs: &[PackEntry]) -> Result<bool, VaultError> {
        let head = self
            .domain
            .append_collected(self.head, body, packs, self.options.now)
            .await?;
        if let Some(head) = head {
            self.head = head;
        }
        Ok(head.is_some())
    }

    /// What is known of each pack that the index lists, that is there, and that is not condemned.
    async fn facts(&self) -> Result<Vec<PackFacts>, VaultError> {
        let spared = self.unfinished().await?;
        let index = self.domain.index();
        let mut facts = Vec::new();
        for first in 0..=u8::MAX {
            let mut known = Vec::new();
            index.packs_beginning(first, &mut |id, number| {
                known.push((id, number));
                true
            })?;
            for (id, number) in known {
                let standing = index.standing(number);
                if standing == Standing::Condemned || number >= self.packs_known {
                    continue;
                }
                let pack = self.domain.pack(number)?;
                facts.push(PackFacts {
                    number,
                    kind: pack.kind,
                    len: pack.len,
                    raw: pack.raw_len(),
                    live: self.walker.marks.live(number),
                    spared: spared.contains(&id),
                    distrusted: standing == Standing::Distrusted,
                });
            }
        }
        Ok(facts)
    }

    /// The packs of backups that run, or that were interrupted not long ago.
    async fn unfinished(&self) -> Result<HashSet<PackId>, VaultError> {
        if self.options.unfinished.is_zero() {
            return Ok(HashSet::new());
        }
        let since = self.now.checked_sub(self.options.unfinished).unwrap_or(Timestamp::MIN);
        let mut packs = HashSet::new();
        for segment in self.domain.uncommitted(since).await {
            packs.extend(self.domain.packs_of_segment(&segment).await?.unwrap_or_default());
        }
        Ok(packs)
    }
}

/// If entries are lost, one of them may have been a recovery point.
fn refuse_damaged(view: &LogView) -> Result<(), VaultError> {
    if view.log_damaged {
        let reason = "entries of the log are lost, so it is not known which recovery points there are";
        return Err(VaultError::NotCollected(reason.to_owned()));
    }
    Ok(())
}

/// Their ids.
pub(super) fn bytes_of(packs: &[Found]) -> Vec<Bytes> {
    packs
        .iter()
        .map(|found| Bytes::copy_from_slice(found.id.as_bytes()))
        .collect()
}
