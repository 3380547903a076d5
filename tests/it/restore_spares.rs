//! A restore takes nothing away that it was not asked to replace.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::support::lab::{Lab, Ran, noise};
use crate::support::tree::file;

fn restore(lab: &Lab, more: &[&str]) -> Ran {
    lab.run([&["restore", "latest", "--original"][..], more].concat())
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).unwrap().file_type().is_symlink()
}

#[test]
fn links_on_the_way_to_what_is_asked_for_are_followed() {
    for rule in ["copy", "overwrite", "skip"] {
        let lab = Lab::new();
        let source = lab.source();
        file(&source.join("bin/tool"), b"tool");
        lab.backup();
        fs::remove_dir_all(source.join("bin")).unwrap();
        fs::create_dir_all(source.join("usr/bin")).unwrap();
        fs::write(source.join("usr/bin/sh"), "sh").unwrap();
        symlink("usr/bin", source.join("bin")).unwrap();
        let tool = source.join("bin/tool");
        let asked = [tool.to_str().unwrap(), "--on-conflict", rule];
        restore(&lab, &asked).exits(0);
        assert!(is_link(&source.join("bin")));
        assert_eq!(fs::read(source.join("usr/bin/tool")).unwrap(), b"tool");
        assert_eq!(fs::read(source.join("usr/bin/sh")).unwrap(), b"sh");

        // A link that leads nowhere stays, and a file does.
        for place in ["link", "file"] {
            fs::remove_file(source.join("bin")).unwrap();
            match place {
                "link" => symlink("nowhere", source.join("bin")).unwrap(),
                _ => fs::write(source.join("bin"), "mine").unwrap(),
            }
            restore(&lab, &asked).exits(3).says("is in the place of this folder");
            assert_eq!(is_link(&source.join("bin")), place == "link");
            assert!(fs::read_dir(&source).unwrap().count() == 2);
        }
    }
}

#[test]
fn below_a_target_links_lead_no_higher_than_the_target() {
    let lab = Lab::new();
    file(&lab.source().join("bin/tool"), b"tool");
    lab.backup();
    let outside = lab.path("outside");
    fs::create_dir(&outside).unwrap();
    let restored = lab.restored("out");
    fs::create_dir_all(&restored).unwrap();
    symlink(&outside, restored.join("bin")).unwrap();
    let tool = lab.source().join("bin/tool");
    let target = lab.path("out");
    let args = [
        "restore",
        "latest",
        tool.to_str().unwrap(),
        "--target",
        target.to_str().unwrap(),
    ];
    lab.run(args).exits(3).says("cannot be followed");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    // The same path exists beneath the target.
    let inside = target.join(outside.strip_prefix("/").unwrap());
    fs::create_dir_all(&inside).unwrap();
    lab.run(args).exits(0);
    assert_eq!(fs::read(inside.join("tool")).unwrap(), b"tool");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_link_in_the_place_of_a_folder_goes_only_where_that_was_asked_for() {
    let lab = Lab::new();
    let source = lab.source();
    file(&source.join("bin/tool"), b"tool");
    lab.backup();
    fs::remove_dir_all(source.join("bin")).unwrap();
    symlink("elsewhere", source.join("bin")).unwrap();
    restore(&lab, &["--on-conflict", "skip"]).exits(0);
    assert!(is_link(&source.join("bin")));
    restore(&lab, &[]).exits(0);
    // Again: the copy is known.
    restore(&lab, &[]).exits(0);
    assert!(is_link(&source.join("bin")));
    assert_eq!(fs::read_dir(&source).unwrap().count(), 2);
    restore(&lab, &["--on-conflict", "overwrite", "--dry-run"])
        .exits(3)
        .says("a symbolic link to elsewhere was in the place of this folder and would be removed");
    assert!(is_link(&source.join("bin")));
    restore(&lab, &["--on-conflict", "overwrite"])
        .exits(3)
        .says("was removed");
    assert_eq!(fs::read(source.join("bin/tool")).unwrap(), b"tool");
}

#[test]
fn a_users_file_is_never_taken_for_an_unfinished_one() {
    let lab = Lab::new();
    let source = lab.source();
    file(&source.join("d/swap"), b"from the point");
    lab.backup();
    fs::write(source.join("d/swap"), "mine").unwrap();
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(&source.join("d/swap"), 0o1600);
    set(&source.join("d"), 0o1700);
    restore(&lab, &["--on-conflict", "skip"]).exits(0);
    assert_eq!(fs::read(source.join("d/swap")).unwrap(), b"mine");
    assert_eq!(fs::metadata(source.join("d/swap")).unwrap().mode() & 0o7777, 0o1600);
}

#[test]
fn what_a_killed_restore_left_is_removed_by_the_next() {
    let lab = Lab::new();
    let source = lab.source();
    for number in 0..6 {
        file(&source.join(format!("d/big{number}")), &noise(number, 6_000_000));
    }
    file(&source.join("d/other"), b"other");
    lab.backup();
    for number in 0..6 {
        fs::remove_file(source.join(format!("d/big{number}"))).unwrap();
    }
    let parts = || {
        fs::read_dir(source.join("d"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"))
            .count()
    };
    let mut child = lab.spawn(["restore", "latest", "--original", "--download-limit", "8MiB/s"]);
    while parts() == 0 && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    if parts() == 0 {
        eprintln!("SKIPPED: the restore was done before it was killed");
        return;
    }
    // Another file with such a name is not the restore's.
    fs::write(source.join("d/.lockstone-mine.part"), "mine").unwrap();
    restore(&lab, &["--on-conflict", "overwrite"]).exits(0);
    assert_eq!(parts(), 1);
    assert_eq!(fs::read(source.join("d/big3")).unwrap(), noise(3, 6_000_000));
}
