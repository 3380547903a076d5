//! The last steps of a collection: what is condemned and whose time is over is deleted, and what is left is counted.

use std::collections::HashSet;

use lockstone_proto::ids::PackId;

use super::alone::Alone;
use super::plan::Plan;
use super::run::Run;
use super::sweep::{Deleted, Found, Listing, delete, is_due};
use crate::error::VaultError;
use crate::index::{Condemned, Standing};
use crate::log::LogView;

impl Run<'_> {
    /// What would be free.
    pub(super) fn foresee(&mut self, plan: &Plan, listing: &Listing) {
        let left: u64 = listing.condemned.iter().map(|(found, _)| found.len).sum();
        let orphans: u64 = listing.orphans.iter().map(|orphan| orphan.len).sum();
        self.report.points_gone = self.gone.len() as u64;
        self.report.packs_condemned = (plan.dead.len() + listing.orphans.len()) as u64;
        self.report.orphans = listing.orphans.len() as u64;
        self.report.packs_repacked = plan.repack.len() as u64;
        self.report.bytes_reclaimable = plan.frees + left + orphans;
    }

    /// What each point holds alone.
    pub(super) async fn count_alone(&mut self, view: &LogView) -> Result<(), VaultError> {
        let mut alone = Alone::new(self.domain);
        let total = view.alive().count() as u64;
        for (done, point) in (0..).zip(view.alive()) {
            self.progress("points", done, total);
            alone.add(point.id, point.root(), self.callbacks.cancelled).await?;
        }
        self.report.alone = alone.points();
        Ok(())
    }

    /// Deletes condemned packs whose time is over, and takes those that are not there any more out of the index.
    pub(super) async fn delete(&mut self, listing: &Listing) -> Result<(), VaultError> {
        if self.options.dry_run {
            return Ok(());
        }
        let (now, grace) = (self.now, self.options.grace);
        let vouched = self.vouched(listing).await?;
        let is_free = |(_, by): &&(Found, Condemned)| is_due(by, grace, now) && vouched.contains(&by.n);
        let (due, later): (Vec<_>, Vec<_>) = listing.condemned.iter().partition(is_free);
        let mut due: Vec<Found> = due.into_iter().map(|(found, _)| found).collect();
        let mut waiting: Vec<Found> = later.into_iter().map(|(found, _)| found).collect();
        let new = if grace.is_zero() { &mut due } else { &mut waiting };
        new.extend_from_slice(&self.condemned);
        let total = due.len() as u64;
        self.progress("delete", 0, total);
        let show = |deleted: &Deleted| self.progress("delete", deleted.packs, total);
        let deleted = delete(self.domain, &due, self.callbacks.cancelled, &show).await?;
        self.report.packs_deleted = deleted.packs;
        self.report.bytes_freed = deleted.bytes;
        self.report.delete_refused = deleted.refused;
        let is_all = deleted.packs == total;
        if !is_all {
            waiting.extend(due);
        }
        let freed = if is_all { 0 } else { deleted.bytes };
        self.report.packs_waiting = waiting.len() as u64 - if is_all { 0 } else { deleted.packs };
        self.report.bytes_reclaimable = waiting.iter().map(|found| found.len).sum::<u64>() - freed;
        if is_all {
            self.progress("index", 0, 0);
            let there: HashSet<PackId> = waiting.iter().map(|found| found.id).collect();
            self.domain.index().forget_condemned(&there, self.listed_at)?;
        }
        Ok(())
    }

    /// The entries that condemned packs and that are in the vault as this machine knows them. If one is not, somebody
    /// may have repaired what it cost, and may rely on its packs again.
    async fn vouched(&self, listing: &Listing) -> Result<HashSet<u64>, VaultError> {
        let entries: HashSet<u64> = listing.condemned.iter().map(|(_, by)| by.n).collect();
        let mut vouched = HashSet::new();
        for n in entries {
            if self.domain.has_entry(n).await? {
                vouched.insert(n);
            }
        }
        Ok(vouched)
    }

    /// How much is in the vault now.
    pub(super) fn sum_up(&mut self, listing: &Listing) -> Result<(), VaultError> {
        let index = self.domain.index();
        for first in 0..=u8::MAX {
            let mut known = Vec::new();
            index.packs_beginning(first, &mut |_, number| {
                known.push(number);
                true
            })?;
            known.retain(|number| index.standing(*number) != Standing::Condemned && !listing.missing.contains(number));
            for number in known {
                self.report.packs += 1;
                self.report.bytes += self.domain.pack(number)?.len;
            }
        }
        Ok(())
    }
}
