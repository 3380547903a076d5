//! What the vault does: objects as large as packs, and small ones. By the store that backups use, its retries included.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, anyhow, ensure};
use bytes::Bytes;
use lockstone_proto::limits::PACK_TARGET;
use lockstone_vault::store::{Created, Store};

use super::meter::{Meter, Step, Unit};
use crate::agent::session::fresh_id;
use crate::bench::sample;
use crate::cli::Context;

const SMALL: usize = 4 << 10;
/// Requests at once, as a backup does by default.
const AT_ONCE: usize = 4;

/// Objects of a run, deleted when it ends however it ends.
struct Objects<'a> {
    context: &'a Context,
    store: Store,
    prefix: String,
    made: AtomicU64,
}

impl Objects<'_> {
    fn name(&self, number: u64) -> String {
        format!("{}/{number}", self.prefix)
    }

    /// Creates one more object and gives its number.
    fn put(&self, bytes: &Bytes) -> Result<u64> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let name = self.name(number);
        let created = self.context.runtime.block_on(self.store.create(&name, bytes.clone()))?;
        ensure!(created == Created::New, "{name} is there already");
        Ok(number)
    }

    fn get(&self, number: u64, len: usize) -> Result<()> {
        let name = self.name(number);
        let bytes = self.context.runtime.block_on(self.store.get(&name, len as u64))?;
        ensure!(bytes.len() == len, "{name} is not what was written");
        Ok(())
    }

    fn delete(&self, number: u64) -> Result<()> {
        Ok(self.context.runtime.block_on(self.store.delete(&self.name(number)))?)
    }
}

impl Drop for Objects<'_> {
    fn drop(&mut self) {
        for number in 0..*self.made.get_mut() {
            // What is left over is small, and says by its name what it is.
            let _ = self.delete(number);
        }
    }
}

pub(super) fn measure(meter: &mut Meter, context: &Context, store: Store) -> Result<()> {
    let objects = Objects {
        context,
        store,
        prefix: format!("bench/{}", fresh_id().map_err(|failure| anyhow!(failure.message))?),
        made: AtomicU64::new(0),
    };
    let threads = std::mem::replace(&mut meter.threads, AT_ONCE);
    let measured = rates(meter, &objects);
    meter.threads = threads;
    measured?;
    let small: Bytes = sample::noise(SMALL).into();
    meter.latency("vault_put", "vault: creating an object of 4 KiB", || {
        objects.put(&small).map(|_| ())
    })?;
    let there = objects.put(&small)?;
    meter.latency("vault_get", "vault: reading an object of 4 KiB", || {
        objects.get(there, SMALL)
    })
}

/// Packs to and from the vault; "all" are as many requests at once as a backup makes.
fn rates(meter: &mut Meter, objects: &Objects<'_>) -> Result<()> {
    let pack: Bytes = sample::noise(PACK_TARGET).into();
    meter.rate(
        "vault_put_packs",
        "vault: creating packs of 32 MiB",
        Unit::Bytes,
        |_| {
            let pack = pack.clone();
            Ok(move || {
                let mut number = 0;
                let step = Step::of(pack.len() as u64, || {
                    number = objects.put(&pack)?;
                    Ok(())
                })?;
                objects.delete(number)?;
                Ok(step)
            })
        },
    )?;
    let there = objects.put(&pack)?;
    meter.rate("vault_get_packs", "vault: reading packs of 32 MiB", Unit::Bytes, |_| {
        let pack = pack.clone();
        Ok(move || Step::of(pack.len() as u64, || objects.get(there, pack.len())))
    })?;
    objects.delete(there)
}
