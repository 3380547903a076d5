//! Folders of the target: their handles, the links that lead to them, and those that their owner may not write to.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::testing::without_rights;

fn with_handles(lab: &Lab, limit: usize) -> (Dir, Handles) {
    let handles = Handles::new(limit);
    let options = TargetOptions {
        handles: handles.clone(),
        ..TargetOptions::default()
    };
    (Dir::open_target(&lab.path("."), options).unwrap(), handles)
}

#[test]
fn folders_are_closed_and_opened_again_whatever_their_number_and_depth() {
    let lab = Lab::new();
    let (root, handles) = with_handles(&lab, 40);
    let name = [b'n'; 200];
    let mut chain = vec![root.clone()];
    for _ in 0..300 {
        let below = chain.last().unwrap().make_folder(&name).unwrap();
        chain.push(below);
    }
    let wide: Vec<Dir> = (0..300)
        .map(|number: u32| root.make_folder(number.to_string().as_bytes()).unwrap())
        .collect();
    assert!(handles.open() <= 40, "{}", handles.open());
    for dir in wide.iter().chain(chain.iter().rev()) {
        let part = dir.create_part(&Bytes::from_static(b"f"), &file()).unwrap();
        part.write_at(b"x", 0).unwrap();
        part.finish(&file(), &ApplyOptions::default(), false, &mut Vec::new())
            .unwrap();
        assert!(dir.lookup(b"f").unwrap().is_some());
    }
    assert!(handles.open() <= 40, "{}", handles.open());
    drop((wide, chain, root));
    assert_eq!(handles.open(), 0);
}

#[test]
fn a_folder_that_was_replaced_while_it_was_closed_is_not_written_to() {
    let lab = Lab::new();
    let (root, _) = with_handles(&lab, 1);
    let ours = root.make_folder(b"ours").unwrap();
    let others: Vec<Dir> = (0..100)
        .map(|number: u32| root.make_folder(number.to_string().as_bytes()).unwrap())
        .collect();
    std::fs::rename(lab.path("ours"), lab.path("moved")).unwrap();
    std::fs::create_dir(lab.path("ours")).unwrap();
    assert!(ours.handle().is_err());
    std::fs::remove_dir(lab.path("ours")).unwrap();
    symlink("moved", lab.path("ours")).unwrap();
    assert!(ours.handle().is_err(), "a link is not followed");
    std::fs::remove_file(lab.path("ours")).unwrap();
    std::fs::rename(lab.path("moved"), lab.path("ours")).unwrap();
    assert!(ours.handle().is_ok());
    drop(others);
}

#[test]
fn files_of_many_chunks_are_closed_between_writes() {
    let lab = Lab::new();
    let (root, handles) = with_handles(&lab, 32);
    let long = Entry {
        content: Some(Content {
            lens: vec![4, 4],
            ..Content::default()
        }),
        ..file()
    };
    let parts: Vec<PartFile> = (0..200)
        .map(|number: u32| root.create_part(&number.to_string().into(), &long).unwrap())
        .collect();
    for (at, bytes) in [(0, b"1234"), (4, b"5678")] {
        for part in &parts {
            part.write_at(bytes, at).unwrap();
        }
    }
    assert!(handles.open() <= 32, "{}", handles.open());
    for part in &parts {
        part.finish(&file(), &ApplyOptions::default(), false, &mut Vec::new())
            .unwrap();
    }
    assert_eq!(std::fs::read(lab.path("77")).unwrap(), b"12345678");
}

#[test]
fn links_lead_beneath_the_target_only() {
    let lab = Lab::new();
    std::fs::create_dir_all(lab.path("usr/bin")).unwrap();
    std::fs::create_dir_all(lab.top.path().join("outside")).unwrap();
    let outside = lab.top.path().join("outside");
    for (name, to) in [
        ("bin", "usr/bin"),
        ("absolute", "/usr/../usr/./bin/"),
        ("up", "../../../../usr/bin"),
        ("twice", "absolute"),
        ("round", "round"),
        ("nowhere", "usr/none"),
        ("outside", outside.to_str().unwrap()),
    ] {
        symlink(to, lab.path(name)).unwrap();
    }
    let bin = lab.dir.open_folder(b"usr", 0).unwrap().open_folder(b"bin", 0).unwrap();
    for name in ["bin", "absolute", "up", "twice"] {
        let led = lab.dir.follow(name.as_bytes()).unwrap();
        assert_eq!(led.identity().unwrap(), bin.identity().unwrap(), "{name}");
    }
    for name in ["round", "nowhere", "outside"] {
        assert!(lab.dir.follow(name.as_bytes()).is_err(), "{name}");
    }
}

#[test]
fn a_link_of_another_user_leads_only_to_that_users_folders() {
    if !root_for("a file of another owner") {
        return;
    }
    let lab = Lab::new();
    std::fs::create_dir(lab.path("system")).unwrap();
    std::fs::create_dir(lab.path("theirs")).unwrap();
    for (name, to) in [("evil", "system"), ("good", "theirs")] {
        symlink(to, lab.path(name)).unwrap();
        std::os::unix::fs::lchown(lab.path(name), Some(1234), Some(1234)).unwrap();
    }
    std::os::unix::fs::chown(lab.path("theirs"), Some(1234), Some(1234)).unwrap();
    assert!(lab.dir.follow(b"evil").is_err());
    assert!(lab.dir.follow(b"good").is_ok());
}

#[test]
fn a_folder_that_its_owner_may_not_write_to_is_opened_for_the_time() {
    let lab = Lab::new();
    let mode = |name: &str| std::fs::metadata(lab.path(name)).unwrap().mode() & 0o7777;
    for (name, shut) in [("readable", 0o555), ("closed", 0)] {
        std::fs::create_dir(lab.path(name)).unwrap();
        std::fs::write(lab.path(name).join("old"), "old").unwrap();
        std::fs::set_permissions(lab.path(name), std::fs::Permissions::from_mode(shut)).unwrap();
        without_rights(|| {
            let dir = lab.dir.open_folder(name.as_bytes(), shut).unwrap();
            assert!(dir.lookup(b"old").unwrap().is_some());
            for replace in [false, true] {
                let part = dir.create_part(&Bytes::from_static(b"f"), &file()).unwrap();
                part.write_at(b"x", 0).unwrap();
                part.finish(&file(), &ApplyOptions::default(), replace, &mut Vec::new())
                    .unwrap();
            }
            dir.remove(b"old").unwrap();
            drop(dir);
        });
        assert_eq!(mode(name), shut, "{name}");
        assert!(std::fs::read_dir(lab.path(name)).is_ok_and(|found| found.count() == 1));
        // A dry run opens nothing.
        let options = TargetOptions {
            read_only: true,
            ..TargetOptions::default()
        };
        without_rights(|| {
            let root = Dir::open_target(&lab.path("."), options).unwrap();
            assert_eq!(root.open_folder(name.as_bytes(), shut).is_ok(), shut != 0);
        });
    }
}

#[test]
fn a_folder_with_protecting_flags_is_opened_for_the_time() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let lab = Lab::on("/var/tmp");
    std::fs::create_dir(lab.path("d")).unwrap();
    std::fs::write(lab.path("d/old"), "old").unwrap();
    let folder = std::fs::File::open(lab.path("d")).unwrap();
    for protecting in [IFlags::IMMUTABLE, IFlags::APPEND] {
        let protect = |flags| ioctl_getflags(&folder).and_then(|now| ioctl_setflags(&folder, now | flags));
        if protect(protecting).is_err() {
            eprintln!("SKIPPED: no inode flags in /var/tmp, or no root");
            return;
        }
        let dir = lab.dir.open_folder(b"d", 0o755).unwrap();
        for replace in [false, true] {
            let part = dir.create_part(&Bytes::from_static(b"f"), &file()).unwrap();
            part.write_at(b"x", 0).unwrap();
            part.finish(&file(), &ApplyOptions::default(), replace, &mut Vec::new())
                .unwrap();
        }
        dir.remove(b"f").unwrap();
        dir.make_folder(b"below").unwrap();
        drop(dir);
        let flags = ioctl_getflags(&folder).unwrap();
        // As it was. Then without, so that the folder can be removed.
        assert!(flags.contains(protecting), "{flags:?}");
        ioctl_setflags(&folder, flags & !protecting).unwrap();
        std::fs::remove_dir(lab.path("d/below")).unwrap();
        // A dry run opens nothing.
        protect(protecting).unwrap();
        let options = TargetOptions {
            read_only: true,
            ..TargetOptions::default()
        };
        let root = Dir::open_target(&lab.path("."), options).unwrap();
        assert!(root.open_folder(b"d", 0o755).unwrap().remove(b"old").is_err());
        ioctl_setflags(&folder, flags & !protecting).unwrap();
    }
}

#[test]
fn the_mark_of_an_unfinished_tree_goes_last_and_a_mode_alone_is_no_mark() {
    let lab = Lab::new();
    let open = |name: &[u8]| lab.dir.open_folder(name, 0o755).unwrap();
    let ours = lab.dir.make_folder(b"ours").unwrap();
    ours.make_folder(b"below").unwrap();
    assert!(open(b"ours").is_unfinished());
    assert!(open(b"ours").open_folder(b"below", 0o755).unwrap().is_unfinished());
    std::fs::create_dir(lab.path("theirs")).unwrap();
    std::fs::set_permissions(lab.path("theirs"), std::fs::Permissions::from_mode(0o1700)).unwrap();
    assert!(!open(b"theirs").is_unfinished());
    let folder = Entry {
        kind: EntryKind::Folder.into(),
        mode: 0o555,
        ..file()
    };
    without_rights(|| {
        ours.apply_to_self(&folder, &ApplyOptions::default(), &mut Vec::new())
            .unwrap()
    });
    assert!(!open(b"ours").is_unfinished() && !marks::is_set(open(b"ours").handle().unwrap().as_fd()));
    assert_eq!(std::fs::metadata(lab.path("ours")).unwrap().mode() & 0o7777, 0o555);
}
