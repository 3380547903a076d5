//! What the system knows of an entry without opening it. The walk, the reader and the writer share it; one `statx`
//! fills it.

use std::io;
use std::os::fd::BorrowedFd;

use lockstone_proto::vault::EntryKind;
use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, makedev, statx};

/// An entry's attributes, as the file system gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Type and permission bits (`st_mode`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes, of a file; the file system's own idea for others.
    pub size: u64,
    /// Last change of the content: seconds since the epoch.
    pub mtime_s: i64,
    /// And nanoseconds, below 10⁹.
    pub mtime_ns: u32,
    /// Last change of the inode: seconds since the epoch.
    pub ctime_s: i64,
    /// And nanoseconds, below 10⁹.
    pub ctime_ns: u32,
    /// Inode number.
    pub inode: u64,
    /// `st_dev` of the source: where the entry is read from a snapshot, that of what the snapshot was taken of.
    pub device: u64,
    /// `st_dev` where the entry is read.
    pub device_raw: u64,
    /// Hard links.
    pub links: u64,
    /// Of a device: major number.
    pub rdev_major: u32,
    /// Of a device: minor number.
    pub rdev_minor: u32,
    /// Space taken, in units of 512 bytes.
    pub blocks: u64,
    /// The mount it was reached through; 0 where the kernel does not say.
    pub mount_id: u64,
}

impl Stat {
    /// Of an entry of a folder; symbolic links are not followed, automounts not triggered.
    pub(crate) fn at<P: rustix::path::Arg>(folder: BorrowedFd<'_>, name: P) -> io::Result<Self> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        Ok(Self::new(&statx(
            folder,
            name,
            flags,
            StatxFlags::BASIC_STATS | StatxFlags::MNT_ID,
        )?))
    }

    /// Of what a handle stands for (an `O_PATH` one will do).
    ///
    /// # Errors
    /// What the system answered.
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

    /// Which kind of entry a recovery point keeps it as; unspecified for sockets and what nobody knows.
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

    /// Is it a folder?
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    /// Is it a regular file?
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.file_type() == FileType::RegularFile
    }

    /// Does it take less space than its size says, so that it may have holes?
    #[must_use]
    pub fn may_have_holes(&self) -> bool {
        self.blocks.saturating_mul(512) < self.size
    }
}
