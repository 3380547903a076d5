//! A restore of some entries only, and one that removes what the recovery point does not have.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use crate::support::lab::{Lab, Ran, root_or_skip};
use crate::support::tree::{self, assert_same, file, look};

fn restore(lab: &Lab, more: &[&str]) -> Ran {
    let target = lab.path("out");
    lab.run(
        [
            &["restore", "latest", "--json", "--target", target.to_str().unwrap()][..],
            more,
        ]
        .concat(),
    )
}

fn source(lab: &Lab) {
    for name in [
        "a.conf",
        "a.txt",
        "sub/b.conf",
        "sub/b.txt",
        "whole/deep/x",
        "whole/y.tmp",
        "none/z",
    ] {
        file(&lab.source().join(name), name.as_bytes());
    }
}

fn there(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                open.push(path.clone());
            }
            found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    found
}

#[test]
fn patterns_choose_what_is_restored() {
    let lab = Lab::new();
    source(&lab);
    lab.backup();
    let report = restore(
        &lab,
        &["--include", "*.conf", "--include", "whole/", "--exclude", "*.tmp"],
    )
    .exits(0)
    .json();
    assert_eq!(report["files"], 3);
    let wanted = ["a.conf", "sub", "sub/b.conf", "whole", "whole/deep", "whole/deep/x"];
    assert_eq!(there(&lab.restored("out")), wanted);
    restore(&lab, &["--include", "*.nothing"])
        .exits(3)
        .says("matches nothing");
    restore(&lab, &["--include", "[z-a]"]).exits(2);
    fs::remove_dir_all(lab.path("out")).unwrap();
    let sub = lab.source().join("sub");
    restore(&lab, &[sub.to_str().unwrap(), "--exclude", "*.txt"]).exits(0);
    assert_eq!(there(&lab.restored("out")), ["sub", "sub/b.conf"]);
}

/// A target with more than the recovery point has.
fn with_extras(lab: &Lab) {
    source(lab);
    fs::create_dir(lab.source().join("kind")).unwrap();
    lab.backup();
    restore(lab, &[]).exits(0);
    let restored = lab.restored("out");
    file(&restored.join("extra/deep/file"), b"x");
    file(&restored.join("sub/extra.txt"), b"x");
    file(&restored.join("sub/keep.tmp"), b"x");
    file(&lab.path("precious/file"), b"x");
    symlink(lab.path("precious"), restored.join("link")).unwrap();
    symlink(lab.path("precious"), restored.join("extra/link")).unwrap();
    // Things of another kind in the place of something.
    fs::remove_file(restored.join("a.txt")).unwrap();
    file(&restored.join("a.txt/file"), b"x");
    fs::remove_dir(restored.join("kind")).unwrap();
    symlink(lab.path("precious"), restored.join("kind")).unwrap();
    // Beside what is restored.
    file(&lab.path("out/beside"), b"x");
    file(&restored.parent().unwrap().join("beside"), b"x");
}

fn deleted(report: &Value) -> Vec<&str> {
    let paths = report["deleted_paths"].as_array().unwrap();
    let names = paths.iter().map(|path| path["path"].as_str().unwrap());
    names.map(|path| path.rsplit_once("/source/").unwrap().1).collect()
}

#[test]
fn what_the_point_does_not_have_is_removed_where_that_is_asked() {
    let lab = Lab::new();
    with_extras(&lab);
    let before = there(&lab.path("out"));
    let report = restore(&lab, &["--delete", "--dry-run", "--exclude", "*.tmp"])
        .exits(3)
        .json();
    let wanted = ["a.txt", "extra", "link", "sub/extra.txt"];
    assert_eq!(deleted(&report), wanted);
    assert_eq!(there(&lab.path("out")), before, "a dry run changes nothing");
    let shown = lab
        .run([
            "restore",
            "latest",
            "--target",
            lab.path("out").to_str().unwrap(),
            "--delete",
            "-n",
        ])
        .exits(3)
        .stdout;
    assert!(shown.contains("Would delete 5 files and folders"), "{shown}");

    let report = restore(&lab, &["--delete", "--exclude", "*.tmp"]).json();
    assert_eq!(
        (report["deleted"].as_u64(), deleted(&report)),
        (Some(4), wanted.to_vec()),
        "{report}"
    );
    let restored = lab.restored("out");
    assert!(
        restored.join("sub/keep.tmp").exists(),
        "what is left out is not removed either"
    );
    restore(&lab, &["--delete"]).exits(0);
    assert_same(&lab.source(), &restored);
    assert!(lab.path("precious/file").exists(), "no link is followed");
    assert!(lab.path("out/beside").exists() && restored.parent().unwrap().join("beside").exists());
}

#[test]
fn the_place_and_the_rule_have_to_be_said() {
    let lab = Lab::new();
    source(&lab);
    lab.backup();
    restore(&lab, &["--delete", "--on-conflict", "copy"])
        .exits(2)
        .says("overwrite");
    let original = ["restore", "latest", "--original", "--delete"];
    lab.run(original).exits(2).says("overwrite");
    lab.run([&original[..], &["--on-conflict", "overwrite"]].concat())
        .exits(2)
        .says("name them");
    let sub = lab.source().join("sub");
    file(&sub.join("extra"), b"x");
    file(&lab.source().join("extra"), b"x");
    lab.run([&original[..], &["--on-conflict", "overwrite", sub.to_str().unwrap()]].concat())
        .exits(0);
    assert!(!sub.join("extra").exists() && lab.source().join("extra").exists());
}

#[test]
fn the_vault_and_the_state_folder_are_never_removed() {
    let lab = Lab::new();
    source(&lab);
    lab.backup();
    // The vault and the state folder come to lie within what is restored.
    let inside = lab.source().join("inside/vault");
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    fs::rename(lab.vault(), &inside).unwrap();
    symlink(&inside, lab.vault()).unwrap();
    let home = lab.source().join("home");
    fs::rename(lab.path("home"), &home).unwrap();
    symlink(&home, lab.path("home")).unwrap();
    let ran = lab.run([
        "restore",
        "latest",
        lab.source().to_str().unwrap(),
        "--original",
        "--on-conflict",
        "overwrite",
        "--delete",
    ]);
    ran.exits(3).says("is of this program");
    assert!(inside.join("lockstone.json").exists() && home.join("agent.json").exists());
    lab.check_clean();
}

#[test]
fn single_files_always_get_their_access_control_lists() {
    if !root_or_skip("ACLs of others") {
        return;
    }
    let lab = Lab::new();
    tree::plain(&lab.source());
    tree::privileged(&lab.source());
    lab.backup();
    let (one, folder) = (lab.source().join("docs/readme.md"), lab.source().join("docs"));
    let (one, folder) = (one.to_str().unwrap(), folder.to_str().unwrap());
    let has_acl = || {
        let seen = look(&lab.restored("out"));
        let readme = &seen[std::ffi::OsStr::new("docs/readme.md")];
        readme.xattrs.contains_key(&b"system.posix_acl_access"[..])
    };
    restore(&lab, &[one]).exits(0);
    if !has_acl() {
        eprintln!("SKIPPED: no ACLs here");
        return;
    }
    fs::remove_dir_all(lab.path("out")).unwrap();
    restore(&lab, &[folder, "--skip-acls"]).exits(0);
    assert!(!has_acl());
    fs::remove_dir_all(lab.path("out")).unwrap();
    restore(&lab, &[one, "--skip-acls"])
        .exits(0)
        .says("single files always get");
    assert!(has_acl());
    restore(&lab, &[one, folder, "--skip-acls"]).exits(2);
}
