//! An entry's attributes, filled by one `statx`, without opening the entry. The walk, the reader and the writer use it.

use std::io;
use std::os::fd::BorrowedFd;

use lockstone_proto::vault::EntryKind;
use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, makedev, statx};

/// An entry's attributes, as the file system reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Type and permission bits (`st_mode`).
    pub mode: u32,
    /// The owner's user id.
    pub uid: u32,
    /// The owning group's id.
    pub gid: u32,
    /// Size in bytes. For entries that are not files, whatever the file system reports.
    pub size: u64,
    /// Last change of the content: seconds since the epoch.
    pub mtime_s: i64,
    /// Last change of the content: the nanoseconds, below 10⁹.
    pub mtime_ns: u32,
    /// Last change of the inode: seconds since the epoch.
    pub ctime_s: i64,
    /// Last change of the inode: the nanoseconds, below 10⁹.
    pub ctime_ns: u32,
    /// Inode number, unique within the device.
    pub inode: u64,
    /// `st_dev` in the source: if the entry is read from a snapshot, the `st_dev` of what the snapshot was taken of.
    pub device: u64,
    /// `st_dev` where the entry is read.
    pub device_raw: u64,
    /// Number of hard links.
    pub links: u64,
    /// Major number, if the entry is a device.
    pub rdev_major: u32,
    /// Minor number, if the entry is a device.
    pub rdev_minor: u32,
    /// Space on the disk, in units of 512 bytes.
    pub blocks: u64,
    /// The mount through which the entry was reached; 0 if the kernel does not report it.
    pub mount_id: u64,
}

impl Stat {
    /// The attributes of an entry of a folder. Does not follow a symbolic link, nor trigger an automount.
    pub(crate) fn at<P: rustix::path::Arg>(folder: BorrowedFd<'_>, name: P) -> io::Result<Self> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        Ok(Self::new(&statx(
            folder,
            name,
            flags,
            StatxFlags::BASIC_STATS | StatxFlags::MNT_ID,
        )?))
    }

    /// The attributes of an open file or folder. An `O_PATH` handle is enough.
    ///
    /// # Errors
    /// The system's error.
    pub fn of(handle: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self::new(&statx(
            handle,
            c"",
            AtFlags::EMPTY_PATH,
            StatxFlags::BASIC_STATS | StatxFlags::MNT_ID,
        )?))
    }

    fn new(stat: &Statx) -> Self {
        let device = makedev(stat.stx_dev_major, stat.stx_dev_minor);
        let has_mount = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        Self {
            mode: u32::from(stat.stx_mode),
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            size: stat.stx_size,
            mtime_s: stat.stx_mtime.tv_sec,
            mtime_ns: stat.stx_mtime.tv_nsec,
            ctime_s: stat.stx_ctime.tv_sec,
            ctime_ns: stat.stx_ctime.tv_nsec,
            inode: stat.stx_ino,
            device,
            device_raw: device,
            links: u64::from(stat.stx_nlink),
            rdev_major: stat.stx_rdev_major,
            rdev_minor: stat.stx_rdev_minor,
            blocks: stat.stx_blocks,
            mount_id: if has_mount { stat.stx_mnt_id } else { 0 },
        }
    }

    /// The type bits of the mode.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// The permission bits of the mode: 07777.
    #[must_use]
    pub fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    /// The kind of entry in a recovery point; `Unspecified` for sockets and unknown types.
    #[must_use]
    pub fn kind(&self) -> EntryKind {
        match self.file_type() {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Folder,
            FileType::Symlink => EntryKind::Symlink,
            FileType::Fifo => EntryKind::Fifo,
            FileType::CharacterDevice => EntryKind::CharDevice,
            FileType::BlockDevice => EntryKind::BlockDevice,
            _ => EntryKind::Unspecified,
        }
    }

    /// Whether the entry is a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    /// Whether the entry is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.file_type() == FileType::RegularFile
    }

    /// Whether the file takes less space than its size, and so may have holes.
    #[must_use]
    pub fn may_have_holes(&self) -> bool {
        self.blocks.saturating_mul(512) < self.size
    }
}
