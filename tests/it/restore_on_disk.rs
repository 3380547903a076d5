//! When a restore says that it is done, what it restored is on the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::lab::{Lab, noise, root_or_skip};
use crate::support::tree::{assert_like, file, look};

/// A file system in an image, mounted; dropping it unmounts it.
struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts an image. With `format`, makes a file system in it first.
    fn mount(image: &Path, at: &Path, kind: &str, format: bool) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let quiet = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let force: &[&str] = if kind == "ext4" { &["-q", "-F"] } else { &["-q", "-f"] };
        if format && !quiet(Command::new(format!("mkfs.{kind}")).args(force).arg(image)) {
            eprintln!("SKIPPED: there is no mkfs.{kind}");
            return None;
        }
        if !quiet(
            Command::new("mount")
                .args(["-t", kind, "-o", "loop"])
                .arg(image)
                .arg(at),
        ) {
            eprintln!("SKIPPED: {kind} cannot be mounted here");
            return None;
        }
        Some(Self { at: at.to_owned() })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.at).status();
    }
}

#[test]
fn what_is_restored_survives_a_power_cut_right_after() {
    if !root_or_skip("a loop device") {
        return;
    }
    for kind in ["ext4", "xfs", "btrfs"] {
        let lab = Lab::new();
        for number in 0..30 {
            file(
                &lab.source().join(format!("f/{number}")),
                &noise(number, 40_000 * usize::try_from(number).unwrap()),
            );
        }
        lab.backup();
        let (image, copy) = (lab.path("image"), lab.path("copy"));
        fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
        let Some(disk) = Disk::mount(&image, &lab.path("disk"), kind, true) else {
            continue;
        };
        // One file replaces another.
        let below = lab.source().strip_prefix("/").unwrap().join("f/9");
        file(&disk.at.join("r").join(below), b"what was there");
        Command::new("sync").status().unwrap();
        let target = disk.at.join("r");
        lab.run(["restore", "latest", "--target", target.to_str().unwrap()])
            .exits(0);
        // As after a power cut: what is not on the disk by now is not in the copy.
        fs::copy(&image, &copy).unwrap();
        drop(disk);
        let after = Disk::mount(&copy, &lab.path("after"), kind, false).expect("the copy can be mounted");
        let restored = after.at.join("r").join(lab.source().strip_prefix("/").unwrap());
        assert_like(&look(&lab.source()), &look(&restored));
    }
}
