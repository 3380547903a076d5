#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod folders;
mod part;

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use bytes::Bytes;
use lockstone_proto::vault::{Content, Entry, EntryKind};
use rustix::fs::AtFlags;

use super::*;
use crate::testing::root_for;

/// A target folder in a temporary folder.
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
        refused(dir.open_folder(bad, 0).map(drop));
        refused(dir.make_folder(bad).map(drop));
        refused(dir.remove(bad));
        refused(dir.open_file(bad).map(drop));
        refused(dir.read_link(bad).map(drop));
        refused(dir.make_special(bad, &link(b"x"), &options, true, &mut Vec::new()));
        refused(dir.hard_link(dir, bad, b"x", true));
        refused(dir.hard_link(dir, b"x", bad, true));
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
    assert!(lab.dir.open_folder(b"way", 0).is_err());
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
    assert!(marks::has_mode(mode("ours"), true, 0o755) && marks::is_set(ours.handle().unwrap().as_fd()));
    let part = ours.create_part(&Bytes::from_static(b"f"), &file()).unwrap();
    part.write_at(b"half", 0).unwrap();
    assert!(marks::has_mode(mode("ours/f"), false, 0o644));
    assert!(
        !marks::has_mode(mode("ours/f"), false, mode("ours/f")),
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
    // What another restore is writing stays, and so does what only looks similar.
    ours.remove_leftovers().unwrap();
    assert_eq!(std::fs::read_dir(lab.path("ours")).unwrap().count(), 1);
    drop(part);
    std::fs::write(lab.path("ours/.lockstone-mine.part"), "").unwrap();
    std::fs::write(lab.path("ours").join(temporary::name_of_dead_process()), "").unwrap();
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
        ours.hard_link(&ours, b"f", name, true).unwrap();
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
    let mut born = ours.born().get().unwrap().clone().unwrap();
    // As on a file system that does not keep modes, such as vfat.
    born.mode = 0o100_755;
    let lost = lab.dir.make_folder(b"lost").unwrap();
    lost.born().set(Some(born)).unwrap();
    let part = lost.create_part(&Bytes::from_static(b"f"), &file()).unwrap();
    assert!(lost.lookup(b"f").unwrap().is_none());
    part.finish(&file(), &ApplyOptions::default(), false, &mut Vec::new())
        .unwrap();
    assert!(lost.lookup(b"f").unwrap().is_some());
    assert_eq!(std::fs::read_dir(lab.path("lost")).unwrap().count(), 1);
}

#[test]
fn hard_links_replace_what_stands_there_and_leave_nothing_behind() {
    let lab = Lab::new();
    lab.put(b"one", b"content", false).unwrap();
    let below = lab.dir.make_folder(b"below").unwrap();
    std::fs::write(lab.path("below/two"), b"in the way").unwrap();
    below.hard_link(&lab.dir, b"one", b"two", true).unwrap();
    // Once more, now that both names are of the same file already.
    below.hard_link(&lab.dir, b"one", b"two", true).unwrap();
    lab.dir.hard_link(&lab.dir, b"one", b"one", true).unwrap();
    let stat = |name| std::fs::metadata(lab.path(name)).unwrap();
    assert_eq!((stat("one").ino(), stat("one").nlink()), (stat("below/two").ino(), 2));
    assert_eq!(lab.names(), ["below", "one"]);
    assert_eq!(std::fs::read_dir(lab.path("below")).unwrap().count(), 1);
    assert!(below.hard_link(&lab.dir, b"none", b"x", true).is_err());
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
        rustix::fs::unlinkat(dir.handle().unwrap(), &name[..], AtFlags::REMOVEDIR).unwrap();
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
