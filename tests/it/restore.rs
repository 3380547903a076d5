//! A restore writes what was asked for to the place that was asked for, and spares existing files.

use std::fs;

use crate::support::lab::{Lab, root_or_skip};
use crate::support::tree::{self, assert_like, assert_same, file, look};

#[test]
fn acls_are_left_out_where_that_is_asked() {
    if !root_or_skip("a full comparison") {
        return;
    }
    let lab = Lab::new();
    tree::plain(&lab.source());
    tree::privileged(&lab.source());
    lab.backup();
    let target = lab.path("out");
    lab.run(["restore", "latest", "--skip-acls", "--target", target.to_str().unwrap()])
        .exits(0);
    let after = look(&lab.restored("out"));
    assert!(
        after
            .values()
            .all(|seen| seen.xattrs.keys().all(|name| !name.starts_with(b"system.posix_acl")))
    );
}

#[test]
fn chosen_paths_come_back_alone() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let target = lab.path("out");
    let (docs, note) = (lab.source().join("docs/deep"), lab.source().join("a.txt"));
    lab.run([
        "restore".as_ref(),
        "latest".as_ref(),
        docs.as_os_str(),
        note.as_os_str(),
        "--target".as_ref(),
        target.as_os_str(),
    ])
    .exits(0);
    let restored = lab.restored("out");
    assert_same(&docs, &restored.join("docs/deep"));
    assert_eq!(fs::read_dir(&restored).unwrap().count(), 2);
    assert!(!restored.join("docs/readme.md").exists());
}

#[test]
fn a_relative_path_is_found_in_the_source() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let target = lab.path("out");
    lab.run([
        "restore".as_ref(),
        "latest".as_ref(),
        "docs/readme.md".as_ref(),
        "--target".as_ref(),
        target.as_os_str(),
    ])
    .exits(0);
    assert!(lab.restored("out").join("docs/readme.md").exists());
}

#[test]
fn the_original_place_keeps_what_is_there_as_a_default() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    fs::write(lab.source().join("a.txt"), "mine, newer").unwrap();
    fs::remove_file(lab.source().join("docs/readme.md")).unwrap();
    let report = lab.run(["restore", "latest", "--original", "--json"]).exits(0).json();
    assert_eq!(report["copies"], 1, "{report}");
    assert_eq!(fs::read(lab.source().join("a.txt")).unwrap(), b"mine, newer");
    assert_eq!(fs::read(lab.source().join("docs/readme.md")).unwrap(), b"# read me\n");
    let copies: Vec<String> = fs::read_dir(lab.source())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("a (lockstone ") && name.ends_with(").txt"))
        .collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
    assert_eq!(fs::read(lab.source().join(&copies[0])).unwrap(), b"the first file\n");
}

#[test]
fn conflicts_are_settled_as_asked() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let before = look(&lab.source());
    lab.backup();
    fs::write(lab.source().join("a.txt"), "mine").unwrap();
    let report = lab
        .run(["restore", "latest", "--original", "--on-conflict", "skip", "--json"])
        .exits(0)
        .json();
    assert!(report["skipped"].as_u64().unwrap() >= 1, "{report}");
    assert_eq!(fs::read(lab.source().join("a.txt")).unwrap(), b"mine");
    lab.run(["restore", "latest", "--original", "--on-conflict", "overwrite"])
        .exits(0);
    assert_like(&before, &look(&lab.source()));
}

#[test]
fn a_restore_in_place_writes_only_what_differs() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let before = look(&lab.source());
    lab.backup();
    // Change one byte in the middle of a file of three megabytes.
    let path = lab.source().join("large.bin");
    let mut content = fs::read(&path).unwrap();
    content[1_500_000] ^= 1;
    fs::write(&path, content).unwrap();
    let report = lab
        .run([
            "restore",
            "latest",
            "--original",
            "--on-conflict",
            "overwrite",
            "--json",
        ])
        .exits(0)
        .json();
    assert_like(&before, &look(&lab.source()));
    let written = report["bytes_written"].as_u64().unwrap();
    assert!(written <= 3 << 20, "{report}");
    assert!(report["unchanged"].as_u64().unwrap() >= 50, "{report}");
}

#[test]
fn a_dry_run_writes_nothing() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let target = lab.path("out");
    let report = lab
        .run([
            "restore",
            "latest",
            "--dry-run",
            "--json",
            "--target",
            target.to_str().unwrap(),
        ])
        .exits(0)
        .json();
    assert!(!target.exists());
    assert!(report["would"].as_array().unwrap().len() > 50, "{report}");
    assert!(report["files"].as_u64().unwrap() > 50);
}

#[test]
fn what_was_written_is_read_back_where_that_is_asked() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let target = lab.path("out");
    lab.run(["restore", "latest", "--verify", "--target", target.to_str().unwrap()])
        .exits(0);
    assert_same(&lab.source(), &lab.restored("out"));
}

#[test]
fn a_symlink_in_the_target_leads_nowhere_else() {
    let lab = Lab::new();
    file(&lab.source().join("docs/file"), b"restored");
    lab.backup();
    let elsewhere = lab.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let restored = lab.restored("out");
    fs::create_dir_all(&restored).unwrap();
    std::os::unix::fs::symlink(&elsewhere, restored.join("docs")).unwrap();
    let target = lab.path("out");
    let ran = lab.run(["restore", "latest", "--target", target.to_str().unwrap()]);
    assert!(ran.code.is_some());
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "{}", ran.stderr);
}
