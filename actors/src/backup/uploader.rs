//! The Uploader stage: packs to the store, a few at once (its connection keeps the throttle's pace). A pack is created if absent under its
//! random id and never overwritten; retries are the store's own (its retry decorator). What is acknowledged is told to
//! the Bookkeeper, and only then are the pack's bytes given back to the budget.

use std::sync::atomic::Ordering;

use lockstone_proto::ids::PackId;
use lockstone_vault::names;
use lockstone_vault::store::PutPayload;

use super::Context;
use super::messages::{PackUploaded, SealedPack};
use crate::flow::{Fault, Receiver, Sender, Stop, fault_point};
use crate::progress::add;

pub(super) struct Uploader {
    pub(super) context: Context,
    pub(super) inbox: Receiver<SealedPack>,
    pub(super) bookkeeper: Sender<PackUploaded>,
}

impl Uploader {
    pub(super) fn run(self) -> Result<(), Stop> {
        while let Some(pack) = self.inbox.recv()? {
            fault_point("uploader")?;
            self.upload(pack)?;
        }
        self.bookkeeper.finish();
        Ok(())
    }

    fn upload(&self, pack: SealedPack) -> Result<(), Stop> {
        let job = &self.context.job;
        let cancel = &self.context.generation.cancel;
        let id = PackId::try_from(pack.entry.pack_id.as_ref()).map_err(|error| Fault::integrity(error.to_string()))?;
        let name = names::pack(job.domain.id(), &id);
        let store = job.domain.store().clone();
        let payload = pack.pieces.into_iter().collect::<PutPayload>();
        // An object that is there already is this very pack: the id is random, and a lost reply makes the store try
        // again.
        job.engine
            .wait(cancel, async move { store.create(&name, payload).await })??;
        add(&job.progress.totals.bytes_stored, pack.entry.len);
        self.context.generation.uploading.fetch_sub(1, Ordering::SeqCst);
        tracing::debug!(pack = %id, raw_len = pack.raw_len, len = pack.entry.len, "pack uploaded");
        self.bookkeeper.send(PackUploaded { entry: pack.entry })?;
        drop(pack.permits);
        Ok(())
    }
}
