//! When bytes may go to or come from a store. The connector of an object store and the store in a folder ask a
//! `LinePace` before each piece, so that no second carries more than the limit. The limits themselves (`throttle set`,
//! windows) are kept by the pipeline, which implements this trait.

use std::fmt::Debug;

use async_trait::async_trait;

/// The direction in which bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the store.
    Up,
    /// From the store.
    Down,
}

/// Says when bytes and requests may go. Shared by all stores of a process.
#[async_trait]
pub trait LinePace: Debug + Send + Sync {
    /// The length of the pieces into which a body should be cut at the present rate, bytes. `None` if there is no limit
    /// now: then a body may go as it is. Asked again before each piece of a body, because limits change.
    fn piece(&self, direction: Direction) -> Option<usize>;

    /// Waits until `bytes` more may go. A pause (a limit of 0) waits until it ends. Dropping the future stops waiting.
    async fn bytes(&self, direction: Direction, bytes: usize);

    /// Waits until one more request may be made.
    async fn request(&self);
}

/// A pace without limits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unpaced;

#[async_trait]
impl LinePace for Unpaced {
    fn piece(&self, _direction: Direction) -> Option<usize> {
        None
    }

    async fn bytes(&self, _direction: Direction, _bytes: usize) {}

    async fn request(&self) {}
}
