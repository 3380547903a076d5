//! Everything about a file but its content: owner, mode, times, extended attributes, ACLs, inode flags, link target,
//! device number. [`capture()`] reads it from the source; [`apply()`] sets it on a restored file. What cannot be read
//! or set is reported as a warning and never dropped in silence.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

mod apply;
mod capture;
mod compare;
mod owners;
#[cfg(test)]
mod tests;

pub use self::apply::{ApplyOptions, ApplyTo, Born, apply, protect, unprotect};
pub(crate) use self::capture::capture_existing;
pub use self::capture::{CaptureFrom, capture};
pub use self::compare::{same_attributes, same_time};
pub use self::owners::OwnerNames;

/// The most bytes that the extended attributes of one entry may have, names and values together. If there are more, all
/// are left out with a warning: they must fit in a page of a tree beside the rest of the entry.
pub const XATTRS_MAX: usize = 512 * 1024;

/// The extended attributes that hold the POSIX ACLs.
const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
/// The extended attribute that holds file capabilities. A change of owner removes it.
const CAPABILITY: &[u8] = b"security.capability";
/// The kernel's limit for a value (`XATTR_SIZE_MAX`) and for a list of names (`XATTR_LIST_MAX`), in bytes.
const XATTR_VALUE_MAX: usize = 64 * 1024;

/// Inode flags that forbid further changes: immutable and append-only (`linux/fs.h`). A restore sets them last.
const PROTECTING_FLAGS: u32 = 0x10 | 0x20;
/// The inode flag against copy-on-write. It can be set only while a file is empty.
pub(crate) const NO_COW_FLAG: u32 = 0x0080_0000;

/// A path to the open file or folder, for the calls that take paths only.
pub(crate) fn path_of_handle(handle: BorrowedFd<'_>) -> Vec<u8> {
    format!("/proc/self/fd/{}", handle.as_raw_fd()).into_bytes()
}

/// The error of a call that was given such a path. In a chroot without `/proc`, there is no such path.
pub(crate) fn without_proc(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::NotFound && !Path::new("/proc/self/fd").exists() {
        io::Error::other("this needs /proc, which is not mounted here")
    } else {
        error
    }
}

/// A path to an entry of an open folder.
fn path_by_handle(folder: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    [&path_of_handle(folder), &b"/"[..], name].concat()
}
