//! Computes rates, the worst second, the effect of a change, and percentiles from arrivals.
//!
//! All functions are pure. Arrivals are bytes per slot of [`SLOT`], counted from the first byte on.

use std::time::Duration;

/// The time of one slot.
pub(super) const SLOT: Duration = Duration::from_millis(10);
/// The slots in a second.
pub(super) const SECOND: usize = 100;

/// The slot of a moment, given as the time since the first byte.
pub(super) fn slot_of(after: Duration) -> usize {
    usize::try_from(after.as_millis() / SLOT.as_millis()).unwrap_or(usize::MAX)
}

/// The bytes of all slots.
pub(super) fn total(slots: &[u64]) -> u64 {
    slots.iter().sum()
}

/// Bytes per second over all slots; 0 without slots.
pub(super) fn mean_rate(slots: &[u64]) -> f64 {
    if slots.is_empty() {
        return 0.0;
    }
    number(total(slots)) * number(SECOND as u64) / number(slots.len() as u64)
}

/// The most bytes in any second, which may begin in any slot. Fewer slots than a second count as one.
pub(super) fn worst_second(slots: &[u64]) -> u64 {
    let mut window: u64 = 0;
    let mut worst = 0;
    for (at, bytes) in slots.iter().enumerate() {
        window += bytes;
        if at >= SECOND {
            window -= slots[at - SECOND];
        }
        worst = worst.max(window);
    }
    worst
}

/// A change of the limit in the middle of a run, in bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// The limit before.
    pub(super) from: u64,
    /// The limit after; 0 is a pause, `None` means no limit.
    pub(super) to: Option<u64>,
}

/// How long after slot `changed_at` the change acted: the start of the first second whose bytes are within a tenth of
/// the new limit. A pause acted when the last byte arrived. `None` if the change did not act within the slots.
pub(super) fn acted(slots: &[u64], changed_at: usize, change: Change) -> Option<Duration> {
    let after = slots.get(changed_at..)?;
    let slot = match change.to {
        Some(0) => {
            let last = after.iter().rposition(|bytes| *bytes > 0);
            let quiet_from = last.map_or(0, |last| last + 1);
            (quiet_from + SECOND <= after.len()).then_some(quiet_from)
        }
        Some(limit) => {
            let (least, most) = (limit - limit / 10, limit + limit / 10);
            after
                .windows(SECOND)
                .position(|second| (least..=most).contains(&total(second)))
        }
        None => after
            .windows(SECOND)
            .position(|second| total(second) > change.from + change.from / 10),
    };
    Some(SLOT * u32::try_from(slot?).ok()?)
}

/// A percentile of the values by nearest rank; `None` without values.
pub(super) fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).clamp(1, sorted.len().max(1));
    sorted.get(rank - 1).copied()
}

/// The median; `None` without values.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let (low, high) = (percentile(values, 50)?, upper_middle(values)?);
    Some(f64::midpoint(low, high))
}

fn upper_middle(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// A count as a number to calculate with; exact below 2^53 (8 PiB).
pub(super) fn number(count: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "counts of bytes and slots are far below 2^53")]
    let number = count as f64;
    number
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Bytes at an even rate, in so many slots.
    fn even(bytes_per_second: u64, slots: usize) -> Vec<u64> {
        vec![bytes_per_second / SECOND as u64; slots]
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn an_even_flow_is_its_own_worst_second() {
        let slots = even(10_000, 5 * SECOND);
        assert!(close(mean_rate(&slots), 10_000.0));
        assert_eq!(worst_second(&slots), 10_000);
        assert!(close(mean_rate(&[]), 0.0) && worst_second(&[]) == 0);
    }

    #[test]
    fn a_second_may_begin_in_any_slot() {
        // Two bursts half a second apart, before and after the end of the first second.
        let mut slots = vec![0; 3 * SECOND];
        slots[75] = 600;
        slots[125] = 600;
        assert_eq!(worst_second(&slots), 1200);
        // A second has 100 slots: the 101st is outside.
        let mut slots = vec![0; 3 * SECOND];
        slots[50] = 600;
        slots[150] = 600;
        assert_eq!(worst_second(&slots), 600);
    }

    #[test]
    fn a_change_acts_when_the_flow_follows_it() {
        let change = |from, to| Change { from, to };
        // Down, after 200 ms at the old rate.
        let mut slots = even(10_000, 220);
        slots.extend(even(2_000, 300));
        let after = acted(&slots, 200, change(10_000, Some(2_000))).unwrap();
        assert!(
            after <= Duration::from_millis(200) && after >= Duration::from_millis(150),
            "{after:?}"
        );
        // Up at once.
        let mut slots = even(2_000, 200);
        slots.extend(even(10_000, 300));
        assert_eq!(acted(&slots, 200, change(2_000, Some(10_000))), Some(Duration::ZERO));
        assert_eq!(acted(&slots, 200, change(2_000, None)), Some(Duration::ZERO));
        // Never.
        let slots = even(10_000, 500);
        assert_eq!(acted(&slots, 200, change(10_000, Some(2_000))), None);
        assert_eq!(acted(&slots, 200, change(10_000, Some(0))), None);
        assert_eq!(acted(&slots, 900, change(10_000, Some(2_000))), None);
    }

    #[test]
    fn a_pause_acts_when_the_last_byte_came() {
        let mut slots = even(10_000, 230);
        slots.extend(even(0, 200));
        let pause = Change {
            from: 10_000,
            to: Some(0),
        };
        assert_eq!(acted(&slots, 200, pause), Some(Duration::from_millis(300)));
        assert_eq!(acted(&slots, 230, pause), Some(Duration::ZERO));
        // The slots end less than a second after the pause.
        assert_eq!(acted(&slots[..300], 200, pause), None);
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 50), Some(50.0));
        assert_eq!(percentile(&values, 99), Some(99.0));
        assert_eq!(percentile(&values, 100), Some(100.0));
        assert_eq!(percentile(&[7.0], 1), Some(7.0));
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(median(&values), Some(50.5));
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }
}
