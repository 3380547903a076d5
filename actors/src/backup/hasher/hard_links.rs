//! Hard links: the content of a file with several names is read once. The memory for this is bounded. A file beyond the
//! bound is read again; its chunks are known by then and are not stored again.

use std::collections::HashMap;

use lockstone_host::walk::Stat;
use lockstone_proto::vault::Content;
use parking_lot::Mutex;

/// At most this many files are remembered.
const MAX_FILES: usize = 64 * 1024;

/// A file as it was when it was read: inode, device, size, mtime and ctime.
type Key = (u64, u64, u64, (i64, u32), (i64, u32));

/// The contents of files with several names.
#[derive(Default)]
pub(crate) struct HardLinks {
    contents: Mutex<HashMap<Key, (Option<Content>, u64)>>,
}

fn key(stat: &Stat) -> Key {
    (
        stat.inode,
        stat.device,
        stat.size,
        (stat.mtime_s, stat.mtime_ns),
        (stat.ctime_s, stat.ctime_ns),
    )
}

impl HardLinks {
    /// Content and size of the file, if it has several names and was read under another one.
    pub(crate) fn get(&self, stat: &Stat) -> Option<(Option<Content>, u64)> {
        if stat.links < 2 {
            None
        } else {
            self.contents.lock().get(&key(stat)).cloned()
        }
    }

    /// Remembers a file that was read, if it has several names.
    pub(crate) fn put(&self, stat: &Stat, content: Option<&Content>, size: u64) {
        if stat.links < 2 {
            return;
        }
        let mut contents = self.contents.lock();
        if contents.len() < MAX_FILES {
            contents.insert(key(stat), (content.cloned(), size));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;

    use lockstone_host::walk::Folder;

    use super::*;

    fn stat(folder: &Path, name: &str) -> Stat {
        let (folder, _) = Folder::open(folder).unwrap();
        *lockstone_host::read::OpenedFile::open(&folder, name.as_bytes())
            .unwrap()
            .stat()
    }

    #[test]
    fn a_file_that_changed_between_its_names_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
        std::fs::write(&first, b"before").unwrap();
        std::fs::hard_link(&first, &second).unwrap();
        let links = HardLinks::default();
        links.put(&stat(folder.path(), "first"), None, 6);
        assert!(links.get(&stat(folder.path(), "second")).is_some());
        // The same size, and a time of modification that was set back: the ctime still tells.
        let modified = std::fs::metadata(&second).unwrap().modified().unwrap();
        let before = stat(folder.path(), "second");
        loop {
            std::fs::write(&second, b"after!").unwrap();
            std::fs::File::open(&second).unwrap().set_modified(modified).unwrap();
            let now = stat(folder.path(), "second");
            if (now.ctime_s, now.ctime_ns) != (before.ctime_s, before.ctime_ns) {
                break;
            }
        }
        assert!(links.get(&stat(folder.path(), "second")).is_none());
        // A file with one name is never remembered.
        std::fs::write(folder.path().join("single"), b"x").unwrap();
        links.put(&stat(folder.path(), "single"), None, 1);
        assert!(links.get(&stat(folder.path(), "single")).is_none());
    }
}
