//! The pages below which a search found nothing, by key. A search asks for each folder that it meets, and several
//! threads search at once, so this is a table without a lock.
//!
//! Keys are parts of hashes. A key belongs to one bucket, which holds the last few of its keys. What is pushed out is
//! looked at again when it is met again. Pages of old points are pushed out first, because they are met last.
//!
//! # Races
//! The two halves of a key are stored one after another. A thread may see halves of two keys, and two threads that
//! write to one bucket may mix them. Such a mixed key is the key of no page, up to the chance that two hashes agree. A
//! key that is lost that way costs another look.

use std::sync::atomic::{AtomicU64, Ordering};

/// 8 MiB in all, for half a million pages.
const BUCKETS: usize = 1 << 17;
/// A bucket is a line of the processor's cache.
const SLOTS: usize = 4;

#[derive(Default)]
#[repr(align(64))]
struct Bucket([[AtomicU64; 2]; SLOTS]);

/// A table of keys.
pub(super) struct Barren {
    buckets: Box<[Bucket]>,
}

impl Barren {
    pub(super) fn new() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Bucket::default()).collect(),
        }
    }

    pub(super) fn contains(&self, key: u128) -> bool {
        let [low, high] = halves(key);
        if key == 0 {
            // This is how an empty slot looks.
            return false;
        }
        let Bucket(slots) = self.bucket(low);
        slots
            .iter()
            .any(|[a, b]| a.load(Ordering::Relaxed) == low && b.load(Ordering::Relaxed) == high)
    }

    /// Adds a key. The oldest of its bucket goes.
    pub(super) fn add(&self, key: u128) {
        let mut moving = halves(key);
        let Bucket(slots) = self.bucket(moving[0]);
        for [a, b] in slots {
            moving = [
                a.swap(moving[0], Ordering::Relaxed),
                b.swap(moving[1], Ordering::Relaxed),
            ];
            if moving == [0, 0] {
                break;
            }
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "a part of a hash is one")]
    fn bucket(&self, low: u64) -> &Bucket {
        &self.buckets[low as usize % BUCKETS]
    }
}

#[allow(clippy::cast_possible_truncation, reason = "halves of a key")]
fn halves(key: u128) -> [u64; 2] {
    [key as u64, (key >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key like a hash.
    fn key(n: u32) -> u128 {
        let mut key = [0; 16];
        key.copy_from_slice(&blake3::hash(&n.to_le_bytes()).as_bytes()[..16]);
        u128::from_le_bytes(key)
    }

    #[test]
    fn what_was_added_is_there_until_newer_ones_take_its_place() {
        let barren = Barren::new();
        barren.add(0);
        assert!(!barren.contains(0));
        for n in 0..10_000 {
            assert!(!barren.contains(key(n)));
            barren.add(key(n));
        }
        let there = |from: u32, to: u32| (from..to).filter(|n| barren.contains(key(*n))).count();
        assert_eq!(there(0, 10_000), 10_000, "far from full");
        for n in 10_000..2_000_000 {
            barren.add(key(n));
        }
        assert_eq!(there(1_999_000, 2_000_000), 1000, "the newest are there");
        assert!(there(0, 10_000) < 10, "the oldest went first");
    }

    #[test]
    fn keys_of_one_bucket_push_out_the_oldest() {
        let barren = Barren::new();
        let key = |n: u128| 7 | (n << 64);
        for n in 1..=5 {
            barren.add(key(n));
        }
        let there: Vec<bool> = (0..=5).map(|n| barren.contains(key(n))).collect();
        assert_eq!(there, [false, false, true, true, true, true]);
    }

    #[test]
    fn threads_that_write_at_once_make_no_key_of_their_own() {
        let barren = Barren::new();
        std::thread::scope(|scope| {
            for part in 0..2 {
                let barren = &barren;
                scope.spawn(move || (0..100_000).for_each(|n| barren.add(key(2 * n + part))));
            }
        });
        assert!((200_000..400_000).all(|n| !barren.contains(key(n))));
    }
}
