#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use lockstone_proto::vault::Content;

use super::*;
use crate::testing::{Mounted, root_for, run};

struct Lab {
    top: tempfile::TempDir,
    dir: Dir,
}

impl Lab {
    fn new() -> Self {
        Self::on("/dev/shm")
    }

    fn on(on: &str) -> Self {
        let top = tempfile::tempdir_in(on).unwrap();
        let dir = Dir::open_root(&top.path().join("deep/target")).unwrap();
        Self { top, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join("deep/target").join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path("."))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn put(&self, name: &[u8], content: &[u8], replace: bool) -> io::Result<()> {
        let part = self.dir.create_part(&Bytes::copy_from_slice(name), &file())?;
        part.write_at(content, 0)?;
        part.finish(&file(), &ApplyOptions::default(), replace, &mut Vec::new())
    }
}

fn file() -> Entry {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    Entry {
        kind: EntryKind::File.into(),
        mode: 0o644,
        uid,
        gid,
        mtime_s: 1,
        ..Entry::default()
    }
}

fn link(target: &[u8]) -> Entry {
    Entry {
        kind: EntryKind::Symlink.into(),
        link_target: target.to_vec().into(),
        ..file()
    }
}

#[test]
fn names_that_lead_elsewhere_are_refused_by_everything() {
    let lab = Lab::new();
    std::fs::write(lab.top.path().join("outside"), b"untouched").unwrap();
    let options = ApplyOptions::default();
    for bad in [
        &b""[..],
        b".",
        b"..",
        b"../outside",
        b"a/b",
        b"/etc/passwd",
        b"a\0b",
        b"/",
    ] {
        let refused = |outcome: io::Result<()>| {
            assert_eq!(
                outcome.unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{}",
                bad.escape_ascii()
            );
        };
        let dir = &lab.dir;
        refused(dir.lookup(bad).map(drop));
        refused(dir.open_folder(bad).map(drop));
        refused(dir.make_folder(bad).map(drop));
        refused(dir.remove(bad));
        refused(dir.open_file(bad).map(drop));
        refused(dir.read_link(bad).map(drop));
        refused(dir.make_special(bad, &link(b"x"), &options, true, &mut Vec::new()));
        refused(dir.hard_link(dir, bad, b"x"));
        refused(dir.hard_link(dir, b"x", bad));
        refused(dir.apply(bad, &file(), &options, &mut Vec::new()));
        refused(lab.put(bad, b"evil", true));
    }
    assert_eq!(lab.names(), [""; 0]);
    assert_eq!(std::fs::read(lab.top.path().join("outside")).unwrap(), b"untouched");
}

#[test]
fn symbolic_links_lead_nowhere() {
    let lab = Lab::new();
    let outside = lab.top.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("f"), b"untouched").unwrap();
    // A hostile vault would do this: first a link, then entries through it.
    let options = ApplyOptions::default();
    let target = outside.as_os_str().as_encoded_bytes();
    lab.dir
        .make_special(b"way", &link(target), &options, false, &mut Vec::new())
        .unwrap();
    lab.dir
        .make_special(b"f", &link(&[target, b"/f"].concat()), &options, false, &mut Vec::new())
        .unwrap();
    assert!(lab.dir.open_folder(b"way").is_err());
    assert_eq!(
        lab.dir.make_folder(b"way").unwrap_err().kind(),
        io::ErrorKind::AlreadyExists
    );
    assert!(lab.dir.open_file(b"f").is_err());
    assert!(lab.dir.apply(b"f", &file(), &options, &mut Vec::new()).is_err());
    assert_eq!(lab.dir.lookup(b"f").unwrap().unwrap().kind(), EntryKind::Symlink);
    lab.put(b"f", b"new", true).unwrap();
    assert_eq!(std::fs::read(lab.path("f")).unwrap(), b"new");
    assert_eq!(std::fs::read(outside.join("f")).unwrap(), b"untouched");
    assert_eq!(lab.dir.read_link(b"way").unwrap(), target);
    lab.dir.remove(b"way").unwrap();
    assert!(outside.join("f").exists());
}

#[test]
fn a_file_has_its_name_only_when_it_is_whole() {
    let lab = Lab::new();
    let part = lab.dir.create_part(&Bytes::from_static(b"f"), &file()).unwrap();
    part.write_at(b"half", 0).unwrap();
    let names = lab.names();
    assert!(matches!(&names[..], [name] if name.starts_with(".lockstone-") && name.ends_with(".part")));
    drop(part);
    assert_eq!(lab.names(), [""; 0]);
    lab.put(b"f", b"whole", false).unwrap();
    assert_eq!(
        lab.put(b"f", b"another", false).unwrap_err().kind(),
        io::ErrorKind::AlreadyExists
    );
    assert_eq!(lab.names(), ["f"]);
    assert_eq!(std::fs::read(lab.path("f")).unwrap(), b"whole");
    lab.put(b"f", b"another", true).unwrap();
    assert_eq!(std::fs::read(lab.path("f")).unwrap(), b"another");
    lab.dir.make_folder(b"folder").unwrap();
    assert!(lab.put(b"folder", b"x", true).is_err());
    assert!(lab.dir.remove(b"folder").is_err());
    assert_eq!(lab.names(), ["f", "folder"]);
    assert_eq!(std::fs::metadata(lab.path("folder")).unwrap().mode() & 0o7777, 0o1700);
}

#[test]
fn in_a_folder_made_here_half_a_file_is_known_by_its_mode() {
    let lab = Lab::new();
    let ours = lab.dir.make_folder(b"ours").unwrap();
    let mode = |name| std::fs::metadata(lab.path(name)).unwrap().mode();
    assert!(is_unfinished(mode("ours"), true, 0o755));
    let part = ours.create_part(&Bytes::from_static(b"f"), &file()).unwrap();
    part.write_at(b"half", 0).unwrap();
    assert!(is_unfinished(mode("ours/f"), false, 0o644));
    assert!(
        !is_unfinished(mode("ours/f"), false, mode("ours/f")),
        "it may really be so"
    );
    drop(part);
    assert!(ours.lookup(b"f").unwrap().is_none());
    // A file that is not written by one call does not have its name before it is finished.
    let long = Entry {
        content: Some(Content {
            lens: vec![4, 4],
            ..Content::default()
        }),
        ..file()
    };
    let part = ours.create_part(&Bytes::from_static(b"f"), &long).unwrap();
    assert!(ours.lookup(b"f").unwrap().is_none());
    std::mem::forget(part);
    std::fs::write(lab.path("ours/.lockstone-mine.part"), "").unwrap();
    ours.remove_leftovers().unwrap();
    assert_eq!(std::fs::read_dir(lab.path("ours")).unwrap().count(), 1);
    ours.remove(b".lockstone-mine.part").unwrap();

    let whole = |content: &[u8], replace| {
        let part = ours.create_part(&Bytes::from_static(b"f"), &file())?;
        part.write_at(content, 0)?;
        part.finish(&file(), &ApplyOptions::default(), replace, &mut Vec::new())
    };
    whole(b"whole", false).unwrap();
    assert_eq!(mode("ours/f") & 0o7777, 0o644);
    // If the name is taken, the file is written under a temporary name.
    assert_eq!(
        whole(b"another", false).unwrap_err().kind(),
        io::ErrorKind::AlreadyExists
    );
    assert_eq!(std::fs::read(lab.path("ours/f")).unwrap(), b"whole");
    whole(b"another", true).unwrap();
    assert_eq!(std::fs::read(lab.path("ours/f")).unwrap(), b"another");

    let options = ApplyOptions::default();
    ours.make_special(b"link", &link(b"f"), &options, false, &mut Vec::new())
        .unwrap();
    for name in [&b"second"[..], b"second", b"link2"] {
        ours.hard_link(&ours, b"f", name).unwrap();
    }
    let mut names: Vec<_> = std::fs::read_dir(lab.path("ours"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["f", "link", "link2", "second"]);
    let folder = Entry {
        kind: EntryKind::Folder.into(),
        mode: 0o755,
        ..file()
    };
    ours.apply_to_self(&folder, &options, &mut Vec::new()).unwrap();
    assert_eq!(mode("ours") & 0o7777, 0o755);
}

#[test]
fn where_the_mark_is_lost_a_file_gets_its_name_last() {
    let lab = Lab::new();
    let ours = lab.dir.make_folder(b"ours").unwrap();
    drop(ours.create_part(&Bytes::from_static(b"f"), &file()).unwrap());
    let mut born = ours.born.get().unwrap().clone().unwrap();
    // As on a file system that does not keep modes, such as vfat.
    born.mode = 0o100_755;
    let lost = lab.dir.make_folder(b"lost").unwrap();
    lost.born.set(Some(born)).unwrap();
    let part = lost.create_part(&Bytes::from_static(b"f"), &file()).unwrap();
    assert!(lost.lookup(b"f").unwrap().is_none());
    part.finish(&file(), &ApplyOptions::default(), false, &mut Vec::new())
        .unwrap();
    assert!(lost.lookup(b"f").unwrap().is_some());
    assert_eq!(std::fs::read_dir(lab.path("lost")).unwrap().count(), 1);
}

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
fn hard_links_replace_what_stands_there_and_leave_nothing_behind() {
    let lab = Lab::new();
    lab.put(b"one", b"content", false).unwrap();
    let below = lab.dir.make_folder(b"below").unwrap();
    std::fs::write(lab.path("below/two"), b"in the way").unwrap();
    below.hard_link(&lab.dir, b"one", b"two").unwrap();
    // Once more, now that both names are of the same file already.
    below.hard_link(&lab.dir, b"one", b"two").unwrap();
    lab.dir.hard_link(&lab.dir, b"one", b"one").unwrap();
    let stat = |name| std::fs::metadata(lab.path(name)).unwrap();
    assert_eq!((stat("one").ino(), stat("one").nlink()), (stat("below/two").ino(), 2));
    assert_eq!(lab.names(), ["below", "one"]);
    assert_eq!(std::fs::read_dir(lab.path("below")).unwrap().count(), 1);
    assert!(below.hard_link(&lab.dir, b"none", b"x").is_err());
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
fn paths_beyond_path_max_are_written() {
    let lab = Lab::new();
    let name = [b'n'; 200];
    let mut dirs = vec![lab.dir.clone()];
    for _ in 0..50 {
        let below = dirs[dirs.len() - 1].make_folder(&name).unwrap();
        dirs.push(below);
    }
    let last = dirs.pop().unwrap();
    let part = last.create_part(&Bytes::from_static(b"f"), &file()).unwrap();
    part.write_at(b"deep", 0).unwrap();
    part.finish(&file(), &ApplyOptions::default(), false, &mut Vec::new())
        .unwrap();
    let options = ApplyOptions::default();
    last.make_special(b"l", &link(b"f"), &options, false, &mut Vec::new())
        .unwrap();
    let folder = Entry {
        kind: EntryKind::Folder.into(),
        mode: 0o750,
        ..file()
    };
    last.apply_to_self(&folder, &options, &mut Vec::new()).unwrap();
    assert_eq!(last.open_file(b"f").unwrap().stat().size, 4);
    let source = crate::snapshot::FrozenSource::live(lab.path("."));
    let walked = crate::walk::Walker::new(&source, &crate::walk::Rules::default())
        .unwrap()
        .count();
    assert_eq!(walked, 2 * 51 + 2);
    last.remove(b"f").unwrap();
    last.remove(b"l").unwrap();
    while let Some(dir) = dirs.pop() {
        rustix::fs::unlinkat(dir.handle(), &name[..], AtFlags::REMOVEDIR).unwrap();
    }
}

#[test]
fn devices_and_fifos_replace_what_stands_there() {
    if !root_for("making devices") {
        return;
    }
    let lab = Lab::new();
    let options = ApplyOptions::default();
    std::fs::write(lab.path("d"), b"").unwrap();
    for kind in [EntryKind::Fifo, EntryKind::CharDevice, EntryKind::BlockDevice] {
        let entry = Entry {
            kind: kind.into(),
            rdev_major: 1,
            rdev_minor: 3,
            mode: 0o620,
            ..file()
        };
        let kept = lab.dir.make_special(b"d", &entry, &options, false, &mut Vec::new());
        assert_eq!(kept.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let mut warnings = Vec::new();
        lab.dir
            .make_special(b"d", &entry, &options, true, &mut warnings)
            .unwrap();
        let stat = lab.dir.lookup(b"d").unwrap().unwrap();
        assert_eq!(
            (stat.kind(), stat.permissions(), stat.mtime_s, warnings.len()),
            (kind, 0o620, 1, 0)
        );
        lab.dir
            .apply(
                b"d",
                &Entry {
                    mode: 0o600,
                    ..entry.clone()
                },
                &options,
                &mut warnings,
            )
            .unwrap();
        assert_eq!(lab.dir.lookup(b"d").unwrap().unwrap().permissions(), 0o600);
        // An entry of another kind does not get the attributes.
        assert!(lab.dir.apply(b"d", &link(b"x"), &options, &mut warnings).is_err());
    }
    assert_eq!(lab.names(), ["d"]);
    assert!(
        lab.dir
            .make_special(b"e", &file(), &options, false, &mut Vec::new())
            .is_err()
    );
}

#[test]
fn blocks_are_shared_and_copy_on_write_is_off_where_the_file_system_can() {
    if !root_for("a loop device") {
        return;
    }
    let top = tempfile::tempdir_in("/dev/shm").unwrap();
    let image = top.path().join("image");
    std::fs::File::create(&image).unwrap().set_len(256 << 20).unwrap();
    run("mkfs.btrfs", &["-q".as_ref(), image.as_os_str()]);
    let at = top.path().join("mount");
    std::fs::create_dir(&at).unwrap();
    run(
        "mount",
        &["-o".as_ref(), "loop".as_ref(), image.as_os_str(), at.as_os_str()],
    );
    let _mounted = Mounted(at.clone());
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
