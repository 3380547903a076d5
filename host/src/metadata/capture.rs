//! Takes an entry's attributes from the source. Cheap where there is nothing out of the ordinary: for an open file one
//! call for the list of extended attributes and one for the inode flags.

use std::io;
use std::os::fd::BorrowedFd;

use bytes::Bytes;
use lockstone_proto::limits::KEPT_INODE_FLAGS;
use lockstone_proto::vault::{Entry, EntryKind, Xattr};
use rustix::fs::{fgetxattr, flistxattr, getxattr, ioctl_getflags, lgetxattr, listxattr, llistxattr, readlinkat};
use rustix::io::Errno;

use super::{OwnerNames, XATTR_VALUE_MAX, XATTRS_MAX, path_by_handle, path_of_handle};
use crate::stat::Stat;
use crate::walk::Folder;

/// The attributes of an entry, without content or page. `fd` is the open file or folder, where there is one; without it
/// the entry is reached as `name` in `folder` and not followed. `stat` must be of the same entry. What cannot be taken is
/// told in `warnings`, without the path.
///
/// # Errors
/// A symbolic link cannot be read: without its target there is nothing to keep. `InvalidInput` for kinds that are not
/// kept.
pub fn capture(
    fd: Option<BorrowedFd<'_>>,
    folder: &Folder,
    name: &[u8],
    stat: &Stat,
    names: &OwnerNames,
    warnings: &mut Vec<String>,
) -> io::Result<Entry> {
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
        mtime_ns: stat.mtime_ns,
        ctime_s: stat.ctime_s,
        ctime_ns: stat.ctime_ns,
        inode: stat.inode,
        device: stat.device,
        ..Entry::default()
    };
    if kind != EntryKind::Folder && stat.links > 1 {
        entry.links = stat.links;
    }
    match kind {
        EntryKind::File => entry.size = stat.size,
        EntryKind::Symlink => entry.link_target = readlinkat(folder.handle(), name, Vec::new())?.into_bytes().into(),
        EntryKind::CharDevice | EntryKind::BlockDevice => {
            entry.rdev_major = stat.rdev_major;
            entry.rdev_minor = stat.rdev_minor;
        }
        _ => {}
    }
    let from = match fd {
        Some(fd) => From::Handle(fd),
        None => From::Path {
            path: path_by_handle(folder.handle(), name),
            follow: false,
        },
    };
    entry.xattrs = xattrs(from, warnings);
    if let Some(fd) = fd {
        match ioctl_getflags(fd) {
            Ok(flags) => entry.flags = flags.bits() & KEPT_INODE_FLAGS,
            // The file system has none; or the handle is of a folder that may not be read, which is warned about.
            Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::BADF) => {}
            Err(error) => warnings.push(format!("its inode flags could not be read: {error}")),
        }
    }
    Ok(entry)
}

/// How an entry's extended attributes are reached.
pub(super) enum From<'a> {
    /// By the open file or folder.
    Handle(BorrowedFd<'a>),
    /// By a path, whose last component is followed or not.
    Path { path: Vec<u8>, follow: bool },
}

type Filled = usize;

impl From<'_> {
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

/// Fills a buffer that is first small and then as large as it can get. Nothing is allocated where there is nothing.
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

/// The names of an entry's extended attributes, in byte order; none where the file system knows none.
pub(super) fn xattr_names(from: &From<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let list = match fill(|buffer| from.list(buffer)) {
        Ok(list) => list,
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names: Vec<Vec<u8>> = list
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn xattrs(mut from: From<'_>, warnings: &mut Vec<String>) -> Vec<Xattr> {
    let mut names = xattr_names(&from);
    if let (Err(Errno::BADF), From::Handle(fd)) = (&names, &from) {
        // A handle for attributes only: these calls want a path to it.
        from = From::Path {
            path: path_of_handle(*fd),
            follow: true,
        };
        names = xattr_names(&from);
    }
    let names = match names {
        Ok(names) => names,
        Err(error) => {
            warnings.push(format!("its extended attributes could not be listed: {error}"));
            return Vec::new();
        }
    };
    let mut found = Vec::with_capacity(names.len());
    let mut total = 0;
    for name in names {
        match fill(|buffer| from.get(&name, buffer)) {
            Ok(value) => {
                total += name.len() + value.len();
                found.push(Xattr {
                    name: name.into(),
                    value: value.into(),
                });
            }
            // Gone meanwhile, or listed by a file system that then does not know it.
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
