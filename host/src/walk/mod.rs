//! Walks a source: depth first, every folder's entries in byte order of their names, by handles only (`getdents64` and
//! `statx`), so that neither long paths nor entries swapped meanwhile lead it astray. The enumerator drives it, on one
//! thread.
//!
//! What it promises: no symbolic link is followed; what the rules leave out is not looked into; views into the kernel
//! (`proc`, `sysfs`, …) and, where asked for, other file systems are kept as empty folders; what cannot be read is
//! reported and the walk goes on. It holds at most [`MAX_OPEN`] handles itself: of the folders further up only numbers
//! are kept, and they are opened again from below by `..`, or from above by their names, if device and inode agree.

mod event;
mod folder;
mod names;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use lockstone_proto::limits::TREE_MAX_DEPTH;
use rustix::fs::{CWD, FileType, fstatfs};

pub use self::event::{SkipReason, WalkEvent};
pub use self::folder::Folder;
use self::folder::{open_folder, open_path};
use self::names::{Hint, Mark, Names};
pub use self::rules::{BadGlob, Rules};
use self::rules::{CACHE_TAG, has_cache_tag};
use crate::snapshot::{FrozenSource, SNAPSHOT_FOLDER_PREFIX};
pub use crate::stat::Stat;
use crate::volumes::is_pseudo_magic;

/// Handles of folders that the walker itself holds at most, but for those above a nested snapshot.
pub const MAX_OPEN: usize = 64;
/// No deeper below the source, so that the tree can be read back: folders above the source count as well.
const MAX_DEPTH: usize = TREE_MAX_DEPTH - 4096;

/// A folder on the way down.
struct Frame {
    /// None while it is closed.
    folder: Option<Arc<Folder>>,
    /// Must stay open: `..` does not lead back to it, or there is nothing above it.
    pinned: bool,
    stat: Stat,
    mark: Mark,
    /// The next name, in `Names`.
    next: usize,
    listing: Listing,
    /// What to report before its entries.
    notice: Option<Notice>,
    /// Keep only the tag of a cache.
    tag_only: bool,
    /// Length of its path in `Walker::path`.
    path_len: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listing {
    /// Not read yet.
    Unread,
    /// There are names behind those read.
    Partial,
    /// All read, or not to be read.
    Done,
}

enum Notice {
    Skipped(SkipReason),
    Problem(io::Error),
}

enum Start {
    Folder {
        name: Vec<u8>,
        stat: Stat,
        folder: Arc<Folder>,
        notice: Option<Notice>,
    },
    File {
        folder: Arc<Folder>,
        name: Vec<u8>,
        stat: Stat,
    },
    Forbidden,
    Started,
}

/// The walk of one source.
pub struct Walker {
    rules: Rules,
    devices: Vec<(u64, u64)>,
    /// Where to read instead, by path; and whether that is a mount of its own.
    inside: HashMap<Vec<u8>, (PathBuf, bool)>,
    start: Start,
    frames: Vec<Frame>,
    names: Names,
    /// Of the entry looked at, absolute, in the source.
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
        let mut walker = Self {
            rules: rules.clone(),
            devices: frozen.devices.clone(),
            inside: frozen
                .inside
                .iter()
                .map(|part| {
                    (
                        part.path.as_os_str().as_bytes().to_vec(),
                        (part.read_from.clone(), part.is_mount),
                    )
                })
                .collect(),
            start: Start::Started,
            frames: Vec::new(),
            names: Names::new(),
            path,
        };
        walker.start = walker.open_source(frozen)?;
        Ok(walker)
    }

    fn open_source(&self, frozen: &FrozenSource) -> io::Result<Start> {
        let mut stat = Stat::at(CWD, &*frozen.read_from)?;
        self.map_device(&mut stat);
        if self.rules.forbid_source(&frozen.source) || (stat.is_folder() && self.rules.forbid(&self.path, &stat)) {
            return Ok(Start::Forbidden);
        }
        let name = frozen
            .source
            .file_name()
            .map(|name| name.as_bytes().to_vec())
            .unwrap_or_default();
        if stat.is_folder() {
            let (handle, denied) = open_folder(CWD, &*frozen.read_from)?;
            let mut stat = Stat::of(handle.as_fd())?;
            self.map_device(&mut stat);
            let notice = if is_pseudo_magic(magic(&fstatfs(&handle)?)) {
                Some(Notice::Skipped(SkipReason::PseudoFileSystem))
            } else {
                denied.map(Notice::Problem)
            };
            return Ok(Start::Folder {
                name,
                stat,
                folder: Folder::new(handle, &self.path, &stat),
                notice,
            });
        }
        let above = |path: &std::path::Path| path.parent().map(PathBuf::from).unwrap_or_else(|| "/".into());
        let (handle, _) = open_folder(CWD, &*above(&frozen.read_from))?;
        let mut around = Stat::of(handle.as_fd())?;
        self.map_device(&mut around);
        let folder = Folder::new(handle, above(&frozen.source).as_os_str().as_bytes(), &around);
        Ok(Start::File { folder, name, stat })
    }

    /// Is the source something else than a folder? Then its only event is an `Entry`.
    #[must_use]
    pub fn root_is_file(&self) -> bool {
        matches!(self.start, Start::File { .. })
    }

    fn map_device(&self, stat: &mut Stat) {
        if let Some((_, source)) = self.devices.iter().find(|(seen, _)| *seen == stat.device_raw) {
            stat.device = *source;
        }
    }

    /// The first event.
    fn begin(&mut self) -> Option<WalkEvent> {
        match std::mem::replace(&mut self.start, Start::Started) {
            Start::Started => None,
            Start::Forbidden => Some(WalkEvent::Skipped {
                path: self.path.clone(),
                what: SkipReason::Forbidden,
            }),
            Start::File { folder, name, stat } => Some(if stat.file_type() == FileType::Socket {
                WalkEvent::Skipped {
                    path: self.path.clone(),
                    what: SkipReason::Socket,
                }
            } else {
                WalkEvent::Entry { folder, name, stat }
            }),
            Start::Folder {
                name,
                stat,
                folder,
                notice,
            } => Some(self.enter(name, stat, folder, notice, true)),
        }
    }

    /// Puts a folder on the way down. `pinned`: it must stay open.
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
            tag_only: false,
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

    /// Reads a folder's names, the first or further ones.
    fn list(&mut self, top: usize) {
        let frame = &mut self.frames[top];
        let is_first = frame.listing == Listing::Unread;
        let Some(folder) = frame.folder.clone() else {
            frame.listing = Listing::Done;
            return;
        };
        let after = (!is_first).then(|| self.names.get(self.names.len() - 1).0.to_vec());
        self.names.truncate(frame.mark);
        let batch = self.names.read(folder.handle(), after.as_deref(), CACHE_TAG);
        frame.next = frame.mark.index;
        frame.listing = if batch.more && self.names.len() > frame.next {
            Listing::Partial
        } else {
            Listing::Done
        };
        frame.notice = batch.error.map(Notice::Problem);
        if is_first && batch.has_wanted && self.rules.honour_cachedir_tag && top > 0 {
            // A tag that cannot be read is none; the reader will say so.
            if has_cache_tag(&folder).unwrap_or(false) {
                frame.tag_only = true;
                frame.notice = Some(Notice::Skipped(SkipReason::CacheDir));
            }
        }
    }

    /// The folder entered last is done.
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

    /// Opens the folder that is now the last again: by `..` from the one just left, or by names from the lowest that is
    /// open. Where neither leads to the same folder, the rest of it is given up.
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

    /// The folder of a frame, opened again, if it is still that.
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
        Ok(Folder::new(handle, &self.path[..frame.path_len], &frame.stat))
    }

    /// Looks at one name of the last folder. None: nothing to tell.
    fn look(&mut self, top: usize, at: usize) -> Option<WalkEvent> {
        let (name, hint) = self.names.get(at);
        let frame = &self.frames[top];
        if frame.tag_only && name != CACHE_TAG {
            return None;
        }
        self.path.truncate(frame.path_len);
        self.path.push(b'/');
        self.path.extend_from_slice(name);
        let folder = Arc::clone(frame.folder.as_ref()?);
        let stat = |this: &Self| {
            let mut stat = Stat::at(folder.handle(), name)?;
            this.map_device(&mut stat);
            Ok(stat)
        };
        let mut known: Option<io::Result<Stat>> = None;
        if self.rules.have_globs() || hint != Hint::Other {
            let is_folder = match hint {
                Hint::Folder => true,
                Hint::Other => false,
                Hint::Unknown => known.insert(stat(self)).as_ref().is_ok_and(Stat::is_folder),
            };
            if is_folder && name.starts_with(SNAPSHOT_FOLDER_PREFIX.as_bytes()) {
                return None;
            }
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
            return Some(
                self.look_into(top, at, &folder, stat)
                    .unwrap_or_else(|error| self.problem(error)),
            );
        }
        Some(if stat.kind() == lockstone_proto::vault::EntryKind::Unspecified {
            WalkEvent::Skipped {
                path: self.path.clone(),
                what: SkipReason::Socket,
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

    /// Enters a folder, or says why not.
    fn look_into(&mut self, top: usize, at: usize, above: &Folder, mut stat: Stat) -> io::Result<WalkEvent> {
        let name = self.names.get(at).0.to_vec();
        if self.frames.len() >= MAX_DEPTH {
            return Err(io::Error::other("it lies too deep"));
        }
        let redirect = if self.inside.is_empty() {
            None
        } else {
            self.inside.get(&self.path).cloned()
        };
        if let Some((read_from, _)) = &redirect {
            stat = Stat::at(CWD, read_from)?;
            self.map_device(&mut stat);
        }
        if self.rules.forbid(&self.path, &stat) {
            return Ok(WalkEvent::Skipped {
                path: self.path.clone(),
                what: SkipReason::Forbidden,
            });
        }
        let around = &self.frames[top].stat;
        let crosses = stat.device_raw != around.device_raw || redirect.is_some();
        let (at, name_there) = match &redirect {
            Some((read_from, _)) => (CWD, read_from.as_os_str().as_bytes()),
            None => (above.handle(), &name[..]),
        };
        let (handle, notice) = if crosses {
            // Asked for its attributes only, an automount stays unmounted and a dead server unasked.
            let handle = open_path(at, name_there)?;
            let is_mount = match &redirect {
                Some((_, is_mount)) => *is_mount,
                // A nested subvolume has a device of its own, yet it is no mount.
                None => stat.mount_id == 0 || stat.mount_id != around.mount_id,
            };
            if is_pseudo_magic(magic(&fstatfs(&handle)?)) {
                (handle, Some(Notice::Skipped(SkipReason::PseudoFileSystem)))
            } else if self.rules.one_file_system && is_mount {
                (handle, Some(Notice::Skipped(SkipReason::OtherFileSystem)))
            } else {
                let (handle, denied) = open_folder(handle.as_fd(), c".")?;
                (handle, denied.map(Notice::Problem))
            }
        } else {
            let (handle, denied) = open_folder(at, name_there)?;
            (handle, denied.map(Notice::Problem))
        };
        let mut opened = Stat::of(handle.as_fd())?;
        self.map_device(&mut opened);
        if opened.device_raw != stat.device_raw {
            return Err(io::Error::other("something was mounted on it while it was walked"));
        }
        if redirect.is_some() {
            self.frames[top].pinned = true;
        }
        let folder = Folder::new(handle, &self.path, &opened);
        Ok(self.enter(name, opened, folder, notice, false))
    }
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
                return Some(match notice {
                    Notice::Skipped(what) => WalkEvent::Skipped { path, what },
                    Notice::Problem(error) => WalkEvent::Problem { path, error },
                });
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

/// A `statfs` type as a number: the field's own type differs between machines.
#[allow(
    clippy::cast_sign_loss,
    clippy::unnecessary_cast,
    reason = "only the bits are compared"
)]
fn magic(stat: &rustix::fs::StatFs) -> u64 {
    stat.f_type as u64
}
