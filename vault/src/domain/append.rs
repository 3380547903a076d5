//! Appending to the log: find its end, validate (`validate`), and create the next entry. If another server took that
//! position, begin again after a pause, for as long as the log grows (`Lost`). Two servers never write one position,
//! and a server that did not get its answer finds its entry by the nonce.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
#[cfg(any(test, feature = "testing"))]
use lockstone_proto::ids::PackId;
use lockstone_proto::ids::{PointId, SegmentId};
use lockstone_proto::limits::LOG_ENTRY_MAX;
#[cfg(any(test, feature = "testing"))]
use lockstone_proto::vault::CondemnBody;
use lockstone_proto::vault::{CommitBody, ForgetReason, HoldBody, PackEntry, PointSummary};

use super::dates::{bounded, move_start};
use super::ended::refuse_ended;
use super::refresh::State;
use super::validate::{
    Relied, Verdict, over, validate_commit, validate_forget, validate_hold, validate_release, validate_undelete,
};
use super::{Domain, Signer};
use crate::crypto::keys::random;
use crate::damage::DamageKind;
use crate::error::VaultError;
use crate::log::{Body, EntryParts, LogHead, PlainEntry, own_nonce, seal};
use crate::store::{Created, jitter, names};

/// How many tries in a row may fail although the log does not grow. Then the store contradicts itself.
const TRIES_WITHOUT_GROWTH: u32 = 16;
/// How many tries may fail although the log grows. Nobody loses so often by chance; this ends a race against somebody
/// who writes objects without end.
const TRIES: u32 = 10_000;
/// The longest pause after the first lost try. It doubles from one to the next.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(1600);

impl Domain {
    /// Writes a checkpoint: these segments belong to the index. Call it only after segments and packs are durable.
    /// `packs` are the packs that the segments list; they are added to the index when the entry is written.
    pub async fn append_segments(
        &self,
        segments: Vec<SegmentId>,
        packs: &[PackEntry],
        now: Timestamp,
    ) -> Result<LogHead, VaultError> {
        let own = segments.clone();
        self.append(now, packs, &own, |_| Ok(Step::Write(Body::Segments(segments.clone()))))
            .await
    }

    /// Commits a recovery point. Call it only after everything that the point reaches is durable: docs/ARCHITECTURE.md,
    /// "Order of durability". `body.segment_ids` are segments that no checkpoint named yet, `packs` the packs they
    /// list, and `body.index_position` the entry at which the index and the parents were read (`LogView::head`).
    /// `LostRace` if something that the backup relies on was collected meanwhile: begin a new generation. `Revoked` if
    /// the operator ended this server's right meanwhile. Committing the same point again changes nothing.
    pub async fn commit(
        &self,
        summary: PointSummary,
        body: CommitBody,
        packs: &[PackEntry],
        relied: &Relied,
        now: Timestamp,
    ) -> Result<LogHead, VaultError> {
        // The right may have ended while the backup ran.
        let pin = self.vault.pin();
        self.state
            .lock()
            .await
            .servers
            .refresh_orders(self.store(), &pin)
            .await?;
        let id = PointId::try_from(summary.point_id.as_ref()).ok();
        let ids = body.parents.iter();
        let parents: Vec<PointId> = ids.filter_map(|id| PointId::try_from(id.as_ref()).ok()).collect();
        let own = Body::Commit(Box::new(summary), Box::new(body));
        let segments = own.segments();
        self.append(now, packs, &segments, |state| {
            let is_condemned = self.index.has_condemned(&relied.known, &relied.own);
            match validate_commit(id.as_ref(), &parents, &state.summed, is_condemned) {
                Verdict::Valid => Ok(Step::Write(own.clone())),
                Verdict::Committed => Ok(Step::Done),
                Verdict::LostRace => Err(VaultError::LostRace {
                    n: state.summed.last_collected(),
                }),
            }
        })
        .await
    }

    /// Forgets recovery points, by hand.
    pub async fn forget(&self, points: &[PointId], now: Timestamp) -> Result<LogHead, VaultError> {
        self.forget_because(points, ForgetReason::ByHand, now).await
    }

    /// Forgets recovery points: deletes them so that they can be brought back. Points that are already forgotten stay
    /// as they are. `Held` if one of them is held. A hold whose date is over is released first, since a Forget has no
    /// effect on a point that is held.
    pub async fn forget_because(
        &self,
        points: &[PointId],
        reason: ForgetReason,
        now: Timestamp,
    ) -> Result<LogHead, VaultError> {
        loop {
            let released = AtomicBool::new(false);
            let head = self.append(now, &[], &[], |state| {
                let over = over(points, &state.summed, now);
                released.store(!over.is_empty(), Ordering::Relaxed);
                if !over.is_empty() {
                    return Ok(Step::Write(Body::Release(over)));
                }
                let fresh = validate_forget(points, &state.summed)?;
                Ok(Step::of_points(fresh, |points| Body::Forget(points, reason)))
            });
            let head = head.await?;
            if !released.into_inner() {
                return Ok(head);
            }
        }
    }

    /// Holds recovery points: they cannot be forgotten until they are released, or until a date. A hold that they have
    /// is replaced. The reason has 1 to `TEXT_MAX` bytes.
    pub async fn hold(
        &self,
        points: &[PointId],
        reason: &str,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<LogHead, VaultError> {
        let body = HoldBody {
            reason: reason.to_owned(),
            until_s: until.map_or(0, Timestamp::as_second),
        };
        self.append(now, &[], &[], |state| {
            let held = validate_hold(points, &state.summed)?;
            Ok(Step::of_points(held, |points| Body::Hold(points, body.clone())))
        })
        .await
    }

    /// Releases recovery points. Those that are not held stay as they are.
    pub async fn release(&self, points: &[PointId], now: Timestamp) -> Result<LogHead, VaultError> {
        self.append(now, &[], &[], |state| {
            validate_release(points, &state.summed).map(|held| Step::of_points(held, Body::Release))
        })
        .await
    }

    /// Brings forgotten points back. `TooLate` if one of them is gone, because a collection did not keep what it needs.
    pub async fn undelete(&self, points: &[PointId], now: Timestamp) -> Result<LogHead, VaultError> {
        self.append(now, &[], &[], |state| {
            validate_undelete(points, &state.summed).map(|back| Step::of_points(back, Body::Restore))
        })
        .await
    }

    /// Appends what a collection decided, if the log still ends with the entry up to which it has marked. `None` if it
    /// does not: the collection has to look at what is new, and to decide again. `packs` are those that the segments of
    /// a Repack list.
    pub(crate) async fn append_collected(
        &self,
        marked: LogHead,
        body: &Body,
        packs: &[PackEntry],
        now: Timestamp,
    ) -> Result<Option<LogHead>, VaultError> {
        let segments = body.segments();
        let is_stale = AtomicBool::new(false);
        let head = self.append(now, packs, &segments, |state| {
            let stale = state.chain.head() != marked;
            is_stale.store(stale, Ordering::Relaxed);
            Ok(if stale { Step::Done } else { Step::Write(body.clone()) })
        });
        let head = head.await?;
        Ok((!is_stale.into_inner()).then_some(head))
    }

    /// Condemns packs, whatever needs them, and names points as gone.
    #[cfg(any(test, feature = "testing"))]
    pub async fn append_condemn(
        &self,
        gone: &[PointId],
        packs: &[PackId],
        now: Timestamp,
    ) -> Result<LogHead, VaultError> {
        let body = CondemnBody {
            pack_ids: packs.iter().map(|id| Bytes::copy_from_slice(id.as_bytes())).collect(),
            ..CondemnBody::default()
        };
        let body = Body::Condemn(gone.to_vec(), body);
        self.append(now, &[], &[], |_| Ok(Step::Write(body.clone()))).await
    }

    /// Appends the entry that `decide` returns. `decide` is asked again whenever another entry came first. `now` is
    /// what this server's clock shows; the entry has the time that `bounded` gives it.
    pub(super) async fn append(
        &self,
        now: Timestamp,
        packs: &[PackEntry],
        segments: &[SegmentId],
        decide: impl Fn(&State) -> Result<Step, VaultError>,
    ) -> Result<LogHead, VaultError> {
        let signer = self.signer.as_ref().ok_or(VaultError::ReadOnly)?;
        self.vault.descriptor().features.check_write()?;
        let mut state = self.state.lock().await;
        refuse_ended(&state, signer)?;
        self.read_pin(&mut state);
        self.read_kept(&mut state).await?;
        let mut lost = Lost::default();
        loop {
            refuse_set_back(&state)?;
            self.read_on(&mut state, false).await?;
            self.check_pin(&mut state);
            refuse_set_back(&state)?;
            self.load_segments(&mut state).await?;
            let mut body = match decide(&state)? {
                Step::Write(body) => body,
                Step::Done => {
                    self.publish(&mut state)?;
                    return Ok(state.chain.head());
                }
            };
            let earlier = state.times.iter().copied().chain([self.vault.descriptor().created]);
            let time = bounded(now, self.vault.store_time(now), earlier);
            move_start(&mut body, now, time);
            if let Some(object) = self.create(signer, &state, &body, time).await? {
                self.take_own(&mut state, &object, packs, segments)?;
                self.publish(&mut state)?;
                return Ok(state.chain.head());
            }
            let pause = lost.pause(state.chain.end().n, jitter());
            crate::pause::pause(pause.ok_or(VaultError::TooManyAttempts)?).await;
        }
    }

    /// Fails with `RolledBack` if the vault was set back, as far as the last reading of the log shows. A backup asks
    /// before it reads any file: no entry of it would be written.
    pub async fn refuse_if_set_back(&self) -> Result<(), VaultError> {
        refuse_set_back(&*self.state.lock().await)
    }

    /// Creates the entry after the end of the log. `None` if another server was first.
    async fn create(
        &self,
        signer: &Signer,
        state: &State,
        body: &Body,
        now: Timestamp,
    ) -> Result<Option<Bytes>, VaultError> {
        let nonce = random::<16>()?;
        let end = state.chain.end();
        let name = names::log_entry(self.id, end.n + 1);
        let parts = EntryParts {
            server: signer.server,
            key: &signer.key,
            nonce: &nonce,
            now,
            body,
        };
        let object = seal(&self.keys, &end, parts)
            .map_err(|why| VaultError::damaged(DamageKind::Log, "a new log entry", why))?;
        let lost = match self.store().create(&name, object.clone()).await {
            Ok(Created::New) => return Ok(Some(object)),
            Ok(Created::Exists) => None,
            Err(error) => Some(error),
        };
        // The entry is our own if the answer to an earlier attempt was lost.
        match (self.store().get(&name, LOG_ENTRY_MAX).await, lost) {
            (Ok(found), _) if own_nonce(&found, signer.server, &nonce) => Ok(Some(found)),
            (_, Some(error)) => Err(error.into()),
            (_, None) => Ok(None),
        }
    }

    /// Takes the entry that was just created into the state and the cache. The entry exists, so a cache that cannot be
    /// written is no failure: what it lacks is read from the vault the next time.
    fn take_own(
        &self,
        state: &mut State,
        object: &Bytes,
        packs: &[PackEntry],
        segments: &[SegmentId],
    ) -> Result<(), VaultError> {
        let n = state.chain.end().n + 1;
        let entry = PlainEntry::read(self.id, n, object, Some(&state.servers))
            .and_then(|plain| plain.open(&self.keys))
            .map_err(|why| VaultError::damaged(DamageKind::Log, names::log_entry(self.id, n), why))?;
        let kept = self.accept(state, &entry, object).and_then(|()| {
            // The packs are at hand, so their segments are noted as loaded and never fetched.
            Ok(self.index.add_packs(packs, segments)?)
        });
        match kept {
            Ok(()) => state.loaded(segments),
            Err(error) => {
                tracing::warn!(n, %error, "the entry is written, but the cache could not be brought up to it")
            }
        }
        Ok(())
    }
}

/// The tries of one append that other servers won.
#[derive(Debug, Default)]
struct Lost {
    tries: u32,
    without_growth: u32,
    /// The last position of the log when the last try was lost.
    end: Option<u64>,
}

impl Lost {
    /// How long to wait after a lost try, before which the log ended at `end`. `jitter` (0 to 1) spreads the servers
    /// that lost together. `None` if a further try makes no sense.
    fn pause(&mut self, end: u64, jitter: f64) -> Option<Duration> {
        let grew = self.end.replace(end) != Some(end);
        self.without_growth = if grew { 0 } else { self.without_growth + 1 };
        let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(self.tries).unwrap_or(u32::MAX));
        self.tries += 1;
        let goes_on = self.without_growth < TRIES_WITHOUT_GROWTH && self.tries < TRIES;
        goes_on.then(|| doubled.min(LONGEST_PAUSE).mul_f64(jitter.clamp(0.0, 1.0)))
    }
}

/// What an append has to do.
pub(super) enum Step {
    /// Write this entry.
    Write(Body),
    /// Write nothing: the entry exists already, or there is nothing to write.
    Done,
}

impl Step {
    /// An entry about these points; no entry if there are none.
    fn of_points(points: Vec<PointId>, body: impl Fn(Vec<PointId>) -> Body) -> Self {
        if points.is_empty() {
            Self::Done
        } else {
            Self::Write(body(points))
        }
    }
}

/// Nothing is written to a vault that was set back. Other damage to the log costs only what it held.
fn refuse_set_back(state: &State) -> Result<(), VaultError> {
    match &state.rolled_back {
        Some((known, found)) => Err(VaultError::RolledBack {
            known: *known,
            found: found.clone(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::testing::{Lab, block_on, now};

    #[test]
    fn a_writer_goes_on_while_the_log_grows() {
        let mut lost = Lost::default();
        let pauses: Vec<_> = (0..500).map(|end| lost.pause(end, 1.0).unwrap()).collect();
        assert_eq!(pauses[..3], [1, 2, 4].map(|n| FIRST_PAUSE * n));
        assert_eq!(pauses.iter().max(), Some(&LONGEST_PAUSE));
        assert_eq!(lost.pause(500, 0.0), Some(Duration::ZERO));

        // A store that says "exists" and shows nothing there ends it.
        let tries = (0..100).take_while(|_| lost.pause(501, 0.5).is_some()).count();
        assert_eq!(tries, TRIES_WITHOUT_GROWTH as usize);
        // And so does somebody who always comes first.
        let mut lost = Lost::default();
        let tries = (0..).take_while(|&end| lost.pause(end, 0.5).is_some()).count();
        assert_eq!(tries, TRIES as usize - 1);
    }

    #[test]
    fn many_writers_at_once_all_find_a_place() {
        let lab = Lab::new();
        let servers: Vec<_> = (1..=8).map(|n| lab.open(Some(lab.server(n)), &n.to_string())).collect();
        block_on(async {
            let writing: Vec<_> = (1_u8..)
                .zip(&servers)
                .map(|(n, domain)| {
                    let domain = domain.clone();
                    tokio::spawn(async move {
                        for k in 0..4 {
                            let segment = SegmentId([n * 10 + k; 32]);
                            domain.append_segments(vec![segment], &[], now()).await.unwrap();
                        }
                    })
                })
                .collect();
            for one in writing {
                one.await.unwrap();
            }
        });
        for domain in servers {
            assert_eq!(block_on(domain.refresh()).unwrap().head.n, 32);
        }
    }
}
