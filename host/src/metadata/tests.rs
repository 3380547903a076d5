#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lockstone_proto::vault::{Entry, EntryKind};
use rustix::fs::{
    CWD, FileType, IFlags, Mode, XattrFlags, ioctl_getflags, ioctl_setflags, lsetxattr, makedev, mknodat,
};

use super::*;
use crate::read::OpenedFile;
use crate::stat::Stat;
use crate::testing::{root_for, run, without_rights};
use crate::walk::Folder;
use crate::write::Dir;

/// Captures an entry as the backup does.
fn captured(folder: &Path, name: &str) -> (Entry, Vec<String>) {
    let (folder, _) = Folder::open(folder).unwrap();
    let stat = Stat::at(folder.handle(), name).unwrap();
    let mut warnings = Vec::new();
    let names = OwnerNames::default();
    let name_bytes = name.as_bytes();
    let entry = match stat.kind() {
        EntryKind::File => {
            let file = OpenedFile::open(&folder, name_bytes).unwrap();
            let from = CaptureFrom::Handle(file.as_fd(), name_bytes);
            capture(from, file.stat(), &names, &mut warnings)
        }
        EntryKind::Folder => {
            let path = folder.join(name_bytes);
            let (inner, stat) = Folder::open(Path::new(std::ffi::OsStr::from_bytes(&path))).unwrap();
            let from = CaptureFrom::Handle(inner.handle(), name_bytes);
            capture(from, &stat, &names, &mut warnings)
        }
        _ => capture(CaptureFrom::Name(&folder, name_bytes), &stat, &names, &mut warnings),
    };
    (entry.unwrap(), warnings)
}

/// An entry without the attributes that a restore does not set.
fn plain(mut entry: Entry) -> Entry {
    (entry.ctime_s, entry.ctime_ns, entry.inode, entry.device, entry.links) = (0, 0, 0, 0, 0);
    entry
}

/// Restores an entry as the restore does, and captures the result.
fn restored(entry: &Entry, target: &Path, options: &ApplyOptions) -> (Entry, Vec<String>) {
    let dir = Dir::open_root(target).unwrap();
    let mut warnings = Vec::new();
    match entry.kind() {
        EntryKind::File => {
            let part = dir.create_part(&entry.name, entry).unwrap();
            part.set_len(entry.size).unwrap();
            part.finish(entry, options, false, &mut warnings).unwrap();
        }
        EntryKind::Folder => {
            dir.make_folder(&entry.name)
                .unwrap()
                .apply_to_self(entry, options, &mut warnings)
                .unwrap();
        }
        _ => dir
            .make_special(&entry.name, entry, options, false, &mut warnings)
            .unwrap(),
    }
    (captured(target, std::str::from_utf8(&entry.name).unwrap()).0, warnings)
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// Makes one entry of each kind with every attribute it can have. Returns whether the file system has inode flags.
fn furnish(at: &Path) {
    std::fs::write(at.join("file"), b"12345").unwrap();
    set_xattr(&at.join("file"), "user.note", b"a \0 value");
    set_xattr(&at.join("file"), "user.empty", b"");
    set_xattr(&at.join("file"), "user.large", &[b'x'; 3000]);
    set_xattr(&at.join("file"), "trusted.t", b"root's");
    run("setcap", &["cap_net_raw+ep".as_ref(), at.join("file").as_os_str()]);
    run(
        "setfacl",
        &["-m".as_ref(), "u:1234:rw,g:77:r".as_ref(), at.join("file").as_os_str()],
    );
    std::fs::write(at.join("setuid"), b"").unwrap();
    std::os::unix::fs::chown(at.join("setuid"), Some(4242), Some(0)).unwrap();
    std::fs::set_permissions(at.join("setuid"), std::fs::Permissions::from_mode(0o6711)).unwrap();
    std::fs::create_dir(at.join("folder")).unwrap();
    run(
        "setfacl",
        &[
            "-m".as_ref(),
            "d:u:99:rwx,u:98:x".as_ref(),
            at.join("folder").as_os_str(),
        ],
    );
    set_xattr(&at.join("folder"), "user.f", b"1");
    std::fs::set_permissions(at.join("folder"), std::fs::Permissions::from_mode(0o3775)).unwrap();
    std::os::unix::fs::symlink("some\nwhere", at.join("link")).unwrap();
    set_xattr(&at.join("link"), "trusted.l", b"on the link");
    std::os::unix::fs::lchown(at.join("link"), Some(55), Some(56)).unwrap();
    mknodat(CWD, at.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    mknodat(
        CWD,
        at.join("char"),
        FileType::CharacterDevice,
        Mode::RUSR,
        makedev(300, 70_000),
    )
    .unwrap();
    mknodat(CWD, at.join("block"), FileType::BlockDevice, Mode::RUSR, makedev(7, 1)).unwrap();
    for name in ["file", "folder", "link", "fifo"] {
        run(
            "touch",
            &[
                "-h".as_ref(),
                "-d".as_ref(),
                "1969-07-20 20:17:40.123456789Z".as_ref(),
                at.join(name).as_os_str(),
            ],
        );
    }
}

const NAMES: [&str; 7] = ["file", "setuid", "folder", "link", "fifo", "char", "block"];

#[test]
fn everything_captured_is_given_back() {
    if !root_for("giving back owners, devices and capabilities") {
        return;
    }
    for on in ["/dev/shm", "/var/tmp"] {
        let source = tempfile::tempdir_in(on).unwrap();
        let target = tempfile::tempdir_in(on).unwrap();
        furnish(source.path());
        // New entries must not keep what they inherit from the target folder.
        run(
            "setfacl",
            &["-m".as_ref(), "d:u:31:rwx".as_ref(), target.path().as_os_str()],
        );
        for name in NAMES {
            let (entry, warnings) = captured(source.path(), name);
            assert_eq!(warnings, [""; 0], "{name} on {on}");
            assert_eq!(entry.name, name.as_bytes());
            let (again, warnings) = restored(&entry, target.path(), &ApplyOptions::default());
            assert_eq!(warnings, [""; 0], "{name} on {on}");
            assert_eq!(plain(again), plain(entry), "{name} on {on}");
        }
    }
}

#[test]
fn a_captured_entry_says_what_it_is() {
    if !root_for("devices and capabilities") {
        return;
    }
    let source = tempfile::tempdir().unwrap();
    furnish(source.path());
    let (file, _) = captured(source.path(), "file");
    let names: Vec<String> = file.xattrs.iter().map(|x| x.name.escape_ascii().to_string()).collect();
    let expected = [
        "security.capability",
        "system.posix_acl_access",
        "trusted.t",
        "user.empty",
        "user.large",
        "user.note",
    ];
    assert_eq!(names, expected);
    assert_eq!((file.size, file.mtime_s, file.mtime_ns), (5, -14_182_940, 123_456_789));
    assert_eq!((&file.user[..], file.links), (&b"root"[..], 0));
    let (setuid, _) = captured(source.path(), "setuid");
    assert_eq!((setuid.mode, setuid.uid, &setuid.user[..]), (0o6711, 4242, &b""[..]));
    let (link, _) = captured(source.path(), "link");
    assert_eq!(
        (&link.link_target[..], link.xattrs.len(), link.size),
        (&b"some\nwhere"[..], 1, 0)
    );
    let (device, _) = captured(source.path(), "char");
    assert_eq!((device.rdev_major, device.rdev_minor), (300, 70_000));
    std::fs::hard_link(source.path().join("setuid"), source.path().join("second")).unwrap();
    assert_eq!(captured(source.path(), "second").0.links, 2);
}

#[test]
fn without_acls_those_of_the_target_stay_and_the_rest_is_given() {
    if !root_for("this") {
        return;
    }
    let source = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    furnish(source.path());
    let options = ApplyOptions {
        acls: false,
        ..ApplyOptions::default()
    };
    let (again, warnings) = restored(&captured(source.path(), "file").0, target.path(), &options);
    assert_eq!(warnings, [""; 0]);
    assert!(again.xattrs.iter().all(|xattr| !xattr.name.starts_with(b"system.")));
    assert_eq!(again.xattrs.len(), 5);
}

#[test]
fn inode_flags_come_last_and_can_be_taken_off() {
    if !root_for("inode flags") {
        return;
    }
    let source = tempfile::tempdir_in("/var/tmp").unwrap();
    let target = tempfile::tempdir_in("/var/tmp").unwrap();
    std::fs::write(source.path().join("f"), b"x").unwrap();
    std::fs::create_dir(source.path().join("d")).unwrap();
    let flags = IFlags::IMMUTABLE | IFlags::NODUMP;
    let set = |path: &Path, flags: IFlags| {
        let file = std::fs::File::open(path).unwrap();
        let now = ioctl_getflags(&file).unwrap();
        ioctl_setflags(&file, now & !(IFlags::IMMUTABLE | IFlags::APPEND) | flags)
    };
    if set(&source.path().join("f"), flags).is_err() {
        eprintln!("SKIPPED: no inode flags in /var/tmp");
        return;
    }
    set(&source.path().join("d"), IFlags::APPEND).unwrap();
    let options = ApplyOptions::default();
    let (file, _) = captured(source.path(), "f");
    assert_eq!(file.flags, 0x50);
    for name in ["f", "d"] {
        let entry = captured(source.path(), name).0;
        let (again, warnings) = restored(&entry, target.path(), &options);
        assert_eq!((plain(again), warnings), (plain(entry), Vec::new()), "{name}");
    }
    // A protected file can be linked, changed, replaced and removed. If it stays, it is protected again.
    let dir = Dir::open_root(target.path()).unwrap();
    dir.hard_link(&dir, b"f", b"second", true).unwrap();
    assert_eq!(captured(target.path(), "second").0.flags, 0x50);
    let mut warnings = Vec::new();
    let changed = Entry {
        mode: 0o604,
        ..file.clone()
    };
    dir.apply(b"f", &changed, &options, &mut warnings).unwrap();
    assert_eq!(
        (
            captured(target.path(), "f").0.mode,
            captured(target.path(), "f").0.flags
        ),
        (0o604, 0x50)
    );
    let part = dir.create_part(&b"f"[..].into(), &file).unwrap();
    part.finish(
        &Entry {
            flags: 0,
            ..file.clone()
        },
        &options,
        true,
        &mut warnings,
    )
    .unwrap();
    assert_eq!((captured(target.path(), "f").0.flags, warnings), (0, Vec::new()));
    dir.remove(b"second").unwrap();
    for path in [
        source.path().join("f"),
        source.path().join("d"),
        target.path().join("d"),
    ] {
        set(&path, IFlags::empty()).unwrap();
    }
}

#[test]
fn too_many_xattrs_are_left_out_with_a_warning() {
    let source = tempfile::tempdir_in("/dev/shm").unwrap();
    std::fs::write(source.path().join("f"), b"").unwrap();
    for n in 0..9 {
        let value = vec![b'v'; 60_000];
        if lsetxattr(
            source.path().join("f"),
            format!("user.{n}"),
            &value,
            XattrFlags::empty(),
        )
        .is_err()
        {
            eprintln!("SKIPPED: /dev/shm takes no large attributes");
            return;
        }
    }
    let (entry, warnings) = captured(source.path(), "f");
    assert_eq!((entry.xattrs.len(), warnings.len()), (0, 1));
    lsetxattr(source.path().join("f"), "user.0", b"", XattrFlags::empty()).unwrap();
    let (entry, warnings) = captured(source.path(), "f");
    assert_eq!((entry.xattrs.len(), warnings.len()), (9, 0));
}

#[test]
fn without_the_right_to_give_files_away_setuid_is_left_off_and_said() {
    let target = tempfile::tempdir().unwrap();
    let entry = Entry {
        name: (&b"f"[..]).into(),
        kind: EntryKind::File.into(),
        mode: 0o4755,
        uid: 4242,
        gid: 4242,
        mtime_s: 5,
        ..Entry::default()
    };
    let (again, warnings) = without_rights(|| restored(&entry, target.path(), &ApplyOptions::default()));
    assert_eq!((again.mode, again.mtime_s), (0o755, 5));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[test]
fn owners_by_name_are_those_of_this_machine() {
    if !root_for("giving files away") {
        return;
    }
    let target = tempfile::tempdir().unwrap();
    let entry = Entry {
        name: (&b"f"[..]).into(),
        kind: EntryKind::File.into(),
        uid: 4242,
        gid: 4243,
        user: (&b"root"[..]).into(),
        group: (&b"no such group here"[..]).into(),
        ..Entry::default()
    };
    let by_name = ApplyOptions {
        owners_by_name: true,
        ..ApplyOptions::default()
    };
    let (again, _) = restored(&entry, target.path(), &by_name);
    assert_eq!((again.uid, again.gid), (0, 4243));
    std::fs::remove_file(target.path().join("f")).unwrap();
    let (again, _) = restored(&entry, target.path(), &ApplyOptions::default());
    assert_eq!((again.uid, again.gid), (4242, 4243));
}

#[test]
fn hostile_attributes_harm_nothing() {
    let target = tempfile::tempdir().unwrap();
    let xattr = |name: &[u8]| lockstone_proto::vault::Xattr {
        name: name.to_vec().into(),
        value: vec![7; 100_000].into(),
    };
    let entry = Entry {
        name: (&b"f"[..]).into(),
        kind: EntryKind::File.into(),
        mode: u32::MAX,
        uid: u32::MAX,
        gid: u32::MAX,
        mtime_s: i64::MAX,
        mtime_ns: u32::MAX,
        flags: u32::MAX,
        xattrs: vec![xattr(b""), xattr(b"user.\0"), xattr(b"nonsense"), xattr(&[b'u'; 5000])],
        ..Entry::default()
    };
    let dir = Dir::open_root(target.path()).unwrap();
    let mut warnings = Vec::new();
    let part = dir.create_part(&b"f"[..].into(), &entry).unwrap();
    let _ = part.finish(&entry, &ApplyOptions::default(), false, &mut warnings);
    assert!(warnings.len() >= 4, "{warnings:?}");
    let _ = dir.remove(b"f");
}
