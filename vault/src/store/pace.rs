//! When a store's bytes may go. Whoever moves bytes between this machine and a store (the connector of an object store,
//! the local folder) asks a `WirePace` first, piece by piece, so that no second carries more than the limit. The limits
//! themselves (governor, windows, `throttle set`) live with the pipeline; here is only what is asked.

use std::fmt::Debug;

use async_trait::async_trait;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// To the store.
    Up,
    /// From the store.
    Down,
}

/// Says when bytes and requests may go. Shared by all stores of a process.
#[async_trait]
pub trait WirePace: Debug + Send + Sync {
    /// The length of the pieces that a body should be cut into at the present rate, bytes; `None`: there is no limit
    /// now, a body may go as it is. A body that is under way asks again before each piece, since limits change.
    fn piece(&self, way: Way) -> Option<usize>;

    /// Waits until `bytes` more may go. A pause (a limit of 0) waits until it ends. Dropping the future stops waiting.
    async fn bytes(&self, way: Way, bytes: usize);

    /// Waits until one more request may be made.
    async fn request(&self);
}

/// No limits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unpaced;

#[async_trait]
impl WirePace for Unpaced {
    fn piece(&self, _way: Way) -> Option<usize> {
        None
    }

    async fn bytes(&self, _way: Way, _bytes: usize) {}

    async fn request(&self) {}
}
