//! The file systems that are mounted on this server, from `/proc/self/mountinfo`. The agent decides by them what can be
//! a source. Snapshots use them to find the mount of a source and the mounts below it, and the walk asks whether a file
//! system is a view into the kernel.

pub mod devices;

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::stat::Stat;

/// File systems that are views into the kernel, by their names in `mountinfo`. Nothing in them can be restored.
const PSEUDO_NAMES: &[&str] = &[
    "anon_inodefs",
    "autofs",
    "bdev",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "cpuset",
    "debugfs",
    "devpts",
    "efivarfs",
    "functionfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nfsd",
    "nsfs",
    "openpromfs",
    "pipefs",
    "proc",
    "pstore",
    "resctrl",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sockfs",
    "spufs",
    "sysfs",
    "tracefs",
    "usbfs",
    "xenfs",
];

/// The same file systems by `statfs.f_type` (`linux/magic.h` and the file systems' own sources).
const PSEUDO_MAGICS: &[u32] = &[
    0x0000_0187, // autofs
    0x0000_1cd1, // devpts
    0x0000_9fa0, // proc
    0x0000_9fa1, // openpromfs
    0x0000_9fa2, // usbfs
    0x0027_e0eb, // cgroup
    0x0765_5821, // resctrl
    0x0904_1934, // anon inodes
    0x1980_0202, // mqueue
    0x4249_4e4d, // binfmt_misc
    0x4341_5d53, // smackfs
    0x5049_5045, // pipefs
    0x534f_434b, // sockfs
    0x6165_676c, // pstore
    0x6265_6570, // configfs
    0x6265_6572, // sysfs
    0x6367_7270, // cgroup2
    0x6462_6720, // debugfs
    0x6573_5543, // fusectl
    0x6759_6969, // rpc_pipefs
    0x6c6f_6f70, // binderfs
    0x6e66_7364, // nfsd
    0x6e73_6673, // nsfs
    0x7363_6673, // securityfs
    0x7472_6163, // tracefs
    0x9584_58f6, // hugetlbfs
    0xabba_1974, // xenfs
    0xcafe_4a11, // bpf
    0xde5e_81e4, // efivarfs
    0xf97c_ff8c, // selinuxfs
];

/// Whether the file or folder behind a handle (an `O_PATH` one is enough) lies on a view into the kernel.
///
/// # Errors
/// The system's error.
pub(crate) fn is_pseudo_file_system(handle: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(PSEUDO_MAGICS.contains(&magic_of(handle)?))
}

/// The type of the file system behind a handle (an `O_PATH` one is enough): `statfs.f_type`.
pub(crate) fn magic_of(handle: BorrowedFd<'_>) -> io::Result<u32> {
    let magic = rustix::fs::fstatfs(handle)?.f_type;
    // The field is signed and its width differs between machines. The low 32 bits are the magic number.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::unnecessary_cast,
        reason = "only the low 32 bits are the magic number"
    )]
    let magic = magic as u32;
    Ok(magic)
}

/// A line of `mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The kernel's number of the mount, the one that `statx` returns as mount id.
    pub id: u64,
    /// Major and minor number of the device, as in `8:1`.
    pub number: String,
    /// The folder within the file system that is mounted here: `/` for the whole of it.
    pub root: PathBuf,
    /// The folder that it is mounted on.
    pub point: PathBuf,
    /// The type of file system.
    pub fs: String,
    /// The device, or the word that `mountinfo` has in place of one.
    pub device: String,
    /// Whether the mount, or the whole file system, is read-only.
    pub read_only: bool,
}

impl Mount {
    /// Whether the file system is a view into the kernel.
    #[must_use]
    pub fn is_pseudo(&self) -> bool {
        PSEUDO_NAMES.contains(&self.fs.as_str())
    }

    /// Whether the file system is in memory only.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        matches!(self.fs.as_str(), "tmpfs" | "devtmpfs" | "ramfs")
    }
}

/// The mounts that this process sees, in the kernel's order.
///
/// # Errors
/// `/proc/self/mountinfo` cannot be read.
pub fn mounts() -> io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// Parses `mountinfo` (proc(5)): id, parent, device, root, point, options, optional fields, `-`, type, source, options
/// of the file system. Lines that do not have this form are left out.
fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let number = text(fields.nth(1)?);
    let root = path(fields.next()?);
    let point = path(fields.next()?);
    let options = fields.next()?;
    fields.find(|&field| field == b"-")?;
    let fs = text(fields.next()?);
    let device = text(fields.next()?);
    let fs_options = fields.next().unwrap_or_default();
    let is_read_only = |options: &[u8]| options.split(|&byte| byte == b',').any(|option| option == b"ro");
    Some(Mount {
        id,
        number,
        root,
        point,
        fs,
        device,
        read_only: is_read_only(options) || is_read_only(fs_options),
    })
}

/// Resolves the kernel's escapes: a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|digits| first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        match octal {
            Some(digits) => {
                out.push(
                    digits
                        .iter()
                        .fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')),
                );
                rest = &after[3..];
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(field)))
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

/// The mount through which `path` is reached.
///
/// # Errors
/// There is nothing at the path.
pub fn mount_of<'a>(mounts: &'a [Mount], path: &Path) -> io::Result<Option<&'a Mount>> {
    let stat = Stat::at(rustix::fs::CWD, path)?;
    Ok(if stat.mount_id == 0 {
        // A kernel before 5.8 does not say: take the longest mount point above the path, and the last of equal ones.
        mounts
            .iter()
            .filter(|mount| path.starts_with(&mount.point))
            .max_by_key(|mount| mount.point.as_os_str().len())
    } else {
        mounts.iter().find(|mount| mount.id == stat.mount_id)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_read_with_its_escapes_and_optional_fields() {
        let text = b"36 35 98:0 /mnt1 /mnt\\040a\\012b rw,noatime master:1 shared:2 - ext3 /dev/ro\\134ot rw,errors=continue\n\
            37 35 0:5 / /proc rw - proc proc rw\nnonsense\n38 35 0:9 / /ro ro - btrfs /dev/x rw\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[0].point, Path::new("/mnt a\nb"));
        assert_eq!(mounts[0].root, Path::new("/mnt1"));
        assert_eq!(mounts[0].number, "98:0");
        assert_eq!(mounts[0].device, "/dev/ro\\ot");
        assert!(!mounts[0].read_only && mounts[2].read_only);
        assert!(mounts[1].is_pseudo() && !mounts[0].is_pseudo());
    }

    #[test]
    fn a_path_belongs_to_its_mount() {
        let mounts = mounts().unwrap();
        assert_eq!(mount_of(&mounts, Path::new("/proc/self")).unwrap().unwrap().fs, "proc");
        assert!(mount_of(&mounts, Path::new("/no such")).is_err());
    }
}
