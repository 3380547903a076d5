//! `bench primitives` measures everything that it names, and leaves nothing behind.

use std::fs;

use crate::support::lab::{Lab, finish};
use crate::support::tree;

#[test]
fn primitives_measures_everything_and_cleans_up() {
    let lab = Lab::empty();
    tree::plain(&lab.source());
    for folder in ["scratch", "store"] {
        fs::create_dir(lab.path(folder)).unwrap();
    }
    let mut command = lab.command("home");
    command.args(["bench", "primitives", "--json", "--seconds", "0.02"]);
    command.arg("--scratch").arg(lab.path("scratch"));
    command.arg("--vault").arg(lab.path("store")).arg(lab.source());
    let said = finish(command).exits(0).json();
    let figures = said["figures"].as_array().unwrap();
    assert!(figures.len() >= 15, "{said}");
    for figure in figures {
        assert!(figure["one"].as_f64().unwrap() > 0.0, "{figure}");
        assert!(figure["all"].is_null() == (figure["unit"] == "seconds"), "{figure}");
        assert!(
            figure["all"].is_null() || figure["all"].as_f64().unwrap() > 0.0,
            "{figure}"
        );
    }
    for (limit, files) in said["limits"].as_array().unwrap().iter().zip(["large", "small"]) {
        assert_eq!(limit["files"], files);
        assert!(limit["rate"].as_f64().unwrap() > 0.0, "{limit}");
        assert_eq!(limit["limit"], limit["bounds"][0]["name"]);
    }
    assert_eq!(fs::read_dir(lab.path("scratch")).unwrap().count(), 0);
    assert!(tree_is_empty(&lab.path("store")));
    assert!(!lab.path("home").exists());
}

#[test]
fn what_cannot_be_measured_is_said() {
    let lab = Lab::empty();
    let ran = lab.run(["bench", "primitives", "--seconds", "0.001", "/does/not/exist"]);
    ran.exits(1).says("/does/not/exist");
    lab.run(["bench", "primitives", "--seconds", "0"]).exits(2);
}

/// Whether only folders are left, and no objects.
fn tree_is_empty(folder: &std::path::Path) -> bool {
    fs::read_dir(folder).unwrap().all(|entry| {
        let entry = entry.unwrap();
        entry.file_type().unwrap().is_dir() && tree_is_empty(&entry.path())
    })
}
