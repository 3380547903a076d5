//! Reading the log: entries that were validated before come from the cache, newer ones from the store. The segments
//! that they name are loaded into the index.

use std::sync::Arc;

use bytes::Bytes;
use lockstone_proto::ids::SegmentId;
use lockstone_proto::limits::{FORMAT_VERSION, LOG_ENTRY_MAX, SEGMENT_MAX};

use super::Domain;
use crate::access::registration::Servers;
use crate::damage::{Damage, DamageKind};
use crate::error::VaultError;
use crate::log::read::{LogWalk, Step, damage_at, damage_between};
use crate::log::{Entry, LogBroken, LogHead, LogView, Pin, PlainEntry, Summed, chain};
use crate::pack::segment::{SegmentBroken, decode_segment};
use crate::store::names;

/// What this process knows of the log.
#[derive(Debug)]
pub(super) struct State {
    pub(super) servers: Servers,
    /// Whether the cached entries were read.
    read: bool,
    /// Whether a listing confirmed that there are no entries after the end, so that the log has no gaps.
    listed: bool,
    /// Whether valid entries are kept in the cache.
    keep: bool,
    /// The last entry that was believed.
    pub(super) head: LogHead,
    /// Whether the next entry must continue `head`: false after a gap.
    chained: bool,
    pub(super) summed: Summed,
    pub(super) damage: Vec<Damage>,
    /// The position that this machine knows and what is there now, if the vault was set back.
    pub(super) rolled_back: Option<(u64, String)>,
    /// Segments that entries named and that are not in the index yet.
    pending: Vec<SegmentId>,
    unreadable: Vec<Damage>,
    pinned: Option<LogHead>,
}

impl State {
    pub(super) fn new(servers: Servers) -> Self {
        Self {
            servers,
            read: false,
            listed: false,
            keep: true,
            head: LogHead::START,
            chained: true,
            summed: Summed::default(),
            damage: Vec::new(),
            rolled_back: None,
            pending: Vec::new(),
            unreadable: Vec::new(),
            pinned: None,
        }
    }

    pub(super) fn is_damaged(&self) -> bool {
        !self.damage.is_empty()
    }

    pub(super) fn take(&mut self, entry: &Entry) {
        self.summed.add(entry);
        self.pending.extend(entry.body.segments());
        self.head = entry.head;
        self.chained = true;
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
        self.read_kept(&mut state).await?;
        self.read_on(&mut state, true).await?;
        self.check_pin(&mut state);
        self.load_segments(&mut state).await?;
        self.publish(&mut state)
    }

    /// Reads the whole log from the store, without the cache, and changes nothing. Returns the damage in it and the
    /// segments it names. For `check`.
    pub(crate) async fn audit_log(&self) -> Result<(Vec<Damage>, Vec<SegmentId>), VaultError> {
        let servers = self.state.lock().await.servers.clone();
        let mut state = State {
            read: true,
            keep: false,
            ..State::new(servers)
        };
        self.read_on(&mut state, true).await?;
        Ok((state.damage, state.pending))
    }

    /// Publishes a new view, and pins the head of an undamaged log.
    pub(super) fn publish(&self, state: &mut State) -> Result<Arc<LogView>, VaultError> {
        if let Some(path) = &self.pin_file
            && !state.is_damaged()
            && state.pinned != Some(state.head)
        {
            let pin = Pin {
                domain: self.id,
                head: state.head,
            };
            match pin.write(path) {
                Ok(()) => state.pinned = Some(state.head),
                // The pin only adds safety.
                Err(error) => tracing::warn!(path = %path.display(), %error, "the log's position cannot be noted"),
            }
        }
        let mut damage = state.damage.clone();
        damage.extend_from_slice(&self.damaged_servers);
        damage.extend_from_slice(&state.unreadable);
        let view = LogView {
            head: state.head,
            points: state.summed.points().to_vec(),
            damage,
            log_damaged: state.is_damaged(),
            last_collected: state.summed.last_collected(),
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
            let entry = PlainEntry::read(self.id, n, &kept, None)
                .and_then(|plain| chain(&state.head, &plain).map(|()| plain))
                .and_then(|plain| plain.open(&self.keys));
            match entry {
                Ok(entry) => state.take(&entry),
                Err(_) => broken = true,
            }
            !broken
        })?;
        if broken {
            // The cached entries do not form a chain. They are dropped and read from the vault.
            self.index.log_clear()?;
            let servers = std::mem::take(&mut state.servers);
            *state = State::new(servers);
        }
        state.read = true;
        let last = state.head;
        if last.n > 0 {
            let name = names::log_entry(self.id, last.n);
            let found = match self.store().get(&name, LOG_ENTRY_MAX).await {
                Ok(object) if *blake3::hash(&object).as_bytes() == last.hash => return Ok(()),
                Ok(_) => "it is not the entry this server saw before".to_owned(),
                Err(error) if error.is_not_found() => "it is missing, though this server saw it before".to_owned(),
                Err(error) if error.is_object_fault() => error.to_string(),
                Err(error) => return Err(error.into()),
            };
            state.rolled_back = Some((last.n, found.clone()));
            state.damaged(damage_at(self.id, last.n, found));
        }
        Ok(())
    }

    /// Reads the entries after the head. `beyond_gaps`: look for entries after a missing one, which costs a listing.
    /// The first call does that in any case, because nothing may be written into a gap.
    pub(super) async fn read_on(&self, state: &mut State, beyond_gaps: bool) -> Result<(), VaultError> {
        let beyond_gaps = beyond_gaps || !state.listed;
        let mut walk = LogWalk::new(self.store(), self.id, state.head.n, beyond_gaps);
        loop {
            match walk.step().await? {
                Step::End => {
                    state.listed |= beyond_gaps;
                    return Ok(());
                }
                Step::Object(n, object) => self.believe(state, n, object).await?,
                Step::Damaged(first, last, reason) => {
                    state.damaged(damage_between(self.id, first, last, &reason));
                    state.chained = false;
                }
            }
        }
    }

    /// Adds an object of the log, or reports what is wrong with it.
    async fn believe(&self, state: &mut State, n: u64, object: Bytes) -> Result<(), VaultError> {
        let mut plain = PlainEntry::read(self.id, n, &object, Some(&state.servers));
        if let Err(LogBroken::UnknownServer(server)) = &plain
            && state.servers.look_for(self.store(), &self.vault.pin(), *server).await?
        {
            plain = PlainEntry::read(self.id, n, &object, Some(&state.servers));
        }
        let plain = match plain {
            Ok(plain) => plain,
            Err(LogBroken::Version(found)) => {
                let object = names::log_entry(self.id, n);
                return Err(VaultError::NewerFormat {
                    object,
                    found,
                    known: FORMAT_VERSION,
                });
            }
            Err(why @ LogBroken::UnknownServer(_)) => {
                state.damaged(damage_at(self.id, n, &why));
                // Its seal shows that a holder of the domain's key wrote it, which is enough for a restore.
                match PlainEntry::read(self.id, n, &object, None) {
                    Ok(plain) => plain,
                    Err(_) => {
                        state.chained = false;
                        return Ok(());
                    }
                }
            }
            Err(why) => {
                state.damaged(damage_at(self.id, n, why));
                state.chained = false;
                return Ok(());
            }
        };
        if state.chained
            && let Err(why) = chain(&state.head, &plain)
        {
            state.damaged(damage_at(self.id, n, why));
        }
        match plain.open(&self.keys) {
            Ok(entry) => {
                state.take(&entry);
                if state.keep {
                    self.condemn(&entry)?;
                }
                if state.keep && !state.is_damaged() {
                    self.index.log_put(n, &object)?;
                }
            }
            Err(why) => {
                state.damaged(damage_at(self.id, n, why));
                state.chained = false;
            }
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
        Ok(self.index.condemn(&packs, entry.head.n)?)
    }

    /// Checks that the vault still has the entry that the pin names.
    pub(super) fn check_pin(&self, state: &mut State) {
        let Some(path) = &self.pin_file else { return };
        let Some(pin) = state.pinned.or_else(|| Pin::read(path, self.id).map(|pin| pin.head)) else {
            return;
        };
        state.pinned = Some(pin);
        if pin.n == 0 || state.rolled_back.is_some() {
            return;
        }
        if pin.n > state.head.n {
            let found = "it is missing, though this server saw it before".to_owned();
            state.rolled_back = Some((pin.n, found.clone()));
            state.damaged(damage_at(self.id, pin.n, found));
        } else if !state.is_damaged() && self.kept_hash(pin.n).is_some_and(|hash| hash != pin.hash) {
            let found = "it is not the entry this server saw before".to_owned();
            state.rolled_back = Some((pin.n, found.clone()));
            state.damaged(damage_at(self.id, pin.n, found));
            // The cached entries belong to another log.
            let _ = self.index.log_clear();
        }
    }

    fn kept_hash(&self, n: u64) -> Option<[u8; 32]> {
        let object = self.index.log_get(n).ok()??;
        Some(*blake3::hash(&object).as_bytes())
    }

    /// Loads the segments that are not in the index yet, one at a time. Damaged ones are reported, and tried again at
    /// the next refresh.
    pub(super) async fn load_segments(&self, state: &mut State) -> Result<(), VaultError> {
        state.unreadable.clear();
        let wanted = self.index.segments_not_loaded(&state.pending)?;
        let mut left = Vec::new();
        for id in wanted {
            if let Some(damage) = self.load_segment(id).await? {
                tracing::warn!(object = %damage.object, reason = %damage.reason, "a segment is damaged");
                state.unreadable.push(damage);
                left.push(id);
            }
        }
        state.pending = left;
        Ok(())
    }

    async fn load_segment(&self, id: SegmentId) -> Result<Option<Damage>, VaultError> {
        let name = names::segment(self.id, &id);
        let object = match self.store().get(&name, SEGMENT_MAX).await {
            Ok(object) => object,
            Err(error) if error.is_object_fault() => return Ok(Some(Damage::new(DamageKind::Segment, name, error))),
            Err(error) => return Err(error.into()),
        };
        match decode_segment(&self.keys, id, &object) {
            Ok(segment) => {
                self.index.add_packs(&segment.packs, &[id])?;
                Ok(None)
            }
            Err(SegmentBroken::Version { version, .. }) => Err(VaultError::NewerFormat {
                object: name,
                found: version,
                known: FORMAT_VERSION,
            }),
            Err(why) => Ok(Some(Damage::new(DamageKind::Segment, name, why))),
        }
    }
}
