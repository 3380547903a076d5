//! The throttle: when bytes and requests may go. One for the whole process, shared by all stores and jobs; whoever moves
//! bytes (the connector of an object store, the local folder) asks it piece by piece through `LinePace`.
//!
//! Each way has a token bucket (`bucket`, by governor) and a queue: whoever came first goes first, and only the first looks
//! at the bucket. A change of the limit (`set`) takes the bucket away from under the one who waits, so it acts at once, also
//! on a body that is under way. A limit of 0 is a pause. No limit costs one atomic load.
//!
//! What the limits are at a given time (windows, `throttle set`) is not known here: a [`Follower`] asks for them again and
//! again and sets them.

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

/// Longest and shortest piece of a body.
const PIECE_MOST: u64 = 64 * 1024;
const PIECE_LEAST: u64 = 512;
/// A piece is what goes in this part of a second, where that is between those: what was let go before a change of the limit
/// is still under way after it, and should not be seen beside a second at a tenth of the rate.
const PIECES_A_SECOND: u64 = 200;
/// A bucket holds what goes in this part of a second: enough to be woken late without losing anything, and too little to be
/// seen in a second.
const BURSTS_A_SECOND: u64 = 25;
/// Bodies keep below the limit by this part of it: heads of requests are not counted, and a limit is not to be exceeded.
const MARGIN: u64 = 200;
/// Stands for "no limit" in an atomic.
const UNLIMITED: u64 = u64::MAX;

/// What may go, by way. `None`: no limit; 0: nothing, until that changes.
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

/// What is limited by itself.
struct Lane {
    /// The limit, for those who only want to know whether there is one.
    limit: AtomicU64,
    /// The same, with its bucket, for those who wait.
    rate: watch::Sender<Rate>,
    /// First come, first served. Only who has it takes from the bucket.
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

    /// The limit; `None`: there is none.
    fn limit(&self) -> Option<u64> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|&limit| limit != UNLIMITED)
    }

    /// Sets the limit; false where it was that already.
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

    /// Waits until `units` may go; how long that was.
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
                // The sender is this lane's own, so it is there.
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
    /// Without limits. What is waited for it, and its limits, show in the metrics.
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

    /// Sets the limits; what waits now waits by these. True where anything changed.
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
    (limit / PIECES_A_SECOND).clamp(PIECE_LEAST, PIECE_MOST)
}

fn bucket_of_bytes(limit: u64) -> Bucket {
    Bucket::new(limit - limit / MARGIN, burst_for(limit))
}

/// What a bucket holds at a limit, bytes: two pieces at least.
fn burst_for(limit: u64) -> u64 {
    (limit / BURSTS_A_SECOND).max(PIECE_LEAST * 2)
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
#[path = "throttle_tests.rs"]
mod tests;
