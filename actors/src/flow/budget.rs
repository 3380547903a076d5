//! The byte budget of a job. A stage that brings bytes into memory first takes a [`Permit`] for them. The permit
//! travels with the bytes and returns them to the budget when it is dropped or shrunk. So peak memory depends on the
//! budget and not on the data. Waiters are served in the order in which they came, so small requests cannot starve a
//! large one.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_channel::select;
use parking_lot::Mutex;

use super::clock::{self, Doing};
use super::{CancelToken, Stop};

/// A limit on the bytes that may be in memory at once. Clones share it.
#[derive(Clone)]
pub(crate) struct Budget {
    shared: Arc<Shared>,
}

struct Shared {
    total: u64,
    state: Mutex<State>,
}

struct State {
    /// Negative after an overdraft.
    free: i64,
    queue: VecDeque<Waiter>,
}

struct Waiter {
    bytes: u64,
    /// Has capacity 1, so granting never blocks.
    granted: crossbeam_channel::Sender<Permit>,
}

impl Budget {
    /// A budget of `total` bytes.
    #[must_use]
    pub(crate) fn new(total: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                total,
                state: Mutex::new(State {
                    free: signed(total),
                    queue: VecDeque::new(),
                }),
            }),
        }
    }

    /// The whole budget, in bytes.
    #[must_use]
    pub(crate) fn total(&self) -> u64 {
        self.shared.total
    }

    /// Bytes in use.
    #[must_use]
    pub(crate) fn used(&self) -> u64 {
        u64::try_from(signed(self.shared.total) - self.shared.state.lock().free).unwrap_or(0)
    }

    /// Whether a stage waits for room. If so, frames and packs that are only partly filled should be passed on.
    #[must_use]
    pub(crate) fn is_wanted(&self) -> bool {
        !self.shared.state.lock().queue.is_empty()
    }

    /// Takes `bytes` and waits until they are free. A request larger than the whole budget gets the whole budget.
    ///
    /// # Errors
    /// [`Stop::Cancelled`].
    pub(crate) fn take(&self, bytes: u64, cancel: &CancelToken) -> Result<Permit, Stop> {
        let bytes = bytes.min(self.shared.total);
        let waiting = {
            let mut state = self.shared.state.lock();
            if state.queue.is_empty() && state.free >= signed(bytes) {
                state.free -= signed(bytes);
                return Ok(Permit {
                    budget: self.clone(),
                    bytes,
                });
            }
            let (granted, waiting) = crossbeam_channel::bounded(1);
            state.queue.push_back(Waiter { bytes, granted });
            waiting
        };
        clock::waiting(Doing::Blocked, || {
            select! {
                recv(waiting) -> permit => permit.map_err(|_| Stop::Cancelled),
                // The waiter stays queued. A permit granted to it later is dropped with the channel and so given back.
                recv(cancel.signal()) -> _ => Err(Stop::Cancelled),
            }
        })
    }

    /// A permit for 0 bytes, to which others can be joined.
    #[must_use]
    pub(crate) fn none(&self) -> Permit {
        Permit {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// Counts bytes that exist already, without waiting, even beyond the total; nothing new is granted until enough is
    /// given back. For a stage that holds the very bytes that others wait for, and so must not wait itself.
    #[must_use]
    pub(crate) fn overdraw(&self, bytes: u64) -> Permit {
        self.shared.state.lock().free -= i64::try_from(bytes).unwrap_or(i64::MAX);
        Permit {
            budget: self.clone(),
            bytes,
        }
    }

    fn give(&self, bytes: u64) {
        let mut grants = Vec::new();
        {
            let mut state = self.shared.state.lock();
            state.free += signed(bytes);
            while let Some(first) = state.queue.front() {
                if signed(first.bytes) > state.free {
                    break;
                }
                state.free -= signed(first.bytes);
                if let Some(waiter) = state.queue.pop_front() {
                    grants.push(waiter);
                }
            }
        }
        // Outside the lock, because a permit whose waiter is gone is dropped here and calls `give` again.
        for waiter in grants {
            let _ = waiter.granted.try_send(Permit {
                budget: self.clone(),
                bytes: waiter.bytes,
            });
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Bytes of a [`Budget`], given back on drop.
pub(crate) struct Permit {
    budget: Budget,
    bytes: u64,
}

impl Permit {
    /// How many bytes it pays for.
    #[must_use]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back all but `bytes`. Never grows.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        if bytes < self.bytes {
            let back = self.bytes - bytes;
            self.bytes = bytes;
            self.budget.give(back);
        }
    }

    /// Joins another permit of the same budget to this one.
    pub(crate) fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.give(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use super::*;

    #[test]
    fn permits_return_what_they_took_however_they_are_cut() {
        let budget = Budget::new(100);
        let cancel = CancelToken::new();
        let mut first = budget.take(60, &cancel).unwrap();
        let part = budget.take(20, &cancel).unwrap();
        first.shrink_to(10);
        assert_eq!(budget.used(), 30);
        first.join(part);
        assert_eq!(first.bytes(), 30);
        drop(first);
        assert_eq!(budget.used(), 0);
        assert_eq!(
            budget.take(1000, &cancel).unwrap().bytes(),
            100,
            "a request beyond the total gets the total"
        );
    }

    #[test]
    fn a_large_request_is_served_before_later_small_ones_and_a_cancelled_one_gives_back() {
        let budget = Budget::new(100);
        let cancel = CancelToken::new();
        let held = budget.take(50, &cancel).unwrap();
        std::thread::scope(|scope| {
            let large = scope.spawn(|| budget.take(80, &cancel).map(|permit| permit.bytes()));
            while !budget.is_wanted() {
                std::thread::yield_now();
            }
            let small = scope.spawn(|| budget.take(10, &cancel).map(|permit| permit.bytes()));
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(budget.used(), 50, "the small one waits behind the large one");
            drop(held);
            assert_eq!(large.join().unwrap().unwrap(), 80);
            assert_eq!(small.join().unwrap().unwrap(), 10);
        });
        assert_eq!(budget.used(), 0);

        let held = budget.take(100, &cancel).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| budget.take(10, &cancel).map(|_| ()));
            while !budget.is_wanted() {
                std::thread::yield_now();
            }
            cancel.cancel();
            assert!(matches!(waiting.join().unwrap(), Err(Stop::Cancelled)));
        });
        drop(held);
        assert_eq!(budget.used(), 0);
    }
}
