//! Walks a source: depth first, every folder's entries in byte order of their names, by handles only (`getdents64` and
//! `statx`). So paths may be longer than the system's limit, and an entry that is swapped during the walk cannot lead
//! the walk elsewhere. The Enumerator stage drives it, on one thread.
//!
//! # What it promises
//!
//! No symbolic link is followed. A folder that the rules leave out is not entered. Views into the kernel (`proc`,
//! `sysfs`, …) are kept as empty folders, and other file systems too if the rules say so. What cannot be read is
//! reported, and the walk continues.
//!
//! # Handles
//!
//! The walker itself holds at most [`MAX_OPEN`] handles. Of the folders further up it keeps only the identity, device
//! and inode, and opens them again on the way back: by `..` from below, or by their names from the lowest folder that
//! is still open. A folder found in this way must have the same identity.

mod event;
mod frame;
mod names;
mod rules;
mod source;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use lockstone_proto::limits::TREE_MAX_DEPTH;
use lockstone_proto::vault::EntryKind;
use rustix::fs::CWD;

pub use self::event::{SkipReason, WalkEvent};
use self::frame::{Frame, Listing, Notice};
use self::names::{Hint, Names};
pub use self::rules::MAX_MARKERS;
pub use self::rules::{BadGlob, Pattern, Rules};
use self::rules::{CACHE_TAG, has_cache_tag};
use self::source::{Places, Start};
pub use crate::folder::Folder;
use crate::folder::{open_folder, open_path};
pub use crate::path::FolderPath;
use crate::snapshot::FrozenSource;
pub use crate::stat::Stat;
use crate::volumes::is_pseudo_file_system;
use crate::write::temporary::is_temporary;

/// The most folders that the walker itself holds open, apart from those above a nested snapshot.
pub const MAX_OPEN: usize = 64;
/// The walk goes at most this deep below a source. It leaves room for the folders above the source, which a tree also
/// holds, so that the tree can be read back.
const MAX_DEPTH: usize = TREE_MAX_DEPTH - 4096;

/// The walk of one source: an iterator of [`WalkEvent`]s.
pub struct Walker {
    rules: Rules,
    places: Places,
    start: Start,
    /// The folders on the way down, the source first.
    frames: Vec<Frame>,
    names: Names,
    /// The names that decide about the folder that they are in: that of a cache tag, and the markers of the rules.
    wanted: Vec<Vec<u8>>,
    /// The absolute path in the source of the entry that the walk looks at.
    path: Vec<u8>,
}

impl Walker {
    /// Prepares the walk of a source.
    ///
    /// # Errors
    /// The source cannot be found or opened.
    pub fn new(frozen: &FrozenSource, rules: &Rules) -> io::Result<Self> {
        let mut path = frozen.source.as_os_str().as_bytes().to_vec();
        if path == b"/" {
            path.clear();
        }
        let places = Places::new(frozen);
        Ok(Self {
            start: Start::open(frozen, rules, &places, &path)?,
            rules: rules.clone(),
            places,
            frames: Vec::new(),
            names: Names::new(),
            wanted: std::iter::once(CACHE_TAG.to_vec())
                .chain(rules.markers.iter().take(MAX_MARKERS).cloned())
                .collect(),
            path,
        })
    }

    /// The first event, once.
    fn begin(&mut self) -> Option<WalkEvent> {
        match std::mem::replace(&mut self.start, Start::Begun) {
            Start::Begun => None,
            Start::Entry(event) => Some(event),
            Start::Folder {
                name,
                stat,
                folder,
                notice,
            } => Some(self.enter(name, stat, folder, notice, true)),
        }
    }

    /// Adds a folder to the way down. A `pinned` folder stays open.
    fn enter(
        &mut self,
        name: Vec<u8>,
        stat: Stat,
        folder: Arc<Folder>,
        notice: Option<Notice>,
        pinned: bool,
    ) -> WalkEvent {
        let mark = self.names.mark();
        self.frames.push(Frame {
            path: Arc::clone(folder.path()),
            folder: Some(Arc::clone(&folder)),
            pinned,
            stat,
            mark,
            next: mark.index,
            listing: if notice.is_some() {
                Listing::Done
            } else {
                Listing::Unread
            },
            notice,
            only: None,
            path_len: self.path.len(),
        });
        if let Some(above) = self.frames.len().checked_sub(MAX_OPEN + 1)
            && let Some(frame) = self.frames.get_mut(above)
            && !frame.pinned
        {
            frame.folder = None;
        }
        WalkEvent::Enter { name, stat, folder }
    }

    /// Reads the next batch of a folder's names.
    fn list(&mut self, top: usize) {
        let frame = &mut self.frames[top];
        let is_first = frame.listing == Listing::Unread;
        let Some(folder) = frame.folder.clone() else {
            frame.listing = Listing::Done;
            return;
        };
        let after = (!is_first).then(|| self.names.get(self.names.len() - 1).0.to_vec());
        self.names.truncate(frame.mark);
        let batch = self.names.read(folder.handle(), after.as_deref(), &self.wanted);
        frame.next = frame.mark.index;
        frame.listing = if batch.more && self.names.len() > frame.next {
            Listing::Partial
        } else {
            Listing::Done
        };
        frame.notice = batch.error.map(Notice::Problem);
        if !is_first || batch.found == 0 {
            return;
        }
        let marker = batch.found & !1;
        if marker != 0 {
            frame.only = u8::try_from(marker.trailing_zeros()).ok();
            frame.notice = Some(Notice::Skipped(SkipReason::Marked));
        } else if self.rules.honour_cachedir_tag && top > 0 {
            // A tag that cannot be read does not count; the reader reports it.
            if has_cache_tag(&folder, &frame.stat).unwrap_or(false) {
                frame.only = Some(0);
                frame.notice = Some(Notice::Skipped(SkipReason::CacheDir));
            }
        }
    }

    /// Leaves the folder entered last.
    fn leave(&mut self) -> WalkEvent {
        if let Some(done) = self.frames.pop() {
            self.names.truncate(done.mark);
            if self.frames.last().is_some_and(|frame| frame.folder.is_none()) {
                self.reopen(done.folder.as_deref());
            }
        }
        self.path.truncate(self.frames.last().map_or(0, |frame| frame.path_len));
        WalkEvent::Leave
    }

    /// Opens the last folder again: by `..` from the folder just left, `below`, or by its name from the lowest folder
    /// that is open. If neither leads to the same folder, reports that and leaves out the rest of its entries.
    fn reopen(&mut self, below: Option<&Folder>) {
        let top = self.frames.len() - 1;
        let by_parent = below.and_then(|below| self.reopened(top, below, b"..").ok());
        let found = by_parent.map_or_else(
            || {
                let open = self
                    .frames
                    .iter()
                    .rposition(|frame| frame.folder.is_some())
                    .unwrap_or(0);
                let mut folder = self.frames[open].folder.clone();
                for at in open + 1..=top {
                    let from = self.frames[at - 1].path_len;
                    let name = self
                        .path
                        .get(from + 1..self.frames[at].path_len)
                        .unwrap_or_default()
                        .to_vec();
                    let above = folder.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                    folder = Some(self.reopened(at, &above, &name)?);
                }
                folder.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
            },
            Ok,
        );
        let frame = &mut self.frames[top];
        match found {
            Ok(folder) => frame.folder = Some(folder),
            Err(error) => {
                frame.notice = Some(Notice::Problem(error));
                frame.next = self.names.len();
                frame.listing = Listing::Done;
            }
        }
    }

    /// Opens the folder of a frame again, as `name` in the folder `from`, and checks that it is the same folder.
    fn reopened(&self, at: usize, from: &Folder, name: &[u8]) -> io::Result<Arc<Folder>> {
        let frame = &self.frames[at];
        let (handle, denied) = open_folder(from.handle(), name)?;
        if let Some(denied) = denied {
            return Err(denied);
        }
        let stat = Stat::of(handle.as_fd())?;
        if (stat.device_raw, stat.inode) != (frame.stat.device_raw, frame.stat.inode) {
            return Err(io::Error::other("it was moved while it was walked"));
        }
        Ok(Folder::new(handle, Arc::clone(&frame.path), &frame.stat))
    }

    /// Looks at one name of the last folder. Returns `None` if there is nothing to report.
    fn look(&mut self, top: usize, at: usize) -> Option<WalkEvent> {
        let (name, hint) = self.names.get(at);
        let frame = &self.frames[top];
        if frame.only.is_some_and(|only| self.wanted[usize::from(only)] != name) {
            return None;
        }
        self.path.truncate(frame.path_len);
        self.path.push(b'/');
        self.path.extend_from_slice(name);
        let folder = Arc::clone(frame.folder.as_ref()?);
        let stat = |this: &Self| {
            let mut stat = Stat::at(folder.handle(), name)?;
            this.places.map_device(&mut stat);
            Ok(stat)
        };
        let mut known: Option<io::Result<Stat>> = None;
        if self.rules.have_globs() || hint != Hint::Other {
            let is_folder = match hint {
                Hint::Folder => true,
                Hint::Other => false,
                Hint::Unknown => known.insert(stat(self)).as_ref().is_ok_and(Stat::is_folder),
            };
            if self.rules.have_globs() && self.rules.exclude(&self.path, is_folder) {
                return Some(WalkEvent::Skipped {
                    path: self.path.clone(),
                    what: SkipReason::Excluded,
                });
            }
        }
        let stat = match known.unwrap_or_else(|| stat(self)) {
            Ok(stat) => stat,
            Err(error) => return Some(self.problem(error)),
        };
        if stat.is_folder() {
            if self.places.is_snapshot_folder(name, &stat) {
                return Some(WalkEvent::Skipped {
                    path: self.path.clone(),
                    what: SkipReason::Snapshots,
                });
            }
            return Some(
                self.look_into(top, at, &folder, stat)
                    .unwrap_or_else(|error| self.problem(error)),
            );
        }
        let skipped = if stat.kind() == EntryKind::Unspecified {
            Some(SkipReason::Socket)
        } else if is_mounted_on(&stat, &frame.stat) && self.rules.boundaries.leave_out(&self.path) {
            Some(SkipReason::OtherFileSystem)
        } else if is_temporary(name) {
            Some(SkipReason::Unfinished)
        } else if self.rules.is_too_large(&stat) {
            Some(SkipReason::TooLarge)
        } else {
            None
        };
        Some(if let Some(what) = skipped {
            WalkEvent::Skipped {
                path: self.path.clone(),
                what,
            }
        } else {
            WalkEvent::Entry {
                folder,
                name: name.to_vec(),
                stat,
            }
        })
    }

    fn problem(&self, error: io::Error) -> WalkEvent {
        WalkEvent::Problem {
            path: self.path.clone(),
            error,
        }
    }

    /// Enters a folder, or reports why not.
    fn look_into(&mut self, top: usize, at: usize, above: &Folder, mut stat: Stat) -> io::Result<WalkEvent> {
        let name = self.names.get(at).0.to_vec();
        if self.frames.len() >= MAX_DEPTH {
            return Err(io::Error::other("it lies too deep"));
        }
        let redirect = self.places.redirect(&self.path);
        if let Some(redirect) = redirect {
            stat = Stat::at(CWD, &redirect.read_from)?;
            self.places.map_device(&mut stat);
        }
        if self.rules.forbid(&self.path, &stat) {
            return Ok(WalkEvent::Skipped {
                path: self.path.clone(),
                what: SkipReason::Forbidden,
            });
        }
        let around = &self.frames[top].stat;
        let (at, name_there) = match redirect {
            Some(redirect) => (CWD, redirect.read_from.as_os_str().as_bytes()),
            None => (above.handle(), &name[..]),
        };
        let is_redirected = redirect.is_some();
        let (handle, notice) = if is_redirected || stat.device_raw != around.device_raw {
            let is_mount = match redirect {
                Some(redirect) => redirect.is_mount,
                // A nested subvolume has a device number of its own but is not a mount.
                None => stat.mount_id == 0 || stat.mount_id != around.mount_id,
            };
            // Opened for its attributes first, so that an automount is not mounted and a server that is down is not
            // asked.
            self.open_other_device(open_path(at, name_there)?, is_mount)?
        } else {
            let (handle, denied) = open_folder(at, name_there)?;
            (handle, denied.map(Notice::Problem))
        };
        let mut opened = Stat::of(handle.as_fd())?;
        self.places.map_device(&mut opened);
        if opened.device_raw != stat.device_raw {
            return Err(io::Error::other("something was mounted on it while it was walked"));
        }
        if is_redirected {
            self.frames[top].pinned = true;
        }
        let path = FolderPath::within(above.path(), &name);
        let folder = Folder::new(handle, path, &opened);
        Ok(self.enter(name, opened, folder, notice, false))
    }

    /// Opens a folder on another device than the one around it, unless its content is to be left out.
    fn open_other_device(&self, handle: OwnedFd, is_mount: bool) -> io::Result<(OwnedFd, Option<Notice>)> {
        if is_pseudo_file_system(handle.as_fd())? {
            return Ok((handle, Some(Notice::Skipped(SkipReason::PseudoFileSystem))));
        }
        if is_mount && self.rules.boundaries.leave_out(&self.path) {
            return Ok((handle, Some(Notice::Skipped(SkipReason::OtherFileSystem))));
        }
        let (handle, denied) = open_folder(handle.as_fd(), c".")?;
        Ok((handle, denied.map(Notice::Problem)))
    }
}

/// Whether a file of another file system is mounted on the entry of a folder. On some file systems (overlay) a file has
/// another device number than its folder and is not mounted.
fn is_mounted_on(stat: &Stat, folder: &Stat) -> bool {
    stat.device_raw != folder.device_raw && stat.mount_id != folder.mount_id && stat.mount_id != 0
}

impl Iterator for Walker {
    type Item = WalkEvent;

    fn next(&mut self) -> Option<WalkEvent> {
        loop {
            let Some(top) = self.frames.len().checked_sub(1) else {
                return self.begin();
            };
            let frame = &mut self.frames[top];
            if let Some(notice) = frame.notice.take() {
                self.path.truncate(frame.path_len);
                let path = if self.path.is_empty() {
                    b"/".to_vec()
                } else {
                    self.path.clone()
                };
                return Some(notice.about(path));
            }
            if frame.listing == Listing::Unread {
                self.list(top);
            } else if frame.next < self.names.len() {
                frame.next += 1;
                let at = frame.next - 1;
                if let Some(event) = self.look(top, at) {
                    return Some(event);
                }
            } else if frame.listing == Listing::Partial {
                self.list(top);
            } else {
                return Some(self.leave());
            }
        }
    }
}
