//! What changed over all recovery points: the versions of a path, and names that are found.

use std::fs;

use serde_json::Value;

use crate::support::lab::{Lab, flip};
use crate::support::tree::file;

fn changes(value: &Value) -> Vec<&str> {
    let versions = value["versions"].as_array().unwrap();
    versions
        .iter()
        .map(|version| version["change"].as_str().unwrap())
        .collect()
}

#[test]
fn a_path_has_a_version_for_each_time_it_changed() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    let source = lab.source();
    let (path, other) = (source.join("docs/a.txt"), source.join("other"));
    let back_up = || lab.backup()["point"].as_str().unwrap().to_owned();
    file(&other, b"1");
    back_up();
    file(&path, b"first");
    let first = back_up();
    file(&other, b"2");
    back_up();
    file(&path, b"second, longer");
    back_up();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    back_up();
    fs::remove_file(&path).unwrap();
    let removed = back_up();
    file(&path, b"again");
    back_up();
    // A backup of something else says nothing about this path.
    let elsewhere = lab.path("elsewhere");
    file(&elsewhere.join("b"), b"b");
    lab.run(["backup".as_ref(), elsewhere.as_os_str()]).exits(0);

    let path = path.to_str().unwrap();
    let found = lab.run(["points", "history", path, "--json"]).exits(0).json();
    assert_eq!(
        changes(&found),
        ["added", "modified", "metadata", "removed", "added"],
        "{found}"
    );
    let versions = found["versions"].as_array().unwrap();
    assert_eq!(
        (&versions[0]["point"], &versions[0]["size"]),
        (&first.into(), &5.into())
    );
    assert!(versions[0]["mtime"].is_string() && versions[0]["time"].is_string());
    assert_eq!(versions[3]["point"], removed);
    assert!(versions[3]["size"].is_null() && versions[3]["mtime"].is_null());
    let folder = lab
        .run(["points", "history", source.join("docs").to_str().unwrap(), "--json"])
        .exits(0)
        .json();
    assert_eq!(changes(&folder).first(), Some(&"added"));
    assert_eq!(
        changes(&folder).iter().filter(|change| **change == "modified").count(),
        4
    );
    let shown = lab.run(["points", "history", "docs/a.txt"]).exits(0).stdout;
    assert_eq!(shown.lines().count(), 5, "{shown}");
    lab.run(["points", "history", "/no/such/path"])
        .exits(1)
        .says("no recovery point");
    // A point that is deleted does not count.
    lab.run(["points", "delete", &removed]).exits(0);
    let found = lab.run(["points", "history", path, "--json"]).exits(0).json();
    assert_eq!(
        changes(&found),
        ["added", "modified", "metadata", "modified"],
        "{found}"
    );
}

#[test]
fn a_name_is_found_in_every_point_that_has_it() {
    let lab = Lab::new();
    for n in 0..40 {
        file(&lab.source().join(format!("many/{n}/file")), b"x");
    }
    for n in 0..5 {
        file(&lab.source().join(format!("many/{n}/wanted")), b"x");
        lab.backup();
    }
    for pattern in ["wanted", "want*", "w?nted", "/**/many/*/wanted"] {
        let found = lab.run(["points", "find", pattern, "--json"]).exits(0).json();
        assert_eq!(
            found["matches"].as_array().unwrap().len(),
            1 + 2 + 3 + 4 + 5,
            "{pattern}"
        );
    }
    let shown = lab.run(["points", "find", "wanted"]).exits(0).stdout;
    assert_eq!(shown.lines().count(), 15 + 5, "a heading for each point: {shown}");
    let nothing = lab.run(["points", "find", "unwanted"]).exits(0).stdout;
    assert_eq!(nothing, "nothing found\n");
}

#[test]
fn damage_is_told_and_costs_what_it_hit() {
    let lab = Lab::new();
    file(&lab.source().join("a/wanted"), &[b'x'; 3000]);
    lab.backup();
    file(&lab.source().join("b/wanted"), &[b'y'; 3000]);
    lab.backup();
    let packs: Vec<_> = lab
        .objects()
        .into_iter()
        .filter(|path| path.to_str().unwrap().contains("/packs/"))
        .collect();
    for pack in &packs {
        for at in (80..fs::metadata(pack).unwrap().len() - 8).step_by(16) {
            flip(pack, at);
        }
    }
    fs::remove_dir_all(lab.path("home/cache")).unwrap();
    lab.run(["points", "find", "wanted", "--json"])
        .exits(6)
        .says("cannot be read");
    let path = lab.source().join("a/wanted");
    lab.run(["points", "history", path.to_str().unwrap()])
        .exits(6)
        .says("cannot be read");
    lab.run(["dump", "latest", path.to_str().unwrap()]).exits(6);
}
