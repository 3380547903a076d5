//! What an operation needs from outside: where it runs, when it has to stop, what it counts, how fast it may be, and
//! to whom it speaks. The caller (a command, or the daemon) makes one for its process. Stores are opened here.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lockstone_actors::throttle::{Follower, Limits, Throttle};
use lockstone_actors::{CancelToken, Metrics};
use lockstone_vault::store::observe::{Metered, StoreObserver};
use lockstone_vault::store::{RetryRule, Store, StoreError, StoreOptions};
use tokio::runtime::Handle;

use super::access::passphrase::PassphraseSource;
use super::notices::Notices;
use super::settings::reload::ReloadRequests;
use super::settings::store::StoreSettings;
use super::settings::throttle::{LimitSource, Overrides, Pause};
use crate::failure::Failure;

/// What an operation needs from outside. One for each process.
pub(crate) struct Environment {
    /// Runs the store's requests. A job's pipeline has a runtime of its own.
    pub(crate) runtime: Handle,
    /// Cancels what runs.
    pub(crate) cancel: CancelToken,
    pub(crate) metrics: Arc<Metrics>,
    /// Limits the bytes that this process sends and fetches.
    pub(crate) throttle: Arc<Throttle>,
    /// Takes what an operation has to say.
    pub(crate) notices: Arc<dyn Notices>,
    /// Asked when a passphrase is needed.
    pub(crate) passphrases: Arc<dyn PassphraseSource>,
    /// Counts how often the settings were to be read again.
    pub(crate) reload: ReloadRequests,
    /// How long to wait for a store that does not answer, if it was given for this run.
    pub(crate) store_patience: Option<Duration>,
    /// Whether this process counts the jobs that ended by their records. Then a job does not count itself.
    pub(crate) counts_records: bool,
    throttle_follower: OnceLock<Follower>,
    pause: OnceLock<Arc<Pause>>,
}

impl Environment {
    pub(crate) fn new(
        runtime: Handle,
        cancel: CancelToken,
        notices: Arc<dyn Notices>,
        passphrases: Arc<dyn PassphraseSource>,
    ) -> Environment {
        let metrics = Arc::new(Metrics::new());
        Environment {
            runtime,
            cancel,
            throttle: Arc::new(Throttle::new(Arc::clone(&metrics))),
            metrics,
            notices,
            passphrases,
            reload: ReloadRequests::default(),
            store_patience: None,
            counts_records: false,
            throttle_follower: OnceLock::new(),
            pause: OnceLock::new(),
        }
    }

    /// The environment of one job of a process that runs several, and counts them by their records. It has a throttle
    /// of its own, which ends with it.
    pub(crate) fn for_job(&self, cancel: CancelToken, notices: Arc<dyn Notices>) -> Environment {
        Environment {
            runtime: self.runtime.clone(),
            cancel,
            metrics: Arc::clone(&self.metrics),
            throttle: Arc::new(Throttle::new(Arc::clone(&self.metrics))),
            notices,
            passphrases: Arc::clone(&self.passphrases),
            reload: self.reload.clone(),
            store_patience: self.store_patience,
            counts_records: true,
            throttle_follower: OnceLock::new(),
            pause: OnceLock::new(),
        }
    }

    /// Keeps the throttle at what is set from now on. Only the first call's overrides count.
    pub(crate) fn follow_throttle(&self, overrides: Overrides) -> Result<(), Failure> {
        if self.throttle_follower.get().is_some() {
            return Ok(());
        }
        let mut source = LimitSource::open(overrides, self.reload.clone())?;
        let _ = self.pause.set(source.pause());
        let cancel = self.cancel.clone();
        // A cancelled job has little left to send, and its end should not wait for the throttle.
        let now = move || {
            if cancel.is_cancelled() {
                Limits::default()
            } else {
                source.now()
            }
        };
        let follower = Follower::start(Arc::clone(&self.throttle), now);
        let follower = follower
            .map_err(|error| Failure::failed("failed", format!("the throttle could not be started: {error}"), ""))?;
        // If another thread set one at the same time, this follower ends here.
        let _ = self.throttle_follower.set(follower);
        Ok(())
    }

    /// When the throttle's pause ends.
    pub(crate) fn pause(&self) -> Arc<Pause> {
        self.pause.get().cloned().unwrap_or_default()
    }

    /// Opens a store. Every request is counted, and tried again if that may help. Fails if the URL or a setting is not
    /// understood, or if there is nothing at the URL.
    pub(crate) fn store(&self, url: &str) -> Result<Store, Failure> {
        self.open(url, Store::open_with)
    }

    /// Opens the store of a vault that is about to be made. A missing folder is made.
    pub(crate) fn store_to_make(&self, url: &str) -> Result<Store, Failure> {
        self.open(url, Store::open_or_make)
    }

    /// The URL of a vault in whose folder or prefix a place is.
    pub(crate) async fn vault_around(&self, url: &str) -> Result<Option<String>, Failure> {
        Ok(Store::vault_around(url, &self.store_options(StoreSettings::load()?)).await?)
    }

    fn store_options(&self, settings: StoreSettings) -> StoreOptions {
        StoreOptions {
            settings: settings.variables,
            pace: Arc::<Throttle>::clone(&self.throttle),
            environment: true,
        }
    }

    fn open(
        &self,
        url: &str,
        open: impl FnOnce(&str, &StoreOptions) -> Result<Store, StoreError>,
    ) -> Result<Store, Failure> {
        self.follow_throttle(Overrides::default())?;
        let settings = StoreSettings::load()?;
        let mut rule = RetryRule::default();
        if let Some(patience) = settings.patience {
            rule.patience = patience;
        }
        if let Some(patience) = self.store_patience {
            // A patience given for this run also applies to the first contact.
            (rule.patience, rule.first_contact) = (patience, patience);
        }
        let options = self.store_options(settings);
        let observer: Arc<dyn StoreObserver> = Arc::<Metrics>::clone(&self.metrics);
        Ok(open(url, &options)?
            .decorated(|inner| Arc::new(Metered::new(inner, Arc::clone(&observer))))
            .retried(rule, Some(observer)))
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}
