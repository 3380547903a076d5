//! Cuts file content into chunks at places that the content itself determines, so that an insertion moves only the cuts
//! near it. The places come from a gear hash with a secret table, so that the lengths of chunks do not reveal what is
//! stored. The Hasher stage calls it.
//!
//! The rule (format 1): with `h = (h << 1) + table[byte]`, a chunk of `n` bytes ends where the top 20 bits of `h` are
//! zero and `n >= CHUNK_MIN`, and at `CHUNK_MAX` in any case. `h` holds nothing older than 64 bytes, so it is started
//! from 0 at 64 bytes before `CHUNK_MIN`. The last chunk of a file, or of a run between holes, may be of any length.

use lockstone_proto::limits::{CHUNK_MAX, CHUNK_MIN};

/// There is a cut where `h` is below this: its top 20 bits are zero, once in 2²⁰ bytes (`CHUNK_AVERAGE`) on average.
const CUT_BELOW: u64 = 1 << 44;
/// How many bytes `h` depends on: each step shifts it by one of its 64 bits.
const WINDOW: usize = 64;
/// How many hashes `pass` computes at the same time.
const HASHES: usize = 4;
/// How many bytes each of them covers.
const PART: usize = 4096;

/// Finds the cuts. Keeps no state of a file, so all threads can share one.
#[derive(Clone)]
pub struct Chunker {
    table: Box<[u64; 256]>,
}

impl Chunker {
    /// A chunker with the domain's secret table.
    #[must_use]
    pub fn new(table: &[u64; 256]) -> Self {
        Self {
            table: Box::new(*table),
        }
    }

    /// The length of the first chunk of `data`, which must start where a chunk starts. `last` says that no bytes
    /// follow. `None` if more bytes are needed (never with `CHUNK_MAX` bytes or more), or if `data` is empty.
    #[must_use]
    pub fn cut(&self, data: &[u8], last: bool) -> Option<usize> {
        let window = &data[..data.len().min(CHUNK_MAX)];
        if window.len() >= CHUNK_MIN
            && let Some(len) = self.scan(window)
        {
            return Some(len);
        }
        if data.len() >= CHUNK_MAX {
            Some(CHUNK_MAX)
        } else if last && !data.is_empty() {
            Some(data.len())
        } else {
            None
        }
    }

    /// The first cut in `data`, which has at least `CHUNK_MIN` bytes.
    fn scan(&self, data: &[u8]) -> Option<usize> {
        let mut at = CHUNK_MIN - 1;
        let mut h = self.hash(0, &data[CHUNK_MIN - WINDOW..at]);
        // Block by block as long as a block has no cut, then byte by byte.
        while let Some(end) = data.get(at..).and_then(|rest| self.pass(h, rest)) {
            h = end;
            at += HASHES * PART;
        }
        for (i, &byte) in data[at..].iter().enumerate() {
            h = self.step(h, byte);
            if h < CUT_BELOW {
                return Some(at + i + 1);
            }
        }
        None
    }

    #[inline(always)]
    fn step(&self, h: u64, byte: u8) -> u64 {
        (h << 1).wrapping_add(self.table[usize::from(byte)])
    }

    fn hash(&self, h: u64, bytes: &[u8]) -> u64 {
        bytes.iter().fold(h, |h, &byte| self.step(h, byte))
    }

    /// The value of `h` after the block at the front of `data`, or `None` if the block is too short or has a cut in it.
    ///
    /// Each step of a hash depends on the step before, so one hash alone leaves the processor waiting. Four hashes at
    /// the same time, over the four parts of the block, keep it busy. The second to fourth start one window before
    /// their part, so they have the same value there as a single hash over the whole block.
    #[inline(never)]
    fn pass(&self, h: u64, data: &[u8]) -> Option<u64> {
        let block = data.get(..HASHES * PART)?;
        let table = &*self.table;
        let mut hashes = [h; HASHES];
        for (part, h) in hashes.iter_mut().enumerate().skip(1) {
            *h = self.hash(0, &block[part * PART - WINDOW + 1..part * PART]);
        }
        for i in 0..PART {
            for (part, h) in hashes.iter_mut().enumerate() {
                *h = (*h << 1).wrapping_add(table[usize::from(block[part * PART + i])]);
                if *h < CUT_BELOW {
                    return None;
                }
            }
        }
        Some(hashes[HASHES - 1])
    }
}

impl std::fmt::Debug for Chunker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The table is a secret.
        f.write_str("Chunker")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A generator of numbers that look random.
    fn noise(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed;
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    fn table() -> [u64; 256] {
        let mut next = noise(7);
        std::array::from_fn(|_| next())
    }

    fn bytes(seed: u64, len: usize) -> Vec<u8> {
        let mut next = noise(seed);
        let mut bytes: Vec<u8> = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    /// The rule as the module's documentation states it, with one hash over all bytes from the start.
    fn plain_cut(table: &[u64; 256], data: &[u8]) -> usize {
        let mut h = 0_u64;
        for (i, &byte) in data.iter().enumerate() {
            h = (h << 1).wrapping_add(table[usize::from(byte)]);
            let len = i + 1;
            if len == CHUNK_MAX || (len >= CHUNK_MIN && h >> 44 == 0) {
                return len;
            }
        }
        data.len()
    }

    fn cuts(chunker: &Chunker, mut data: &[u8]) -> Vec<usize> {
        let mut cuts = Vec::new();
        while let Some(len) = chunker.cut(data, true) {
            cuts.push(len);
            data = &data[len..];
        }
        cuts
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn cuts_are_those_of_the_plain_rule(seed: u64, len in 0..(6 * CHUNK_MIN), repeat in 1_usize..4) {
            let table = table();
            let chunker = Chunker::new(&table);
            let data = bytes(seed, len).repeat(repeat);
            let mut rest = &data[..];
            for cut in cuts(&chunker, &data) {
                prop_assert_eq!(cut, plain_cut(&table, rest));
                rest = &rest[cut..];
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn more_bytes_never_move_a_cut(seed: u64, len in CHUNK_MIN..(2 * CHUNK_MAX), seen in 0..(2 * CHUNK_MAX)) {
            let chunker = Chunker::new(&table());
            let data = bytes(seed, len);
            let whole = chunker.cut(&data, true);
            if let Some(cut) = chunker.cut(&data[..seen.min(len)], false) {
                prop_assert_eq!(Some(cut), whole);
                prop_assert!((CHUNK_MIN..=CHUNK_MAX).contains(&cut));
            } else {
                prop_assert!(seen.min(len) < CHUNK_MAX);
            }
        }
    }

    #[test]
    fn an_insertion_moves_only_the_cuts_near_it() {
        let chunker = Chunker::new(&table());
        let old = bytes(1, 32 << 20);
        let mut new = old.clone();
        new.splice(1000..1000, *b"inserted");
        let ends = |data: &[u8]| -> std::collections::BTreeSet<usize> {
            cuts(&chunker, data)
                .iter()
                .scan(0, |at, len| {
                    *at += len;
                    Some(data.len() - *at)
                })
                .collect()
        };
        let (old, new) = (ends(&old), ends(&new));
        assert!(old.len() >= 16 && old.len() <= 60, "{} chunks", old.len());
        assert!(old.intersection(&new).count() + 6 >= old.len());
    }

    #[test]
    fn what_has_no_cut_is_cut_at_the_maximum() {
        let chunker = Chunker::new(&[u64::MAX / 3; 256]);
        assert_eq!(cuts(&chunker, &vec![0; 2 * CHUNK_MAX + 5]), [CHUNK_MAX, CHUNK_MAX, 5]);
        assert_eq!(chunker.cut(&[], true), None);
        assert_eq!(chunker.cut(&[1], true), Some(1));
        assert_eq!(chunker.cut(&vec![0; CHUNK_MAX - 1], false), None);
    }

    /// Not run by default: `cargo test --release -- --ignored --nocapture chunk_speed`.
    #[test]
    #[ignore = "a measurement"]
    fn chunk_speed() {
        let chunker = Chunker::new(&table());
        let data = bytes(1, 256 << 20);
        for _ in 0..5 {
            let begun = std::time::Instant::now();
            let cuts = cuts(&chunker, &data);
            // The first CHUNK_MIN bytes of each chunk are not hashed.
            let scanned = data.len() - cuts.len() * CHUNK_MIN;
            let seconds = begun.elapsed().as_secs_f64();
            eprintln!(
                "{} chunks: {:.2} GB/s of data, {:.2} GB/s scanned",
                cuts.len(),
                data.len() as f64 / seconds / 1e9,
                scanned as f64 / seconds / 1e9
            );
        }
    }
}
