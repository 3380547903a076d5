//! Whether an existing file is still what it was when it was compared.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use lockstone_host::read::OpenedFile;
use lockstone_host::walk::Stat;

/// Within this many seconds after a change, another one may leave the same times.
const SETTLES_AFTER_S: i64 = 3;

/// An existing file as it was when it was compared.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    stat: Stat,
    /// Its last change was long enough ago, so that any further change shows in its times.
    is_settled: bool,
}

impl Seen {
    pub(crate) fn of(stat: &Stat) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        Self {
            stat: *stat,
            is_settled: stat.ctime_s < now - SETTLES_AFTER_S,
        }
    }

    /// Whether it is certain that this open file has not changed since then.
    pub(crate) fn is_still(&self, file: &OpenedFile) -> io::Result<bool> {
        let version = |stat: &Stat| {
            (
                (stat.device_raw, stat.inode, stat.size),
                (stat.mtime_s, stat.mtime_ns, stat.ctime_s, stat.ctime_ns),
            )
        };
        Ok(self.is_settled && version(&self.stat) == version(file.stat()) && !file.changed_since_open()?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use lockstone_host::write::Dir;

    use super::*;

    #[test]
    fn a_file_that_changed_since_it_was_compared_is_noticed() {
        let top = tempfile::tempdir().unwrap();
        let dir = Dir::open_root(top.path()).unwrap();
        let path = top.path().join("f");
        std::fs::write(&path, "one").unwrap();
        let file = dir.open_file(b"f").unwrap();
        let mut seen = Seen::of(file.stat());
        assert!(
            !seen.is_still(&file).unwrap(),
            "changed just now: its times prove nothing"
        );
        seen.is_settled = true;
        assert!(seen.is_still(&file).unwrap());
        std::fs::write(&path, "three").unwrap();
        assert!(!seen.is_still(&file).unwrap());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "one").unwrap();
        assert!(!seen.is_still(&dir.open_file(b"f").unwrap()).unwrap(), "another file");
    }
}
