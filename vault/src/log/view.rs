//! The sum of a log: its recovery points, and which of them are forgotten. Pure: entries are added one by one.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use lockstone_proto::ids::{ChunkId, PointId, SegmentId, ServerId};
use lockstone_proto::vault::{CommitBody, ForgetReason, PointSummary};

use super::{Body, Entry, LogHead};
use crate::damage::Damage;

/// That a recovery point was deleted, beside when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// The server that deleted it.
    pub server: ServerId,
    /// Why.
    pub reason: ForgetReason,
}

/// That a recovery point cannot be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Why, in somebody's words.
    pub reason: String,
    /// Until when, seconds since the epoch; 0: until it is released.
    pub until_s: i64,
    /// Since when, seconds since the epoch.
    pub since_s: i64,
    /// The server that holds it.
    pub server: ServerId,
}

impl Hold {
    /// Whether its date is over. It still has to be released before the point can be deleted.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until_s != 0 && self.until_s <= now.as_second()
    }
}

/// A recovery point.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Its id.
    pub id: PointId,
    /// The log entry that committed it.
    pub n: u64,
    /// The server that made it.
    pub server: ServerId,
    /// When it was committed, seconds since the epoch, by that server's clock.
    pub time_s: i64,
    /// What the operator may see.
    pub summary: PointSummary,
    /// The root of its tree, and what it was made from. `segment_ids` is empty, because the index has the segments.
    pub body: CommitBody,
    /// When it was deleted, seconds since the epoch. It can be brought back for the vault's soft-delete days.
    pub forgotten: Option<i64>,
    /// By which server and why it was deleted.
    pub removal: Option<Removal>,
    /// Whether it is held.
    pub hold: Option<Hold>,
}

impl Point {
    /// The hold on it that counts at this time.
    #[must_use]
    pub fn held(&self, now: Timestamp) -> Option<&Hold> {
        self.hold.as_ref().filter(|hold| !hold.is_over(now))
    }

    /// The top page of its root folder; `None` if the folder is empty.
    #[must_use]
    pub fn root(&self) -> Option<ChunkId> {
        ChunkId::try_from(self.body.root.as_ref()).ok()
    }
}

/// The sum of the log as it was last read.
#[derive(Debug, Clone, PartialEq)]
pub struct LogView {
    /// The last entry that was believed.
    pub head: LogHead,
    /// The points in the order of their entries, including forgotten ones that can be brought back.
    pub points: Vec<Point>,
    /// The damage to the log, registrations and segments.
    pub damage: Vec<Damage>,
    /// Whether the log itself is damaged: entries are missing or not valid. Then the view has the points of the entries
    /// that could be read.
    pub log_damaged: bool,
    /// Objects behind the last entry that are none, or cannot be read. The next entry accounts for them. From then on
    /// they count as no entries, unless a machine knows better.
    pub behind: Vec<Damage>,
    /// The points that lost something which no repair could heal, as the newest Repair says.
    pub lossy: Vec<PointId>,
}

impl LogView {
    /// The point of that id.
    #[must_use]
    pub fn point(&self, id: &PointId) -> Option<&Point> {
        self.points.iter().find(|point| point.id == *id)
    }

    /// The points that are not forgotten, oldest first.
    pub fn alive(&self) -> impl DoubleEndedIterator<Item = &Point> {
        self.points.iter().filter(|point| point.forgotten.is_none())
    }

    /// The last point that is not forgotten, of one server or of all.
    #[must_use]
    pub fn latest(&self, server: Option<ServerId>) -> Option<&Point> {
        self.alive()
            .rev()
            .find(|point| server.is_none_or(|server| point.server == server))
    }
}

/// Adds up entries.
#[derive(Debug, Default)]
pub(crate) struct Summed {
    points: Vec<Point>,
    places: HashMap<PointId, usize>,
    /// The last entry that condemned or replaced packs; 0 if there is none.
    last_collected: u64,
    /// The points that are gone, each with the entry that said so. They stay in `points`.
    gone: HashMap<PointId, u64>,
    /// What servers stored and have not committed yet.
    uncommitted: BTreeMap<ServerId, Uncommitted>,
}

/// Segments that a server wrote since its last Commit: a backup of it is running, or was interrupted and will go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Uncommitted {
    pub(crate) segments: Vec<SegmentId>,
    /// When the last of them was written, seconds since the epoch.
    pub(crate) time_s: i64,
}

impl Summed {
    /// Adds the next entry. An entry that repeats a point's id changes nothing: ids are random, so the same server
    /// wrote both.
    pub(crate) fn add(&mut self, entry: &Entry) {
        match &entry.body {
            Body::Commit(summary, body) => {
                let Ok(id) = PointId::try_from(summary.point_id.as_ref()) else {
                    return;
                };
                if self.places.contains_key(&id) {
                    return;
                }
                self.uncommitted.remove(&entry.server);
                self.places.insert(id, self.points.len());
                let body = CommitBody {
                    segment_ids: Vec::new(),
                    ..(**body).clone()
                };
                let (n, server, time_s) = (entry.head.n, entry.server, entry.time_s);
                self.points.push(Point {
                    id,
                    n,
                    server,
                    time_s,
                    summary: (**summary).clone(),
                    body,
                    forgotten: None,
                    removal: None,
                    hold: None,
                });
            }
            Body::Forget(points, reason) => {
                let (server, reason) = (entry.server, *reason);
                for id in points {
                    if let Some(place) = self.places.get(id)
                        && let point = &mut self.points[*place]
                        && point.forgotten.is_none()
                        && point.hold.is_none()
                    {
                        point.forgotten = Some(entry.time_s);
                        point.removal = Some(Removal { server, reason });
                    }
                }
            }
            Body::Restore(points) => {
                for id in points {
                    if let Some(place) = self.places.get(id)
                        && !self.gone.contains_key(id)
                    {
                        self.points[*place].forgotten = None;
                        self.points[*place].removal = None;
                    }
                }
            }
            Body::Hold(points, body) => {
                let hold = Hold {
                    reason: body.reason.clone(),
                    until_s: body.until_s,
                    since_s: entry.time_s,
                    server: entry.server,
                };
                for id in points {
                    if let Some(place) = self.places.get(id)
                        && self.points[*place].forgotten.is_none()
                    {
                        self.points[*place].hold = Some(hold.clone());
                    }
                }
            }
            Body::Release(points) => {
                for id in points {
                    if let Some(place) = self.places.get(id) {
                        self.points[*place].hold = None;
                    }
                }
            }
            Body::Condemn(points, _) => {
                self.last_collected = entry.head.n;
                for id in points {
                    // A point that is alive is never gone.
                    if self.point(id).is_some_and(|point| point.forgotten.is_some()) {
                        self.gone.entry(*id).or_insert(entry.head.n);
                    }
                }
            }
            Body::Repack(_) => self.last_collected = entry.head.n,
            Body::Segments(segments) => {
                let uncommitted = self.uncommitted.entry(entry.server).or_default();
                uncommitted.segments.extend_from_slice(segments);
                uncommitted.time_s = entry.time_s;
            }
            Body::Fold(_) | Body::Repair(..) => {}
        }
    }

    pub(crate) fn point(&self, id: &PointId) -> Option<&Point> {
        self.places.get(id).map(|place| &self.points[*place])
    }

    /// The points that can be restored or brought back, in the order of their entries.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(|point| !self.gone.contains_key(&point.id))
    }

    /// The entry from which on a point is gone.
    pub(crate) fn gone_at(&self, id: &PointId) -> Option<u64> {
        self.gone.get(id).copied()
    }

    /// What servers stored and have not committed yet.
    pub(crate) fn uncommitted(&self) -> impl Iterator<Item = &Uncommitted> {
        self.uncommitted.values()
    }

    /// The last entry that condemned or replaced packs; 0 if there is none.
    pub(crate) fn last_collected(&self) -> u64 {
        self.last_collected
    }
}
