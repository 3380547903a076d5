//! The names of the folders on the way down, sorted in byte order, in one arena that works as a stack: a folder's names
//! lie on top of those of the folders around it, and are dropped when the walk leaves the folder. No name is allocated
//! by itself.
//!
//! Memory is bounded, however many entries a folder has. Names that do not fit in a batch are left out; the folder is
//! then read again for the names after the last one of the batch. A folder of a million entries fits in one batch.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, RawDir, SeekFrom, seek};

/// The most bytes of names in a batch.
const BATCH_BYTES: usize = 24 * 1024 * 1024;
/// The most names in a batch.
const BATCH_NAMES: usize = 1536 * 1024;
/// Bytes of the buffer that one `getdents64` fills.
const BUFFER: usize = 64 * 1024;

/// The type of an entry by the listing. Some file systems do not report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    Folder,
    Other,
    Unknown,
}

#[derive(Debug, Clone, Copy)]
struct Name {
    start: u32,
    len: u16,
    hint: Hint,
}

/// Where a folder's names begin in the stack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    bytes: usize,
    pub(super) index: usize,
}

/// The stack of names.
#[derive(Debug)]
pub(super) struct Names {
    bytes: Vec<u8>,
    index: Vec<Name>,
    buffer: Vec<u8>,
    limits: (usize, usize),
}

/// The result of reading a folder.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Names after the last one of this batch are still to be read.
    pub(super) more: bool,
    /// Which of the wanted names the folder has: bit `n` for the name with index `n`.
    pub(super) found: u32,
    /// Why the listing ended early, if it did.
    pub(super) error: Option<io::Error>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self::with_limits(BATCH_BYTES, BATCH_NAMES)
    }

    fn with_limits(bytes: usize, names: usize) -> Self {
        Self {
            bytes: Vec::new(),
            index: Vec::new(),
            buffer: Vec::with_capacity(BUFFER),
            limits: (bytes, names),
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            bytes: self.bytes.len(),
            index: self.index.len(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.index.truncate(mark.index);
    }

    pub(super) fn get(&self, at: usize) -> (&[u8], Hint) {
        let name = self.index[at];
        (slice(&self.bytes, name), name.hint)
    }

    /// Reads a folder's names onto the top of the stack: those after `after`, in order, as many as fit. Looks for the
    /// `wanted` names, at most 32, among all names of the folder.
    pub(super) fn read(&mut self, folder: BorrowedFd<'_>, after: Option<&[u8]>, wanted: &[Vec<u8>]) -> Batch {
        let mut batch = Batch::default();
        if after.is_some()
            && let Err(error) = seek(folder, SeekFrom::Start(0))
        {
            batch.error = Some(error.into());
            return batch;
        }
        let mark = self.mark();
        // The last name that this batch has room for; later ones are left to the next batch.
        let mut bound: Option<Vec<u8>> = None;
        let mut listing = RawDir::new(folder, self.buffer.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => {
                    batch.error = Some(error.into());
                    break;
                }
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            for (at, wanted) in wanted.iter().enumerate() {
                batch.found |= u32::from(name == wanted) << at;
            }
            if after.is_some_and(|after| name <= after) {
                continue;
            }
            if bound.as_deref().is_some_and(|bound| name > bound) {
                batch.more = true;
                continue;
            }
            let (Ok(start), Ok(len)) = (u32::try_from(self.bytes.len()), u16::try_from(name.len())) else {
                batch.error = Some(io::Error::other("the names on the way down take more than 4 GiB"));
                break;
            };
            let hint = match entry.file_type() {
                FileType::Directory => Hint::Folder,
                FileType::Unknown => Hint::Unknown,
                _ => Hint::Other,
            };
            self.bytes.extend_from_slice(name);
            self.index.push(Name { start, len, hint });
            if self.bytes.len() - mark.bytes > self.limits.0 || self.index.len() - mark.index > self.limits.1 {
                bound = keep_lower_half(&mut self.bytes, &mut self.index, mark);
                batch.more = true;
            }
        }
        sort(&self.bytes, &mut self.index[mark.index..]);
        // A folder that changes while it is listed may show a name twice.
        let mut kept = mark.index;
        for at in mark.index..self.index.len() {
            let is_new =
                kept == mark.index || slice(&self.bytes, self.index[kept - 1]) != slice(&self.bytes, self.index[at]);
            if is_new {
                self.index[kept] = self.index[at];
                kept += 1;
            }
        }
        self.index.truncate(kept);
        batch
    }
}

fn slice(bytes: &[u8], name: Name) -> &[u8] {
    let start = name.start as usize;
    &bytes[start..start + usize::from(name.len)]
}

fn sort(bytes: &[u8], index: &mut [Name]) {
    index.sort_unstable_by(|a, b| slice(bytes, *a).cmp(slice(bytes, *b)));
}

/// Drops the upper half of the names from `mark` on, and returns the last one kept.
fn keep_lower_half(bytes: &mut Vec<u8>, index: &mut Vec<Name>, mark: Mark) -> Option<Vec<u8>> {
    sort(bytes, &mut index[mark.index..]);
    let keep = mark.index + (index.len() - mark.index).div_ceil(2);
    index.truncate(keep);
    let mut compact = Vec::new();
    for name in &mut index[mark.index..] {
        let start = mark.bytes + compact.len();
        compact.extend_from_slice(slice(bytes, *name));
        // The new start is never larger than the old one, so it fits.
        name.start = u32::try_from(start).unwrap_or(u32::MAX);
    }
    bytes.truncate(mark.bytes);
    bytes.extend_from_slice(&compact);
    index.last().map(|last| slice(bytes, *last).to_vec())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_folder_beyond_a_batch_is_listed_completely_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut expected: Vec<Vec<u8>> = (0..1000_u32)
            .map(|i| format!("{:x}", i.wrapping_mul(2_654_435_761)).into_bytes())
            .collect();
        for name in &expected {
            std::fs::write(folder.path().join(std::str::from_utf8(name).unwrap()), b"").unwrap();
        }
        expected.sort();
        let handle = std::fs::File::open(folder.path()).unwrap();
        for limits in [(usize::MAX, usize::MAX), (usize::MAX, 64), (200, usize::MAX), (1, 1)] {
            let mut names = Names::with_limits(limits.0, limits.1);
            let mut found: Vec<Vec<u8>> = Vec::new();
            // Other names are on the stack already.
            names.read(handle.as_fd(), Some(b"fffffff"), &[]);
            seek(&handle, SeekFrom::Start(0)).unwrap();
            let mark = names.mark();
            loop {
                let after = found.last().cloned();
                let batch = names.read(handle.as_fd(), after.as_deref(), std::slice::from_ref(&expected[999]));
                assert!(batch.error.is_none() && batch.found == 1);
                found.extend((mark.index..names.len()).map(|at| names.get(at).0.to_vec()));
                names.truncate(mark);
                if !batch.more {
                    break;
                }
            }
            assert_eq!(found, expected, "limits {limits:?}");
        }
    }
}
