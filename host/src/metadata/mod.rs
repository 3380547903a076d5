//! What a file is besides its content: owner, mode, times, extended attributes, ACLs, inode flags, link target, device
//! number. [`capture()`] takes it from the source, [`apply()`] gives it back to a restored file. What cannot be taken or
//! given back is said in a warning, never dropped in silence.

use std::os::fd::{AsRawFd, BorrowedFd};

mod apply;
mod capture;
mod owners;
#[cfg(test)]
mod tests;

pub use self::apply::{ApplyOptions, ApplyTo, Born, apply, protect, unprotect};
pub use self::capture::capture;
pub use self::owners::OwnerNames;

/// Extended attributes of one entry that are more than this in all, names and values, are left out with a warning: they
/// must fit in a page of a tree beside the rest.
pub const XATTRS_MAX: usize = 512 * 1024;

/// The POSIX ACLs, as extended attributes.
const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
/// File capabilities: a change of owner drops them.
const CAPABILITY: &[u8] = b"security.capability";
/// No value is larger, by the kernel (`XATTR_SIZE_MAX`); nor a list of names (`XATTR_LIST_MAX`).
const XATTR_VALUE_MAX: usize = 64 * 1024;

/// Flags that forbid even what is needed to finish a restore: immutable and append-only (`linux/fs.h`).
const PROTECTING_FLAGS: u32 = 0x10 | 0x20;
/// No copy-on-write: can be set only while a file is empty.
pub(crate) const NO_COW_FLAG: u32 = 0x0080_0000;

/// A path that leads to what a handle stands for, for the calls that know paths only.
fn path_of_handle(handle: BorrowedFd<'_>) -> Vec<u8> {
    format!("/proc/self/fd/{}", handle.as_raw_fd()).into_bytes()
}

/// A path that leads to an entry of a folder.
fn path_by_handle(folder: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    [&path_of_handle(folder), &b"/"[..], name].concat()
}
