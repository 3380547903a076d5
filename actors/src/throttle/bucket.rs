//! A token bucket by governor, in bytes. governor counts cells, and the time between two cells is a whole number of
//! nanoseconds: with one byte a cell, 60 MiB/s would be 6 % too fast. So a cell is as many bytes as the limit allows in
//! about 50 µs. Bytes of a cell that are taken and not used are kept for the next request.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};

/// At most this many cells a second.
const MAX_CELLS: u64 = 20_000;
/// The shortest wait that is worth a timer: those of tokio tick once a millisecond.
const TICK: Duration = Duration::from_millis(1);

/// One limit's bucket.
pub(super) struct Bucket {
    limiter: DefaultDirectRateLimiter,
    clock: DefaultClock,
    /// Bytes in a cell.
    pub(super) cell: u64,
    /// At most this many cells are taken at once.
    most: u64,
    /// Bytes taken and not used yet.
    spare: Mutex<u64>,
}

impl Bucket {
    /// A bucket for `rate` bytes a second (at least 1), and `burst` bytes at once after a pause. Empty at first.
    pub(super) fn new(rate: u64, burst: u64) -> Self {
        let cell = rate.div_ceil(MAX_CELLS).max(1);
        let most = burst.div_ceil(cell).clamp(1, u32::MAX.into());
        let period =
            Duration::from_nanos(cell.saturating_mul(1_000_000_000) / rate.max(1)).max(Duration::from_nanos(1));
        let burst = u32::try_from(most)
            .ok()
            .and_then(NonZeroU32::new)
            .unwrap_or(NonZeroU32::MIN);
        // The period is at least a nanosecond, so this always gives a quota.
        let quota = Quota::with_period(period).unwrap_or_else(|| Quota::per_second(burst));
        let limiter = DefaultDirectRateLimiter::direct(quota.allow_burst(burst));
        // Starts empty, so that changing the limit never allows a burst.
        let _ = limiter.check_n(burst);
        Self {
            limiter,
            clock: DefaultClock::default(),
            cell,
            most,
            spare: Mutex::new(0),
        }
    }

    /// Takes up to `bytes`. Returns how many were taken (at least one), or how long to wait before the next try.
    pub(super) fn take(&self, bytes: u64) -> Result<u64, Duration> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if *spare == 0 {
            let cells = bytes.div_ceil(self.cell).clamp(1, self.most);
            let cells = u32::try_from(cells)
                .ok()
                .and_then(NonZeroU32::new)
                .unwrap_or(NonZeroU32::MIN);
            match self.limiter.check_n(cells) {
                Ok(Ok(())) => *spare = u64::from(cells.get()) * self.cell,
                Ok(Err(until)) => return Err(until.wait_time_from(self.clock.now()).max(TICK)),
                // Never happens, as no more cells are asked for than the bucket holds.
                Err(_) => return Err(TICK),
            }
        }
        let taken = bytes.min(*spare);
        *spare -= taken;
        Ok(taken)
    }
}
