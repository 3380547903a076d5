//! The pace of the store's traffic: a token bucket in bytes (`governor`), one for each direction, that callers wait for
//! before they send or ask. Waiting also ends on cancel.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};

use lockstone_vault::store::pace::Way;

use crate::flow::{CancelToken, Stop};
use crate::metrics::Metrics;
use crate::progress::{Progress, add};

/// One direction's pace.
pub(crate) struct Pace {
    limiter: Option<(DefaultDirectRateLimiter, NonZeroU32)>,
    clock: DefaultClock,
}

impl Pace {
    /// At most `rate` bytes a second; `None` is no limit, and costs nothing.
    pub(crate) fn new(rate: Option<NonZeroU32>) -> Self {
        let limiter = rate.map(|rate| {
            // The burst is a tenth of a second's worth: what is asked for is let through in pieces of that size.
            let piece = NonZeroU32::new(rate.get() / 10).unwrap_or(NonZeroU32::MIN);
            (
                DefaultDirectRateLimiter::direct(Quota::per_second(rate).allow_burst(piece)),
                piece,
            )
        });
        Self {
            limiter,
            clock: DefaultClock::default(),
        }
    }

    /// Waits until `bytes` may pass; returns how long that was.
    pub(crate) fn wait(&self, bytes: u64, cancel: &CancelToken) -> Result<Duration, Stop> {
        let Some((limiter, piece)) = &self.limiter else {
            return Ok(Duration::ZERO);
        };
        let mut waited = Duration::ZERO;
        let mut left = bytes;
        while left > 0 {
            let now = NonZeroU32::new(u32::try_from(left).unwrap_or(u32::MAX)).map_or(*piece, |left| left.min(*piece));
            match limiter.check_n(now) {
                Ok(Ok(())) => left -= u64::from(now.get()),
                Ok(Err(until)) => {
                    let pause = until.wait_time_from(self.clock.now());
                    if cancel.signal().recv_timeout(pause) == Err(crossbeam_channel::RecvTimeoutError::Disconnected) {
                        return Err(Stop::Cancelled);
                    }
                    waited += pause;
                }
                // Never: a piece is no larger than the burst.
                Err(_) => break,
            }
        }
        Ok(waited)
    }
}

impl Pace {
    /// Like [`wait`](Self::wait), and adds the time to the job's figures.
    pub(crate) fn pass(
        &self,
        way: Way,
        bytes: u64,
        cancel: &CancelToken,
        progress: &Progress,
        metrics: &Metrics,
    ) -> Result<(), Stop> {
        let waited = self.wait(bytes, cancel)?;
        if !waited.is_zero() {
            let nanoseconds = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
            add(&progress.totals.throttled_ns, nanoseconds);
            metrics.throttle_waited(way, waited);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_limit_makes_bytes_wait_and_a_cancel_ends_the_wait() {
        let cancel = CancelToken::new();
        let pace = Pace::new(NonZeroU32::new(100_000));
        assert!(pace.wait(30_000, &cancel).unwrap() >= Duration::from_millis(150));
        cancel.cancel();
        assert!(pace.wait(10_000_000, &cancel).is_err());
        assert_eq!(Pace::new(None).wait(u64::MAX, &cancel).unwrap(), Duration::ZERO);
    }
}
