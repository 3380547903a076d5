//! The sending side: packs put one after another by as many workers as there are requests at once, within the budget, as a
//! backup's Uploader does it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lockstone_vault::store::Store;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::sink::Arrivals;
use super::source::Source;
use crate::failure::Failure;

/// What a put that failed for a passing reason is followed by.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// The budget is counted in these units: a semaphore has no room for bytes.
const UNIT: u64 = 1024;

/// What is put, and where.
#[derive(Debug)]
pub struct Load {
    store: Store,
    source: Source,
    prefix: String,
    pack_len: usize,
    budget: Semaphore,
    begun: AtomicUsize,
    most: AtomicUsize,
    counted: Option<Arc<Arrivals>>,
    tally: Mutex<Tally>,
}

/// What became of the puts.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Seconds of each put that was acknowledged.
    pub latencies: Vec<f64>,
    /// Puts that failed, and were followed by others.
    pub failed: u64,
    /// The last failure.
    pub last: Option<Failure>,
}

impl Load {
    /// Packs of `pack_len` bytes below `prefix`; no more than `budget` bytes of them in memory, and one at least.
    #[must_use]
    pub fn new(store: Store, source: Source, prefix: String, pack_len: usize, budget: u64) -> Load {
        let units = (budget.max(pack_len as u64) / UNIT).max(1);
        Load {
            store,
            source,
            prefix,
            pack_len,
            budget: Semaphore::new(usize::try_from(units).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)),
            begun: AtomicUsize::new(0),
            most: AtomicUsize::new(usize::MAX),
            counted: None,
            tally: Mutex::new(Tally::default()),
        }
    }

    /// Ends after so many packs, instead of going on until it is dropped.
    #[must_use]
    pub fn of(self, packs: usize) -> Load {
        Load {
            most: AtomicUsize::new(packs),
            ..self
        }
    }

    /// Counts packs as arrived when they are acknowledged, where nothing finer can be seen.
    #[must_use]
    pub fn counted(self, arrivals: Arc<Arrivals>) -> Load {
        Load {
            counted: Some(arrivals),
            ..self
        }
    }

    /// Starts the workers; they end with the set.
    pub fn start(self: &Arc<Load>, parallel: usize) -> JoinSet<Result<(), Failure>> {
        let mut workers = JoinSet::new();
        for _ in 0..parallel {
            let load = Arc::clone(self);
            workers.spawn(async move { load.work().await });
        }
        workers
    }

    /// No more packs are begun.
    pub fn stop(&self) {
        self.most.store(0, Ordering::Relaxed);
    }

    /// What became of the puts so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn work(&self) -> Result<(), Failure> {
        loop {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            if number >= self.most.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.put(number).await?;
        }
    }

    async fn put(&self, number: usize) -> Result<(), Failure> {
        let units = u32::try_from(self.pack_len as u64 / UNIT).unwrap_or(u32::MAX).max(1);
        let _permit = self.budget.acquire_many(units).await;
        let pack = self.source.pack(self.pack_len).await.map_err(|error| {
            let message = format!("cannot read what is to be sent: {error}");
            Failure::failed(
                "source",
                message,
                "give another PATH, or none: then bytes are generated",
            )
        })?;
        let (len, name, begun) = (
            pack.content_length(),
            format!("{}/{number}", self.prefix),
            Instant::now(),
        );
        let done = self.store.create(&name, pack).await;
        let seconds = begun.elapsed().as_secs_f64();
        let error = match done {
            Ok(_) => {
                if let Some(arrivals) = &self.counted {
                    arrivals.count(len);
                }
                self.note(|tally| tally.latencies.push(seconds));
                return Ok(());
            }
            Err(error) => error,
        };
        let passing = error.is_transient();
        let failure = Failure::from(error);
        if !passing {
            return Err(failure);
        }
        self.note(|tally| {
            tally.failed += 1;
            tally.last = Some(failure);
        });
        tokio::time::sleep(AFTER_FAILURE).await;
        Ok(())
    }

    fn note(&self, note: impl FnOnce(&mut Tally)) {
        note(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
