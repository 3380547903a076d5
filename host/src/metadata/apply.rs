//! Sets attributes on a restored entry, in the one order that works and is safe:
//!
//! 1. the owner, because a change of owner clears setuid bits and capabilities;
//! 2. extended attributes, then ACLs and capabilities;
//! 3. times;
//! 4. inode flags that do not forbid further changes;
//! 5. the mode, because until then it may mark the file as unfinished. (The mode's group bits are the mask of an ACL;
//!    setting them after the ACL does not change it.)
//!
//! [`protect`] sets the immutable and append-only flags, when the entry has its final name and all of its links.
//!
//! Without root, an entry cannot be given to another owner. Its setuid and setgid bits are then not set either, because
//! they would give the rights of the wrong user.

use std::io;
use std::os::fd::BorrowedFd;

use bytes::Bytes;
use lockstone_proto::limits::KEPT_INODE_FLAGS;
use lockstone_proto::vault::{Entry, EntryKind, Xattr};
use rustix::fs::{
    AtFlags, CWD, Gid, IFlags, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmod, chownat, fchmod, fchown,
    fremovexattr, fsetxattr, fstat, futimens, ioctl_getflags, ioctl_setflags, removexattr, setxattr, utimensat,
};
use rustix::io::Errno;

use super::capture::{Reach, xattr_names};
use super::{ACL_ACCESS, ACL_DEFAULT, CAPABILITY, OwnerNames, PROTECTING_FLAGS, path_of_handle};
use crate::write::marks::is_mark;

/// The restored entry that gets the attributes.
#[derive(Debug, Clone, Copy)]
pub enum ApplyTo<'a> {
    /// An open file, or an open folder whose content is complete.
    Handle(BorrowedFd<'a>),
    /// A regular file that was just created, and the attributes that new files have in its folder. Attributes that are
    /// already right are not set again.
    Newborn(BorrowedFd<'a>, &'a Born),
    /// A symbolic link, fifo or device, by a handle of the entry itself (`O_PATH`). A name would not do: the owner of
    /// the folder could put something else in its place.
    Special(BorrowedFd<'a>),
}

/// The attributes of a regular file that was just created in a folder: its owner, and what it inherited. All new files
/// of a folder have the same ones, so it is enough to look at the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Born {
    uid: u32,
    gid: u32,
    /// The mode, with those bits of the requested mode that the file system kept.
    pub(crate) mode: u32,
    /// The file inherited no extended attribute.
    bare: bool,
    /// `None` if the file system has no inode flags.
    flags: Option<u32>,
}

impl Born {
    /// The attributes of a file that was just created; `None` if they cannot be read.
    #[must_use]
    pub fn of(file: BorrowedFd<'_>) -> Option<Self> {
        let stat = fstat(file).ok()?;
        let flags = match ioctl_getflags(file) {
            Ok(flags) => Some(flags.bits()),
            Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => None,
            Err(_) => return None,
        };
        Some(Self {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode,
            bare: xattr_names(&Reach::Handle(file)).ok()?.is_empty(),
            flags,
        })
    }
}

/// Which attributes a restore sets, and how.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions {
    /// Also set POSIX ACLs.
    pub acls: bool,
    /// Set owners by name if this machine knows the name, else by number. If false, always by number.
    pub owners_by_name: bool,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self {
            acls: true,
            owners_by_name: false,
        }
    }
}

/// Sets `entry`'s attributes on what was restored of it, except for the flags that [`protect`] sets. Pushes a line to
/// `warnings`, without the path, for each thing that cannot be set.
///
/// # Errors
/// The mode or the times cannot be set for another reason than permission: the entry does not exist, or the file system
/// fails.
pub fn apply(
    to: ApplyTo<'_>,
    entry: &Entry,
    options: &ApplyOptions,
    names: &OwnerNames,
    warnings: &mut Vec<String>,
) -> io::Result<()> {
    let owned = set_owner(to, entry, options, names, warnings);
    let is_acl = |name: &[u8]| name == ACL_ACCESS || name == ACL_DEFAULT;
    let (late, early): (Vec<&Xattr>, Vec<&Xattr>) = entry
        .xattrs
        .iter()
        .partition(|xattr| is_acl(&xattr.name) || xattr.name == CAPABILITY);
    remove_others(to, entry, options, warnings);
    for xattr in early {
        set_xattr(to, xattr, warnings);
    }
    let mut has_acl = true;
    for xattr in late {
        let is_set = (options.acls || !is_acl(&xattr.name)) && set_xattr(to, xattr, warnings);
        has_acl &= is_set || xattr.name != ACL_ACCESS;
    }
    set_times(to, entry)?;
    let mask = KEPT_INODE_FLAGS & !PROTECTING_FLAGS;
    match to {
        ApplyTo::Newborn(_, born) if born.flags.unwrap_or(0) & mask == entry.flags & mask => {}
        ApplyTo::Handle(fd) | ApplyTo::Newborn(fd, _) => set_flags(fd, mask, entry.flags, warnings),
        ApplyTo::Special(_) => {}
    }
    // A symbolic link has no mode.
    if entry.kind() != EntryKind::Symlink {
        let mut mode = if has_acl { entry.mode } else { mode_without_acl(entry) } & 0o7777;
        if !owned && mode & 0o6000 != 0 {
            mode &= !0o6000;
            warnings.push("its setuid and setgid bits were left off, as its owner could not be set".to_owned());
        }
        set_mode(to, mode, warnings)?;
    }
    Ok(())
}

/// The mode of an entry whose ACL is left out. The group bits of its own mode are then the ACL's mask, which may allow
/// more than the group has.
pub(crate) fn mode_without_acl(entry: &Entry) -> u32 {
    /// `ACL_GROUP_OBJ` in `linux/posix_acl.h`.
    const GROUP: u16 = 0x04;
    let Some(acl) = entry.xattrs.iter().find(|xattr| xattr.name == ACL_ACCESS) else {
        return entry.mode;
    };
    // A version of 4 bytes, then entries of 8 bytes: tag, rights, id, all little-endian.
    let rights = acl
        .value
        .get(4..)
        .unwrap_or_default()
        .chunks_exact(8)
        .find_map(|entry| {
            let number = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            (number(0) == GROUP).then(|| u32::from(number(2)) & 0o7)
        });
    // Without an entry for the group the ACL is malformed, and the group gets nothing.
    entry.mode & !0o070 | (entry.mode & 0o070 & rights.unwrap_or(0) << 3)
}

/// Sets the inode flags that forbid further changes, if `entry` has them. Must be the last step.
pub fn protect(fd: BorrowedFd<'_>, entry: &Entry, warnings: &mut Vec<String>) {
    if entry.flags & PROTECTING_FLAGS != 0 {
        set_flags(fd, PROTECTING_FLAGS, entry.flags, warnings);
    }
}

/// Clears the inode flags that forbid changes, so that the entry can be replaced or linked. Returns those that were
/// set.
///
/// # Errors
/// This process may not clear them.
pub fn unprotect(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let flags = match ioctl_getflags(fd) {
        Ok(flags) => flags,
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let protecting = flags.bits() & PROTECTING_FLAGS;
    if protecting != 0 {
        ioctl_setflags(fd, IFlags::from_bits_retain(flags.bits() & !PROTECTING_FLAGS))?;
    }
    Ok(protecting)
}

/// Sets the inode flags within `mask` to those of `flags`.
fn set_flags(fd: BorrowedFd<'_>, mask: u32, flags: u32, warnings: &mut Vec<String>) {
    let wanted = flags & mask;
    let set = || {
        let now = ioctl_getflags(fd)?.bits();
        if now & mask == wanted {
            return Ok(());
        }
        ioctl_setflags(fd, IFlags::from_bits_retain(now & !mask | wanted))
    };
    match set() {
        // The file system has no flags, and none was wanted.
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) if wanted == 0 => {}
        Err(error) => warnings.push(format!("its inode flags could not be set: {error}")),
        Ok(()) => {}
    }
}

/// User and group id that the entry is to have on this machine.
pub(super) fn owner_of(entry: &Entry, options: &ApplyOptions, names: &OwnerNames) -> (u32, u32) {
    let by_name = |name: &Bytes, find: fn(&OwnerNames, &Bytes) -> Option<u32>| {
        if options.owners_by_name && !name.is_empty() {
            find(names, name)
        } else {
            None
        }
    };
    let uid = by_name(&entry.user, OwnerNames::uid_of).unwrap_or(entry.uid);
    let gid = by_name(&entry.group, OwnerNames::gid_of).unwrap_or(entry.gid);
    (uid, gid)
}

/// Sets the owner and returns whether the entry now has the right one.
fn set_owner(
    to: ApplyTo<'_>,
    entry: &Entry,
    options: &ApplyOptions,
    names: &OwnerNames,
    warnings: &mut Vec<String>,
) -> bool {
    let (uid, gid) = owner_of(entry, options, names);
    if let ApplyTo::Newborn(_, born) = to
        && (born.uid, born.gid) == (uid, gid)
    {
        return true;
    }
    // The system takes the highest id for "do not change"; no entry can have it as its owner.
    let as_uid = (uid != u32::MAX).then(|| Uid::from_raw(uid));
    let as_gid = (gid != u32::MAX).then(|| Gid::from_raw(gid));
    let chown = |uid, gid| match to {
        ApplyTo::Handle(fd) | ApplyTo::Newborn(fd, _) => fchown(fd, uid, gid),
        ApplyTo::Special(fd) => chownat(fd, c"", uid, gid, AtFlags::EMPTY_PATH),
    };
    let Err(error) = chown(as_uid, as_gid) else {
        return as_uid.is_some() && as_gid.is_some();
    };
    // Without root, the group can still be set if this user belongs to it.
    let group = chown(None, as_gid).map_or("", |()| "; its group was");
    warnings.push(format!("its owner {uid}:{gid} could not be set{group}: {error}"));
    false
}

fn set_mode(to: ApplyTo<'_>, mode: u32, warnings: &mut Vec<String>) -> io::Result<()> {
    let mode_bits = Mode::from_raw_mode(mode);
    let set = match to {
        ApplyTo::Handle(fd) | ApplyTo::Newborn(fd, _) => fchmod(fd, mode_bits),
        // Only symbolic links have no mode, and `apply` does not set theirs.
        ApplyTo::Special(fd) => chmod(path_of_handle(fd), mode_bits),
    };
    match set {
        Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {
            warnings.push(format!("its mode {mode:04o} could not be set"));
            Ok(())
        }
        set => Ok(set?),
    }
}

fn set_times(to: ApplyTo<'_>, entry: &Entry) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: entry.mtime_s,
            tv_nsec: entry.mtime_ns.min(999_999_999).into(),
        },
    };
    match to {
        ApplyTo::Handle(fd) | ApplyTo::Newborn(fd, _) => futimens(fd, &times)?,
        ApplyTo::Special(fd) => match utimensat(fd, c"", &times, AtFlags::EMPTY_PATH) {
            // An older kernel.
            Err(Errno::INVAL) => utimensat(CWD, path_of_handle(fd), &times, AtFlags::empty())?,
            set => set?,
        },
    }
    Ok(())
}

/// Sets an extended attribute and returns whether that worked.
fn set_xattr(to: ApplyTo<'_>, xattr: &Xattr, warnings: &mut Vec<String>) -> bool {
    // The kernel reads names as C strings; a name with a 0 in it is refused.
    let name = &xattr.name[..];
    if is_mark(name) {
        return true;
    }
    let set = match to {
        ApplyTo::Handle(fd) | ApplyTo::Newborn(fd, _) => fsetxattr(fd, name, &xattr.value, XattrFlags::empty()),
        // The path leads to the entry itself, also if that is a symbolic link.
        ApplyTo::Special(fd) => setxattr(path_of_handle(fd), name, &xattr.value, XattrFlags::empty()),
    };
    let Err(error) = set else { return true };
    warnings.push(format!(
        "its extended attribute {} could not be set: {error}",
        name.escape_ascii()
    ));
    false
}

/// Removes extended attributes that the entry does not have: ACLs that were inherited from the folder around it, and
/// the user's attributes of an entry that existed before. Security labels of this machine are left alone.
fn remove_others(to: ApplyTo<'_>, entry: &Entry, options: &ApplyOptions, warnings: &mut Vec<String>) {
    let from = match to {
        ApplyTo::Newborn(_, born) if born.bare => return,
        ApplyTo::Handle(fd) | ApplyTo::Newborn(fd, _) => Reach::Handle(fd),
        ApplyTo::Special(fd) => Reach::Path {
            path: path_of_handle(fd),
            follow: true,
        },
    };
    // If they cannot be listed, none was inherited.
    for name in xattr_names(&from).unwrap_or_default() {
        let is_acl = name == ACL_ACCESS || name == ACL_DEFAULT;
        if is_mark(&name) {
            continue;
        }
        let may_be_removed = if is_acl {
            options.acls
        } else {
            name.starts_with(b"user.") || name == CAPABILITY
        };
        if !may_be_removed || entry.xattrs.iter().any(|xattr| xattr.name == name) {
            continue;
        }
        let removed = match &from {
            Reach::Handle(fd) => fremovexattr(fd, &name[..]),
            Reach::Path { path, .. } => removexattr(&path[..], &name[..]),
        };
        if let Err(error) = removed
            && error != Errno::NODATA
        {
            warnings.push(format!(
                "an extended attribute {} could not be removed: {error}",
                name.escape_ascii()
            ));
        }
    }
}
