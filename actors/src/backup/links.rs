//! Hard links: the content of a file that has several names is read once. The memory for it is bounded; what it forgets
//! is read again, found known, and not stored again.

use std::collections::HashMap;

use lockstone_host::walk::Stat;
use lockstone_proto::vault::Content;
use parking_lot::Mutex;

/// Most files remembered.
const MAX: usize = 64 * 1024;

/// What a file was when it was read: inode, device, size, mtime and ctime.
type Key = (u64, u64, u64, (i64, u32), (i64, u32));

/// Contents by inode.
#[derive(Default)]
pub(crate) struct Links {
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

impl Links {
    /// Content and size of the file, if it has several names and was read under another.
    pub(crate) fn get(&self, stat: &Stat) -> Option<(Option<Content>, u64)> {
        if stat.links < 2 {
            None
        } else {
            self.contents.lock().get(&key(stat)).cloned()
        }
    }

    /// Remembers a file that was read.
    pub(crate) fn put(&self, stat: &Stat, content: Option<&Content>, size: u64) {
        if stat.links < 2 {
            return;
        }
        let mut contents = self.contents.lock();
        if contents.len() < MAX {
            contents.insert(key(stat), (content.cloned(), size));
        }
    }
}
