//! Staged objects that a writer left behind when it was killed, or when the machine went down. Nobody gives them their
//! names any more. The next job that writes into their folder removes them.

use std::collections::HashSet;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A staged object that is older than an object that was just written by this much was left behind. A job that is
/// paused for longer finds its staged object removed, and writes it again.
const ABANDONED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The folders that this process has cleaned. Each is read once.
#[derive(Debug, Default)]
pub(super) struct Cleaned(Mutex<HashSet<PathBuf>>);

impl Cleaned {
    /// Whether nobody asked for this folder before.
    pub(super) fn is_first(&self, folder: &FilePath) -> bool {
        let mut cleaned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !cleaned.contains(folder) && cleaned.insert(folder.to_owned())
    }
}

/// Removes what was left behind in the folder of an object that was just written. Both ages come from the file system,
/// so this machine's clock does not matter.
pub(super) fn remove(written: &FilePath) -> io::Result<()> {
    let Some(folder) = written.parent() else {
        return Ok(());
    };
    let now = std::fs::metadata(written)?.modified()?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(is_staged) {
            continue;
        }
        let stat = entry.metadata()?;
        let age = now.duration_since(stat.modified()?).unwrap_or_default();
        if stat.is_file() && age >= ABANDONED {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether this is the name of a staged object: the last part of an object's name, which is a number, then `#` and
/// another number.
fn is_staged(name: &str) -> bool {
    let is = |text: &str, digit: fn(&u8) -> bool| !text.is_empty() && text.as_bytes().iter().all(digit);
    name.rsplit_once('#')
        .is_some_and(|(object, number)| is(object, u8::is_ascii_hexdigit) && is(number, u8::is_ascii_digit))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs::File;

    use bytes::Bytes;

    use super::*;
    use crate::testing::{block_on, folder_store};

    #[test]
    fn what_a_killed_writer_left_is_removed_by_the_next_one() {
        let (folder, store) = folder_store();
        block_on(store.create("packs/aa/aa01", Bytes::from_static(b"x"))).unwrap();
        let packs = folder.path().join("packs/aa");
        let written = std::fs::metadata(packs.join("aa01")).unwrap().modified().unwrap();
        let aged = |name: &str, age: Duration| {
            let file = File::create(packs.join(name)).unwrap();
            file.set_modified(written - age).unwrap();
        };
        let old = ABANDONED + Duration::from_secs(60);
        aged("aa02#1", old);
        aged("aa02#17", old);
        aged("aa03#1", ABANDONED / 2);
        for foreign in ["notes#1", "aa04#", "aa05#x", "#1", "aa06"] {
            aged(foreign, old);
        }
        // The folder was cleaned by this process already.
        block_on(store.create("packs/aa/aa07", Bytes::from_static(b"x"))).unwrap();
        assert!(packs.join("aa02#1").exists());

        let next = crate::store::Store::open(folder.path().to_str().unwrap()).unwrap();
        block_on(next.create("packs/aa/aa08", Bytes::from_static(b"x"))).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(&packs)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let wanted = [
            "#1", "aa01", "aa03#1", "aa04#", "aa05#x", "aa06", "aa07", "aa08", "notes#1",
        ];
        assert_eq!(left, wanted);
    }
}
