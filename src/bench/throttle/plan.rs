//! What is measured: every combination of the dimensions that are swept, then changes of the limit in mid-run, then the cost
//! of a throttle that does not limit.

use std::str::FromStr;
use std::time::Duration;

use lockstone_actors::Tuning;

use super::stats::Change;
use crate::text::units;

/// Packs are no smaller than this, however slow they go.
const PACK_LEAST: u64 = 64 * 1024;

/// A limit as people write it, and in bytes a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// As it was written.
    pub text: String,
    /// Bytes a second; 0 is a pause, `None` no limit.
    pub rate: Option<u64>,
}

/// A limit to sweep: not a pause, in which nothing can be measured.
///
/// # Errors
/// In words, where it is none.
pub fn limit(text: &str) -> Result<Limit, String> {
    match limit_or_pause(text)? {
        Limit { rate: Some(0), .. } => Err("in a pause nothing can be measured; see --changes".to_owned()),
        limit => Ok(limit),
    }
}

fn limit_or_pause(text: &str) -> Result<Limit, String> {
    let text = text.trim().to_owned();
    let rate = units::rate(&text)?.0;
    Ok(Limit { text, rate })
}

/// The length of the pieces that bodies are cut into; `auto` is the throttle's own choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece(pub Option<usize>);

/// A piece's length, or `auto`.
///
/// # Errors
/// In words, where it is neither.
pub fn piece(text: &str) -> Result<Piece, String> {
    if text.trim() == "auto" {
        return Ok(Piece(None));
    }
    match units::size(text)? {
        len @ 1..=0x400_0000 => Ok(Piece(usize::try_from(len).ok())),
        _ => Err("a piece has 1 byte to 64MiB".to_owned()),
    }
}

/// A memory budget that a job works with.
///
/// # Errors
/// In words, where it is none.
pub fn budget(text: &str) -> Result<u64, String> {
    let least = Tuning::minimal().budget_bytes;
    match units::size(text)? {
        budget if budget < least => Err(format!("a budget is at least {}MiB", least >> 20)),
        budget => Ok(budget),
    }
}

/// A change in mid-run, `20Mbps:2Mbps`; or `none`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edge {
    /// No changes are measured.
    None,
    /// From one limit to the other.
    At(Limit, Limit),
}

impl FromStr for Edge {
    type Err = String;

    fn from_str(text: &str) -> Result<Edge, String> {
        if text.trim() == "none" {
            return Ok(Edge::None);
        }
        let (from, to) = text
            .split_once(':')
            .ok_or_else(|| format!("{text:?} is no change; use 20Mbps:2Mbps, or none"))?;
        let (from, to) = (limit(from)?, limit_or_pause(to)?);
        match from.rate {
            None => {
                Err("a change begins at a limit: from `unlimited` it would show only what the line can do".to_owned())
            }
            Some(_) => Ok(Edge::At(from, to)),
        }
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The limit; of a change, the one before.
    pub limit: Limit,
    /// The limit after the change, half-way through the time.
    pub then: Option<Limit>,
    /// The length of pieces.
    pub piece: Piece,
    /// Requests at once.
    pub parallel: usize,
    /// The job's memory budget, bytes.
    pub budget: u64,
    /// The length of what is put, bytes.
    pub pack_len: usize,
    /// How long arrivals are counted.
    pub time: Duration,
}

impl Setting {
    /// The change, if it is a run with one.
    #[must_use]
    pub fn change(&self) -> Option<Change> {
        let then = self.then.as_ref()?;
        Some(Change {
            from: self.limit.rate?,
            to: then.rate,
        })
    }

    /// What of the budget packs may take.
    #[must_use]
    pub fn data_budget(&self) -> u64 {
        tuning(self.budget).data_budget()
    }
}

fn tuning(budget_bytes: u64) -> Tuning {
    Tuning {
        budget_bytes,
        ..Tuning::default()
    }
}

/// The dimensions.
#[derive(Debug, Clone)]
pub struct Dimensions {
    /// Limits.
    pub limits: Vec<Limit>,
    /// Lengths of pieces.
    pub pieces: Vec<Piece>,
    /// Requests at once.
    pub parallel: Vec<usize>,
    /// Memory budgets, bytes.
    pub budgets: Vec<u64>,
    /// Changes.
    pub changes: Vec<Edge>,
    /// The time of a run.
    pub time: Duration,
    /// The length of what is put, where it is not that of a backup.
    pub pack_len: Option<u64>,
}

impl Dimensions {
    /// Every combination; the changes with the first of the other dimensions.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        for limit in &self.limits {
            for piece in &self.pieces {
                for parallel in &self.parallel {
                    for budget in &self.budgets {
                        settings.push(self.setting(limit, None, *piece, *parallel, *budget));
                    }
                }
            }
        }
        let (Some(piece), Some(parallel), Some(budget)) =
            (self.pieces.first(), self.parallel.last(), self.budgets.first())
        else {
            return settings;
        };
        for change in &self.changes {
            if let Edge::At(from, to) = change {
                settings.push(self.setting(from, Some(to), *piece, *parallel, *budget));
            }
        }
        settings
    }

    fn setting(&self, limit: &Limit, then: Option<&Limit>, piece: Piece, parallel: usize, budget: u64) -> Setting {
        // A change has a second before it, and two in which it has to act and to be seen.
        let time = if then.is_some() {
            self.time.max(Duration::from_secs(4))
        } else {
            self.time
        };
        Setting {
            limit: limit.clone(),
            then: then.cloned(),
            piece,
            parallel,
            budget,
            pack_len: self.pack_len(limit.rate, parallel, budget, time),
            time,
        }
    }

    /// As long as a backup's packs with that budget; shorter where fewer than two for each worker would go in the time.
    fn pack_len(&self, rate: Option<u64>, parallel: usize, budget: u64, time: Duration) -> usize {
        let full = tuning(budget).data_pack_target();
        let len = self.pack_len.or_else(|| {
            let carried = rate?.saturating_mul(time.as_secs().max(1));
            Some((carried / (2 * parallel.max(1) as u64)).max(PACK_LEAST))
        });
        len.and_then(|len| usize::try_from(len).ok())
            .map_or(full, |len| if self.pack_len.is_some() { len } else { len.min(full) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn dimensions() -> Dimensions {
        Dimensions {
            limits: ["256Kbps", "800Mbps", "unlimited"]
                .map(|text| limit(text).unwrap())
                .to_vec(),
            pieces: vec![Piece(None), Piece(Some(4096))],
            parallel: vec![1, 8],
            budgets: vec![48 << 20],
            changes: vec!["2Mbps:0".parse().unwrap(), Edge::None],
            time: Duration::from_secs(2),
            pack_len: None,
        }
    }

    #[test]
    fn every_combination_is_measured_once_and_then_the_changes() {
        let settings = dimensions().settings();
        assert_eq!(settings.len(), 3 * 2 * 2 + 1);
        let change = settings.last().unwrap();
        let wanted = Change {
            from: 250_000,
            to: Some(0),
        };
        assert_eq!(change.change(), Some(wanted));
        assert_eq!(change.time, Duration::from_secs(4));
        assert!(settings[..12].iter().all(|setting| setting.change().is_none()));
    }

    #[test]
    fn packs_are_those_of_a_backup_unless_too_few_would_go() {
        let settings = dimensions().settings();
        assert_eq!(settings[0].pack_len, 64 * 1024);
        let full = tuning(48 << 20).data_pack_target();
        assert_eq!(settings[8].pack_len, full);
        assert!(settings.iter().all(|setting| setting.pack_len <= full));
        let own = Dimensions {
            pack_len: Some(100 << 20),
            ..dimensions()
        };
        assert!(own.settings().iter().all(|setting| setting.pack_len == 100 << 20));
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for bad in ["fast", "0", ""] {
            assert!(limit(bad).is_err(), "{bad}");
        }
        assert!(piece("0").is_err() && piece("65MiB").is_err() && piece("auto") == Ok(Piece(None)));
        assert!(budget("1MiB").is_err() && budget("24MiB").is_ok());
        for bad in ["20Mbps", "unlimited:2Mbps", "0:2Mbps", "20Mbps:x"] {
            assert!(bad.parse::<Edge>().is_err(), "{bad}");
        }
        assert!("2Mbps:unlimited".parse::<Edge>().is_ok() && "2Mbps:0".parse::<Edge>().is_ok());
    }
}
