//! What arrivals say: shares of a limit, the worst second, when a change acted, percentiles. Pure functions of bytes in slots
//! of [`SLOT`], counted from the first byte on.

use std::time::Duration;

/// How finely arrivals are counted.
pub const SLOT: Duration = Duration::from_millis(10);
/// Slots of a second.
pub const SECOND: usize = 100;

/// The slot in which something happens that long after the first byte.
#[must_use]
pub fn slot_of(after: Duration) -> usize {
    usize::try_from(after.as_millis() / SLOT.as_millis()).unwrap_or(usize::MAX)
}

/// Bytes of all the slots.
#[must_use]
pub fn carried(slots: &[u64]) -> u64 {
    slots.iter().sum()
}

/// Bytes a second over all the slots; nothing of no time.
#[must_use]
pub fn mean_rate(slots: &[u64]) -> f64 {
    if slots.is_empty() {
        return 0.0;
    }
    number(carried(slots)) * number(SECOND as u64) / number(slots.len() as u64)
}

/// Most bytes of any second, wherever it begins; all there is of a shorter time.
#[must_use]
pub fn worst_second(slots: &[u64]) -> u64 {
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

/// A change of the limit in mid-run, bytes a second. `to` may be 0 (a pause), or `None` (no limit any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The limit before.
    pub from: u64,
    /// The limit after.
    pub to: Option<u64>,
}

/// How long after slot `edge` the change acted: from then on a second carries what the new limit lets through, within a
/// tenth. A pause acted when the last byte came. `None`: it did not act while somebody looked.
#[must_use]
pub fn acted(slots: &[u64], edge: usize, change: Change) -> Option<Duration> {
    let after = slots.get(edge..)?;
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
                .position(|second| (least..=most).contains(&carried(second)))
        }
        None => after
            .windows(SECOND)
            .position(|second| carried(second) > change.from + change.from / 10),
    };
    Some(SLOT * u32::try_from(slot?).ok()?)
}

/// The value below which a share of the values lies (nearest rank); `None` of none.
#[must_use]
pub fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).clamp(1, sorted.len().max(1));
    sorted.get(rank - 1).copied()
}

/// The value in the middle.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let (low, high) = (percentile(values, 50)?, upper_middle(values)?);
    Some(f64::midpoint(low, high))
}

fn upper_middle(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// A count as a number to divide by; exact up to 8 PiB.
#[must_use]
pub fn number(count: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "counts of bytes and slots are far below 2^53")]
    let number = count as f64;
    number
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Bytes at an even rate for so many slots.
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
    fn a_second_is_looked_at_wherever_it_begins() {
        // Two bursts half a second apart, across the border of two whole seconds.
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
        // Nobody looked for a second after it.
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
