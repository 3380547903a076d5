//! The throttle of one run. It is the program's own throttle, but no other run uses it.

use std::sync::Arc;

use lockstone_actors::Metrics;
use lockstone_actors::throttle::{self, Throttle};
use lockstone_vault::store::pace::LinePace;

/// A throttle for uploads.
#[derive(Debug)]
pub(super) struct Limits(Arc<Throttle>);

impl Limits {
    /// Makes a throttle with this limit in bytes per second.
    pub(super) fn new(rate: Option<u64>) -> Limits {
        let limits = Limits(Arc::new(Throttle::new(Arc::new(Metrics::new()))));
        limits.set(rate);
        limits
    }

    /// Changes the limit.
    pub(super) fn set(&self, rate: Option<u64>) {
        self.0.set(throttle::Limits {
            up: rate,
            ..throttle::Limits::default()
        });
    }

    /// The pace for a store.
    pub(super) fn pace(&self) -> Arc<dyn LinePace> {
        Arc::<Throttle>::clone(&self.0)
    }
}
