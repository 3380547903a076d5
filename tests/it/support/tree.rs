//! Makes odd trees, and compares two trees by everything that a restore promises: content, holes, types, permissions,
//! owners, times, links, extended attributes, ACLs, inode flags.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, FileTimes, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, mknodat, utimensat};

use crate::support::lab::noise;

/// Writes a file with a modification time long ago.
pub(crate) fn file(path: &Path, content: &[u8]) {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).unwrap();
    }
    let mut file = File::create(path).unwrap();
    file.write_all(content).unwrap();
    set_time(&file, content.len() as u64);
}

fn set_time(file: &File, salt: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890 + salt, 123_456_789);
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

/// Sets the modification time of a link itself.
pub(crate) fn link_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// How many entries of [`plain`] are not folders.
pub(crate) const PLAIN_FILES: u64 = 56;

/// A small ordinary tree: a few folders, texts, an empty file and one of several chunks.
pub(crate) fn plain(root: &Path) {
    file(&root.join("a.txt"), b"the first file\n");
    file(&root.join("empty"), b"");
    file(&root.join("docs/readme.md"), b"# read me\n");
    file(&root.join("docs/deep/er/note"), b"deep\n");
    file(&root.join("large.bin"), &noise(1, 3 << 20));
    for number in 0..50 {
        file(
            &root.join(format!("many/file-{number:03}")),
            format!("file number {number}\n").as_bytes(),
        );
    }
    symlink("a.txt", root.join("link")).unwrap();
}

/// Everything odd that any user can make.
pub(crate) fn odd(root: &Path) {
    plain(root);
    symlink("nowhere/at/all", root.join("dangling")).unwrap();
    symlink("docs", root.join("link to folder")).unwrap();
    link_time(&root.join("dangling"), 1_000_000_001, 987_654_321);
    fs::hard_link(root.join("a.txt"), root.join("docs/hard")).unwrap();
    fs::hard_link(root.join("large.bin"), root.join("many/hard-large")).unwrap();

    // Names with any bytes.
    file(&root.join(OsStr::from_bytes(b"not utf-8 \xff\xfe")), b"bytes");
    file(&root.join("new\nline"), b"newline");
    file(&root.join(" blanks and 'quotes' \"too\" "), b"quotes");
    file(&root.join("n".repeat(255)), b"long name");
    file(&root.join("ünïcödé/日本"), b"unicode");
    file(&root.join("-dash"), b"dash");
    file(&root.join("\u{1b}[31mred"), b"escape");

    // Holes: at the start, in the middle, at the end, and nothing but one.
    let sparse = |name: &str, parts: &[(u64, &[u8])], len: u64| {
        let mut file = File::create(root.join(name)).unwrap();
        for (offset, content) in parts {
            file.seek(SeekFrom::Start(*offset)).unwrap();
            file.write_all(content).unwrap();
        }
        file.set_len(len).unwrap();
        set_time(&file, len);
    };
    sparse(
        "sparse.middle",
        &[(0, &noise(2, 70_000)), (8 << 20, &noise(3, 70_000))],
        (8 << 20) + 70_000,
    );
    sparse("sparse.ends", &[(4 << 20, &noise(4, 5000))], 9 << 20);
    sparse("sparse.nothing", &[], 1 << 30);

    // Permissions.
    for mode in [0o000, 0o400, 0o600, 0o644, 0o755, 0o777, 0o1777, 0o2755, 0o4755, 0o6755] {
        let path = root.join(format!("modes/{mode:o}"));
        file(&path, b"mode");
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(root.join("modes/sticky")).unwrap();
    fs::set_permissions(root.join("modes/sticky"), Permissions::from_mode(0o1777)).unwrap();
    fs::create_dir(root.join("modes/empty folder")).unwrap();

    // Sizes around the borders of chunks.
    for size in [
        1,
        4095,
        4096,
        4097,
        (256 << 10) - 1,
        256 << 10,
        (256 << 10) + 1,
        (4 << 20) + 1,
    ] {
        file(&root.join(format!("sizes/{size}")), &noise(size as u64, size));
    }
    let mode = Mode::from_raw_mode(0o640);
    mknodat(CWD, root.join("fifo"), FileType::Fifo, mode, 0).unwrap();
    for (name, value) in [
        ("user.note", &b"a note"[..]),
        ("user.empty", b""),
        ("user.bytes", b"\x00\xff\n"),
    ] {
        // A file system without extended attributes (an old tmpfs) has none to restore.
        let _ = lsetxattr(root.join("a.txt"), name, value, XattrFlags::empty());
    }
    folder_time(&root.join("docs"), 1_111_111_111);
    folder_time(&root.join("modes/empty folder"), -5);
}

fn folder_time(path: &Path, seconds: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 111,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
}

/// What only root can make: owners, devices, capabilities, trusted attributes, ACLs. Prints what could not be made.
pub(crate) fn privileged(root: &Path) {
    let owned = root.join("owned");
    file(&owned, b"owned by others");
    std::os::unix::fs::chown(&owned, Some(12_345), Some(54_321)).unwrap();
    std::os::unix::fs::lchown(root.join("link"), Some(1), Some(2)).unwrap();
    let suid = root.join("suid of another");
    file(&suid, b"suid");
    std::os::unix::fs::chown(&suid, Some(33), Some(33)).unwrap();
    fs::set_permissions(&suid, Permissions::from_mode(0o6711)).unwrap();
    let try_node = |name: &str, kind: FileType, device: u64| {
        if let Err(error) = mknodat(CWD, root.join(name), kind, Mode::from_raw_mode(0o660), device) {
            eprintln!("SKIPPED: no {name} here: {error}");
        }
    };
    try_node("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    try_node("loop", FileType::BlockDevice, rustix::fs::makedev(7, 200));
    let try_xattr = |name: &str, value: &[u8]| {
        if let Err(error) = lsetxattr(&owned, name, value, XattrFlags::empty()) {
            eprintln!("SKIPPED: no {name} here: {error}");
        }
    };
    try_xattr("trusted.note", b"trusted");
    // cap_net_raw+ep, as `setcap` writes it (VFS_CAP_REVISION_2).
    try_xattr(
        "security.capability",
        b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    );
    let acl = |args: &[&str], path: &Path| {
        let done = Command::new("setfacl").args(args).arg(path).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: no ACLs here");
        }
    };
    acl(&["-m", "u:12345:rw,g:54321:r"], &root.join("docs/readme.md"));
    acl(&["-d", "-m", "u:12345:rwx"], &root.join("docs"));
    // Setting the ACL may have moved the folder's ctime, never its mtime.
}

/// Sets inode flags if the file system has them. `chattr` may be missing.
pub(crate) fn flags(path: &Path, flags: &str) -> bool {
    let done = Command::new("chattr").arg(format!("+{flags}")).arg(path).output();
    let set = done.is_ok_and(|output| output.status.success());
    if !set {
        eprintln!("SKIPPED: no inode flags here");
    }
    set
}

/// Makes a socket, which a backup skips.
pub(crate) fn socket(path: &Path) {
    drop(std::os::unix::net::UnixListener::bind(path).unwrap());
}

/// What is compared of one entry.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct Seen {
    pub kind: &'static str,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, i64),
    pub size: u64,
    pub links: u64,
    pub rdev: u64,
    pub target: Option<PathBuf>,
    pub content: Option<u64>,
    pub holes: bool,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub flags: u32,
    pub same_as: Option<OsString>,
}

/// Everything below a folder by relative path, and the folder itself as "".
pub(crate) fn look(root: &Path) -> BTreeMap<OsString, Seen> {
    let mut seen = BTreeMap::new();
    let mut first_names = BTreeMap::new();
    look_into(root, OsString::new(), &mut seen, &mut first_names);
    seen
}

fn look_into(
    root: &Path,
    relative: OsString,
    seen: &mut BTreeMap<OsString, Seen>,
    first_names: &mut BTreeMap<(u64, u64), OsString>,
) {
    let path = if relative.is_empty() {
        root.to_owned()
    } else {
        root.join(&relative)
    };
    let found = fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let kind = found.file_type();
    let word = match kind {
        kind if kind.is_dir() => "folder",
        kind if kind.is_symlink() => "symlink",
        kind if kind.is_fifo() => "fifo",
        kind if kind.is_socket() => "socket",
        kind if kind.is_char_device() => "char",
        kind if kind.is_block_device() => "block",
        _ => "file",
    };
    let many = !kind.is_dir() && found.nlink() > 1;
    let first = many.then(|| {
        first_names
            .entry((found.dev(), found.ino()))
            .or_insert_with(|| relative.clone())
            .clone()
    });
    seen.insert(
        relative.clone(),
        Seen {
            kind: word,
            mode: found.mode() & 0o7777,
            owner: (found.uid(), found.gid()),
            mtime: (found.mtime(), found.mtime_nsec()),
            size: if kind.is_dir() { 0 } else { found.size() },
            links: if kind.is_dir() { 0 } else { found.nlink() },
            rdev: if word == "char" || word == "block" {
                found.rdev()
            } else {
                0
            },
            target: kind.is_symlink().then(|| fs::read_link(&path).unwrap()),
            content: kind.is_file().then(|| content(&path)),
            holes: kind.is_file() && found.blocks() * 512 + (1 << 20) < found.size(),
            xattrs: xattrs(&path),
            flags: if kind.is_file() || kind.is_dir() {
                inode_flags(&path)
            } else {
                0
            },
            same_as: first,
        },
    );
    if kind.is_dir() {
        // In order of names, so that the same one of several hard links comes first on every file system.
        let mut names: Vec<OsString> = fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        for name in names {
            let below = if relative.is_empty() {
                name
            } else {
                Path::new(&relative).join(name).into_os_string()
            };
            look_into(root, below, seen, first_names);
        }
    }
}

/// A hash of the content. Holes of huge files are skipped as zeros.
fn content(path: &Path) -> u64 {
    use std::hash::Hasher;
    use std::io::Read;
    let Ok(mut file) = File::open(path) else { return 0 };
    let mut sum = std::hash::DefaultHasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).unwrap();
        if read == 0 {
            return sum.finish();
        }
        if buffer[..read].iter().any(|byte| *byte != 0) {
            sum.write(&buffer[..read]);
        } else {
            sum.write_usize(read);
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let Ok(len) = rustix::fs::llistxattr(path, &mut names[..]) else {
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for name in names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 1 << 16];
        if let Ok(len) = rustix::fs::lgetxattr(path, CString::new(name).unwrap(), &mut value[..]) {
            value.truncate(len);
            found.insert(name.to_vec(), value);
        }
    }
    found
}

/// Immutable, append-only, no-dump, no-copy-on-write; 0 where the file system has no flags.
fn inode_flags(path: &Path) -> u32 {
    let Ok(file) = File::open(path) else { return 0 };
    rustix::fs::ioctl_getflags(&file).map_or(0, |flags| flags.bits() & (0x10 | 0x20 | 0x40 | 0x0080_0000))
}

/// Asserts that two trees are the same in everything.
#[track_caller]
pub(crate) fn assert_same(a: &Path, b: &Path) {
    assert_like(&look(a), &look(b));
}

/// Asserts that two looks are the same, and names the first difference.
#[track_caller]
pub(crate) fn assert_like(a: &BTreeMap<OsString, Seen>, b: &BTreeMap<OsString, Seen>) {
    for (name, seen) in a {
        match b.get(name) {
            None => panic!("{name:?} is missing"),
            Some(other) => assert_eq!(seen, other, "{name:?} differs"),
        }
    }
    for name in b.keys() {
        assert!(a.contains_key(name), "{name:?} should not be there");
    }
}

/// Asserts that a partly restored tree has only complete files under their own names, and no temporary file.
#[track_caller]
pub(crate) fn assert_partial(whole: &BTreeMap<OsString, Seen>, part: &BTreeMap<OsString, Seen>) {
    for (path, seen) in part {
        let wanted = whole
            .get(path)
            .unwrap_or_else(|| panic!("{} does not belong there", path.display()));
        assert_eq!(wanted.kind, seen.kind, "{}", path.display());
        assert_eq!(wanted.content, seen.content, "{}", path.display());
    }
}
