//! The throttle decides when bytes and requests may be sent or received. There is one for the whole process, shared by
//! all stores and jobs. The code that moves bytes (the connector of an object store, the local folder) asks it before
//! each piece, through `LinePace`.
//!
//! Each direction has a token bucket (`bucket`, by governor) and a queue: first come, first served, and only the first
//! in the queue looks at the bucket. A change of the limit (`set`) replaces the bucket while the first one waits, so it
//! acts at once, even on a body that is being sent. A limit of 0 is a pause. Without a limit, asking costs one atomic
//! load.
//!
//! The throttle does not know which limits apply at which time (windows, `throttle set`). A [`Follower`] asks for the
//! limits a few times a second and sets them.

mod bucket;
mod follow;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lockstone_vault::store::pace::{Direction, LinePace};
use tokio::sync::{Mutex, watch};

use crate::metrics::Metrics;
use bucket::Bucket;
pub use follow::Follower;

/// The longest piece of a body, bytes.
const MAX_PIECE: u64 = 64 * 1024;
/// The shortest piece of a body, bytes.
const MIN_PIECE: u64 = 512;
/// Between those two, a piece is what the limit allows in this part of a second. A piece that was allowed before a
/// change of the limit is still under way afterwards. It should be small beside what a tenth of the limit allows in a
/// second.
const PIECES_A_SECOND: u64 = 200;
/// A bucket holds what the limit allows in this part of a second. That is enough to lose nothing when a waiter wakes
/// late, and too little to be noticed within a second.
const BURSTS_A_SECOND: u64 = 25;
/// Bodies stay below the limit by this part of it, because the heads of requests are not counted and a limit must not
/// be exceeded.
const MARGIN: u64 = 200;
/// How an atomic says "no limit".
const UNLIMITED: u64 = u64::MAX;

/// The limits by direction. `None` is no limit; 0 is a pause: nothing moves until the limit changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// To the store, bytes a second.
    pub up: Option<u64>,
    /// From the store, bytes a second.
    pub down: Option<u64>,
    /// Requests a second, both ways together.
    pub requests: Option<u64>,
}

/// The throttle of this process.
pub struct Throttle {
    up: Lane,
    down: Lane,
    requests: Lane,
    metrics: Arc<Metrics>,
}

/// One limit and those who wait for it.
struct Lane {
    /// The limit. Read without waiting, to find out whether there is one.
    limit: AtomicU64,
    /// The same limit with its bucket, for those who wait.
    rate: watch::Sender<Rate>,
    /// The queue. Only the one that holds it takes from the bucket.
    turn: Mutex<()>,
}

/// A limit in force.
#[derive(Clone)]
enum Rate {
    Unlimited,
    Paused,
    Limited(Arc<Bucket>),
}

impl Lane {
    fn new() -> Self {
        Self {
            limit: AtomicU64::new(UNLIMITED),
            rate: watch::Sender::new(Rate::Unlimited),
            turn: Mutex::new(()),
        }
    }

    /// The limit. `None`: there is none.
    fn limit(&self) -> Option<u64> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|&limit| limit != UNLIMITED)
    }

    /// Sets the limit. False if that was the limit already.
    fn set(&self, limit: Option<u64>, bucket: impl FnOnce(u64) -> Bucket) -> bool {
        if self.limit() == limit {
            return false;
        }
        self.limit.store(limit.unwrap_or(UNLIMITED), Ordering::Relaxed);
        self.rate.send_replace(match limit {
            None => Rate::Unlimited,
            Some(0) => Rate::Paused,
            Some(limit) => Rate::Limited(Arc::new(bucket(limit))),
        });
        true
    }

    /// Waits until `units` are allowed. Returns how long that took.
    async fn pass(&self, units: u64) -> Duration {
        if self.limit().is_none() {
            return Duration::ZERO;
        }
        let begun = Instant::now();
        let _turn = self.turn.lock().await;
        let mut rate = self.rate.subscribe();
        let mut left = units;
        while left > 0 {
            let now = rate.borrow_and_update().clone();
            let pause = match now {
                Rate::Unlimited => break,
                Rate::Paused => None,
                Rate::Limited(bucket) => match bucket.take(left) {
                    Ok(taken) => {
                        left -= taken;
                        continue;
                    }
                    Err(pause) => Some(pause),
                },
            };
            tokio::select! {
                // The sender belongs to this lane, so this is never an error.
                _ = rate.changed() => {}
                () = async {
                    match pause {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
        begun.elapsed()
    }
}

impl Throttle {
    /// A throttle without limits. The metrics show its limits and how long requests waited for it.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let throttle = Self {
            up: Lane::new(),
            down: Lane::new(),
            requests: Lane::new(),
            metrics,
        };
        for direction in [Direction::Up, Direction::Down] {
            throttle.metrics.throttle_limit(direction, None);
        }
        throttle
    }

    /// Sets the limits. They apply at once to everything that waits. True if anything changed.
    pub fn set(&self, limits: Limits) -> bool {
        let mut changed = false;
        for (direction, limit) in [(Direction::Up, limits.up), (Direction::Down, limits.down)] {
            if self.lane(direction).set(limit, bucket_of_bytes) {
                self.metrics.throttle_limit(direction, limit);
                changed = true;
            }
        }
        changed | self.requests.set(limits.requests, |limit| Bucket::new(limit, 1))
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            up: self.up.limit(),
            down: self.down.limit(),
            requests: self.requests.limit(),
        }
    }

    fn lane(&self, direction: Direction) -> &Lane {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

/// The length of a piece at a limit, bytes.
fn piece_for(limit: u64) -> u64 {
    (limit / PIECES_A_SECOND).clamp(MIN_PIECE, MAX_PIECE)
}

fn bucket_of_bytes(limit: u64) -> Bucket {
    Bucket::new(limit - limit / MARGIN, burst_for(limit))
}

/// What a bucket holds at a limit, bytes: at least two pieces.
fn burst_for(limit: u64) -> u64 {
    (limit / BURSTS_A_SECOND).max(MIN_PIECE * 2)
}

#[async_trait]
impl LinePace for Throttle {
    fn piece(&self, direction: Direction) -> Option<usize> {
        let limit = self.lane(direction).limit()?;
        usize::try_from(piece_for(limit)).ok()
    }

    async fn bytes(&self, direction: Direction, bytes: usize) {
        let waited = self.lane(direction).pass(bytes as u64).await;
        if !waited.is_zero() {
            self.metrics.throttle_waited(direction, waited);
        }
    }

    async fn request(&self) {
        self.requests.pass(1).await;
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle")
            .field("limits", &self.limits())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
