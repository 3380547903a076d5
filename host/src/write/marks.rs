//! How the next restore recognises what a killed restore left: by the mode of a file or folder, and by an extended
//! attribute of the topmost folder that the killed restore had made. The folders in it are finished before it, so it
//! has the attribute as long as anything in it is unfinished. The attribute's value is the job's id.

use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, XattrFlags, fgetxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;

/// The sticky bit. Unfinished files and folders have it, and no rights for group and others; they get their own mode
/// last.
pub(super) const UNFINISHED: Mode = Mode::SVTX;

/// The names of the attribute. The second one is for root, on file systems that have no attributes of users.
const NAMES: [&[u8]; 2] = [MARK_NAME, b"trusted.lockstone.part"];
const MARK_NAME: &[u8] = b"user.lockstone.part";

/// Whether this is the name of the mark. It is never backed up, nor restored.
pub(crate) fn is_mark(xattr: &[u8]) -> bool {
    NAMES.contains(&xattr)
}

/// Whether a mode is that of something unfinished. `wanted` is the mode of the entry to restore: if the entry itself
/// has such a mode, the mode tells nothing.
pub(super) fn has_mode(mode: u32, is_folder: bool, wanted: u32) -> bool {
    let rights = if is_folder { Mode::RWXU } else { Mode::RUSR | Mode::WUSR };
    let marked = (UNFINISHED | rights).as_raw_mode();
    // A folder may have inherited setgid from the folder around it.
    let is_marked = |mode: u32| mode & 0o5777 == marked;
    is_marked(mode) && !is_marked(wanted)
}

/// Marks a folder. False if the file system has no such attributes.
pub(super) fn set(folder: BorrowedFd<'_>, job: &[u8]) -> bool {
    NAMES
        .iter()
        .any(|name| fsetxattr(folder, *name, job, XattrFlags::empty()).is_ok())
}

/// Whether a folder has the mark.
pub(super) fn is_set(folder: BorrowedFd<'_>) -> bool {
    NAMES
        .iter()
        .any(|name| matches!(fgetxattr(folder, *name, &mut [0_u8; 0][..]), Ok(_) | Err(Errno::RANGE)))
}

/// Takes the mark off again, after the folder got its own mode.
pub(super) fn remove(folder: BorrowedFd<'_>, mode: u32) {
    for name in NAMES {
        // Without root, the attribute cannot be removed from a folder that this user may not write to.
        if fremovexattr(folder, name) == Err(Errno::ACCESS) {
            let mode = Mode::from_raw_mode(mode & 0o7777);
            let _ = rustix::fs::fchmod(folder, mode | Mode::WUSR);
            let _ = fremovexattr(folder, name);
            let _ = rustix::fs::fchmod(folder, mode);
        }
    }
}
