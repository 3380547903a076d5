//! The Fetcher stage fetches ranges of packs from the store, several at once. A range is paid for before it is
//! requested.

use bytes::Bytes;
use lockstone_vault::VaultError;
use lockstone_vault::names;

use super::job::RestoreContext;
use super::messages::{RangeFetched, RangePlan};
use crate::flow::{Body, Fault, Receiver, Sender, Stop, fault_point};
use crate::progress::add;

pub(super) struct Fetcher {
    context: RestoreContext,
    inbox: Receiver<RangePlan>,
    opener: Sender<RangeFetched>,
}

impl Body for Fetcher {
    fn run(self) -> Result<(), Stop> {
        while let Some(plan) = self.inbox.recv()? {
            fault_point("fetcher")?;
            self.fetch(plan)?;
        }
        self.opener.finish();
        Ok(())
    }
}

impl Fetcher {
    pub(super) fn new(context: &RestoreContext, inbox: Receiver<RangePlan>, opener: Sender<RangeFetched>) -> Self {
        Self {
            context: context.clone(),
            inbox,
            opener,
        }
    }

    fn fetch(&self, plan: RangePlan) -> Result<(), Stop> {
        let (job, cancel) = (&self.context.job, &self.context.cancel);
        let sealed = plan.range.end - plan.range.start;
        let permit = self.context.sealed_budget.take(sealed, cancel)?;
        let name = names::pack(job.domain.id(), &plan.pack.id);
        let (store, range) = (job.domain.store().clone(), plan.range.clone());
        match job
            .engine
            .run_spawned(cancel, async move { store.get_range(&name, range).await })?
        {
            Ok(bytes) => {
                add(&job.progress.totals.bytes_fetched, sealed);
                self.opener.send(RangeFetched {
                    plan,
                    bytes,
                    failure: None,
                    permit,
                })
            }
            Err(error) => {
                let fault = Fault::from(VaultError::from(error));
                if !fault.costs_one_object() {
                    return Err(fault.into());
                }
                // The pack is missing or cut short. The Opener tries it once more, and then the other places.
                self.opener.send(RangeFetched {
                    plan,
                    bytes: Bytes::new(),
                    failure: Some(fault.message),
                    permit,
                })
            }
        }
    }
}
