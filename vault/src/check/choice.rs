//! Which packs a check reads: those first that were not read for the longest time. A check of everything that was
//! stopped goes on where it was.

use jiff::Timestamp;
use lockstone_proto::ids::PackId;

use super::CheckOptions;
use super::listed::Packs;
use crate::error::VaultError;
use crate::index::Index;

/// A check of everything that was stopped goes on within this time. Later it begins anew.
const GO_ON_WITHIN_S: i64 = 7 * 86_400;
const DAY_S: u64 = 86_400;

/// Which packs are read, as far as nothing is known against them.
#[derive(Debug)]
pub(super) enum Choice {
    None,
    /// All that the check of everything with this number has not read.
    All {
        round: u32,
    },
    These(Packs),
}

/// A pack that may be chosen.
struct Candidate {
    number: u32,
    len: u64,
    unread_since_s: i64,
    never_read: bool,
    /// Decides between packs that were not read for equally long.
    lot: u64,
}

impl Choice {
    pub(super) fn make(index: &Index, options: &CheckOptions) -> Result<Self, VaultError> {
        let now_s = options.now.as_second();
        match (options.round, options.read_data) {
            (None, None) => Ok(Self::None),
            (None, Some(percent)) if percent >= 100.0 => {
                let (last, begun_s) = index.last_round()?;
                let goes_on = begun_s.is_some_and(|begun| (now_s - GO_ON_WITHIN_S..=now_s).contains(&begun));
                let round = if goes_on { last } else { last.wrapping_add(1).max(1) };
                index.note_round(round, begun_s.filter(|_| goes_on).or(Some(now_s)))?;
                Ok(Self::All { round })
            }
            (Some(round), _) => {
                let mut all = candidates(index, options)?;
                let total: u64 = all.iter().map(|pack| pack.len).sum();
                let days = (round.as_secs() / DAY_S).max(1);
                let due_s = now_s.saturating_sub_unsigned(round.as_secs().saturating_sub(DAY_S));
                all.sort_by_key(|pack| (pack.unread_since_s, pack.lot));
                let mut bytes = 0;
                Ok(Self::first(&all, |pack| {
                    let is_wanted = bytes < total.div_ceil(days) || pack.unread_since_s <= due_s;
                    bytes += pack.len;
                    is_wanted
                }))
            }
            (None, Some(percent)) => {
                let mut all = candidates(index, options)?;
                all.sort_by_key(|pack| (!pack.never_read, pack.unread_since_s, pack.lot));
                let wanted = percent / 100.0 * all.len() as f64;
                let mut count = 0.0;
                Ok(Self::first(&all, |_| {
                    count += 1.0;
                    count - 1.0 < wanted
                }))
            }
        }
    }

    /// The first packs, for as long as `more` says so of the next one.
    fn first(all: &[Candidate], more: impl FnMut(&&Candidate) -> bool) -> Self {
        let mut chosen = Packs::default();
        for pack in all.iter().take_while(more) {
            chosen.add(pack.number);
        }
        Self::These(chosen)
    }

    /// Whether the pack is to be read.
    pub(super) fn has(&self, id: &PackId, number: u32, index: &Index) -> Result<bool, VaultError> {
        Ok(match self {
            Self::None => false,
            Self::These(chosen) => chosen.has(number),
            Self::All { round } => {
                let time = index.read_time(id, Timestamp::MAX)?;
                time.is_none_or(|time| time.round != *round)
            }
        })
    }

    /// Whether everything is read.
    pub(super) fn is_all(&self) -> bool {
        matches!(self, Self::All { .. })
    }

    /// The number of the check of everything; 0 if it is another check.
    pub(super) fn round(&self) -> u32 {
        match self {
            Self::All { round } => *round,
            Self::None | Self::These(_) => 0,
        }
    }

    /// The check has come to its end, or was stopped.
    pub(super) fn end(&self, index: &Index, cancelled: bool) -> Result<(), VaultError> {
        if let Self::All { round } = self
            && !cancelled
        {
            index.note_round(*round, None)?;
        }
        Ok(())
    }
}

/// The packs that nothing is known against. Those that were not noted as known yet are from now on.
fn candidates(index: &Index, options: &CheckOptions) -> Result<Vec<Candidate>, VaultError> {
    let mut all = Vec::new();
    for first in 0..=u8::MAX {
        let mut packs = Vec::new();
        index.packs_beginning(first, &mut |id, number| {
            packs.push((id, number));
            true
        })?;
        let mut new = Vec::new();
        for (id, number) in packs {
            let Some(pack) = index.pack(number)?.filter(|_| !index.is_condemned(&id)) else {
                continue;
            };
            let time = index.read_time(&id, options.now)?;
            if time.is_none() {
                new.push(id);
            }
            all.push(Candidate {
                number,
                len: pack.len,
                unread_since_s: time.map_or(options.now.as_second(), |time| time.unread_since_s()),
                never_read: time.is_none_or(|time| time.read_s.is_none()),
                lot: lot(&id, options.sample),
            });
        }
        index.note_known(&new, options.now)?;
    }
    Ok(all)
}

fn lot(id: &PackId, sample: u64) -> u64 {
    let hash = blake3::Hasher::new()
        .update(&sample.to_le_bytes())
        .update(id.as_bytes())
        .finalize();
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
