//! `dump` writes what is in a recovery point to stdout.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use crate::support::lab::{Lab, PASSPHRASE, noise, root_or_skip};
use crate::support::tree::{self, assert_like, file, look};

/// What `dump` prints.
fn dumped(lab: &Lab, path: &str, code: i32) -> Vec<u8> {
    let output = lab.command("home").args(["dump", "latest", path]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    output.stdout
}

#[test]
fn a_file_comes_as_it_is() {
    let lab = Lab::new();
    let large = noise(7, 20 << 20);
    file(&lab.source().join("large"), &large);
    file(&lab.source().join("empty"), b"");
    let sparse = fs::File::create(lab.source().join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"end", 3_000_000).unwrap();
    std::os::unix::fs::symlink("large", lab.source().join("link")).unwrap();
    lab.backup();
    for name in ["large", "empty", "sparse"] {
        let path = lab.source().join(name);
        assert!(
            dumped(&lab, path.to_str().unwrap(), 0) == fs::read(&path).unwrap(),
            "{name}"
        );
    }
    lab.run(["dump", "latest", "link"]).exits(1).says("symlink");
    lab.run(["dump", "latest", "nothing"]).exits(1);
    lab.run(["dump", "latest", "large", "--json"]).exits(2);
}

#[test]
fn a_folder_comes_as_tar_and_is_the_same_again() {
    if !root_or_skip("a full comparison") {
        return;
    }
    let lab = Lab::new();
    tree::plain(&lab.source());
    tree::privileged(&lab.source());
    fs::hard_link(lab.source().join("large.bin"), lab.source().join("many/hard-large")).unwrap();
    let name = "n".repeat(200);
    file(&lab.source().join(&name).join(&name), b"deep");
    lab.backup();
    let out = lab.path("out");
    fs::create_dir(&out).unwrap();
    let archive = lab.path("all.tar");
    fs::write(&archive, dumped(&lab, lab.source().to_str().unwrap(), 0)).unwrap();
    let untar = Command::new("tar")
        .args([
            "--extract",
            "--preserve-permissions",
            "--xattrs",
            "--xattrs-include=*",
            "--numeric-owner",
            "-f",
        ])
        .arg(&archive)
        .arg("-C")
        .arg(&out)
        .output()
        .unwrap();
    assert!(untar.status.success(), "{}", String::from_utf8_lossy(&untar.stderr));
    // In an archive, holes are zeros, and inode flags are not kept.
    let plainly = |mut seen: BTreeMap<_, tree::Seen>| {
        for one in seen.values_mut() {
            (one.holes, one.flags) = (false, 0);
        }
        seen
    };
    assert_like(&plainly(look(&lab.source())), &plainly(look(&out.join("source"))));
}

#[test]
fn another_machine_can_dump() {
    let lab = Lab::new();
    file(&lab.source().join("a"), b"content");
    lab.backup();
    let mut command = lab.command("elsewhere");
    let credentials = lab.credentials();
    let access = [
        "--credentials",
        credentials.to_str().unwrap(),
        "--source-server",
        "server",
    ];
    let path = lab.source().join("a");
    command.args(["dump", "latest", path.to_str().unwrap()]).args(access);
    let output = command.env("LOCKSTONE_PASSPHRASE", PASSPHRASE).output().unwrap();
    assert_eq!(output.stdout, b"content");
    assert!(output.status.success());
}

#[test]
fn a_reader_that_leaves_and_a_full_disk_are_no_panic() {
    let lab = Lab::new();
    file(&lab.source().join("large"), &noise(3, 4 << 20));
    lab.backup();
    let path = lab.source();
    for what in [path.clone(), path.join("large")] {
        let mut child = lab
            .command("home")
            .args(["dump", "latest", what.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            (output.status.code(), stderr.as_str()),
            (Some(0), ""),
            "{}",
            what.display()
        );
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = lab
            .command("home")
            .args(["dump", "latest", what.to_str().unwrap()])
            .stdout(full)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("cannot write to stdout"), "{stderr}");
    }
}
