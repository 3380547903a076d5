//! One history: two servers of one domain and the world, until nothing is left to do. All that happens follows from
//! the seed. Whenever an object was written or deleted, a plain reader looks whether every point is still whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use jiff::Timestamp;
use lockstone_vault::VaultError;
use lockstone_vault::domain::Domain;
use lockstone_vault::store::Store;
use lockstone_vault::testing::seeded::{self, Dice};
use lockstone_vault::testing::{Fate, Lab, PlainReader, SimWorld, Standing, read_only};
use lockstone_vault::vault::Vault;
use object_store::memory::InMemory;

use crate::jobs::{self, Desk, Shared};
use crate::machine::{Job, Machine, Outcome};

/// One call in so many fails in some way; 0: none.
const RATES: [usize; 4] = [0, 200, 60, 25];
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// What a history came to.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) fates: BTreeMap<Fate, u64>,
    pub(crate) deeds: jobs::Deeds,
    pub(crate) digest: u64,
    /// How many calls were done.
    pub(crate) steps: u64,
    /// All that happened, if it was traced.
    pub(crate) trace: Vec<String>,
}

/// How a history is run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct How {
    /// Every call is printed if it fails.
    pub(crate) is_traced: bool,
    /// The collector is one that loses data.
    pub(crate) is_careless: bool,
}

struct History<'a> {
    how: How,
    lab: &'a Lab,
    world: SimWorld,
    dice: Dice,
    machines: [Machine; 2],
    shared: Arc<Mutex<Shared>>,
    reader: PlainReader,
    jobs_left: usize,
    steps: u64,
}

/// Ends the simulation of this thread, whatever happens.
struct Seeded;

impl Drop for Seeded {
    fn drop(&mut self) {
        seeded::end();
    }
}

/// Runs the history of a seed. Panics if a point is not whole, or if something fails that must not.
pub(crate) fn run(lab: &Lab, vault: &InMemory, seed: u64, folder: &Path, how: How) -> Told {
    let mut dice = Dice::new(seed);
    let one_in = RATES[dice.below(RATES.len())];
    let now_s = lockstone_vault::testing::now().as_second();
    let world = SimWorld::new(vault.fork(), dice.branch(), one_in, now_s);
    if how.is_traced {
        world.trace();
    }
    seeded::begin(dice.roll(), world.pauses());
    let _seeded = Seeded;
    let machines = [1, 2].map(|n| Machine::new(n, folder.to_owned(), dice.once_in(2)));
    let reader = PlainReader::new(world.objects(), Arc::clone(&lab.keys), lab.domain);
    let jobs_left = 8 + dice.below(20);
    let mut history = History {
        how,
        lab,
        world: world.clone(),
        dice,
        machines,
        shared: Arc::default(),
        reader,
        jobs_left,
        steps: 0,
    };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        history.live();
        history.end(folder);
    }));
    if let Err(panic) = result {
        for line in world.traced() {
            eprintln!("{line}");
        }
        std::panic::resume_unwind(panic);
    }
    let shared = history.shared.lock().unwrap();
    Told {
        fates: world.fired(),
        deeds: shared.deeds.clone(),
        digest: world.digest(),
        steps: history.steps,
        trace: world.traced(),
    }
}

impl History<'_> {
    fn live(&mut self) {
        loop {
            let is_idle = self.machines.iter().all(|machine| machine.jobs.is_empty());
            if self.jobs_left > 0 && (is_idle || self.dice.once_in(16)) {
                self.begin_job();
            } else if is_idle {
                return;
            }
            self.befall();
            for n in 0..self.machines.len() {
                for (name, outcome) in self.machines[n].run() {
                    self.ended(n, name, outcome);
                }
            }
            if self.world.step() {
                self.steps += 1;
            }
            if self.world.take_changed() {
                self.look();
            }
            assert!(self.steps < 200_000, "it does not end");
        }
    }

    /// What happens to machines, and that time passes.
    fn befall(&mut self) {
        let n = self.dice.below(self.machines.len());
        if self.dice.once_in(1200) && (self.machines[n].domain.is_some() || !self.machines[n].jobs.is_empty()) {
            let loses_cache = self.dice.once_in(3);
            self.world
                .note(&format!("machine {n} crashes, loses its cache: {loses_cache}"));
            self.machines[n].crash(loses_cache);
            self.did(if loses_cache {
                "a machine lost its cache"
            } else {
                "a machine crashed"
            });
        }
        let count = self.machines[n].jobs.len();
        if count > 0 && self.dice.once_in(600) {
            let job = self.machines[n].jobs.remove(self.dice.below(count));
            self.world.note(&format!("machine {n} ends its {}", job.name));
            self.did("a job was cancelled");
        }
        if self.dice.once_in(40) {
            let seconds = [HOUR, 30 * HOUR, 5 * DAY, 20 * DAY][self.dice.below(4)];
            self.world.pass(seconds);
        }
    }

    fn did(&self, what: &'static str) {
        *self.shared.lock().unwrap().deeds.entry(what).or_default() += 1;
    }

    fn begin_job(&mut self) {
        let n = self.dice.below(self.machines.len());
        let machine = &mut self.machines[n];
        let Some(domain) = machine.domain.clone() else {
            if machine.jobs.is_empty() {
                machine.jobs.push(machine.open(self.lab, &self.world));
            }
            return;
        };
        if machine.jobs.len() >= 3 {
            return;
        }
        self.jobs_left -= 1;
        // Clocks of servers differ.
        let now_s = self.world.now_s() + i64::from(machine.n) * 600;
        let desk = Desk {
            shared: Arc::clone(&self.shared),
            now: Timestamp::from_second(now_s).unwrap(),
            dice: self.dice.branch(),
        };
        let job = match self.dice.below(12) {
            0..4 => Job::new(
                "backup",
                async move { jobs::back_up(domain, desk).await.map(|()| None) },
            ),
            4..7 if self.how.is_careless => Job::new("collection", async move {
                jobs::collect_carelessly(domain, desk).await.map(|()| None)
            }),
            4..7 => Job::new(
                "collection",
                async move { jobs::collect(domain, desk).await.map(|()| None) },
            ),
            7..9 => Job::new(
                "restore",
                async move { jobs::restore(domain, desk).await.map(|()| None) },
            ),
            9..11 => Job::new(
                "deletion",
                async move { jobs::forget(domain, desk).await.map(|()| None) },
            ),
            _ => Job::new(
                "undelete",
                async move { jobs::undelete(domain, desk).await.map(|()| None) },
            ),
        };
        self.world.note(&format!("machine {n} begins a {}", job.name));
        machine.jobs.push(job);
    }

    fn ended(&mut self, n: usize, name: &'static str, outcome: Outcome) {
        match outcome {
            Ok(domain) => {
                self.world.note(&format!("machine {n}: {name} ended"));
                if domain.is_some() {
                    self.machines[n].domain = domain;
                }
            }
            Err(error) => {
                self.world.note(&format!("machine {n}: {name} failed: {error}"));
                // A job fails because of the store, or because others were faster, and for no other reason.
                let is_expected = matches!(error, VaultError::Store(_) | VaultError::LostRace { .. });
                assert!(is_expected, "{name} failed: {error:?}");
            }
        }
    }

    /// Every point that is not gone is whole.
    fn look(&mut self) {
        self.reader.read();
        let stored = self.reader.packs();
        let shared = self.shared.lock().unwrap();
        for (id, standing) in self.reader.points() {
            if *standing == Standing::Gone {
                continue;
            }
            if let Some(chunk) = self.reader.lacks(&shared.made[id].chunks, &stored) {
                let (n, places) = (self.reader.head(), self.reader.whereabouts(&chunk, &stored));
                panic!("entry {n}: point {id} ({standing:?}) lacks chunk {chunk}: {places}");
            }
        }
    }

    /// Everything that was delayed arrives, and a reader that knows nothing yet reads every point.
    fn end(&mut self, folder: &Path) {
        self.world.calm();
        self.world.settle();
        self.look();
        for machine in &mut self.machines {
            machine.crash(false);
        }
        // The plain reader has looked at every step. This asks the program itself, and takes a third of the time.
        if !self.how.is_traced && !self.dice.once_in(4) {
            return;
        }
        let store = Store::new(self.world.objects(), "sim://vault");
        let read = async {
            let vault = Vault::open(store).await?;
            let options = read_only(folder.join("reader"));
            let (domain, _) = Domain::open(&vault, self.lab.domain, &self.lab.master, options).await?;
            self.read_all(&domain).await
        };
        let read = read.now_or_never().expect("memory does not wait");
        read.expect("nothing fails any more");
    }

    async fn read_all(&self, domain: &Domain) -> Result<(), VaultError> {
        let view = domain.refresh().await?;
        assert!(view.damage.is_empty(), "{:?}", view.damage);
        assert_eq!(view.head.n, self.reader.head());
        for (id, standing) in self.reader.points() {
            let point = view.point(id);
            if *standing == Standing::Gone {
                continue;
            }
            let point = point.expect("it is in the log");
            assert_eq!(point.forgotten.is_some(), *standing == Standing::Forgotten);
            assert!(
                jobs::read_point(domain, point.root()).await?.is_some(),
                "point {id} is not whole"
            );
        }
        Ok(())
    }
}
