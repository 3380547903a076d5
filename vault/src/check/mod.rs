//! Check: whether everything that the recovery points need is in the vault and whole. If not: what is damaged, and
//! which points and paths that costs.
//!
//! # Order First descriptor, registrations, job records and key slots. Then the log, with every entry read from the
//! store again. Then the segments that it names. Then the packs: a listing shows whether they are there, and on
//! request their content is read, every frame opened and every chunk id computed again. Last the trees of all points
//! that are not forgotten, down to every chunk. Damage never stops the check. Pages and folders that several points
//! share are checked once, unless they have damage.
//!
//! # Cost This crate starts no threads: the caller says how work on packs is run (`Spawn`). Memory: one segment, and
//! about 16 MiB for each worker. The folders that are known to be whole are noted in the index, under keys that begin
//! with `SCRATCH`.

mod listed;
mod pack;
mod trees;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use lockstone_proto::ids::{PackId, SegmentId, ServerId};
use lockstone_proto::limits::SEGMENT_MAX;
use lockstone_proto::vault::{ChunkKind, PackEntry};

use crate::access::job_records::damaged_records;
use crate::access::registration::Servers;
use crate::crypto::slot_store::list_slots;
use crate::domain::Domain;
use crate::error::VaultError;
use crate::index::NOT_NEEDED;
use crate::log::LogView;
use crate::pack::segment::decode_segment;
use crate::store::names;
use crate::vault::Vault;

pub use crate::damage::{Damage, DamageKind, PATHS_MAX};
use listed::Packs;
use pack::is_sampled;
pub use pack::{Lost, PackJob, PackOutcome, check_pack};

/// The prefix of the keys under which check keeps its notes in the index.
pub const SCRATCH: &[u8] = b"check/";

/// What a check reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckOptions {
    /// The percentage of packs whose content is read; `None` for none. For the others a listing shows that they are
    /// there.
    pub read_data: Option<f64>,
    /// Selects the packs in the sample: another number gives another sample.
    pub sample: u64,
    /// How many packs are read at the same time, at least 1.
    pub workers: usize,
}

/// The progress of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckProgress {
    /// The current phase: `log`, `segments`, `packs`, `data` or `points`.
    pub what: &'static str,
    /// How many of them are done.
    pub done: u64,
    /// How many there are.
    pub total: u64,
    /// How many packs were read, in all phases.
    pub packs_read: u64,
    /// How many packs are to be read.
    pub packs_to_read: u64,
    /// How many bytes of packs were read.
    pub bytes_read: u64,
    /// How many bytes the packs that are to be read have.
    pub bytes_to_read: u64,
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckReport {
    /// How many packs were looked for.
    pub packs: u64,
    /// How many packs were read.
    pub packs_read: u64,
    /// How many packs were to be read.
    pub packs_to_read: u64,
    /// How many bytes of packs were read.
    pub bytes_read: u64,
    /// How many bytes the packs that were to be read have.
    pub bytes_to_read: u64,
    /// How many chunks the points need. Chunks in shared folders count once.
    pub chunks: u64,
    /// How many points were walked.
    pub points: u64,
    /// Everything that is damaged.
    pub damaged: Vec<Damage>,
    /// Objects that are not what they should be, but cost nothing: packs that no point needs any more, and objects in
    /// the log that are no entries.
    pub harmless: Vec<Damage>,
    /// Whether the check was cancelled. Then the report is incomplete.
    pub cancelled: bool,
}

impl CheckReport {
    /// Whether everything that was checked is whole.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.damaged.is_empty() && !self.cancelled
    }
}

/// How work on packs is run.
pub trait Spawn: Sync {
    /// Runs the work and returns its result, as `tokio::spawn` does.
    fn spawn(&self, work: BoxFuture<'static, PackOutcome>) -> BoxFuture<'static, PackOutcome>;
}

/// Runs all work in the task of the check itself.
#[derive(Debug, Clone, Copy)]
pub struct Inline;

impl Spawn for Inline {
    fn spawn(&self, work: BoxFuture<'static, PackOutcome>) -> BoxFuture<'static, PackOutcome> {
        work
    }
}

/// Whether the caller wants to stop.
pub type Cancelled<'a> = dyn Fn() -> bool + Sync + 'a;
/// Is told of the progress.
pub type OnProgress<'a> = dyn Fn(CheckProgress) + Sync + 'a;

/// Checks a domain and the parts of the vault it relies on. An error means that the check could not go on. Damage is
/// reported, not an error.
pub async fn check(
    domain: &Arc<Domain>,
    options: &CheckOptions,
    spawn: &dyn Spawn,
    progress: &OnProgress<'_>,
    cancelled: &Cancelled<'_>,
) -> Result<CheckReport, VaultError> {
    domain.index().scratch_clear(SCRATCH)?;
    let mut check = Check {
        domain,
        options,
        spawn,
        progress,
        cancelled,
        report: CheckReport::default(),
        lost: HashMap::new(),
        seen: Packs::default(),
        listed: Packs::default(),
    };
    let result = check.run().await;
    domain.index().scratch_clear(SCRATCH)?;
    result?;
    let mut report = check.report;
    report.cancelled |= cancelled();
    report
        .damaged
        .sort_by(|a, b| (a.kind, &a.object).cmp(&(b.kind, &b.object)));
    Ok(report)
}

struct Check<'a> {
    domain: &'a Arc<Domain>,
    options: &'a CheckOptions,
    spawn: &'a dyn Spawn,
    progress: &'a OnProgress<'a>,
    cancelled: &'a Cancelled<'a>,
    report: CheckReport,
    /// The packs that lost something, by their numbers in the index.
    lost: HashMap<u32, Lost>,
    /// The packs whose content was read.
    seen: Packs,
    /// The packs that a readable segment lists.
    listed: Packs,
}

impl Check<'_> {
    async fn run(&mut self) -> Result<(), VaultError> {
        let servers = self.records().await?;
        self.progress("log", 0, 1);
        let view = self.domain.refresh().await?;
        self.unregistered(&servers, &view);
        let audit = self.domain.audit_log().await?;
        self.report.harmless = audit.foreign;
        self.log(&view, audit.damage);
        let segments = audit.segments;
        self.progress("log", 1, 1);
        self.presence().await?;
        self.segments(&segments).await?;
        self.unlisted()?;
        trees::check_points(self, &view).await?;
        self.healed()
    }

    /// Finds the damaged packs that cost nothing any more, because what the points need of them is in other packs, too.
    /// That is known only if every point could be walked whole.
    fn healed(&mut self) -> Result<(), VaultError> {
        let damaged = &self.report.damaged;
        let walked = damaged
            .iter()
            .all(|damage| damage.points.is_empty() && damage.kind != DamageKind::Log);
        if self.is_cancelled() || !walked {
            return Ok(());
        }
        let is_segment = |damage: &mut Damage| damage.kind == DamageKind::Segment;
        let segments: Vec<Damage> = self.report.damaged.extract_if(.., is_segment).collect();
        for mut segment in segments {
            segment.reason = format!("{}, but {NOT_NEEDED}", segment.reason);
            self.report.harmless.push(segment);
        }
        for (number, lost) in &self.lost {
            if *lost == Lost::Nothing {
                continue;
            }
            let Some(pack) = self.domain.index().pack(*number)? else {
                continue;
            };
            let name = names::pack(self.domain.id(), &pack.id);
            let damaged = &mut self.report.damaged;
            if let Some(at) = damaged.iter().position(|damage| damage.object == name) {
                let mut healed = damaged.remove(at);
                healed.reason = format!("{}, but {NOT_NEEDED}", healed.reason);
                self.report.harmless.push(healed);
                self.distrust(&pack.id, NOT_NEEDED)?;
            }
        }
        Ok(())
    }

    fn progress(&self, what: &'static str, done: u64, total: u64) {
        (self.progress)(CheckProgress {
            what,
            done,
            total,
            packs_read: self.report.packs_read,
            packs_to_read: self.report.packs_to_read,
            bytes_read: self.report.bytes_read,
            bytes_to_read: self.report.bytes_to_read,
        });
    }

    fn is_cancelled(&self) -> bool {
        (self.cancelled)()
    }

    /// The reported damage to that object. It is added if it is new.
    fn damage(&mut self, new: Damage) -> &mut Damage {
        let known = self.report.damaged.iter().position(|known| known.object == new.object);
        let at = known.unwrap_or_else(|| {
            tracing::warn!(object = %new.object, reason = %new.reason, "damage");
            self.report.damaged.push(new);
            self.report.damaged.len() - 1
        });
        &mut self.report.damaged[at]
    }

    /// Checks the descriptor, registrations, orders, job records and key slots. Damage to them costs no point.
    async fn records(&mut self) -> Result<Servers, VaultError> {
        let vault = self.domain.vault();
        match Vault::open_pinned(self.domain.store().clone(), &vault.pin()).await {
            Ok((_, None)) => {}
            Ok((_, Some(damage))) => {
                self.damage(damage);
            }
            Err(error) => return Err(error),
        }
        let (servers, damage) = vault.servers().await?;
        let job_damage = damaged_records(self.domain.store(), &vault.pin(), &servers).await?;
        let (_, slot_damage) = list_slots(self.domain.store(), self.domain.id()).await?;
        for damage in damage.into_iter().chain(job_damage).chain(slot_damage) {
            self.damage(damage);
        }
        Ok(servers)
    }

    /// Finds servers whose registration is missing: servers whose key is known here, or that have points in the log.
    fn unregistered(&mut self, servers: &Servers, view: &LogView) {
        let named = view.points.iter().map(|point| point.server).chain(self.domain.server());
        let missing: BTreeSet<ServerId> = named.filter(|server| servers.get(*server).is_none()).collect();
        for server in missing {
            let name = names::registration(server);
            self.damage(Damage::new(DamageKind::Registration, name, "it is missing"));
        }
    }

    /// Reports the damage to the log, with the point that each damaged entry committed, if the cache still knows it.
    fn log(&mut self, view: &LogView, damage: Vec<Damage>) {
        for new in view.damage.iter().cloned().chain(damage) {
            let n = names::log_position(&new.object).filter(|_| new.kind == DamageKind::Log);
            let point = n
                .and_then(|n| view.points.iter().find(|point| point.n == n))
                .map(|point| point.id);
            let known = self.damage(new);
            if let Some(point) = point
                && !known.points.contains(&point)
            {
                known.points.push(point);
            }
        }
    }

    /// Checks that every pack in the index is in the vault and has the right length.
    async fn presence(&mut self) -> Result<(), VaultError> {
        let domain = self.domain.id();
        for first in 0..=u8::MAX {
            if self.is_cancelled() {
                return Ok(());
            }
            self.progress("packs", u64::from(first), 256);
            for (id, number, len) in self.domain.packs_there(first).await? {
                self.report.packs += 1;
                let Some(pack) = self.domain.index().pack(number)? else {
                    continue;
                };
                let name = names::pack(domain, &id);
                if len.is_some() && self.is_wanted(&id, number) {
                    self.report.packs_to_read += 1;
                    self.report.bytes_to_read += pack.len;
                }
                match len {
                    Some(len) if len == pack.len => {}
                    // The log says that it is deleted. It is damage only if a point needs it after all.
                    None if self.domain.index().is_condemned(&id) => {
                        self.lost.insert(number, Lost::All);
                    }
                    None => {
                        self.distrust(&id, "it is missing")?;
                        self.seen.add(number);
                        self.lost.insert(number, Lost::All);
                        self.damage(Damage::new(DamageKind::Pack, name, "it is missing"));
                    }
                    // Reading the pack will show which frames are lost.
                    Some(len) => {
                        let reason = format!("it has {len} bytes instead of {}", pack.len);
                        self.lost.insert(number, Lost::Unknown);
                        self.damage(Damage::new(DamageKind::Pack, name, reason));
                    }
                }
            }
        }
        self.progress("packs", 256, 256);
        Ok(())
    }

    /// Checks that every segment opens and, as far as requested, that the packs it lists have the right content.
    async fn segments(&mut self, segments: &[SegmentId]) -> Result<(), VaultError> {
        for (at, id) in segments.iter().enumerate() {
            if self.is_cancelled() {
                return Ok(());
            }
            let what = if self.options.read_data.is_some() {
                "data"
            } else {
                "segments"
            };
            match self.options.read_data {
                Some(_) => self.progress(what, self.report.packs_read, self.report.packs_to_read),
                None => self.progress(what, at as u64, segments.len() as u64),
            }
            let name = names::segment(self.domain.id(), id);
            let object = match self.domain.store().get(&name, SEGMENT_MAX).await {
                Ok(object) => object,
                Err(error) if error.is_object_fault() => {
                    self.damage(Damage::new(DamageKind::Segment, name, error));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let segment = match decode_segment(self.domain.keys(), *id, &object) {
                Ok(segment) => segment,
                Err(why) => {
                    self.damage(Damage::new(DamageKind::Segment, name, why));
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
                if !self.is_wanted(&id, number) {
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
        if !self.is_wanted(&id, number) {
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

    /// Whether the pack has to be read: only once, and only if it is in the sample or has a wrong length.
    /// Condemned packs are not read: nothing relies on them.
    fn is_wanted(&self, id: &PackId, number: u32) -> bool {
        if self.domain.index().is_condemned(id) {
            return false;
        }
        let seen = self.seen.has(number);
        let sampled = self
            .options
            .read_data
            .is_some_and(|percent| is_sampled(id, percent, self.options.sample));
        !seen && (sampled || matches!(self.lost.get(&number), Some(Lost::Unknown)))
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
            self.outcome(outcome)?;
            self.progress(what, self.report.packs_read, self.report.packs_to_read);
        }
        Ok(())
    }

    fn outcome(&mut self, outcome: PackOutcome) -> Result<(), VaultError> {
        self.report.packs_read += 1;
        self.report.bytes_read += outcome.bytes_read;
        if let Some(error) = outcome.error {
            return Err(error);
        }
        if let Some(reason) = outcome.damage {
            self.distrust(&outcome.id, &reason)?;
            let name = names::pack(self.domain.id(), &outcome.id);
            let known = self.damage(Damage::new(DamageKind::Pack, name, &reason));
            if known.reason != reason {
                known.reason = reason;
            }
            self.lost.insert(outcome.number, outcome.lost);
        } else {
            self.lost.remove(&outcome.number);
            self.domain.index().trust(&[outcome.id])?;
        }
        Ok(())
    }

    /// From now on no backup of this machine relies on that pack: it stores again what is in it.
    fn distrust(&self, pack: &PackId, reason: &str) -> Result<(), VaultError> {
        Ok(self.domain.index().distrust(&[(*pack, reason.to_owned())])?)
    }
}

#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;
