//! A pool of reused buffers. Memory that a reader filled and a sealer emptied goes to the next reader, still mapped.
//! Fresh memory costs a page fault for every 4 KiB, and a pass over it to clear it. Both are noticeable with a disk
//! that reads 1 GB a second.

use std::collections::VecDeque;
use std::ops::{Deref, RangeInclusive};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The smallest length of a buffer.
const MIN_LEN: usize = 64 * 1024;
/// How many bytes a buffer has beyond its round length, for users that need slightly more than a round number.
const MARGIN: usize = 4 * 1024;

/// Idle buffers by their length.
#[derive(Debug, Clone)]
pub struct Pool {
    idle: Arc<Mutex<Idle>>,
}

#[derive(Debug)]
struct Idle {
    /// The buffer that was used last is at the back.
    buffers: VecDeque<Vec<u8>>,
    /// The total length of the idle buffers, bytes.
    bytes: usize,
    /// The total length of the buffers in use, bytes.
    used: usize,
    /// An idle buffer is kept only while idle and used buffers together have at most this many bytes.
    most: usize,
}

/// The length of a buffer for `bytes`: a power of two, or one and a half times a power of two, plus the margin. There
/// are few lengths, so that the buffer of one file fits the next one. A buffer is at most half as long again as was
/// asked for.
fn length_for(bytes: usize) -> usize {
    let round = bytes.saturating_sub(MARGIN).max(MIN_LEN).next_power_of_two();
    let between = round / 4 * 3;
    MARGIN
        + if bytes <= between + MARGIN {
            between.max(MIN_LEN)
        } else {
            round
        }
}

impl Idle {
    /// Frees the buffers that were idle for longest while there are too many bytes. So lengths that are no longer used
    /// make room for those that are.
    fn shed(&mut self) {
        while self.bytes + self.used > self.most
            && let Some(oldest) = self.buffers.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }
}

impl Pool {
    /// A pool that frees idle buffers while used and idle buffers together have more than `most` bytes. So the pool
    /// adds little to a peak of memory, and its buffers are there again after the peak: an uploaded pack gives back as
    /// much as the next one needs.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            idle: Arc::new(Mutex::new(Idle {
                buffers: VecDeque::new(),
                bytes: 0,
                used: 0,
                most,
            })),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        // No code panics while it holds this lock, so the state is whole.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty buffer with room for at least `bytes`.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Pooled {
        let length = length_for(bytes);
        let found = {
            let mut idle = self.idle();
            // The buffer used last may still be in the processor's cache. If none fits, one up to twice as long is
            // taken.
            let of = |lengths: RangeInclusive<usize>| {
                let buffers = idle.buffers.iter();
                buffers.rev().position(|buffer| lengths.contains(&buffer.len()))
            };
            let behind = of(length..=length).or_else(|| of(length..=length * 2));
            let at = behind.map(|behind| idle.buffers.len() - 1 - behind);
            let found = at.and_then(|at| idle.buffers.remove(at));
            idle.bytes -= found.as_ref().map_or(0, Vec::len);
            idle.used += found.as_ref().map_or(length, Vec::len);
            idle.shed();
            found
        };
        Pooled {
            room: found.unwrap_or_else(|| vec![0; length]),
            len: 0,
            pool: self.clone(),
        }
    }

    fn put(&self, buffer: Vec<u8>) {
        let mut idle = self.idle();
        idle.used -= buffer.len();
        idle.bytes += buffer.len();
        idle.buffers.push_back(buffer);
        idle.shed();
    }
}

/// A buffer that goes back to its pool when it is dropped. Only the filled part can be read. The room after it may hold
/// bytes of an earlier use; it is written over and not cleared first.
#[derive(Debug)]
pub struct Pooled {
    room: Vec<u8>,
    /// How many bytes are filled.
    len: usize,
    pool: Pool,
}

impl Pooled {
    /// The next `bytes` after the filled part, to write into. Call [`filled`](Self::filled) with the number written.
    pub fn spare(&mut self, bytes: usize) -> &mut [u8] {
        let end = self.len + bytes;
        if self.room.len() < end {
            let before = self.room.len();
            self.room.resize(length_for(end), 0);
            self.pool.idle().used += self.room.len() - before;
        }
        &mut self.room[self.len..end]
    }

    /// Adds the first `bytes` of the spare room to the filled part.
    pub fn filled(&mut self, bytes: usize) {
        self.len = (self.len + bytes).min(self.room.len());
    }

    /// Keeps only the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl Deref for Pooled {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.room[..self.len]
    }
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_and_what_is_kept_is_bounded() {
        let pool = Pool::new(16 << 20);
        let mut first = pool.take(1 << 20);
        first.spare(4).copy_from_slice(b"used");
        first.filled(4);
        first.truncate(3);
        first.spare(2).copy_from_slice(b"er");
        first.filled(2);
        assert_eq!(&*first, b"useer");
        let place = first.as_ptr();
        drop(first);
        let again = pool.take(900 * 1024);
        assert!(again.is_empty() && again.as_ptr() == place);
        for bytes in [
            0,
            1,
            MIN_LEN,
            100_000,
            1 << 20,
            (1 << 20) + MARGIN,
            1_100_000,
            4 << 20,
            5 << 20,
        ] {
            let length = length_for(bytes);
            assert!(
                length >= bytes && length <= (bytes + bytes / 2).max(MIN_LEN) + 2 * MARGIN,
                "{bytes}: {length}"
            );
        }
        drop(again);
        let mut many: Vec<Pooled> = (0..40).map(|_| pool.take(1 << 20)).collect();
        assert_eq!(pool.idle().bytes, 0, "so many are in use that none is kept");
        many.truncate(10);
        let half = pool.idle().bytes;
        assert!(half > 0 && half + pool.idle().used <= 16 << 20);
        many.clear();
        let idle = pool.idle();
        assert!(idle.used == 0 && idle.bytes > half && idle.bytes <= 16 << 20);
    }

    #[test]
    fn a_buffer_that_grows_is_counted_as_it_is() {
        let pool = Pool::new(16 << 20);
        let mut buffer = pool.take(MIN_LEN);
        buffer.spare(3 << 20);
        assert_eq!(pool.idle().used, buffer.room.len());
        drop(buffer);
        assert!(pool.idle().used == 0 && pool.idle().bytes >= 3 << 20);
    }
}
