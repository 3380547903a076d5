//! Buffers that are used again: memory that a reader filled and a sealer emptied goes back to the next reader, still
//! mapped. Fresh memory costs a page fault for every 4 KiB, which shows beside a disk that gives a GB a second.

use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;

/// Most bytes of idle buffers that are kept.
const KEPT: usize = 24 * 1024 * 1024;
/// Capacities are multiples of this, so that buffers of about the same size fit each other's use.
const STEP: usize = 64 * 1024;

/// Idle buffers.
#[derive(Clone, Default)]
pub(crate) struct Pool {
    idle: Arc<Mutex<Idle>>,
}

#[derive(Default)]
struct Idle {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pool {
    /// An empty buffer with room for `bytes` at least.
    pub(crate) fn take(&self, bytes: usize) -> Pooled {
        let found = {
            let mut idle = self.idle.lock();
            // The smallest that is large enough; one much larger would hold memory that nobody has paid for.
            let fits = |buffer: &Vec<u8>| buffer.capacity() >= bytes && buffer.capacity() <= bytes + bytes / 4 + STEP;
            let at = (0..idle.buffers.len())
                .filter(|&at| fits(&idle.buffers[at]))
                .min_by_key(|&at| idle.buffers[at].capacity());
            at.map(|at| {
                let buffer = idle.buffers.swap_remove(at);
                idle.bytes -= buffer.capacity();
                buffer
            })
        };
        Pooled {
            bytes: found.unwrap_or_else(|| Vec::with_capacity(bytes.next_multiple_of(STEP))),
            pool: self.clone(),
        }
    }

    fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut idle = self.idle.lock();
        if buffer.capacity() > 0 && idle.bytes + buffer.capacity() <= KEPT {
            idle.bytes += buffer.capacity();
            idle.buffers.push(buffer);
        }
    }
}

/// A buffer that goes back to its pool when it is dropped.
pub(crate) struct Pooled {
    bytes: Vec<u8>,
    pool: Pool,
}

impl Pooled {
    /// The bytes, to be filled.
    pub(crate) fn vec(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Deref for Pooled {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_and_what_is_kept_is_bounded() {
        let pool = Pool::default();
        let mut first = pool.take(1 << 20);
        first.vec().extend_from_slice(b"used");
        let place = first.as_ptr();
        drop(first);
        let again = pool.take(900 * 1024);
        assert!(again.is_empty() && again.as_ptr() == place);
        let many: Vec<Pooled> = (0..40).map(|_| pool.take(1 << 20)).collect();
        drop(many);
        assert!(pool.idle.lock().bytes <= KEPT);
    }
}
