//! Reads a domain's log from a store, position by position. The end of the log is the first position without an object;
//! a listing never decides that. A listing only shows whether there are entries after a gap. Then the gap is damage.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use lockstone_proto::ids::{DomainId, ServerId};
use lockstone_proto::limits::LOG_ENTRY_MAX;

use super::view::Overview;
use super::{Before, Chain, LogBroken, PlainEntry, PointOverview, Skipped};
use crate::access::features::unknown;
use crate::access::registration::{Servers, VaultPin};
use crate::damage::{Damage, DamageKind};
use crate::error::VaultError;
use crate::store::{Store, StoreError, names};

/// How many entries are asked for at the same time, after the first ones were found.
const READ_AHEAD: usize = 16;

/// What is at a position.
#[derive(Debug)]
pub(crate) enum Step {
    /// An object. The caller checks whether it is an entry.
    Object(u64, Bytes),
    /// At this position is an object that cannot be read.
    Unreadable(u64, String),
    /// From the first position to the second there is no object, although there is one after them.
    Missing(u64, u64),
    /// The log ends before this position.
    End,
}

/// A walk along the log.
pub(crate) struct LogWalk<'a> {
    store: &'a Store,
    domain: DomainId,
    next: u64,
    width: usize,
    ahead: VecDeque<Result<Bytes, StoreError>>,
    /// Whether entries after a gap are looked for and, once they were listed, their positions in descending order.
    gaps: Gaps,
}

enum Gaps {
    Ignored,
    Unlisted,
    Listed(Vec<u64>),
}

impl<'a> LogWalk<'a> {
    /// Begins after `head`. `beyond_gaps`: whether entries after a missing one are looked for. That costs a listing.
    pub(crate) fn new(store: &'a Store, domain: DomainId, head: u64, beyond_gaps: bool) -> Self {
        let gaps = if beyond_gaps { Gaps::Unlisted } else { Gaps::Ignored };
        Self {
            store,
            domain,
            next: head.saturating_add(1),
            width: 1,
            ahead: VecDeque::new(),
            gaps,
        }
    }

    /// The next step. Errors of the store end the walk.
    pub(crate) async fn step(&mut self) -> Result<Step, StoreError> {
        loop {
            let at = self.next;
            // Nothing can come behind the last number, so it is never a position.
            if at == u64::MAX {
                return Ok(Step::End);
            }
            match self.fetch().await {
                Ok(object) => {
                    self.width = (self.width * 2).min(READ_AHEAD);
                    self.next = at.saturating_add(1);
                    return Ok(Step::Object(at, object));
                }
                Err(error) if error.is_not_found() => {}
                Err(error) if error.is_object_fault() => {
                    self.next = at.saturating_add(1);
                    return Ok(Step::Unreadable(at, error.to_string()));
                }
                Err(error) => return Err(error),
            }
            match &mut self.gaps {
                Gaps::Ignored => return Ok(Step::End),
                Gaps::Unlisted => {
                    // It may have been written during the listing, so it is asked for again.
                    self.gaps = Gaps::Listed(self.list_from(at).await?);
                }
                Gaps::Listed(beyond) => {
                    while beyond.last().is_some_and(|n| *n <= at) {
                        beyond.pop();
                    }
                    let Some(found) = beyond.last().copied() else {
                        return Ok(Step::End);
                    };
                    self.next = found;
                    return Ok(Step::Missing(at, found - 1));
                }
            }
        }
    }

    async fn list_from(&self, from: u64) -> Result<Vec<u64>, StoreError> {
        let listed = self.store.list(&names::log(self.domain));
        let found =
            listed.try_filter_map(|object| async move { Ok(names::log_position(&object.path).filter(|n| *n > from)) });
        let mut found: Vec<u64> = found.try_collect().await?;
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// The object at `next`. If none was read ahead, the next `width` objects are asked for together. Answers after the
    /// first error are dropped.
    async fn fetch(&mut self) -> Result<Bytes, StoreError> {
        if self.ahead.is_empty() {
            let (store, domain, next) = (self.store, self.domain, self.next);
            let positions = (0..self.width as u64).filter_map(|step| next.checked_add(step));
            let asked = positions.map(|n| async move { store.get(&names::log_entry(domain, n), LOG_ENTRY_MAX).await });
            let mut answers = futures::stream::iter(asked).buffered(READ_AHEAD);
            let mut ready = VecDeque::new();
            while let Some(answer) = answers.next().await {
                let last = answer.is_err();
                ready.push_back(answer);
                if last {
                    break;
                }
            }
            drop(answers);
            self.ahead = ready;
        }
        let missing = || {
            Err(StoreError::NotFound {
                object: names::log_entry(self.domain, self.next),
            })
        };
        self.ahead.pop_front().unwrap_or_else(missing)
    }
}

/// Damage to one log entry.
pub(crate) fn damage_at(domain: DomainId, n: u64, reason: impl std::fmt::Display) -> Damage {
    Damage::new(DamageKind::Log, names::log_entry(domain, n), reason)
}

/// What was skipped, as damage.
pub(crate) fn damage_of(domain: DomainId, skipped: &Skipped) -> Damage {
    let (first, last, reason) = (skipped.first, skipped.last, &skipped.reason);
    if first == last {
        return damage_at(domain, first, reason);
    }
    damage_at(
        domain,
        first,
        format!("{reason}, and so are the entries up to {last:016x}"),
    )
}

/// What the operator sees of a domain's log, read without its passphrase.
#[derive(Debug)]
pub struct DomainOverview {
    /// The points of the entries that count, oldest first.
    pub points: Vec<PointOverview>,
    /// The last position of the log.
    pub end: u64,
    /// The entries that count, in order: position, server, and when it wrote it, as it says, seconds since the epoch.
    pub entries: Vec<(u64, ServerId, i64)>,
    /// What is damaged.
    pub damage: Vec<Damage>,
}

/// The operator's view of a domain. Damaged entries are reported and skipped. The registration of a server that is not
/// known yet is looked for.
pub(crate) async fn overview(
    store: &Store,
    pin: &VaultPin,
    domain: DomainId,
    mut servers: Servers,
) -> Result<DomainOverview, VaultError> {
    let mut walk = LogWalk::new(store, domain, 0, true);
    let (mut view, mut damage, mut chain) = (Overview::default(), Vec::new(), Chain::default());
    let mut entries = Vec::new();
    loop {
        match walk.step().await? {
            Step::End => {
                chain.finish();
                damage.extend(chain.skipped().iter().map(|skipped| damage_of(domain, skipped)));
                return Ok(DomainOverview {
                    points: view.into_points(),
                    end: chain.end().n,
                    entries,
                    damage,
                });
            }
            Step::Missing(first, last) => chain.skip(Skipped::missing(first, last)),
            Step::Unreadable(n, reason) => chain.skip(Skipped::unreadable(n, reason)),
            Step::Object(n, object) => {
                let mut read = PlainEntry::read(domain, n, &object, Some(&servers));
                if let Err(LogBroken::UnknownServer(server)) = &read
                    && servers.look_for(store, pin, *server).await?
                {
                    read = PlainEntry::read(domain, n, &object, Some(&servers));
                }
                match read {
                    Ok(entry) => {
                        if let Some(word) = unknown(&entry.record.needs) {
                            damage.push(damage_at(domain, n, LogBroken::Needs(word.clone())));
                        }
                        match chain.accept(entry.head, &entry.previous) {
                            Before::Chained(_) => {}
                            Before::Lost(lost) => {
                                damage.extend(lost.iter().map(|skipped| damage_of(domain, skipped)));
                            }
                            Before::Broken => damage.push(damage_at(domain, n, LogBroken::Chain)),
                        }
                        if servers.orders().counts(entry.server, domain, n) {
                            view.add(&entry);
                            entries.push((n, entry.server, entry.record.time_s));
                        }
                    }
                    Err(why) => match why.newer(domain, n) {
                        Some(newer) => return Err(newer),
                        None => chain.skip(Skipped::void(n, &object, why)),
                    },
                }
            }
        }
    }
}
