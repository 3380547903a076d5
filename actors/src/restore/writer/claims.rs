//! Which existing things in a folder of the target belong to entries that this restore has met. Where the file system
//! takes two names for one (`README` and `readme`), the second entry must not be restored over the first.

use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use lockstone_host::walk::Stat;
use lockstone_host::write::Dir;

/// The claims of one folder. Names are only kept where the file system folds them, so that large folders cost nothing
/// elsewhere.
#[derive(Default)]
pub(crate) struct Claims {
    folds: Option<bool>,
    by_file: HashMap<(u64, u64), Bytes>,
}

impl Claims {
    /// Notes that the entry `name` was found to be `there`. True if another entry was found to be the same thing.
    pub(crate) fn is_taken(&mut self, dir: &Dir, name: &Bytes, there: &Stat) -> io::Result<bool> {
        if !there.is_folder() {
            let folds = match self.folds {
                Some(folds) => folds,
                None => self.look(dir, name, there)?,
            };
            if !folds {
                return Ok(false);
            }
        }
        let before = self.by_file.insert((there.device_raw, there.inode), name.clone());
        Ok(before.is_some_and(|before| {
            // A file with one name is not two entries. A folder may be mounted at two names, and a file have several.
            let has_one_name = !there.is_folder() && there.links == 1;
            before != *name && (has_one_name || may_be_folded(&before, name))
        }))
    }

    /// Notes a folder that this restore made.
    pub(crate) fn made(&mut self, name: &Bytes, identity: (u64, u64)) {
        self.by_file.insert(identity, name.clone());
    }

    /// Whether the folder takes a name in other letters for the same.
    fn look(&mut self, dir: &Dir, name: &[u8], there: &Stat) -> io::Result<bool> {
        let flipped: Vec<u8> = name.iter().map(|byte| flip(*byte)).collect();
        if flipped == name || there.links > 1 {
            // This name does not tell.
            return Ok(false);
        }
        let folds = dir
            .lookup(&flipped)?
            .is_some_and(|found| (found.device_raw, found.inode) == (there.device_raw, there.inode));
        self.folds = Some(folds);
        Ok(folds)
    }
}

fn flip(byte: u8) -> u8 {
    if byte.is_ascii_lowercase() {
        byte.to_ascii_uppercase()
    } else {
        byte.to_ascii_lowercase()
    }
}

/// Whether a file system may take two names for one. Beyond ASCII it may also compose characters.
fn may_be_folded(a: &[u8], b: &[u8]) -> bool {
    !a.is_ascii()
        || !b.is_ascii()
        || String::from_utf8_lossy(a).to_lowercase() == String::from_utf8_lossy(b).to_lowercase()
}
