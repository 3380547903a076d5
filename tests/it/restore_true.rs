//! What a restore leaves is what the recovery point says, and where it is not, a warning says so.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lremovexattr, lsetxattr, mknodat};

use crate::support::lab::{Lab, Ran, root_or_skip};
use crate::support::tree::file;

fn restore(lab: &Lab, more: &[&str]) -> Ran {
    lab.run([&["restore", "latest", "--original"][..], more].concat())
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn names_of_one_file_stay_names_of_one_file() {
    for rule in ["copy", "overwrite", "skip"] {
        for missing in [&["c"][..], &["a"], &["b", "c"], &["a", "b"], &["a", "c"]] {
            let lab = Lab::new();
            let source = lab.source();
            file(&source.join("a"), b"mail");
            for name in ["b", "c"] {
                fs::hard_link(source.join("a"), source.join(name)).unwrap();
            }
            lab.backup();
            for name in missing {
                fs::remove_file(source.join(name)).unwrap();
            }
            restore(&lab, &["--on-conflict", rule]).exits(0);
            let inodes = ["a", "b", "c"].map(|name| inode(&source.join(name)));
            assert!(
                inodes.iter().all(|found| *found == inodes[0]),
                "{rule} {missing:?} {inodes:?}"
            );
            assert_eq!(fs::read_dir(&source).unwrap().count(), 3, "{rule} {missing:?}");
        }
    }
}

#[test]
fn a_name_on_another_file_system_becomes_a_copy_with_a_warning() {
    if !root_or_skip("a mount") {
        return;
    }
    let lab = Lab::new();
    file(&lab.source().join("one/m"), b"mail");
    fs::create_dir(lab.source().join("two")).unwrap();
    for name in ["two/m", "two/n"] {
        fs::hard_link(lab.source().join("one/m"), lab.source().join(name)).unwrap();
    }
    lab.backup();
    let two = lab.restored("out").join("two");
    fs::create_dir_all(&two).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&two).status();
    assert!(mounted.unwrap().success());
    let target = lab.path("out");
    let restored = lab.run(["restore", "latest", "--target", target.to_str().unwrap()]);
    let content = fs::read(two.join("m"));
    let inodes = (inode(&two.join("m")), inode(&two.join("n")));
    Command::new("umount").arg(&two).status().unwrap();
    restored.exits(3).says("but a copy");
    assert_eq!(content.unwrap(), b"mail");
    assert_eq!(inodes.0, inodes.1, "names on the same file system are still one file");
}

#[test]
fn attributes_that_differ_are_not_called_right() {
    let lab = Lab::new();
    let source = lab.source();
    file(&source.join("f"), b"x");
    file(&source.join("g"), b"x");
    let set = |name: &str| lsetxattr(source.join("f"), name, b"b", XattrFlags::empty());
    if set("user.a").is_err() {
        eprintln!("SKIPPED: no extended attributes here");
        return;
    }
    lab.backup();
    lremovexattr(source.join("f"), "user.a").unwrap();
    let report = restore(&lab, &["--json"]).exits(0).json();
    assert_eq!(
        (&report["copies"], &report["unchanged"]),
        (&1.into(), &1.into()),
        "{report}"
    );
    // It has been put beside, and is not put beside once more.
    let report = restore(&lab, &["--json"]).exits(0).json();
    assert_eq!(
        (&report["copies"], &report["unchanged"]),
        (&0.into(), &2.into()),
        "{report}"
    );
    restore(&lab, &["--on-conflict", "overwrite"]).exits(0);
    let mut value = [0; 8];
    assert_eq!(
        rustix::fs::lgetxattr(source.join("f"), "user.a", &mut value[..]).unwrap(),
        1
    );
    // A folder whose attributes differ keeps them, which is said.
    fs::set_permissions(&source, fs::Permissions::from_mode(0o701)).unwrap();
    restore(&lab, &[]).exits(3).says("keeps them");
}

#[test]
fn without_its_acl_a_file_is_no_more_open_than_it_was() {
    let lab = Lab::new();
    let path = lab.source().join("f");
    file(&path, b"secret");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let acl = Command::new("setfacl").args(["-m", "u:1000:rwx"]).arg(&path).status();
    if !acl.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no ACLs here");
        return;
    }
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o670);
    lab.backup();
    let target = lab.path("out");
    lab.run(["restore", "latest", "--skip-acls", "--target", target.to_str().unwrap()])
        .exits(0);
    let restored = lab.restored("out").join("f");
    assert_eq!(fs::metadata(restored).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn fifos_and_devices_are_recognised() {
    let lab = Lab::new();
    mknodat(CWD, lab.source().join("p"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    lab.backup();
    for rule in ["copy", "overwrite"] {
        let report = restore(&lab, &["--json", "--on-conflict", rule]).exits(0).json();
        assert_eq!(
            (&report["copies"], &report["unchanged"]),
            (&0.into(), &1.into()),
            "{report}"
        );
    }
    assert_eq!(fs::read_dir(lab.source()).unwrap().count(), 1);
}

#[test]
fn times_that_the_target_cuts_off_are_warned_about_once_and_copied_never() {
    if !root_or_skip("a loop device") {
        return;
    }
    let lab = Lab::new();
    let (image, disk) = (lab.path("image"), lab.path("disk"));
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    fs::create_dir(&disk).unwrap();
    let done = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    if !done(Command::new("mkfs.ext4").args(["-q", "-F", "-I", "128"]).arg(&image))
        || !done(Command::new("mount").args(["-o", "loop"]).args([&image, &disk]))
    {
        eprintln!("SKIPPED: no ext4 here");
        return;
    }
    for (name, time) in [
        ("late", "2100-01-01"),
        ("early", "1890-01-01"),
        ("fine", "2020-01-01 01:02:03.123456789"),
    ] {
        file(&lab.source().join(name), b"x");
        let path = lab.source().join(name);
        assert!(done(Command::new("touch").args(["-d", time]).arg(path)));
    }
    lab.backup();
    let target = disk.join("r");
    let args = ["restore", "latest", "--json", "--target", target.to_str().unwrap()];
    let first = lab.run(args);
    let again = lab.run([&args[..], &["--on-conflict", "copy"]].concat());
    Command::new("umount").arg(&disk).status().unwrap();
    let warnings = first.exits(3).json()["warnings"].to_string();
    assert!(
        warnings.contains("out of range") && warnings.contains("cuts off"),
        "{warnings}"
    );
    let again = again.json();
    assert_eq!(
        (&again["copies"], &again["unchanged"]),
        (&0.into(), &3.into()),
        "{again}"
    );
}

#[test]
fn two_names_that_the_target_takes_for_one_are_both_restored() {
    if !root_or_skip("a loop device") {
        return;
    }
    let lab = Lab::new();
    let (image, disk) = (lab.path("image"), lab.path("disk"));
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    fs::create_dir(&disk).unwrap();
    let done = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let target = disk.join("r");
    if !done(
        Command::new("mkfs.ext4")
            .args(["-q", "-F", "-O", "casefold"])
            .arg(&image),
    ) || !done(Command::new("mount").args(["-o", "loop"]).args([&image, &disk]))
        || !done(Command::new("mkdir").arg(&target))
        || !done(Command::new("chattr").arg("+F").arg(&target))
    {
        let _ = Command::new("umount").arg(&disk).status();
        eprintln!("SKIPPED: no file system that folds names here");
        return;
    }
    for name in ["README", "readme", "Dir/x", "dir/x"] {
        file(&lab.source().join(name), name.as_bytes());
    }
    lab.backup();
    let args = ["restore", "latest", "--target", target.to_str().unwrap()];
    let mut seen = Vec::new();
    for _ in 0..3 {
        let ran = lab.run(args);
        let mut contents: Vec<String> = walk(&target)
            .iter()
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        contents.sort();
        seen.push((ran, contents));
    }
    Command::new("umount").arg(&disk).status().unwrap();
    for (ran, contents) in seen {
        ran.exits(3).says("it was put beside");
        assert_eq!(contents, ["Dir/x", "README", "dir/x", "readme"]);
    }
}

/// A folder that has two names, as on a file system that takes two names for one.
#[test]
fn two_folders_that_are_one_in_the_target_lose_nothing() {
    if !root_or_skip("a mount") {
        return;
    }
    let lab = Lab::new();
    for name in ["Dir/x", "dir/x", "dir/y"] {
        file(&lab.source().join(name), name.as_bytes());
    }
    lab.backup();
    let (upper, lower) = (lab.restored("out").join("Dir"), lab.restored("out").join("dir"));
    for folder in [&upper, &lower] {
        fs::create_dir_all(folder).unwrap();
    }
    let mounted = Command::new("mount").arg("--bind").args([&upper, &lower]).status();
    assert!(mounted.unwrap().success());
    let target = lab.path("out");
    let args = ["restore", "latest", "--target", target.to_str().unwrap()];
    let mut seen = Vec::new();
    for _ in 0..3 {
        let ran = lab.run(args);
        let mut contents: Vec<String> = walk(&lab.restored("out"))
            .iter()
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        contents.sort();
        contents.dedup();
        seen.push((ran, contents));
    }
    Command::new("umount").arg(&lower).status().unwrap();
    for (ran, contents) in seen {
        ran.exits(3).says("it was put beside");
        assert_eq!(contents, ["Dir/x", "dir/x", "dir/y"]);
    }
}

/// All files below a folder.
fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}
