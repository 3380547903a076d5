//! Cuts file content into chunks where the content says so, so that an insertion moves no cut but its neighbours. A
//! gear hash whose table is secret: from the cuts alone nobody learns what is stored. The hasher calls it.
//!
//! The rule (format 1): with `h = (h << 1) + table[byte]`, a chunk of `n` bytes ends where the top 20 bits of `h` are
//! zero and `n >= CHUNK_MIN`, and at `CHUNK_MAX` in any case. `h` holds nothing older than 64 bytes, so it is started
//! from 0 at 64 bytes before `CHUNK_MIN`. The last chunk of a file, or of a run between holes, may be of any length.

use lockstone_proto::limits::{CHUNK_MAX, CHUNK_MIN};

/// A cut wants `h` below this: the top 20 bits are zero once in 2²⁰ bytes, `CHUNK_AVERAGE`.
const CUT_BELOW: u64 = 1 << 44;
/// How many bytes `h` remembers: one a bit.
const WINDOW: usize = 64;

/// Finds the cuts. Holds no state of a file: one serves all threads.
#[derive(Clone)]
pub struct Chunker {
    table: Box<[u64; 256]>,
}

impl Chunker {
    /// A chunker with the domain's table.
    #[must_use]
    pub fn new(table: &[u64; 256]) -> Self {
        Self { table: Box::new(*table) }
    }

    /// The length of the first chunk of `data`, which starts where a chunk starts. `last`: no bytes follow these. None:
    /// more bytes are needed to tell, at most until there are `CHUNK_MAX`, or there is nothing to cut.
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
        let table = &*self.table;
        let mut h = 0_u64;
        for &byte in &data[CHUNK_MIN - WINDOW..CHUNK_MIN - 1] {
            h = (h << 1).wrapping_add(table[usize::from(byte)]);
        }
        let mut at = CHUNK_MIN - 1;
        // Eight steps a turn: the loop's own cost would otherwise be a third of the work.
        let (groups, rest) = data[at..].as_chunks::<8>();
        for group in groups {
            for (i, &byte) in group.iter().enumerate() {
                h = (h << 1).wrapping_add(table[usize::from(byte)]);
                if h < CUT_BELOW {
                    return Some(at + i + 1);
                }
            }
            at += 8;
        }
        for (i, &byte) in rest.iter().enumerate() {
            h = (h << 1).wrapping_add(table[usize::from(byte)]);
            if h < CUT_BELOW {
                return Some(at + i + 1);
            }
        }
        None
    }
}

impl std::fmt::Debug for Chunker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The table is a secret.
        f.write_str("Chunker")
    }
}
