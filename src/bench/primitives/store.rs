//! How fast the vault's store is, with objects as large as packs and with small ones. The store is the one that backups
//! use, with its retries.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use bytes::Bytes;
use lockstone_proto::limits::PACK_TARGET;
use lockstone_vault::store::{Created, Store};
use tokio::runtime::Handle;

use super::meter::{Meter, Step, Unit};
use crate::bench::{random_prefix, sample};

const SMALL: usize = 4 << 10;
/// How many requests a backup makes at the same time by default.
const PARALLEL_REQUESTS: usize = 4;

/// The objects of a run. They are deleted when this is dropped.
struct Objects<'a> {
    runtime: &'a Handle,
    store: Store,
    prefix: String,
    made: AtomicU64,
}

impl Objects<'_> {
    fn name(&self, number: u64) -> String {
        format!("{}/{number}", self.prefix)
    }

    /// Creates the next object and returns its number.
    fn put(&self, bytes: &Bytes) -> Result<u64> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let name = self.name(number);
        let created = self.runtime.block_on(self.store.create(&name, bytes.clone()))?;
        ensure!(created == Created::New, "{name} exists already");
        Ok(number)
    }

    fn get(&self, number: u64, len: usize) -> Result<()> {
        let name = self.name(number);
        let bytes = self.runtime.block_on(self.store.get(&name, len as u64))?;
        ensure!(bytes.len() == len, "{name} has another length than what was written");
        Ok(())
    }

    fn delete(&self, number: u64) -> Result<()> {
        Ok(self.runtime.block_on(self.store.delete(&self.name(number)))?)
    }
}

impl Drop for Objects<'_> {
    fn drop(&mut self) {
        for number in 0..*self.made.get_mut() {
            // An object that cannot be deleted stays. Its name begins with `bench/`, so that its origin is clear.
            let _ = self.delete(number);
        }
    }
}

pub(super) fn measure(meter: &mut Meter, runtime: &Handle, store: Store) -> Result<()> {
    let objects = Objects {
        runtime,
        store,
        prefix: random_prefix()?,
        made: AtomicU64::new(0),
    };
    let threads = std::mem::replace(&mut meter.threads, PARALLEL_REQUESTS);
    let measured = rates(meter, &objects);
    meter.threads = threads;
    measured?;
    let small: Bytes = sample::noise(SMALL).into();
    meter.latency("vault_put", "vault: creating an object of 4 KiB", || {
        objects.put(&small).map(|_| ())
    })?;
    let number = objects.put(&small)?;
    meter.latency("vault_get", "vault: reading an object of 4 KiB", || {
        objects.get(number, SMALL)
    })
}

/// Measures packs to and from the vault, by one request and by as many as a backup makes at the same time.
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
    let number = objects.put(&pack)?;
    meter.rate("vault_get_packs", "vault: reading packs of 32 MiB", Unit::Bytes, |_| {
        let pack = pack.clone();
        Ok(move || Step::of(pack.len() as u64, || objects.get(number, pack.len())))
    })?;
    objects.delete(number)
}
