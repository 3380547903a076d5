//! Reads an entry's attributes from the source. For an ordinary open file this takes two system calls: one for the list
//! of extended attributes, one for the inode flags.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use bytes::Bytes;
use lockstone_proto::limits::KEPT_INODE_FLAGS;
use lockstone_proto::vault::{Entry, EntryKind, Xattr};
use rustix::fs::{
    Mode, OFlags, fgetxattr, flistxattr, getxattr, ioctl_getflags, lgetxattr, listxattr, llistxattr, openat, readlinkat,
};
use rustix::io::Errno;

use super::{OwnerNames, XATTR_VALUE_MAX, XATTRS_MAX, path_by_handle, path_of_handle, without_proc};
use crate::folder::Folder;
use crate::stat::Stat;
use crate::write::marks::is_mark;

/// The entry whose attributes are captured.
#[derive(Debug, Clone, Copy)]
pub enum CaptureFrom<'a> {
    /// An open file or folder, and its name.
    Handle(BorrowedFd<'a>, &'a [u8]),
    /// An entry that is not opened, by its name in a folder. A symbolic link is not followed.
    Name(&'a Folder, &'a [u8]),
}

/// The attributes of an entry, without content or page. `stat` must belong to the same entry. Pushes a line to
/// `warnings`, without the path, for each thing that cannot be read.
///
/// # Errors
/// The target of a symbolic link cannot be read: without it nothing is left to keep. `InvalidInput` for kinds
/// of entries that are not backed up.
pub fn capture(
    from: CaptureFrom<'_>,
    stat: &Stat,
    names: &OwnerNames,
    warnings: &mut Vec<String>,
) -> io::Result<Entry> {
    let (CaptureFrom::Handle(_, name) | CaptureFrom::Name(_, name)) = from;
    let kind = stat.kind();
    if kind == EntryKind::Unspecified {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "entries of this type are not kept",
        ));
    }
    let mut entry = Entry {
        name: Bytes::copy_from_slice(name),
        kind: kind.into(),
        mode: stat.permissions(),
        uid: stat.uid,
        gid: stat.gid,
        user: names.user(stat.uid),
        group: names.group(stat.gid),
        mtime_s: stat.mtime_s,
        mtime_ns: stat.mtime_ns.min(999_999_999),
        ctime_s: stat.ctime_s,
        ctime_ns: stat.ctime_ns.min(999_999_999),
        inode: stat.inode,
        device: stat.device,
        ..Entry::default()
    };
    if kind != EntryKind::Folder && stat.links > 1 {
        entry.links = stat.links;
    }
    match kind {
        EntryKind::File => entry.size = stat.size,
        EntryKind::Symlink => {
            let target = match from {
                CaptureFrom::Handle(fd, _) => readlinkat(fd, c"", Vec::new())?,
                CaptureFrom::Name(folder, name) => readlinkat(folder.handle(), name, Vec::new())?,
            };
            entry.link_target = target.into_bytes().into();
        }
        EntryKind::CharDevice | EntryKind::BlockDevice => {
            entry.rdev_major = stat.rdev_major;
            entry.rdev_minor = stat.rdev_minor;
        }
        _ => {}
    }
    let reach = match from {
        CaptureFrom::Handle(fd, _) => Reach::Handle(fd),
        CaptureFrom::Name(folder, name) => Reach::Path {
            path: path_by_handle(folder.handle(), name),
            follow: false,
        },
    };
    entry.xattrs = xattrs(reach, warnings);
    if let CaptureFrom::Handle(fd, _) = from {
        match ioctl_getflags(fd) {
            Ok(flags) => entry.flags = flags.bits() & KEPT_INODE_FLAGS,
            // The file system has no inode flags; or this process may not read the folder, for which there is a warning
            // already.
            Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::BADF) => {}
            Err(error) => warnings.push(format!("its inode flags could not be read: {error}")),
        }
    }
    Ok(entry)
}

/// The attributes of an existing entry of an open folder, for a comparison. What cannot be read is left out. A symbolic
/// link is not followed.
///
/// # Errors
/// There is no such entry, or this process may not reach it.
pub(crate) fn capture_existing(folder: BorrowedFd<'_>, name: &[u8], names: &OwnerNames) -> io::Result<Entry> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let kind = Stat::at(folder, name)?.kind();
    let readable = matches!(kind, EntryKind::File | EntryKind::Folder);
    let opened = readable.then(|| openat(folder, name, flags | OFlags::RDONLY, Mode::empty()));
    let handle = match opened {
        Some(Ok(handle)) => handle,
        // Its attributes are enough.
        _ => openat(folder, name, flags | OFlags::PATH, Mode::empty())?,
    };
    let stat = Stat::of(handle.as_fd())?;
    capture(CaptureFrom::Handle(handle.as_fd(), name), &stat, names, &mut Vec::new())
}

/// How the extended attributes of an entry are reached.
pub(super) enum Reach<'a> {
    /// Through the open file or folder.
    Handle(BorrowedFd<'a>),
    /// By a path. `follow` tells whether a symbolic link in the last component is followed.
    Path { path: Vec<u8>, follow: bool },
}

type Filled = usize;

impl Reach<'_> {
    fn list(&self, buffer: &mut [u8]) -> Result<Filled, Errno> {
        Ok(match self {
            Self::Handle(fd) => flistxattr(fd, buffer)?,
            Self::Path { path, follow: true } => listxattr(&path[..], buffer)?,
            Self::Path { path, follow: false } => llistxattr(&path[..], buffer)?,
        })
    }

    fn get(&self, name: &[u8], buffer: &mut [u8]) -> Result<Filled, Errno> {
        Ok(match self {
            Self::Handle(fd) => fgetxattr(fd, name, buffer)?,
            Self::Path { path, follow: true } => getxattr(&path[..], name, buffer)?,
            Self::Path { path, follow: false } => lgetxattr(&path[..], name, buffer)?,
        })
    }
}

/// Calls with a small buffer on the stack and, if that is too small, with the largest that the kernel may need.
fn fill(call: impl Fn(&mut [u8]) -> Result<Filled, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0_u8; 512];
    match call(&mut small) {
        Ok(len) => Ok(small[..len].to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0; XATTR_VALUE_MAX];
            let len = call(&mut large)?;
            large.truncate(len);
            Ok(large)
        }
        Err(error) => Err(error),
    }
}

/// The names of an entry's extended attributes, in byte order. Empty if the file system has no extended attributes.
pub(super) fn xattr_names(reach: &Reach<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let list = match fill(|buffer| reach.list(buffer)) {
        Ok(list) => list,
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names: Vec<Vec<u8>> = list
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty() && !is_mark(name))
        .map(<[u8]>::to_vec)
        .collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn xattrs(mut reach: Reach<'_>, warnings: &mut Vec<String>) -> Vec<Xattr> {
    let mut names = xattr_names(&reach);
    if let (Err(Errno::BADF), Reach::Handle(fd)) = (&names, &reach) {
        // The handle is `O_PATH`; for such a handle these calls need a path to it.
        reach = Reach::Path {
            path: path_of_handle(*fd),
            follow: true,
        };
        names = xattr_names(&reach);
    }
    let names = match names {
        Ok(names) => names,
        Err(error) => {
            let error = without_proc(error.into());
            warnings.push(format!("its extended attributes could not be listed: {error}"));
            return Vec::new();
        }
    };
    let mut found = Vec::with_capacity(names.len());
    let mut total = 0;
    for name in names {
        match fill(|buffer| reach.get(&name, buffer)) {
            Ok(value) => {
                total += name.len() + value.len();
                found.push(Xattr {
                    name: name.into(),
                    value: value.into(),
                });
            }
            // The attribute was removed in the meantime, or the file system lists it but cannot return it.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => {
                let name = name.escape_ascii();
                warnings.push(format!("its extended attribute {name} could not be read: {error}"));
            }
        }
        if total > XATTRS_MAX {
            warnings.push(format!(
                "its extended attributes take more than {} KiB and were left out",
                XATTRS_MAX / 1024
            ));
            return Vec::new();
        }
    }
    found
}
