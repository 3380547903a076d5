//! Compares restored files with the source, where the source is still as it was backed up.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lockstone_proto::vault::Entry;

use super::sample::Chosen;

/// How much is read at once.
const PIECE: usize = 256 * 1024;

/// What was compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Compared {
    /// Files that are the same as in the source.
    pub(crate) with_source: u64,
    /// Files whose source has changed or is gone. That their chunks have the right ids has to do.
    pub(crate) by_ids: u64,
    /// Files that were not restored.
    pub(crate) missing: u64,
    /// Paths of files that differ from a source that has not changed.
    pub(crate) different: Vec<Vec<u8>>,
}

/// Compares what was restored to `folder`. Stops if it is cancelled.
pub(super) fn compare(folder: &Path, chosen: &[Chosen], cancelled: impl Fn() -> bool) -> Compared {
    let mut compared = Compared::default();
    for Chosen { path, entry } in chosen.iter().take_while(|_| !cancelled()) {
        let source = PathBuf::from(OsStr::from_bytes(path));
        let restored = folder.join(OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path)));
        if fs::symlink_metadata(&restored).is_err() {
            compared.missing += 1;
            continue;
        }
        let is_unchanged = || fs::symlink_metadata(&source).is_ok_and(|now| is_as_backed_up(&now, entry));
        let same = is_unchanged().then(|| same_content(&source, &restored));
        // A source that cannot be read, or changes meanwhile, says nothing.
        match same {
            Some(Ok(true)) => compared.with_source += 1,
            Some(Ok(false)) if is_unchanged() => compared.different.push(path.clone()),
            Some(_) | None => compared.by_ids += 1,
        }
    }
    compared
}

/// Whether the file is the one that was backed up, and was not changed since.
fn is_as_backed_up(now: &Metadata, entry: &Entry) -> bool {
    now.is_file()
        && now.len() == entry.size
        && (now.mtime(), now.mtime_nsec()) == (entry.mtime_s, i64::from(entry.mtime_ns))
        && (now.ctime(), now.ctime_nsec()) == (entry.ctime_s, i64::from(entry.ctime_ns))
        && now.ino() == entry.inode
        && !entry.unsettled
}

fn same_content(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut ours, mut theirs) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let (read, found) = (fill(&mut one, &mut ours)?, fill(&mut other, &mut theirs)?);
        if ours[..read] != theirs[..found] {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_has_not_changed_is_compared_and_any_other_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (source, back) = (folder.path().join("source"), folder.path().join("back"));
        fs::write(&source, b"content").unwrap();
        let placed = back.join(source.strip_prefix("/").unwrap());
        fs::create_dir_all(placed.parent().unwrap()).unwrap();
        let found = fs::symlink_metadata(&source).unwrap();
        let entry = Entry {
            size: found.len(),
            mtime_s: found.mtime(),
            mtime_ns: found.mtime_nsec() as u32,
            ctime_s: found.ctime(),
            ctime_ns: found.ctime_nsec() as u32,
            inode: found.ino(),
            ..Entry::default()
        };
        let chosen = |entry: &Entry| {
            [Chosen {
                path: source.as_os_str().as_bytes().to_vec(),
                entry: entry.clone(),
            }]
        };
        let look = |entry: &Entry| compare(&back, &chosen(entry), || false);
        assert_eq!(look(&entry).missing, 1);
        fs::write(&placed, b"content").unwrap();
        assert_eq!(look(&entry).with_source, 1);
        fs::write(&placed, b"other").unwrap();
        assert_eq!(look(&entry).different.len(), 1);
        let older = Entry {
            mtime_s: entry.mtime_s - 1,
            ..entry
        };
        assert_eq!(look(&older).by_ids, 1);
    }
}
