//! Repair: what follows a check that was asked to repair.
//!
//! # What is done
//! * A damaged pack: its whole frames are copied to a new one, and lost pages come from the cache (`save`, while the
//!   check runs). The log names the pack, so no server of the domain relies on it.
//! * Packs that no readable segment lists: a new segment lists them (`relist`). The log names it, and the segments that
//!   are lost.
//! * A lost log entry: it is put back from the cache (`put_back`), or the log says that it is lost. What stands behind
//!   the last entry counts as none from then on, because another entry follows.
//! * A damaged job record or key slot: it is moved aside (`aside`).
//! * Points that lost something for good: the log names them.
//!
//! Nothing is deleted that was not copied before. All of it can be interrupted anywhere, and done again.

mod aside;
mod fresh;
mod put_back;
mod relist;
mod save;

use std::collections::BTreeSet;

use lockstone_proto::ids::{PackId, PointId};
use lockstone_proto::limits::RECORD_MAX;

use self::aside::{Moved, move_aside};
pub(in crate::check) use self::fresh::Fresh;
use super::listed::UNLISTED;
use super::{Check, Damage, DamageKind, Repaired};
use crate::crypto::slot_store::list_slots;
use crate::domain::RepairNews;
use crate::error::{Kind, VaultError};
use crate::index::NOT_NEEDED;
use crate::log::repairs::{Word, words};
use crate::store::names;

impl Check<'_> {
    /// Repairs what the check found. What cannot be written is said in the report, and is no error.
    pub(super) async fn repair(&mut self) -> Result<(), VaultError> {
        self.progress("repair", 0, 1);
        match self.try_repair().await {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    Kind::Refused | Kind::Revoked | Kind::StoreFull | Kind::NotRegistered
                ) =>
            {
                self.report.not_repaired = Some(error.to_string());
            }
            // A vault that was set back is written to by nobody.
            Err(error @ (VaultError::RolledBack { .. } | VaultError::ReadOnly)) => {
                self.report.not_repaired = Some(error.to_string());
            }
            Err(error) => return Err(error),
        }
        self.progress("repair", 1, 1);
        Ok(())
    }

    async fn try_repair(&mut self) -> Result<(), VaultError> {
        if self.domain.server().is_none() {
            return Err(VaultError::ReadOnly);
        }
        self.domain.refuse_if_set_back().await?;
        self.records_aside().await?;
        let positions = self.put_back().await?;
        let Some(mut fresh) = self.fresh.take() else {
            return Ok(());
        };
        let lists_lost = !self.lost_segments.is_empty() || !self.lost_positions.is_empty() || self.has_unlisted()?;
        let again = if lists_lost {
            self.relist(&mut fresh).await?
        } else {
            Vec::new()
        };
        let segments = fresh.finish(self.domain).await?;
        if self.is_cancelled() {
            return Ok(());
        }
        if let Some(segment) = segments.first().filter(|_| !again.is_empty()) {
            let how = format!("new: lists {} packs again that no readable segment listed", again.len());
            self.repaired(&names::segment(self.domain.id(), segment), DamageKind::Segment, how);
        }
        let (bad, unneeded) = self.bad_packs(&again)?;
        let news = RepairNews {
            segments,
            lost_segments: self.lost_segments.clone(),
            positions,
            bad_end: self.bad_end,
            bad,
            unneeded,
            whole: self.whole.clone(),
            lossy: Some(self.lossy()),
        };
        self.write(&news).await?;
        // What is listed again is relied on again.
        Ok(self.domain.index().trust(&again)?)
    }

    /// Whether the cache knows packs that no readable segment lists.
    fn has_unlisted(&self) -> Result<bool, VaultError> {
        let distrusted = self.domain.index().distrusted()?;
        Ok(distrusted.iter().any(|(_, reason)| reason == UNLISTED))
    }

    /// The packs that are damaged or missing, and those of them that no point needs.
    fn bad_packs(&self, again: &[PackId]) -> Result<(Vec<PackId>, Vec<PackId>), VaultError> {
        let (mut bad, mut unneeded) = (Vec::new(), Vec::new());
        let again: BTreeSet<&PackId> = again.iter().collect();
        let index = self.domain.index();
        for (pack, reason) in index.distrusted()? {
            if index.is_condemned(&pack) || again.contains(&pack) || reason == UNLISTED || !index.is_suspect(&pack)? {
                continue;
            }
            if reason == NOT_NEEDED {
                unneeded.push(pack);
            } else {
                bad.push(pack);
            }
        }
        Ok((bad, unneeded))
    }

    /// The points that lost something.
    fn lossy(&self) -> Vec<PointId> {
        let damaged = self.report.damaged.iter();
        // Of a lost entry it is not known what it held.
        let lost = damaged
            .filter(|damage| damage.kind != DamageKind::Log)
            .flat_map(|damage| &damage.points);
        let lost: BTreeSet<PointId> = lost.copied().collect();
        lost.into_iter().collect()
    }

    /// Writes the log entry, if there is anything to say, and reports what it says.
    async fn write(&mut self, news: &RepairNews) -> Result<(), VaultError> {
        let (domain, view) = (self.domain.id(), self.domain.view());
        let Some(body) = self.domain.append_repair(news, self.options.now).await? else {
            return Ok(());
        };
        for position in &body.positions {
            let how = "it is written down as lost".to_owned();
            self.repaired(&names::log_entry(domain, *position), DamageKind::Log, how);
        }
        let log = self
            .report
            .damaged
            .iter()
            .filter(|damage| damage.kind == DamageKind::Log);
        let at_end = log.filter(|damage| names::log_position(&damage.object).is_some_and(|n| n >= view.head.n));
        for object in at_end.map(|damage| damage.object.clone()).collect::<Vec<_>>() {
            let how = "an entry was written behind it, so the log goes on without it".to_owned();
            self.repaired(&object, DamageKind::Log, how);
        }
        for id in &news.lost_segments {
            if !self.repairs.is_lost_segment(id) {
                let how = "it is written down as lost; what is left of what it listed is listed anew".to_owned();
                self.repaired(&names::segment(domain, id), DamageKind::Segment, how);
            }
        }
        for (word, packs) in words(&body) {
            let how = match word {
                Some(Word::Bad) => "it is written down as damaged: no server of this domain relies on it",
                Some(Word::Unneeded) => "it is written down that no recovery point needs it",
                None => "it is whole again, and is written down as such",
            };
            for pack in packs {
                self.repaired(&names::pack(domain, &pack), DamageKind::Pack, how.to_owned());
            }
        }
        let lossy = news.lossy.iter().flatten().filter(|point| !view.lossy.contains(point));
        for point in lossy.filter_map(|id| view.point(id)) {
            let how = format!("recovery point {} is marked: it lost files", point.id);
            self.repaired(&names::log_entry(domain, point.n), DamageKind::Log, how);
        }
        Ok(())
    }

    /// Moves damaged job records aside, and key slots if another one is whole.
    async fn records_aside(&mut self) -> Result<(), VaultError> {
        let damaged = self.report.damaged.iter();
        let records = damaged
            .filter(|damage| matches!(damage.kind, DamageKind::Job | DamageKind::Slot))
            .cloned();
        let records: Vec<Damage> = records.collect();
        let has_whole_slot = !list_slots(self.domain.store(), self.domain.id()).await?.0.is_empty();
        for record in records {
            if record.kind == DamageKind::Slot && !has_whole_slot {
                continue;
            }
            match move_aside(self.domain.store(), &record.object, RECORD_MAX).await? {
                Moved::To(to) => self.repaired(&record.object, record.kind, format!("it was moved to {to}")),
                Moved::Not(why) => self.not_repaired(&record.object, &why),
            }
        }
        Ok(())
    }

    fn repaired(&mut self, object: &str, kind: DamageKind, how: String) {
        tracing::info!(object, how, "repaired");
        self.report.repaired.push(Repaired {
            object: object.to_owned(),
            kind,
            how,
        });
    }

    fn not_repaired(&mut self, object: &str, why: &str) {
        tracing::warn!(object, why, "not repaired");
        self.report
            .not_repaired
            .get_or_insert_with(|| format!("{object}: {why}"));
    }
}

#[cfg(test)]
mod tests;
