//! Randomness and pauses that a simulation decides. Both are of the current thread only. A thread that runs no
//! simulation gets its random bytes from the operating system and sleeps in real time, also in tests.

use std::cell::RefCell;
use std::time::Duration;

use futures::future::BoxFuture;

/// A generator of numbers that follow from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The generator of that seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.roll() % n.max(1) as u64) as usize
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, some: &[T]) -> Option<T> {
        (!some.is_empty()).then(|| some[self.below(some.len())])
    }

    /// Another generator, which follows from this one.
    pub fn branch(&mut self) -> Self {
        Self(self.roll())
    }
}

/// What decides how long a pause is.
pub type Pauses = Box<dyn Fn(Duration) -> BoxFuture<'static, ()>>;

thread_local! {
    static ENTROPY: RefCell<Option<Dice>> = const { RefCell::new(None) };
    static PAUSES: RefCell<Option<Pauses>> = const { RefCell::new(None) };
}

/// From now on all random bytes of this thread follow from the seed, and pauses are decided by `pauses`.
pub fn begin(seed: u64, pauses: Pauses) {
    ENTROPY.set(Some(Dice::new(seed)));
    PAUSES.set(Some(pauses));
}

/// This thread is as every other again.
pub fn end() {
    ENTROPY.set(None);
    PAUSES.set(None);
}

/// Whether this thread runs a simulation.
pub(crate) fn is_on() -> bool {
    ENTROPY.with_borrow(Option::is_some)
}

/// Fills the bytes, if this thread runs a simulation.
pub(crate) fn fill(bytes: &mut [u8]) -> bool {
    ENTROPY.with_borrow_mut(|dice| {
        let Some(dice) = dice else { return false };
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&dice.roll().to_le_bytes()[..part.len()]);
        }
        true
    })
}

/// The pause, if this thread runs a simulation.
pub(crate) fn pause(time: Duration) -> Option<BoxFuture<'static, ()>> {
    PAUSES.with_borrow(|pauses| pauses.as_ref().map(|pauses| pauses(time)))
}
