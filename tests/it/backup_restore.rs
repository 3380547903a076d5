//! A restored tree is the same as the tree that was backed up.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::lab::{LEAST, Lab, noise, root_or_skip};
use crate::support::tree::{self, assert_like, assert_same, file, look};

#[test]
fn everything_any_user_can_make_comes_back() {
    let lab = Lab::new();
    tree::odd(&lab.source());
    let before = look(&lab.source());
    let report = lab.backup();
    assert_eq!(report["status"], "Completed");
    assert_like(&before, &look(&lab.source()));
    let (restored, report) = lab.restore("latest", "out");
    assert_eq!(report["warnings_total"], 0, "{report}");
    assert_same(&lab.source(), &restored);
    lab.check_clean();
}

#[test]
fn what_only_root_can_make_comes_back() {
    if !root_or_skip("restoring owners, devices and capabilities") {
        return;
    }
    let lab = Lab::new();
    tree::odd(&lab.source());
    tree::privileged(&lab.source());
    lab.backup();
    let (restored, report) = lab.restore("latest", "out");
    assert_eq!(report["warnings_total"], 0, "{report}");
    assert_same(&lab.source(), &restored);
}

#[test]
fn inode_flags_come_back() {
    if !root_or_skip("setting inode flags") {
        return;
    }
    let lab = Lab::new();
    let source = lab.source();
    for (name, flag) in [("nodump", "d"), ("append", "a"), ("immutable", "i")] {
        file(&source.join(name), name.as_bytes());
        tree::flags(&source.join(name), flag);
    }
    let before = look(&source);
    lab.backup();
    let (restored, _) = lab.restore("latest", "out");
    let after = look(&restored);
    for folder in [&source, &restored] {
        let _ = std::process::Command::new("chattr")
            .args(["-R", "-i", "-a"])
            .arg(folder)
            .output();
    }
    assert_like(&before, &after);
}

#[test]
fn a_path_deeper_than_any_system_call_takes_comes_back() {
    let lab = Lab::new();
    // The deep folder is made step by step, because its whole path is too long for a system call.
    let script = "set -e; cd source; name=$(printf 'd%.0s' $(seq 200)); \
                  for i in $(seq 40); do mkdir $name; cd $name; done; echo deep > file; ln -s target link";
    let status = std::process::Command::new("bash")
        .args(["-c", script])
        .current_dir(&lab.root)
        .status()
        .unwrap();
    assert!(status.success());
    lab.backup();
    lab.restore("latest", "out");
    let restored = lab.restored("out");
    let script =
        "set -e; name=$(printf 'd%.0s' $(seq 200)); for i in $(seq 40); do cd $name; done; cat file; readlink link";
    let output = std::process::Command::new("bash")
        .args(["-c", script])
        .current_dir(restored)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "deep\ntarget\n");
    // The standard library cannot remove such a tree.
    let _ = std::process::Command::new("rm")
        .args(["-rf", "source", "out"])
        .current_dir(&lab.root)
        .status();
}

#[test]
fn a_wide_folder_comes_back() {
    let lab = Lab::new();
    let folder = lab.source().join("wide");
    fs::create_dir(&folder).unwrap();
    for number in 0..20_000 {
        fs::write(folder.join(format!("{number}")), format!("{}", number % 7)).unwrap();
    }
    lab.backup();
    let (restored, report) = lab.restore("latest", "out");
    assert_eq!(report["files"], 20_000);
    assert_same(&lab.source(), &restored);
}

#[test]
fn sockets_are_skipped_and_counted() {
    let lab = Lab::new();
    file(&lab.source().join("file"), b"file");
    tree::socket(&lab.source().join("socket"));
    let report = lab.backup();
    assert_eq!(report["sockets_skipped"], 1);
    assert_eq!(report["status"], "Completed");
    let (restored, _) = lab.restore("latest", "out");
    assert!(restored.join("file").exists() && !restored.join("socket").exists());
}

#[test]
fn one_file_is_a_source_too() {
    let lab = Lab::new();
    let source = lab.source().join("only");
    file(&source, b"only this");
    file(&lab.source().join("other"), b"not this");
    lab.run(["backup".as_ref(), source.as_os_str()]).exits(0);
    lab.restore("latest", "out");
    let restored = lab.restored("out");
    assert_eq!(fs::read(restored.join("only")).unwrap(), b"only this");
    assert!(!restored.join("other").exists());
}

#[test]
fn several_sources_are_one_point() {
    let lab = Lab::new();
    for name in ["one", "two", "two/below", "not"] {
        file(&lab.source().join(name).join("f"), name.as_bytes());
    }
    let (one, two) = (lab.source().join("one"), lab.source().join("two"));
    let below = two.join("below");
    lab.run(["backup".as_ref(), two.as_os_str(), below.as_os_str(), one.as_os_str()])
        .exits(0);
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"][0]["sources"].as_array().unwrap().len(), 2, "{points}");
    lab.restore("latest", "out");
    assert_same(&two, &lab.restored("out").join("two"));
    assert!(!lab.restored("out").join("not").exists());
}

#[test]
fn the_smallest_pipeline_does_it_all_too() {
    let lab = Lab::new();
    tree::odd(&lab.source());
    for number in 0..2000 {
        file(
            &lab.source().join(format!("small/{}/{number}", number % 20)),
            format!("{number}").as_bytes(),
        );
    }
    lab.backup_with(&LEAST).exits(0);
    let target = lab.path("out");
    let mut args = vec!["restore", "latest", "--target", target.to_str().unwrap()];
    args.extend(LEAST);
    lab.run(args).exits(0);
    assert_same(&lab.source(), &lab.restored("out"));
}

#[test]
fn files_that_cannot_be_read_are_named_and_the_rest_is_kept() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    if rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: root reads everything");
        return;
    }
    let path = lab.source().join("a.txt");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o0)).unwrap();
    let report = lab.backup_with(&[]).exits(3).json();
    assert_eq!(report["status"], "CompletedWithWarnings");
    assert!(
        report["warnings"][0]["path"].as_str().unwrap().ends_with("a.txt"),
        "{report}"
    );
    let (restored, _) = lab.restore("latest", "out");
    assert!(restored.join("docs/readme.md").exists());
}

#[test]
fn a_tree_that_changes_while_it_is_read_does_no_harm() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    for number in 0..3000 {
        file(&lab.source().join(format!("busy/{number}")), &noise(number, 2000));
    }
    let source = lab.source();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let busy = std::thread::spawn(move || {
        let mut round = 0_u64;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            round += 1;
            let path = source.join(format!("busy/{}", round * 7 % 3000));
            match round % 5 {
                0 => drop(fs::remove_file(&path)),
                1 => drop(fs::write(&path, noise(round, 100))),
                2 => drop(fs::write(&path, noise(round, 50_000))),
                3 => drop(fs::remove_file(&path).and_then(|()| fs::create_dir(&path))),
                _ => drop(fs::remove_dir(&path).and_then(|()| std::os::unix::fs::symlink("x", &path))),
            }
        }
    });
    for _ in 0..3 {
        let ran = lab.backup_with(&[]);
        assert!(matches!(ran.code, Some(0 | 3)), "{:?} {}", ran.code, ran.stderr);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    busy.join().unwrap();
    lab.check_clean();
    let (restored, _) = lab.restore("latest", "out");
    assert_same(&lab.source().join("docs"), &restored.join("docs"));
}

#[test]
fn holes_take_no_room() {
    let lab = Lab::new();
    let path = lab.source().join("huge");
    let sparse = fs::File::create(&path).unwrap();
    sparse.set_len(64 << 30).unwrap();
    let report = lab.backup();
    assert!(report["bytes_read"].as_u64().unwrap() < 1 << 20, "{report}");
    assert!(report["bytes_stored"].as_u64().unwrap() < 1 << 20, "{report}");
    lab.restore("latest", "out");
    let found = fs::metadata(lab.restored("out").join("huge")).unwrap();
    assert_eq!(found.size(), 64 << 30);
    assert!(found.blocks() < 64);
}
