//! A backup of a frozen source reads one moment of it, and leaves no snapshot behind.

use std::fs;
use std::path::Path;

use crate::support::lab::{Lab, finish, root_or_skip};
use crate::support::tree::{self, assert_same, file};

#[test]
fn a_snapshot_is_a_snapshot_and_leaves_nothing_behind() {
    if !root_or_skip("mounting a file system") {
        return;
    }
    let lab = Lab::new();
    let image = lab.path("image");
    fs::File::create(&image).unwrap().set_len(256 << 20).unwrap();
    let mount = lab.path("mount");
    fs::create_dir(&mount).unwrap();
    let run = |program: &str, args: &[&Path]| {
        std::process::Command::new(program)
            .args(args)
            .output()
            .is_ok_and(|o| o.status.success())
    };
    if !run("mkfs.btrfs", &[Path::new("-q"), &image])
        || !run("mount", &[Path::new("-o"), Path::new("loop"), &image, &mount])
    {
        eprintln!("SKIPPED: btrfs cannot be made or mounted here");
        return;
    }
    let unmount = Unmount(mount.clone());
    let source = mount.join("data");
    assert!(run("btrfs", &[Path::new("subvolume"), Path::new("create"), &source]));
    assert!(run(
        "btrfs",
        &[Path::new("subvolume"), Path::new("create"), &source.join("nested")]
    ));
    tree::odd(&source);
    file(&source.join("nested/file"), b"in a nested subvolume");
    let args = [
        "backup".as_ref(),
        "--json".as_ref(),
        "--snapshot".as_ref(),
        "require".as_ref(),
        source.as_os_str(),
    ];
    let report = lab.run(args).exits(0).json();
    let out = lab.path("out");
    assert_eq!(report["consistency"], "snapshot");
    let left = std::process::Command::new("btrfs")
        .args(["subvolume", "list", "-s"])
        .arg(&mount)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
    let args = [
        "restore".as_ref(),
        "latest".as_ref(),
        "--target".as_ref(),
        out.as_os_str(),
    ];
    let mut command = lab.command("home");
    command.args(args);
    finish(command).exits(0);
    assert_same(&source, &lab.path("out").join(source.strip_prefix("/").unwrap()));
    let again = ["backup".as_ref(), "--json".as_ref(), source.as_os_str()];
    let report = lab.run(again).exits(0).json();
    assert_eq!(
        report["files_new"].as_u64().unwrap() + report["files_changed"].as_u64().unwrap(),
        0,
        "{report}"
    );
    drop(unmount);
}

/// A mount point; dropping it unmounts it.
struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_point_says_when_it_is_not_frozen() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let report = lab.backup_with(&["--snapshot", "off"]).exits(0).json();
    assert_eq!(report["consistency"], "live");
}
