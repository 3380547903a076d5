//! What a repair says in the log, and what each machine does with it.
//!
//! A Repair entry names what is lost, so that nobody has to look for it again, the segments that were made anew, and
//! the packs that were found damaged. All machines of the domain stop relying on those. A machine that reads such a
//! pack whole trusts it again, for itself.

use bytes::Bytes;
use jiff::Timestamp;
use lockstone_proto::ids::{PackId, PointId, SegmentId};
use lockstone_proto::vault::RepairBody;

use super::Domain;
use super::append::Step;
use super::refresh::State;
use crate::error::VaultError;
use crate::index::NOT_NEEDED;
use crate::log::repairs::{Word, words};
use crate::log::{Body, Entry, IDS_MAX};

/// The reason of a pack that a Repair entry names.
const FOUND_BAD: &str = "a check by a server of this domain found it damaged or missing";

/// What a repair has to say. What the log says already is left out when it is written.
#[derive(Debug, Default)]
pub(crate) struct RepairNews {
    /// Segments that were made anew and are durable.
    pub(crate) segments: Vec<SegmentId>,
    /// Segments that cannot be read.
    pub(crate) lost_segments: Vec<SegmentId>,
    /// Positions of the log whose entries are lost.
    pub(crate) positions: Vec<u64>,
    /// Packs that were found damaged or missing.
    pub(crate) bad: Vec<PackId>,
    /// Those of them that no recovery point needs.
    pub(crate) unneeded: Vec<PackId>,
    /// The last position of the log, if what stands there is damaged or no entry.
    pub(crate) bad_end: Option<u64>,
    /// Packs that were read whole.
    pub(crate) whole: Vec<PackId>,
    /// The points that lost something, of those that are not deleted. `None` if not all of them were walked.
    pub(crate) lossy: Option<Vec<PointId>>,
}

impl Domain {
    /// Writes down what a repair found and made. Returns what was written; `None` if the log says all of it already.
    pub(crate) async fn append_repair(
        &self,
        news: &RepairNews,
        now: Timestamp,
    ) -> Result<Option<RepairBody>, VaultError> {
        let written = std::sync::Mutex::new(None);
        let note = |body: Option<RepairBody>| {
            *written.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = body;
        };
        self.append(now, &[], &[], |state| match self.repair_body(news, state) {
            Some((points, body)) => {
                note(Some(body.clone()));
                Ok(Step::Write(Body::Repair(points, Box::new(body))))
            }
            None => {
                note(None);
                Ok(Step::Done)
            }
        })
        .await?;
        Ok(written.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The part of the news that the log does not say yet. What stands behind the last entry is accounted for by any
    /// entry.
    fn repair_body(&self, news: &RepairNews, state: &State) -> Option<(Vec<PointId>, RepairBody)> {
        let repairs = &state.repairs;
        let fresh = |packs: &[PackId], word: Option<Word>| {
            bytes_of(packs.iter().filter(|pack| repairs.word(pack) != word).copied())
        };
        let body = RepairBody {
            segment_ids: bytes_of(news.segments.iter().copied()),
            lost_segment_ids: bytes_of(
                news.lost_segments
                    .iter()
                    .filter(|id| !repairs.is_lost_segment(id))
                    .copied(),
            ),
            positions: {
                let open = news.positions.iter().copied().filter(|n| !repairs.is_lost(*n));
                open.take(IDS_MAX).collect()
            },
            bad_pack_ids: fresh(&news.bad, Some(Word::Bad)),
            whole_pack_ids: fresh(&news.whole, None),
            unneeded_pack_ids: fresh(&news.unneeded, Some(Word::Unneeded)),
        };
        let points = lossy(news, state);
        let ends_badly = news.bad_end.is_some_and(|n| n >= state.chain.end().n);
        let mut sorted = (points.clone(), repairs.lossy().to_vec());
        sorted.0.sort_unstable();
        sorted.1.sort_unstable();
        let says_something = body != RepairBody::default() || sorted.0 != sorted.1 || state.ends_badly() || ends_badly;
        says_something.then_some((points, body))
    }

    /// Does what a Repair entry says of packs. A Condemn that is lost counts for nobody from then on, also for a server
    /// that still has it in its cache: others list those packs again, and rely on them. It comes before the entry is
    /// kept: an entry that is in the cache is not read again.
    pub(super) fn heed(&self, entry: &Entry) -> Result<(), VaultError> {
        let Body::Repair(_, body) = &entry.body else {
            return Ok(());
        };
        if !body.positions.is_empty() {
            self.index.uncondemn(&body.positions)?;
        }
        for (word, packs) in words(body) {
            match word {
                Some(Word::Bad) => self.index.distrust_new(&packs, FOUND_BAD)?,
                Some(Word::Unneeded) => {
                    let notes: Vec<_> = packs.into_iter().map(|id| (id, NOT_NEEDED.to_owned())).collect();
                    self.index.distrust(&notes)?;
                }
                None => self.index.trust(&packs)?,
            }
        }
        Ok(())
    }
}

/// The points that lost something. Nothing new is known of deleted ones.
fn lossy(news: &RepairNews, state: &State) -> Vec<PointId> {
    let known = state.repairs.lossy();
    let Some(found) = &news.lossy else {
        return known.to_vec();
    };
    let is_deleted = |id: &&PointId| {
        let point = state.summed.point(id).filter(|_| state.summed.gone_at(id).is_none());
        point.is_some_and(|point| point.forgotten.is_some())
    };
    let deleted = known.iter().filter(is_deleted).filter(|id| !found.contains(id));
    let mut points: Vec<PointId> = found.iter().chain(deleted).copied().collect();
    points.truncate(IDS_MAX);
    points
}

fn bytes_of<T: AsRef<[u8]>>(ids: impl Iterator<Item = T>) -> Vec<Bytes> {
    ids.take(IDS_MAX)
        .map(|id| Bytes::copy_from_slice(id.as_ref()))
        .collect()
}
