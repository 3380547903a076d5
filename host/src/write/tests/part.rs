//! What a restored file gets from a [`PartFile`](super::PartFile): its content, its holes, its length, and attributes
//! that differ from those of a new file.

use std::os::unix::fs::{FileExt, MetadataExt};

use super::*;
use crate::testing::{mounted_btrfs, run};

#[test]
fn holes_stay_holes() {
    let lab = Lab::new();
    let part = lab.dir.create_part(&Bytes::from_static(b"sparse"), &file()).unwrap();
    part.write_at(b"end", (1 << 30) - 3).unwrap();
    part.write_at(b"start", 0).unwrap();
    part.set_len(2 << 30).unwrap();
    let mut bytes = [1; 8];
    part.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"start\0\0\0");
    assert_eq!(
        part.read_exact_at(&mut bytes, (2 << 30) - 1).unwrap_err().kind(),
        io::ErrorKind::UnexpectedEof
    );
    part.drop_cached().unwrap();
    part.finish(&file(), &ApplyOptions::default(), false, &mut Vec::new())
        .unwrap();
    let stat = std::fs::metadata(lab.path("sparse")).unwrap();
    assert_eq!(stat.len(), 2 << 30);
    assert!(stat.blocks() * 512 < 1 << 20);
}

#[test]
fn ranges_are_taken_from_an_existing_file() {
    let content: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    for on in ["/dev/shm", "/var/tmp"] {
        let lab = Lab::on(on);
        std::fs::write(lab.path("old"), &content).unwrap();
        let old = lab.dir.open_file(b"old").unwrap();
        let part = lab.dir.create_part(&Bytes::from_static(b"old"), &file()).unwrap();
        part.copy_from(&old, 4096, 1 << 20).unwrap();
        part.copy_from(&old, 3_000_001, 999_999).unwrap();
        part.copy_by_hand(&old, 2_500_000, 2_500_100).unwrap();
        part.write_at(b"new", 0).unwrap();
        assert_eq!(
            part.copy_from(&old, 3_999_000, 5000).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        part.finish(&file(), &ApplyOptions::default(), true, &mut Vec::new())
            .unwrap();
        let new = std::fs::read(lab.path("old")).unwrap();
        assert_eq!(new.len(), content.len());
        for (range, expected) in [(4096..4096 + (1 << 20), &content), (3_000_001..4_000_000, &content)] {
            assert!(new[range.clone()] == expected[range], "on {on}");
        }
        assert!(new[2_500_000..2_500_100] == content[2_500_000..2_500_100]);
        assert!(new[2_000_000..2_500_000].iter().all(|&byte| byte == 0));
        assert_eq!(&new[..4], b"new\0");
    }
}

#[test]
fn several_threads_may_write_one_part() {
    let lab = Lab::new();
    let part = lab.dir.create_part(&Bytes::from_static(b"f"), &file()).unwrap();
    std::thread::scope(|scope| {
        for n in 0..4_u8 {
            let part = &part;
            scope.spawn(move || {
                (0..100).for_each(|i| part.write_at(&[n; 1000], (i * 4 + u64::from(n)) * 1000).unwrap())
            });
        }
    });
    part.finish(&file(), &ApplyOptions::default(), false, &mut Vec::new())
        .unwrap();
    let written = std::fs::read(lab.path("f")).unwrap();
    assert!(
        written
            .chunks(1000)
            .enumerate()
            .all(|(i, chunk)| chunk == [(i % 4) as u8; 1000])
    );
}

#[test]
fn a_length_is_set_where_the_writes_did_not_make_it() {
    let lab = Lab::new();
    for (written, len) in [(&b"abc"[..], 3), (b"abc", 10), (b"abc", 2), (b"", 0), (b"", 5)] {
        let part = lab.dir.create_part(&Bytes::from_static(b"x"), &file()).unwrap();
        part.write_at(written, 0).unwrap();
        part.set_len(len).unwrap();
        part.finish(&file(), &ApplyOptions::default(), true, &mut Vec::new())
            .unwrap();
        assert_eq!(lab.path("x").metadata().unwrap().len(), len);
    }
}

#[test]
fn blocks_are_shared_and_copy_on_write_is_off_where_the_file_system_can() {
    if !root_for("a loop device") {
        return;
    }
    let top = tempfile::tempdir_in("/dev/shm").unwrap();
    let mounted = mounted_btrfs(top.path());
    let at = &mounted.0;
    let dir = Dir::open_root(&at.join("t")).unwrap();
    std::fs::write(at.join("t/old"), vec![7; 1 << 20]).unwrap();
    let old = dir.open_file(b"old").unwrap();
    let part = dir.create_part(&Bytes::from_static(b"new"), &file()).unwrap();
    part.copy_from(&old, 0, 512 << 10).unwrap();
    part.copy_from(&old, 768 << 10, 256 << 10).unwrap();
    part.write_at(b"new", 0).unwrap();
    part.drop_cached().unwrap();
    part.finish(&file(), &ApplyOptions::default(), false, &mut Vec::new())
        .unwrap();
    let new = std::fs::File::open(at.join("t/new")).unwrap();
    let mut bytes = vec![1; 1 << 20];
    new.read_exact_at(&mut bytes, 0).unwrap();
    assert!(
        bytes.starts_with(b"new\x07") && bytes[512 << 10..768 << 10].iter().all(|&b| b == 0) && bytes.ends_with(&[7])
    );
    let at_new = at.join("t/new");
    let usage = ["filesystem", "du", "-s", "--raw"].map(AsRef::as_ref);
    let usage = run("btrfs", &[&usage[..], &[at_new.as_os_str()]].concat());
    let usage = String::from_utf8(usage).unwrap();
    // Total, exclusive, shared, name: of 768 KiB all but the block that was written is shared.
    let shared: u64 = usage
        .lines()
        .last()
        .unwrap()
        .split_whitespace()
        .nth(2)
        .unwrap()
        .parse()
        .unwrap();
    assert!(shared >= 700 << 10, "{usage}");
    let nocow = Entry {
        flags: crate::metadata::NO_COW_FLAG,
        ..file()
    };
    let part = dir.create_part(&Bytes::from_static(b"nocow"), &nocow).unwrap();
    part.write_at(&[1; 5000], 0).unwrap();
    let mut warnings = Vec::new();
    part.finish(&nocow, &ApplyOptions::default(), false, &mut warnings)
        .unwrap();
    assert_eq!(warnings, [""; 0]);
    let flags = rustix::fs::ioctl_getflags(std::fs::File::open(at.join("t/nocow")).unwrap()).unwrap();
    assert!(flags.bits() & crate::metadata::NO_COW_FLAG != 0);
    drop((old, dir, new));
}

/// An ACL that new files inherit from their folder is removed from every file, although only the first file is looked
/// at.
#[test]
fn files_born_with_an_inherited_acl_lose_it_each() {
    let lab = Lab::new();
    let target = lab.path(".");
    let mut setfacl = std::process::Command::new("setfacl");
    setfacl.args(["-d", "-m", "u:12345:rwx"]).arg(&target);
    if !setfacl.status().is_ok_and(|status| status.success()) {
        println!("SKIPPED: there is no setfacl, or the file system has no ACLs");
        return;
    }
    for name in ["first", "second"] {
        lab.put(name.as_bytes(), b"x", false).unwrap();
        let shown = std::process::Command::new("getfacl")
            .arg(lab.path(name))
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(!shown.contains("12345"), "{shown}");
        assert_eq!(lab.path(name).metadata().unwrap().mode() & 0o7777, 0o644);
    }
}

/// A file gets its owner whether new files have that owner already or not.
#[test]
fn owners_are_right_whether_files_are_born_with_them_or_not() {
    if !root_for("a file of another owner") {
        return;
    }
    let lab = Lab::new();
    for (name, uid, gid) in [("ours", 0, 0), ("theirs", 12, 34), ("again", 0, 0), ("half", 0, 34)] {
        let entry = Entry {
            uid,
            gid,
            mode: 0o6755,
            ..file()
        };
        let part = lab.dir.create_part(&Bytes::from(name), &entry).unwrap();
        let mut warnings = Vec::new();
        part.finish(&entry, &ApplyOptions::default(), false, &mut warnings)
            .unwrap();
        let stat = lab.path(name).metadata().unwrap();
        assert_eq!(
            (stat.uid(), stat.gid(), stat.mode() & 0o7777),
            (uid, gid, 0o6755),
            "{name}"
        );
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}
