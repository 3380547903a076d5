//! Gives attributes back, in the one order that works and is safe: owner (which clears setuid and capabilities), extended
//! attributes, ACLs, capabilities, times, harmless inode flags, and then the mode: it may be what marks a file as not whole. (Its
//! group rights are the mask of an ACL: setting them after it changes nothing.) What forbids further changes, immutable and
//! append-only, is set by [`protect`] when the entry has its final name and all of its links.
//!
//! Without root an owner may not be given away: then setuid and setgid bits are left off as well, since they would be
//! another user's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use bytes::Bytes;
use lockstone_proto::limits::KEPT_INODE_FLAGS;
use lockstone_proto::vault::{Entry, EntryKind, Xattr};
use rustix::fs::{
    AtFlags, FileType, Gid, IFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmod, chownat,
    fchmod, fchown, fremovexattr, fsetxattr, fstat, futimens, ioctl_getflags, ioctl_setflags, lremovexattr, lsetxattr,
    openat, utimensat,
};
use rustix::io::Errno;

use super::capture::{From, xattr_names};
use super::{ACL_ACCESS, ACL_DEFAULT, CAPABILITY, OwnerNames, PROTECTING_FLAGS, path_by_handle, path_of_handle};

/// What attributes are given to.
#[derive(Debug, Clone, Copy)]
pub enum ApplyTo<'a> {
    /// An open file, or an open folder once its content is complete.
    Handle(BorrowedFd<'a>),
    /// A regular file that was just made in a folder, where such files are born like that: what it is already is not
    /// asked for again.
    Newborn(BorrowedFd<'a>, &'a Born),
    /// A symbolic link, fifo or device, by its name in a folder.
    Name(BorrowedFd<'a>, &'a [u8]),
}

/// What a regular file is like that was just made in a folder: whom it belongs to, and what it inherited. All of a folder are
/// born alike, so one is looked at, and the others need only what differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Born {
    uid: u32,
    gid: u32,
    /// With what the file system kept of the mode that was asked for.
    pub(crate) mode: u32,
    /// No attribute was inherited that `remove_others` would look at.
    bare: bool,
    /// `None`: the file system has none.
    flags: Option<u32>,
}

impl Born {
    /// Looks at a file that was just made. `None`: it cannot be known.
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
            bare: xattr_names(&From::Handle(file)).ok()?.is_empty(),
            flags,
        })
    }
}

/// Which attributes are given back, and how.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions {
    /// POSIX ACLs too.
    pub acls: bool,
    /// Owners by their names where this machine knows them, else by their numbers. Off: always by the numbers.
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

/// Gives `entry`'s attributes to what was restored of it, but for the protecting inode flags. What cannot be given is
/// told in `warnings`, without the path.
///
/// # Errors
/// The mode or the times could not be set for another reason than permission: the entry is not there, or the file system
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
    for xattr in late {
        if options.acls || !is_acl(&xattr.name) {
            set_xattr(to, xattr, warnings);
        }
    }
    set_times(to, entry)?;
    let mask = KEPT_INODE_FLAGS & !PROTECTING_FLAGS;
    match to {
        ApplyTo::Newborn(_, born) if born.flags.unwrap_or(0) & mask == entry.flags & mask => {}
        ApplyTo::Handle(fd) | ApplyTo::Newborn(fd, _) => set_flags(fd, mask, entry.flags, warnings),
        ApplyTo::Name(..) => {}
    }
    // There is no mode of a symbolic link.
    if entry.kind() != EntryKind::Symlink {
        let mut mode = entry.mode & 0o7777;
        if !owned && mode & 0o6000 != 0 {
            mode &= !0o6000;
            warnings.push("its setuid and setgid bits were left off, as its owner could not be set".to_owned());
        }
        set_mode(to, mode, warnings)?;
    }
    Ok(())
}

/// Sets the flags that forbid further changes, where `entry` has them: last of all.
pub fn protect(fd: BorrowedFd<'_>, entry: &Entry, warnings: &mut Vec<String>) {
    if entry.flags & PROTECTING_FLAGS != 0 {
        set_flags(fd, PROTECTING_FLAGS, entry.flags, warnings);
    }
}

/// Takes the flags off that forbid changes, and says which there were: for a file that has to be replaced or linked.
///
/// # Errors
/// That is not permitted.
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

/// Sets the flags within `mask` to those of `flags`.
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
        // Nothing was wanted of a file system that has no flags.
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) if wanted == 0 => {}
        Err(error) => warnings.push(format!("its inode flags could not be set: {error}")),
        Ok(()) => {}
    }
}

/// Whether the owner is as it should be.
fn set_owner(
    to: ApplyTo<'_>,
    entry: &Entry,
    options: &ApplyOptions,
    names: &OwnerNames,
    warnings: &mut Vec<String>,
) -> bool {
    let by_name = |name: &Bytes, find: fn(&OwnerNames, &Bytes) -> Option<u32>| {
        if options.owners_by_name && !name.is_empty() {
            find(names, name)
        } else {
            None
        }
    };
    let uid = by_name(&entry.user, OwnerNames::uid_of).unwrap_or(entry.uid);
    let gid = by_name(&entry.group, OwnerNames::gid_of).unwrap_or(entry.gid);
    if let ApplyTo::Newborn(_, born) = to
        && (born.uid, born.gid) == (uid, gid)
    {
        return true;
    }
    // The highest id means "leave it": nothing can be owned by it.
    let as_uid = (uid != u32::MAX).then(|| Uid::from_raw(uid));
    let as_gid = (gid != u32::MAX).then(|| Gid::from_raw(gid));
    let chown = |uid, gid| match to {
        ApplyTo::Handle(fd) | ApplyTo::Newborn(fd, _) => fchown(fd, uid, gid),
        ApplyTo::Name(folder, name) => chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
    };
    let Err(error) = chown(as_uid, as_gid) else {
        return as_uid.is_some() && as_gid.is_some();
    };
    // The group alone may be one of the user's own.
    let group = chown(None, as_gid).map_or("", |()| "; its group was");
    warnings.push(format!("its owner {uid}:{gid} could not be set{group}: {error}"));
    false
}

fn set_mode(to: ApplyTo<'_>, mode: u32, warnings: &mut Vec<String>) -> io::Result<()> {
    let mode_bits = Mode::from_raw_mode(mode);
    let set = match to {
        ApplyTo::Handle(fd) | ApplyTo::Newborn(fd, _) => fchmod(fd, mode_bits),
        ApplyTo::Name(folder, name) => chmod_by_name(folder, name, mode_bits),
    };
    match set {
        Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {
            warnings.push(format!("its mode {mode:04o} could not be set"));
            Ok(())
        }
        set => Ok(set?),
    }
}

/// Older kernels follow symbolic links here; by way of a handle nothing can be put in the entry's place.
fn chmod_by_name(folder: BorrowedFd<'_>, name: &[u8], mode: Mode) -> Result<(), Errno> {
    let handle = openat(
        folder,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    if FileType::from_raw_mode(fstat(&handle)?.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    chmod(path_of_handle(handle.as_fd()), mode)
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
        ApplyTo::Name(folder, name) => utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)?,
    }
    Ok(())
}

fn set_xattr(to: ApplyTo<'_>, xattr: &Xattr, warnings: &mut Vec<String>) {
    // The kernel reads names as C strings: what has a 0 within is none.
    let name = &xattr.name[..];
    let set = match to {
        ApplyTo::Handle(fd) | ApplyTo::Newborn(fd, _) => fsetxattr(fd, name, &xattr.value, XattrFlags::empty()),
        ApplyTo::Name(folder, file) => lsetxattr(path_by_handle(folder, file), name, &xattr.value, XattrFlags::empty()),
    };
    if let Err(error) = set {
        warnings.push(format!(
            "its extended attribute {} could not be set: {error}",
            name.escape_ascii()
        ));
    }
}

/// Takes off what the entry does not have: ACLs inherited from the folder above, and, of something that was there before,
/// the user's attributes. Labels of the machine's own security are left alone.
fn remove_others(to: ApplyTo<'_>, entry: &Entry, options: &ApplyOptions, warnings: &mut Vec<String>) {
    let from = match to {
        ApplyTo::Newborn(_, born) if born.bare => return,
        ApplyTo::Handle(fd) | ApplyTo::Newborn(fd, _) => From::Handle(fd),
        ApplyTo::Name(folder, name) => From::Path {
            path: path_by_handle(folder, name),
            follow: false,
        },
    };
    // Where they cannot be listed, none was inherited.
    for name in xattr_names(&from).unwrap_or_default() {
        let is_acl = name == ACL_ACCESS || name == ACL_DEFAULT;
        let is_ours = if is_acl {
            options.acls
        } else {
            name.starts_with(b"user.") || name == CAPABILITY
        };
        if !is_ours || entry.xattrs.iter().any(|xattr| xattr.name == name) {
            continue;
        }
        let removed = match &from {
            From::Handle(fd) => fremovexattr(fd, &name[..]),
            From::Path { path, .. } => lremovexattr(&path[..], &name[..]),
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
