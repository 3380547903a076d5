//! A server, with its cache, and the jobs that run on it. Nothing of it survives a crash but its files.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use ed25519_dalek::SigningKey;
use lockstone_proto::ids::ServerId;
use lockstone_vault::VaultError;
use lockstone_vault::crypto::keys::MasterKey;
use lockstone_vault::domain::{Domain, DomainOptions, Signer};
use lockstone_vault::store::{RetryRule, Store};
use lockstone_vault::testing::{Lab, SimWorld};
use lockstone_vault::vault::Vault;

/// Notes that a future asked to be polled.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a job came to.
pub(crate) type Outcome = Result<Option<Arc<Domain>>, VaultError>;

/// A job that runs.
pub(crate) struct Job {
    pub(crate) name: &'static str,
    future: Pin<Box<dyn Future<Output = Outcome>>>,
    flag: Arc<Flag>,
}

impl Job {
    pub(crate) fn new(name: &'static str, future: impl Future<Output = Outcome> + 'static) -> Self {
        Self {
            name,
            future: Box::pin(future),
            flag: Arc::new(Flag(AtomicBool::new(true))),
        }
    }

    /// Goes on with it, if it asked for that. The outcome, if it has ended.
    fn poll(&mut self) -> Option<Outcome> {
        if !self.flag.0.swap(false, Ordering::Relaxed) {
            return None;
        }
        let waker = Waker::from(Arc::clone(&self.flag));
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }
}

/// A server.
pub(crate) struct Machine {
    pub(crate) n: u8,
    folder: PathBuf,
    /// How many caches it had. A lost one is left where it is, because deleting it takes time.
    caches: u32,
    /// Whether failed calls are repeated, as in the program.
    pub(crate) retries: bool,
    pub(crate) domain: Option<Arc<Domain>>,
    pub(crate) jobs: Vec<Job>,
}

impl Machine {
    pub(crate) fn new(n: u8, folder: PathBuf, retries: bool) -> Self {
        Self {
            n,
            folder,
            caches: 0,
            retries,
            domain: None,
            jobs: Vec::new(),
        }
    }

    /// The job that opens the domain.
    pub(crate) fn open(&self, lab: &Lab, world: &SimWorld) -> Job {
        let store = Store::new(Arc::new(world.clone()), "sim://vault");
        let store = if self.retries {
            store.retried(RetryRule::default(), None)
        } else {
            store
        };
        let options = DomainOptions {
            signer: Some(Signer {
                server: ServerId([self.n; 16]),
                key: SigningKey::from_bytes(&[self.n; 32]),
            }),
            cache_dir: self.folder.join(format!("{} {}", self.n, self.caches)),
            pin_file: Some(self.folder.join(format!("{}.pin", self.n))),
            trusted: Vec::new(),
        };
        let (domain, master) = (lab.domain, MasterKey::from_bytes(*lab.master.as_bytes()));
        Job::new("open", async move {
            let vault = Vault::open(store).await?;
            let (domain, _) = Domain::open(&vault, domain, &master, options).await?;
            Ok(Some(domain))
        })
    }

    /// Goes on with its jobs. Returns those that have ended.
    pub(crate) fn run(&mut self) -> Vec<(&'static str, Outcome)> {
        let mut ended = Vec::new();
        let mut at = 0;
        while at < self.jobs.len() {
            match self.jobs[at].poll() {
                Some(outcome) => ended.push((self.jobs.remove(at).name, outcome)),
                None => at += 1,
            }
        }
        ended
    }

    /// Everything that it did ends where it is.
    pub(crate) fn crash(&mut self, loses_cache: bool) {
        self.jobs.clear();
        self.domain = None;
        if loses_cache {
            self.caches += 1;
        }
    }
}
