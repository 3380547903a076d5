//! The Fetcher stage: ranges of packs from the store, several at once. A range is paid for before it is asked for.

use lockstone_vault::VaultError;
use lockstone_vault::names;

use super::Context;
use super::messages::{RangeFetched, RangePlan};
use crate::flow::{Fault, Receiver, Sender, Stop, fault_point};
use crate::progress::add;

pub(super) struct Fetcher {
    pub(super) context: Context,
    pub(super) inbox: Receiver<RangePlan>,
    pub(super) opener: Sender<RangeFetched>,
}

impl Fetcher {
    pub(super) fn run(self) -> Result<(), Stop> {
        while let Some(plan) = self.inbox.recv()? {
            fault_point("fetcher")?;
            self.fetch(plan)?;
        }
        self.opener.finish();
        Ok(())
    }

    fn fetch(&self, plan: RangePlan) -> Result<(), Stop> {
        let (job, cancel) = (&self.context.job, &self.context.cancel);
        let sealed = plan.range.end - plan.range.start;
        let permit = self.context.sealed_budget.take(sealed, cancel)?;
        let name = names::pack(job.domain.id(), &plan.pack.id);
        let (store, range) = (job.domain.store().clone(), plan.range.clone());
        match job
            .engine
            .wait(cancel, async move { store.get_range(&name, range).await })?
        {
            Ok(bytes) => {
                add(&job.progress.totals.bytes_fetched, sealed);
                self.opener.send(RangeFetched { plan, bytes, permit })
            }
            Err(error) => {
                let fault = Fault::from(VaultError::from(error));
                if !fault.costs_one_object() {
                    return Err(fault.into());
                }
                // Missing or cut short: the files that need it are named, the others go on.
                let wanted = plan.frames.into_iter().flat_map(|frame| frame.wanted).collect();
                self.context.fail_wanted(wanted, &fault.message)
            }
        }
    }
}
