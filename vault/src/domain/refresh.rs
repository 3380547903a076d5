//! Reading the log: entries that were validated before come from the cache, newer ones from the store. The segments
//! that they name are loaded into the index.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use lockstone_proto::ids::{SegmentId, ServerId};
use lockstone_proto::limits::LOG_ENTRY_MAX;

use super::Domain;
use crate::access::registration::Servers;
use crate::damage::Damage;
use crate::error::VaultError;
use crate::index::Condemned;
use crate::log::read::{LogWalk, Step, damage_at, damage_of};
use crate::log::{Before, Chain, Entry, LogBroken, LogHead, LogView, Pin, PlainEntry, Repairs, Skipped, Summed};
use crate::store::names;

/// What this process knows of the log.
#[derive(Debug)]
pub(super) struct State {
    pub(super) servers: Servers,
    /// Whether the cached entries were read.
    read: bool,
    /// Whether a listing confirmed that there are no entries after the end, so that the log has no gaps.
    listed: bool,
    /// Whether the log is only looked at: nothing that is read goes into the index.
    audit: bool,
    /// Whether valid entries are kept in the cache. Those behind a lost one are not: it may be put back.
    keep: bool,
    pub(super) chain: Chain,
    pub(super) summed: Summed,
    /// What repairs say.
    pub(super) repairs: Repairs,
    /// When the entries were written, as they say.
    pub(super) times: Vec<Timestamp>,
    /// Entries that are lost, and those that could not be verified.
    damage: Vec<Damage>,
    /// The positions of those that are lost, first and last.
    pub(super) lost: Vec<(u64, u64)>,
    /// Objects in the log that are no entries, and that the entries behind them account for.
    foreign: Vec<Damage>,
    /// Objects behind the end of the log that are no entries.
    ahead: Vec<Damage>,
    /// The position that this machine knows and what is there now, if the vault was set back.
    pub(super) rolled_back: Option<(u64, String)>,
    /// Segments that entries named and that are not in the index yet.
    pub(super) pending: Vec<SegmentId>,
    /// Those of them that other servers wrote.
    pub(super) foreign_segments: HashSet<SegmentId>,
    /// Segments of servers that had no right to write them any more.
    pub(super) ended_segments: Vec<SegmentId>,
    pub(super) unreadable: Vec<Damage>,
    pinned: Option<LogHead>,
}

impl State {
    pub(super) fn new(servers: Servers) -> Self {
        Self {
            servers,
            read: false,
            listed: false,
            audit: false,
            keep: true,
            chain: Chain::default(),
            summed: Summed::default(),
            repairs: Repairs::default(),
            times: Vec::new(),
            damage: Vec::new(),
            lost: Vec::new(),
            foreign: Vec::new(),
            ahead: Vec::new(),
            rolled_back: None,
            pending: Vec::new(),
            foreign_segments: HashSet::new(),
            ended_segments: Vec::new(),
            unreadable: Vec::new(),
            pinned: None,
        }
    }

    /// Whether entries are lost that no repair accounts for, or may be: what stands at the end may have been one.
    pub(super) fn is_damaged(&self) -> bool {
        let is_open = |damage: &Damage| !self.repairs.accounts_for(damage);
        self.damage.iter().any(is_open) || !self.chain.skipped().is_empty()
    }

    /// Whether the last object of the log is damaged, or is no entry. The next entry accounts for it.
    pub(super) fn ends_badly(&self) -> bool {
        let end = self.chain.end().n;
        let is_last = |damage: &Damage| names::log_position(&damage.object) == Some(end);
        !self.chain.skipped().is_empty() || self.damage.iter().any(is_last)
    }

    /// Takes the next entry in. `own`: this server, if it writes. Of an entry that does not count, only the segments
    /// are noted: what others stored may rely on them.
    fn take(&mut self, entry: &Entry, own: Option<ServerId>, counts: bool) {
        if !counts {
            self.ended_segments.extend(entry.body.segments());
            return;
        }
        self.summed.add(entry);
        self.repairs.add(&entry.body);
        if own != Some(entry.server) {
            self.foreign_segments.extend(entry.body.segments());
        }
        let time = Timestamp::new(entry.time_s, i32::try_from(entry.time_ns).unwrap_or_default());
        self.times.extend(time.ok());
        self.pending.extend(entry.body.segments());
    }

    /// Notes that these segments are in the index.
    pub(super) fn loaded(&mut self, segments: &[SegmentId]) {
        self.pending.retain(|id| !segments.contains(id));
    }

    fn damaged(&mut self, damage: Damage) {
        tracing::warn!(object = %damage.object, reason = %damage.reason, "the log is damaged");
        self.damage.push(damage);
    }
}

/// The log as it is in the store.
#[derive(Debug)]
pub(crate) struct LogAudit {
    /// Entries that are lost or cannot be verified.
    pub(crate) damage: Vec<Damage>,
    /// Objects that are no entries of this log and harm nothing.
    pub(crate) foreign: Vec<Damage>,
    /// The segments that the entries name.
    pub(crate) segments: Vec<SegmentId>,
    /// The positions whose entries are lost, first and last.
    pub(crate) lost: Vec<(u64, u64)>,
    /// The last position, if what stands there is damaged or no entry.
    pub(crate) bad_end: Option<u64>,
    /// What repairs say.
    pub(crate) repairs: Repairs,
}

/// Damage that a repair accounts for.
pub(crate) fn accounted_for(damage: &Damage) -> Damage {
    Damage {
        reason: format!("{}, and a repair accounts for it", damage.reason),
        ..damage.clone()
    }
}

/// What the cache keeps of a void object: no entry begins with this byte.
fn void_note(hash: &[u8; 32]) -> Vec<u8> {
    [&[0], hash.as_slice()].concat()
}

fn kept_void(kept: &[u8]) -> Option<[u8; 32]> {
    kept.strip_prefix(&[0])?.try_into().ok()
}

impl Domain {
    /// Reads the log to its end, loads the segments it names, and returns the sum of it. Damage is reported in the view
    /// and is not an error. Holds one segment in memory at a time; the view itself grows with the number of points.
    pub async fn refresh(&self) -> Result<Arc<LogView>, VaultError> {
        let mut state = self.state.lock().await;
        if state.is_damaged() {
            // Entries after damage are not kept. Reads them again, because the damage may have been repaired.
            let servers = std::mem::take(&mut state.servers);
            *state = State::new(servers);
        }
        self.read_pin(&mut state);
        self.read_kept(&mut state).await?;
        self.read_on(&mut state, true).await?;
        self.check_pin(&mut state);
        self.load_segments(&mut state).await?;
        self.publish(&mut state)
    }

    /// Reads the whole log from the store, without the cache, and changes nothing. For `check`.
    pub(crate) async fn audit_log(&self) -> Result<LogAudit, VaultError> {
        let servers = self.state.lock().await.servers.clone();
        let mut state = State {
            read: true,
            audit: true,
            ..State::new(servers)
        };
        self.read_on(&mut state, true).await?;
        let damage = self.log_damage(&state);
        let bad_end = state.ends_badly().then(|| state.chain.end().n);
        let accounted = state.damage.into_iter().filter(|lost| state.repairs.accounts_for(lost));
        let accounted = accounted.map(|lost| accounted_for(&lost)).collect();
        Ok(LogAudit {
            damage,
            foreign: [state.foreign, state.ahead, accounted].concat(),
            segments: [state.pending, state.ended_segments].concat(),
            lost: state.lost,
            bad_end,
            repairs: state.repairs,
        })
    }

    /// The positions whose entries are lost, first and last, as far as this machine can tell with its cache.
    pub(crate) async fn lost_positions(&self) -> Vec<(u64, u64)> {
        self.state.lock().await.lost.clone()
    }

    /// The entries that are lost and not accounted for, and what stands behind the last entry that is believed.
    fn log_damage(&self, state: &State) -> Vec<Damage> {
        let behind = state.chain.skipped().iter().map(|at| damage_of(self.id, at));
        let open = state.damage.iter().filter(|damage| !state.repairs.accounts_for(damage));
        open.cloned().chain(behind).collect()
    }

    /// Publishes a new view, and pins the last entry, unless the vault was set back.
    pub(super) fn publish(&self, state: &mut State) -> Result<Arc<LogView>, VaultError> {
        let head = state.chain.head();
        if let Some(path) = &self.pin_file
            && state.rolled_back.is_none()
            && state.pinned != Some(head)
            && state.pinned.is_none_or(|pinned| pinned.n < head.n)
        {
            let pin = Pin { domain: self.id, head };
            match pin.write(path) {
                Ok(()) => state.pinned = Some(head),
                // The pin only adds safety.
                Err(error) => tracing::warn!(path = %path.display(), %error, "the log's position cannot be noted"),
            }
        }
        let mut damage = self.log_damage(state);
        damage.extend_from_slice(&self.damaged_servers);
        let unreadable = state.unreadable.iter();
        damage.extend(unreadable.filter(|damage| !state.repairs.accounts_for(damage)).cloned());
        let view = LogView {
            head,
            points: state.summed.kept().cloned().collect(),
            damage,
            log_damaged: state.is_damaged(),
            behind: state.chain.skipped().iter().map(|at| damage_of(self.id, at)).collect(),
            lossy: state.repairs.lossy().to_vec(),
        };
        Ok(self.set_view(view))
    }

    /// Reads the entries in the cache, once, and compares the last of them with the vault.
    pub(super) async fn read_kept(&self, state: &mut State) -> Result<(), VaultError> {
        if state.read {
            return Ok(());
        }
        let mut broken = false;
        self.index.log_scan(&mut |n, object| {
            let kept = Bytes::copy_from_slice(object);
            if let Some(hash) = kept_void(object) {
                broken = n != state.chain.end().n + 1;
                state.chain.skip(Skipped::kept(n, hash));
                return !broken;
            }
            let entry = PlainEntry::read(self.id, n, &kept, None)
                .ok()
                .filter(|plain| plain.continues(&state.chain.end()))
                .and_then(|plain| plain.open(&self.keys).ok());
            match entry {
                Some(entry) => {
                    let counts = self.counts(&state.servers, &entry);
                    state.take(&entry, self.server(), counts);
                    let before = state.chain.accept(entry.head, &entry.previous);
                    if let Before::Chained(void) = before {
                        state.foreign.extend(void.iter().map(|at| damage_of(self.id, at)));
                    }
                }
                None => broken = true,
            }
            !broken
        })?;
        if broken || !state.chain.skipped().is_empty() {
            // The cached entries do not form a chain. They are dropped and read from the vault.
            self.index.log_clear()?;
            let servers = std::mem::take(&mut state.servers);
            *state = State {
                pinned: state.pinned,
                ..State::new(servers)
            };
        }
        state.read = true;
        self.check_last(state).await
    }

    /// Compares the last entry in the cache with the vault. If it is gone, or another one is there, then the vault was
    /// set back. If it cannot be read any more, this machine still knows what it said, and goes on.
    async fn check_last(&self, state: &mut State) -> Result<(), VaultError> {
        let last = state.chain.head();
        if last.n == 0 {
            return Ok(());
        }
        let name = names::log_entry(self.id, last.n);
        let found = match self.store().get(&name, LOG_ENTRY_MAX).await {
            Ok(object) if *blake3::hash(&object).as_bytes() == last.hash => return Ok(()),
            Ok(object) => match self.authenticate(state, last.n, &object).await? {
                Ok(_) => "it is not the entry this server saw before".to_owned(),
                Err(why) => {
                    state.damaged(damage_at(self.id, last.n, why));
                    return Ok(());
                }
            },
            Err(error) if error.is_not_found() => "it is missing, though this server saw it before".to_owned(),
            Err(error) if error.is_object_fault() => {
                state.damaged(damage_at(self.id, last.n, error));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.set_back(state, last.n, found);
        Ok(())
    }

    fn set_back(&self, state: &mut State, n: u64, found: String) {
        state.rolled_back = Some((n, found.clone()));
        state.damaged(damage_at(self.id, n, format!("the vault was set back: {found}")));
    }

    /// Reads the entries after the head. `beyond_gaps`: look for entries after a missing one, which costs a listing.
    /// The first call does that in any case, because nothing may be written into a gap.
    pub(super) async fn read_on(&self, state: &mut State, beyond_gaps: bool) -> Result<(), VaultError> {
        let beyond_gaps = beyond_gaps || !state.listed;
        let mut walk = LogWalk::new(self.store(), self.id, state.chain.end().n, beyond_gaps);
        loop {
            match walk.step().await? {
                Step::End => {
                    state.listed |= beyond_gaps;
                    let ahead = state.chain.finish();
                    if beyond_gaps {
                        state.ahead = ahead.iter().map(|at| damage_of(self.id, at)).collect();
                    }
                    return Ok(());
                }
                Step::Object(n, object) => self.believe(state, n, object).await?,
                Step::Unreadable(n, reason) => self.skip(state, Skipped::unreadable(n, reason)),
                Step::Missing(first, last) => state.chain.skip(Skipped::missing(first, last)),
            }
        }
    }

    /// Passes over an object that is no entry. If this machine noted an entry at its position, that entry is lost.
    fn skip(&self, state: &mut State, skipped: Skipped) {
        let n = skipped.first;
        tracing::warn!(n, reason = %skipped.reason, "an object in the log is no entry");
        state.chain.skip(skipped);
        if let Some(pin) = state.pinned.filter(|pin| pin.n == n) {
            state.chain.know(n, pin.hash);
        }
    }

    /// The entry in an object of the log, and why its server could not be verified, if so; or why it is none.
    async fn authenticate(
        &self,
        state: &mut State,
        n: u64,
        object: &Bytes,
    ) -> Result<Result<(Entry, Option<LogBroken>), LogBroken>, VaultError> {
        let mut plain = PlainEntry::read(self.id, n, object, Some(&state.servers));
        if let Err(LogBroken::UnknownServer(server)) = &plain
            && state.servers.look_for(self.store(), &self.vault.pin(), *server).await?
        {
            plain = PlainEntry::read(self.id, n, object, Some(&state.servers));
        }
        let (plain, unverified) = match plain {
            Ok(plain) => (plain, None),
            // Its seal shows that a holder of the domain's key wrote it, which is enough to read it.
            Err(why @ LogBroken::UnknownServer(_)) => match PlainEntry::read(self.id, n, object, None) {
                Ok(plain) => (plain, Some(why)),
                Err(_) => return Ok(Err(why)),
            },
            Err(why) => {
                return match why.newer(self.id, n) {
                    Some(newer) => Err(newer),
                    None => Ok(Err(why)),
                };
            }
        };
        match plain.open(&self.keys) {
            Ok(entry) => Ok(Ok((entry, unverified))),
            Err(why) => match why.newer(self.id, n) {
                Some(newer) => Err(newer),
                None => Ok(Err(why)),
            },
        }
    }

    /// Adds an object of the log, or passes over it.
    async fn believe(&self, state: &mut State, n: u64, object: Bytes) -> Result<(), VaultError> {
        match self.authenticate(state, n, &object).await? {
            Ok((entry, unverified)) => {
                if let Some(why) = unverified {
                    state.damaged(damage_at(self.id, n, why));
                    state.keep = false;
                }
                self.accept(state, &entry, &object)
            }
            Err(why) => {
                self.skip(state, Skipped::void(n, &object, why));
                Ok(())
            }
        }
    }

    /// Takes the next entry, and decides what the objects before it were.
    pub(super) fn accept(&self, state: &mut State, entry: &Entry, object: &Bytes) -> Result<(), VaultError> {
        let n = entry.head.n;
        let mut void = Vec::new();
        match state.chain.accept(entry.head, &entry.previous) {
            Before::Chained(accounted) => void = accounted,
            Before::Lost(lost) => {
                for skipped in &lost {
                    state.damaged(damage_of(self.id, skipped));
                    state.lost.push((skipped.first, skipped.last));
                }
                state.keep = false;
            }
            Before::Broken => {
                state.damaged(damage_at(self.id, n, LogBroken::Chain));
                state.lost.push((n, n));
                state.keep = false;
            }
        }
        if let Some(pin) = state.pinned
            && pin.n == n
            && pin.hash != entry.head.hash
            && state.rolled_back.is_none()
        {
            self.set_back(state, n, "it is not the entry this server saw before".to_owned());
            state.keep = false;
        }
        state.foreign.extend(void.iter().map(|at| damage_of(self.id, at)));
        let counts = self.counts(&state.servers, entry);
        state.take(entry, self.server(), counts);
        if state.audit {
            return Ok(());
        }
        if counts {
            self.condemn(entry)?;
            self.heed(entry)?;
        } else {
            self.doubt(entry)?;
        }
        if state.keep {
            for (n, hash) in void.iter().filter_map(|at| Some((at.first, at.hash()?))) {
                self.index.log_put(n, &void_note(&hash))?;
            }
            self.index.log_put(n, object)?;
        }
        Ok(())
    }

    /// Notes the packs that an entry condemned. It comes before the entry is kept: an entry that is in the cache is not
    /// read again.
    pub(super) fn condemn(&self, entry: &Entry) -> Result<(), VaultError> {
        let packs = entry.body.condemned();
        if packs.is_empty() {
            return Ok(());
        }
        let condemned = Condemned {
            n: entry.head.n,
            time_s: entry.time_s,
            delete_after_s: entry.body.delete_after_s(),
        };
        Ok(self.index.condemn(&packs, condemned)?)
    }

    /// Reads the pin, once, before the log is read.
    pub(super) fn read_pin(&self, state: &mut State) {
        if let Some(path) = &self.pin_file
            && state.pinned.is_none()
        {
            state.pinned = Pin::read(path, self.id).map(|pin| pin.head);
        }
    }

    /// Checks that the vault still has the entry that the pin names.
    pub(super) fn check_pin(&self, state: &mut State) {
        let Some(pin) = state.pinned.filter(|pin| pin.n > 0 && state.rolled_back.is_none()) else {
            return;
        };
        if pin.n > state.chain.end().n {
            self.set_back(
                state,
                pin.n,
                "it is missing, though this server saw it before".to_owned(),
            );
        } else if self.kept_hash(pin.n).is_some_and(|hash| hash != pin.hash) {
            self.set_back(state, pin.n, "it is not the entry this server saw before".to_owned());
            // The cached entries belong to another log.
            let _ = self.index.log_clear();
        }
    }

    fn kept_hash(&self, n: u64) -> Option<[u8; 32]> {
        let object = self.index.log_get(n).ok()??;
        Some(kept_void(&object).unwrap_or_else(|| *blake3::hash(&object).as_bytes()))
    }
}
