//! Plans the runs: one for every combination of the dimensions, then one for each change of the limit.

use std::str::FromStr;
use std::time::Duration;

use lockstone_actors::Tuning;

use super::stats::Change;
use crate::text::units;

/// The smallest pack, in bytes, even at a very low limit.
const MIN_PACK: u64 = 64 * 1024;

/// A limit as it was written, and in bytes per second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) text: String,
    /// Bytes per second; 0 is a pause, `None` means no limit.
    pub(crate) rate: Option<u64>,
}

/// Reads a limit to sweep. A pause is refused, because nothing can be measured in it.
pub(crate) fn limit(text: &str) -> Result<Limit, String> {
    match limit_or_pause(text)? {
        Limit { rate: Some(0), .. } => Err("nothing can be measured in a pause; see --changes".to_owned()),
        limit => Ok(limit),
    }
}

fn limit_or_pause(text: &str) -> Result<Limit, String> {
    let text = text.trim().to_owned();
    let rate = units::rate(&text)?.0;
    Ok(Limit { text, rate })
}

/// The length of the pieces that bodies are cut into, in bytes; `None` leaves it to the throttle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece(pub(crate) Option<usize>);

/// Reads the length of a piece, or `auto`.
pub(crate) fn piece(text: &str) -> Result<Piece, String> {
    if text.trim() == "auto" {
        return Ok(Piece(None));
    }
    match units::size(text)? {
        len @ 1..=0x400_0000 => Ok(Piece(usize::try_from(len).ok())),
        _ => Err("a piece has 1 byte to 64MiB".to_owned()),
    }
}

/// Reads a memory budget that a job can work with.
pub(crate) fn budget(text: &str) -> Result<u64, String> {
    let min = Tuning::minimal().budget_bytes;
    match units::size(text)? {
        budget if budget < min => Err(format!("a budget is at least {}MiB", min >> 20)),
        budget => Ok(budget),
    }
}

/// Reads the length of a pack in bytes.
pub(crate) fn pack(text: &str) -> Result<u64, String> {
    match units::size(text)? {
        len @ 1..=0x4000_0000 => Ok(len),
        _ => Err("a pack has 1 byte to 1GiB".to_owned()),
    }
}

/// A change in the middle of a run, `20Mbps:2Mbps`; or `none`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlannedChange {
    /// No change is measured.
    None,
    /// From the first limit to the second.
    FromTo(Limit, Limit),
}

impl FromStr for PlannedChange {
    type Err = String;

    fn from_str(text: &str) -> Result<PlannedChange, String> {
        if text.trim() == "none" {
            return Ok(PlannedChange::None);
        }
        let (from, to) = text
            .split_once(':')
            .ok_or_else(|| format!("{text:?} is not a change; use 20Mbps:2Mbps, or none"))?;
        let (from, to) = (limit(from)?, limit_or_pause(to)?);
        match from.rate {
            None => Err(
                "a change must begin at a limit: from `unlimited` it would only show the speed of the line".to_owned(),
            ),
            Some(_) => Ok(PlannedChange::FromTo(from, to)),
        }
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The limit; in a run with a change, the limit before the change.
    pub(crate) limit: Limit,
    /// The limit after the change, which comes in the middle of the run.
    pub(crate) then: Option<Limit>,
    pub(crate) piece: Piece,
    /// How many requests run at the same time.
    pub(crate) parallel: usize,
    /// The job's memory budget, in bytes.
    pub(crate) budget: u64,
    /// The length of a pack, in bytes.
    pub(crate) pack_len: usize,
    /// How long arrivals are counted.
    pub(crate) time: Duration,
}

impl Setting {
    /// The change, in a run with one.
    pub(super) fn change(&self) -> Option<Change> {
        let then = self.then.as_ref()?;
        Some(Change {
            from: self.limit.rate?,
            to: then.rate,
        })
    }

    /// The part of the budget that packs may use.
    pub(crate) fn data_budget(&self) -> u64 {
        tuning(self.budget).data_budget()
    }
}

fn tuning(budget_bytes: u64) -> Tuning {
    Tuning {
        budget_bytes,
        ..Tuning::default()
    }
}

/// The values to combine.
#[derive(Debug, Clone)]
pub(crate) struct Dimensions {
    pub(crate) limits: Vec<Limit>,
    pub(crate) pieces: Vec<Piece>,
    /// Numbers of requests at the same time.
    pub(crate) parallel: Vec<usize>,
    /// Memory budgets, in bytes.
    pub(crate) budgets: Vec<u64>,
    pub(crate) changes: Vec<PlannedChange>,
    /// How long arrivals are counted in a run.
    pub(crate) time: Duration,
    /// The length of a pack in bytes, if it shall not be that of a backup.
    pub(crate) pack_len: Option<u64>,
}

impl Dimensions {
    /// Every combination, then the changes. A change uses the first piece and budget, and the last number of parallel
    /// requests.
    pub(crate) fn settings(&self) -> Vec<Setting> {
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
            if let PlannedChange::FromTo(from, to) = change {
                settings.push(self.setting(from, Some(to), *piece, *parallel, *budget));
            }
        }
        settings
    }

    fn setting(&self, limit: &Limit, then: Option<&Limit>, piece: Piece, parallel: usize, budget: u64) -> Setting {
        // Two seconds before the change, and two in which it has to act and to be seen.
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

    /// The length of a backup's packs with that budget; less if fewer than two packs per worker would be put in the
    /// time.
    fn pack_len(&self, rate: Option<u64>, parallel: usize, budget: u64, time: Duration) -> usize {
        let full = tuning(budget).data_pack_target();
        let len = self.pack_len.or_else(|| {
            let bytes = rate?.saturating_mul(time.as_secs().max(1));
            Some((bytes / (2 * parallel.max(1) as u64)).max(MIN_PACK))
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
            changes: vec!["2Mbps:0".parse().unwrap(), PlannedChange::None],
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
    fn packs_are_those_of_a_backup_unless_too_few_would_be_put() {
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
        assert!(pack("0").is_err() && pack("2GiB").is_err() && pack("1GiB") == Ok(1 << 30));
        assert!(budget("1MiB").is_err() && budget("24MiB").is_ok());
        for bad in ["20Mbps", "unlimited:2Mbps", "0:2Mbps", "20Mbps:x"] {
            assert!(bad.parse::<PlannedChange>().is_err(), "{bad}");
        }
        assert!("2Mbps:unlimited".parse::<PlannedChange>().is_ok() && "2Mbps:0".parse::<PlannedChange>().is_ok());
    }
}
