//! Thousands of histories of one domain: two servers that back up, collect, restore, delete and bring back at the same
//! time, over a store that fails, answers late, loses answers and does things twice, while servers crash and lose their
//! caches. The code is the program's own; only the store, the clock and the random bytes are made up, and all of them
//! follow from a seed. After each change of the store, every point that is not gone has to be whole.
//!
//! `LOCKSTONE_SIM_HISTORIES=100000` runs more histories than `make test` does. A history that fails prints its seed,
//! and `LOCKSTONE_SIM_SEED=…` runs it again, step by step.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod history;
mod jobs;
mod machine;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lockstone_vault::store::Store;
use lockstone_vault::testing::{FATES, Fate, Lab, seeded};
use object_store::memory::InMemory;

use history::{How, Told};
use jobs::Deeds;

/// So many histories run in `make test`: about a minute on two cores.
const HISTORIES: u64 = 10_000;

fn asked<T: FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}

/// A vault with one domain and two servers, which every history begins with.
struct Beginning {
    lab: Lab,
    vault: Arc<InMemory>,
    /// Caches lie here: in memory, where there is a folder for that.
    folder: tempfile::TempDir,
}

impl Beginning {
    fn new() -> Self {
        let vault = Arc::new(InMemory::new());
        // Its keys are the same in every process.
        seeded::begin(0, Box::new(|_| Box::pin(std::future::ready(()))));
        let lab = Lab::over(tempfile::tempdir().unwrap(), Store::new(vault.clone(), "sim://vault"));
        lab.server(1);
        lab.server(2);
        seeded::end();
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self {
            lab,
            vault,
            folder: folder.unwrap(),
        }
    }

    fn run(&self, seed: u64, how: How) -> Told {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap();
        history::run(&self.lab, &self.vault, seed, folder.path(), how)
    }
}

#[derive(Default)]
struct Sum {
    fates: BTreeMap<Fate, u64>,
    deeds: Deeds,
    steps: u64,
}

impl Sum {
    fn add(&mut self, told: Told) {
        for (fate, count) in told.fates {
            *self.fates.entry(fate).or_default() += count;
        }
        for (deed, count) in told.deeds {
            *self.deeds.entry(deed).or_default() += count;
        }
        self.steps += told.steps;
    }
}

/// Runs the histories of these seeds on all cores.
fn run_all(seeds: std::ops::Range<u64>) -> Sum {
    let beginning = Beginning::new();
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let sum = Mutex::new(Sum::default());
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let told = std::panic::catch_unwind(AssertUnwindSafe(|| beginning.run(seed, How::default())));
            match told {
                Ok(told) => sum.lock().unwrap().add(told),
                Err(panic) => {
                    failed.store(true, Ordering::Relaxed);
                    eprintln!("this history failed: LOCKSTONE_SIM_SEED={seed}");
                    std::panic::resume_unwind(panic);
                }
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    sum.into_inner().unwrap()
}

#[test]
fn every_point_stays_whole_whatever_happens() {
    if let Some(seed) = asked("LOCKSTONE_SIM_SEED") {
        let told = Beginning::new().run(
            seed,
            How {
                is_traced: true,
                ..How::default()
            },
        );
        println!("{told:#?}");
        return;
    }
    let begun = std::time::Instant::now();
    let count = asked("LOCKSTONE_SIM_HISTORIES").unwrap_or(HISTORIES);
    let sum = run_all(0..count);
    println!("{count} histories, {} steps, {:?}", sum.steps, begun.elapsed());
    println!("{:#?}\n{:#?}", sum.fates, sum.deeds);
    for fate in FATES {
        assert!(sum.fates.contains_key(&fate), "{fate:?} befell no call");
    }
}

#[test]
fn a_seed_tells_the_same_history_again() {
    let beginning = Beginning::new();
    let traced = How {
        is_traced: true,
        ..How::default()
    };
    for seed in 0..12 {
        let (one, two) = (beginning.run(seed, traced), beginning.run(seed, traced));
        let differ = one.trace.iter().zip(&two.trace).find(|(one, two)| one != two);
        assert_eq!(differ, None, "seed {seed}");
        assert_eq!(
            (one.digest, one.steps, one.deeds),
            (two.digest, two.steps, two.deeds),
            "seed {seed}"
        );
    }
}

#[test]
fn a_collector_that_does_not_look_again_is_noticed() {
    let beginning = Beginning::new();
    let careless = How {
        is_careless: true,
        ..How::default()
    };
    let notices = |seed: &u64| std::panic::catch_unwind(AssertUnwindSafe(|| beginning.run(*seed, careless))).is_err();
    assert!((0..1000).find(notices).is_some());
}
