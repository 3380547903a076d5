//! The throttle of one run: the program's own, but nobody else's.

use std::sync::Arc;

use lockstone_actors::Metrics;
use lockstone_actors::throttle::{self, Throttle};
use lockstone_vault::store::pace::WirePace;

/// A throttle for uploads.
#[derive(Debug)]
pub struct Limits(Arc<Throttle>);

impl Limits {
    /// One with this limit, bytes a second.
    #[must_use]
    pub fn new(rate: Option<u64>) -> Limits {
        let limits = Limits(Arc::new(Throttle::new(Arc::new(Metrics::new()))));
        limits.set(rate);
        limits
    }

    /// Changes the limit.
    pub fn set(&self, rate: Option<u64>) {
        self.0.set(throttle::Limits {
            up: rate,
            ..throttle::Limits::default()
        });
    }

    /// What a store asks.
    #[must_use]
    pub fn pace(&self) -> Arc<dyn WirePace> {
        Arc::<Throttle>::clone(&self.0)
    }
}
