//! The file systems that the walk meets: which number each has in the tree, and what its clock shows at least.
//!
//! The system gives a file system another device number when it is mounted again. An entry in the tree keeps the number
//! that its file system had in the last recovery point, so that an unchanged entry is recognised, and its page stays
//! the same.

use lockstone_host::settle::{self, Moment};
use lockstone_host::walk::{Folder, Stat};
use lockstone_proto::vault::Entry;

/// A bit that no device number of Linux has.
const MADE_UP: u64 = 1 << 63;

/// The file systems met so far in one generation.
#[derive(Default)]
pub(super) struct FileSystems {
    known: Vec<FileSystem>,
    /// Index of the one that was asked for last.
    last: usize,
}

struct FileSystem {
    /// The `st_dev` that it has in the source now.
    device: u64,
    /// The number that it has in the tree.
    number: u64,
    /// Whether this kernel's clock makes its times.
    has_our_clock: bool,
    /// The latest ctime seen on it.
    latest: Moment,
}

impl FileSystems {
    /// Notes an entry, and puts its file system's number into `stat.device`. `folder` is the entry itself or the folder
    /// that holds it. `old` is the entry in the last recovery point, from which the number is taken for a file system
    /// that is new in this run, if it is the same entry.
    pub(super) fn meet(&mut self, stat: &mut Stat, folder: &Folder, old: Option<&Entry>) {
        if self.known.get(self.last).is_none_or(|last| last.device != stat.device) {
            self.last = self
                .known
                .iter()
                .position(|known| known.device == stat.device)
                .unwrap_or_else(|| {
                    let number = self.number(stat, old);
                    let is_of_folder = folder.is_on(stat);
                    self.known.push(FileSystem {
                        device: stat.device,
                        number,
                        has_our_clock: is_of_folder && settle::has_our_clock(folder.handle()).unwrap_or(false),
                        latest: (i64::MIN, 0),
                    });
                    self.known.len() - 1
                });
        }
        if let Some(known) = self.known.get_mut(self.last) {
            known.latest = known.latest.max((stat.ctime_s, stat.ctime_ns));
            stat.device = known.number;
        }
    }

    /// What the clock of the file system of the entry noted last shows at least, if it is `now` by this server's clock.
    pub(super) fn clock(&self, now: Moment) -> Moment {
        match self.known.get(self.last) {
            Some(known) if !known.has_our_clock => settle::server_clock(known.latest, now),
            _ => now,
        }
    }

    /// The number for a file system that is new in this run. No two file systems of a run have the same one.
    fn number(&self, stat: &Stat, old: Option<&Entry>) -> u64 {
        let is_free = |number: u64| self.known.iter().all(|known| known.number != number);
        let kept = old
            .filter(|old| old.device != 0 && old.inode == stat.inode && old.kind() == stat.kind())
            .map(|old| old.device);
        let mut number = kept.filter(|kept| is_free(*kept)).unwrap_or(stat.device);
        if !is_free(number) {
            number |= MADE_UP;
        }
        while !is_free(number) {
            number = number.wrapping_add(1) | MADE_UP;
        }
        number
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;

    use super::*;

    fn meet(systems: &mut FileSystems, device: u64, old: Option<(u64, u64)>) -> u64 {
        let (folder, mut stat) = Folder::open(Path::new("/")).unwrap();
        stat.device = device;
        let old = old.map(|(device, inode)| Entry {
            kind: stat.kind().into(),
            device,
            inode,
            ..Entry::default()
        });
        systems.meet(&mut stat, &folder, old.as_ref());
        stat.device
    }

    #[test]
    fn a_file_system_keeps_the_number_that_it_had_and_shares_it_with_no_other() {
        let inode = Folder::open(Path::new("/")).unwrap().1.inode;
        let mut systems = FileSystems::default();
        assert_eq!(meet(&mut systems, 7, Some((6, inode))), 6);
        assert_eq!(meet(&mut systems, 7, None), 6);
        assert_eq!(meet(&mut systems, 6, Some((7, inode))), 7, "the two were swapped");
        assert_eq!(meet(&mut systems, 8, Some((5, inode + 1))), 8, "another folder");
        assert_eq!(meet(&mut systems, 9, Some((6, inode))), 9, "taken already");
        let mut systems = FileSystems::default();
        assert_eq!(meet(&mut systems, 7, Some((6, inode))), 6);
        assert_eq!(meet(&mut systems, 6, None), 6 | MADE_UP);
        assert_eq!(meet(&mut systems, 6 | MADE_UP, None), (6 | MADE_UP) + 1);
    }
}
