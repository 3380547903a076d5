//! Check: whether everything that the recovery points need is in the vault and whole. If not: what is damaged, and
//! which points and paths that costs.
//!
//! # Order First descriptor, registrations, job records and key slots. Then the log, with every entry read from the
//! store again. Then the packs: a listing shows whether they are there. Then the segments, and on request the content
//! of packs: every frame is opened and every chunk id computed again. Packs that were found damaged before are always
//! read. Last the trees of all points that are not forgotten, down to every chunk. Damage never stops the check. Pages
//! and folders that several points share are checked once, unless they have damage.
//!
//! # Repair If it is asked for, `repair` follows, and then another check, until nothing more can be repaired.
//!
//! # Cost This crate starts no threads: the caller says how work on packs is run (`Spawn`). Memory: one segment, and
//! about 16 MiB for each worker. The folders that are known to be whole are noted in the index, under keys that begin
//! with `SCRATCH`.

mod choice;
mod content;
mod listed;
mod pack;
mod repair;
mod report;
mod trees;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::future::BoxFuture;
use lockstone_proto::ids::{PackId, SegmentId, ServerId};

use crate::access::job_records::damaged_records;
use crate::access::registration::Servers;
use crate::crypto::slot_store::list_slots;
use crate::domain::Domain;
use crate::error::VaultError;
use crate::index::NOT_NEEDED;
use crate::log::{LogView, Repairs};
use crate::store::names;
use crate::vault::Vault;

pub use crate::damage::{Damage, DamageKind, PATHS_MAX};
use choice::Choice;
use listed::Packs;
pub use pack::{Lost, PackJob, PackOutcome, check_pack};
use repair::Fresh;
pub use report::{CheckOptions, CheckProgress, CheckReport, Repaired};

/// The prefix of the keys under which check keeps its notes in the index.
pub const SCRATCH: &[u8] = b"check/";

/// Why a damaged pack costs nothing, although recovery points need it.
const READABLE: &str = "what recovery points need of it can be read";

/// How often a check with repair looks again at most. The first repair can make a second one possible.
const PASSES: u32 = 4;

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
    let mut report = pass(domain, options, spawn, progress, cancelled).await?;
    let again = CheckOptions {
        read_data: None,
        round: None,
        ..*options
    };
    let goes_on = |report: &CheckReport| !report.repaired.is_empty() && report.not_repaired.is_none();
    let mut may_repair_more = goes_on(&report);
    for _ in 1..PASSES {
        if !may_repair_more || report.cancelled {
            break;
        }
        let next = pass(domain, &again, spawn, progress, cancelled).await?;
        may_repair_more = goes_on(&next);
        report = report.followed_by(next);
    }
    // What the first repair marked, a later one may have found healed.
    let view = domain.view();
    let still = |repaired: &Repaired| repaired.marked.is_none_or(|point| view.lossy.contains(&point));
    report.repaired.retain(still);
    Ok(report)
}

/// One check, and one repair if it is asked for.
async fn pass(
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
        choice: Choice::None,
        report: CheckReport::default(),
        lost: HashMap::new(),
        seen: Packs::default(),
        listed: Packs::default(),
        repairs: Repairs::default(),
        lost_positions: Vec::new(),
        bad_end: None,
        lost_segments: Vec::new(),
        whole: Vec::new(),
        folders_lost: false,
        relied: Packs::default(),
        fresh: (options.repair && domain.server().is_some()).then(Fresh::default),
    };
    let result = check.run().await;
    domain.index().scratch_clear(SCRATCH)?;
    result?;
    if options.repair && !cancelled() {
        check.repair().await?;
    }
    check.choice.end(domain.index(), cancelled())?;
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
    /// Which packs are read.
    choice: Choice,
    report: CheckReport,
    /// The packs that lost something, by their numbers in the index.
    lost: HashMap<u32, Lost>,
    /// The packs whose content was read.
    seen: Packs,
    /// The packs that a readable segment lists.
    listed: Packs,
    /// What earlier repairs wrote down.
    repairs: Repairs,
    /// The positions of the log whose entries are lost, first and last.
    lost_positions: Vec<(u64, u64)>,
    /// The last position of the log, if what stands there is damaged or no entry.
    bad_end: Option<u64>,
    /// The segments that cannot be read.
    lost_segments: Vec<SegmentId>,
    /// The packs that were read whole, although the log says that they are damaged.
    whole: Vec<PackId>,
    /// Whether a page could not be read, so that not everything below it could be walked.
    folders_lost: bool,
    /// The damaged packs of which a point needs what is whole in them.
    relied: Packs,
    /// What a repair makes anew; `None` if nothing is to be repaired.
    fresh: Option<Fresh>,
}

impl Check<'_> {
    async fn run(&mut self) -> Result<(), VaultError> {
        let servers = self.records().await?;
        self.progress("log", 0, 1);
        let view = self.domain.refresh().await?;
        self.unregistered(&servers, &view);
        // Only now the index knows all packs.
        self.choice = Choice::make(self.domain.index(), self.options)?;
        let audit = self.domain.audit_log().await?;
        self.report.harmless = audit.foreign;
        self.lost_positions = [audit.lost, self.domain.lost_positions().await].concat();
        self.repairs = audit.repairs;
        self.bad_end = audit.bad_end;
        self.log(&view, audit.damage);
        let segments = audit.segments;
        self.progress("log", 1, 1);
        self.presence().await?;
        self.segments(&segments).await?;
        self.unlisted()?;
        trees::check_points(self, &view).await?;
        self.healed()
    }

    /// Finds the damaged objects that cost nothing any more: what the points need of them is in other packs, too. That
    /// is known only if all folders of every point could be walked.
    fn healed(&mut self) -> Result<(), VaultError> {
        let walked = !self.folders_lost && !self.report.damaged.iter().any(|damage| damage.kind == DamageKind::Log);
        if self.is_cancelled() || !walked {
            return Ok(());
        }
        let is_segment = |damage: &mut Damage| damage.kind == DamageKind::Segment && damage.points.is_empty();
        let segments: Vec<Damage> = self.report.damaged.extract_if(.., is_segment).collect();
        for segment in segments {
            self.harmless(segment, NOT_NEEDED);
        }
        for (number, lost) in std::mem::take(&mut self.lost) {
            let (Some(pack), relied) = (self.domain.index().pack(number)?, self.relied.has(number)) else {
                continue;
            };
            let name = names::pack(self.domain.id(), &pack.id);
            let costs_nothing = |damage: &Damage| damage.object == name && damage.points.is_empty();
            let at = self.report.damaged.iter().position(costs_nothing);
            match at.filter(|_| lost != Lost::Nothing || !relied) {
                Some(at) if relied => {
                    let readable = self.report.damaged.remove(at);
                    self.harmless(readable, READABLE);
                }
                Some(at) => {
                    let unneeded = self.report.damaged.remove(at);
                    self.harmless(unneeded, NOT_NEEDED);
                    self.distrust(&pack.id, NOT_NEEDED)?;
                }
                None => {}
            }
            self.lost.insert(number, lost);
        }
        Ok(())
    }

    fn harmless(&mut self, mut damage: Damage, why: &str) {
        damage.reason = format!("{}, but {why}", damage.reason);
        self.report.harmless.push(damage);
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
                if len.is_some() && self.is_wanted(&id, number)? {
                    self.report.packs_to_read += 1;
                    self.report.bytes_to_read += pack.len;
                } else if self.choice.is_all() && len.is_some() && !self.domain.index().is_condemned(&id) {
                    self.report.packs_read_before += 1;
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
                        self.save(number, &id, None, &Lost::All).await?;
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

    /// From now on no backup of this machine relies on that pack: it stores again what is in it.
    fn distrust(&self, pack: &PackId, reason: &str) -> Result<(), VaultError> {
        Ok(self.domain.index().distrust(&[(*pack, reason.to_owned())])?)
    }
}

#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;
