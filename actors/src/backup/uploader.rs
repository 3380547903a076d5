//! The Uploader stage sends packs to the store, a few at once. The store's connection obeys the throttle, and the store
//! retries by itself. A pack is created under its random id, and only if nothing has this id; it never overwrites
//! anything. When the store has acknowledged a pack, the Bookkeeper hears of it, and then its bytes go back to the
//! budget.

use std::sync::atomic::Ordering;

use lockstone_proto::ids::PackId;
use lockstone_vault::names;
use lockstone_vault::store::PutPayload;

use super::job::BackupContext;
use super::messages::{PackUploaded, SealedPack};
use crate::flow::{Body, Fault, Receiver, Sender, Stop, fault_point};
use crate::progress::add;

pub(super) struct Uploader {
    context: BackupContext,
    inbox: Receiver<SealedPack>,
    bookkeeper: Sender<PackUploaded>,
}

impl Body for Uploader {
    fn run(self) -> Result<(), Stop> {
        while let Some(pack) = self.inbox.recv()? {
            fault_point("uploader")?;
            self.upload(pack)?;
        }
        self.bookkeeper.finish();
        Ok(())
    }
}

impl Uploader {
    pub(super) fn new(context: &BackupContext, inbox: Receiver<SealedPack>, bookkeeper: Sender<PackUploaded>) -> Self {
        Self {
            context: context.clone(),
            inbox,
            bookkeeper,
        }
    }

    fn upload(&self, pack: SealedPack) -> Result<(), Stop> {
        let job = &self.context.job;
        let cancel = &self.context.generation.cancel;
        let id = PackId::try_from(pack.entry.pack_id.as_ref()).map_err(|error| Fault::integrity(error.to_string()))?;
        let name = names::pack(job.domain.id(), &id);
        let store = job.domain.store().clone();
        let payload = pack.pieces.into_iter().collect::<PutPayload>();
        let whole = job
            .engine
            .run_spawned(cancel, async move { store.create_own(&name, payload).await })??;
        if !whole {
            // The id is sealed into the pack. A new generation stores its chunks under another id.
            return Err(Fault::transient(format!("pack {id} was stored cut when the connection broke")).into());
        }
        add(&job.progress.totals.bytes_stored, pack.entry.len);
        self.context.generation.uploading.fetch_sub(1, Ordering::SeqCst);
        tracing::debug!(pack = %id, raw_len = pack.raw_len, len = pack.entry.len, "pack uploaded");
        self.bookkeeper.send(PackUploaded { entry: pack.entry })?;
        drop(pack.permits);
        Ok(())
    }
}
