//! The demo does what it announces, and leaves nothing behind.

use std::fs;

use crate::support::lab::{Lab, finish};
use crate::support::tree;

#[test]
fn the_demo_goes_round_and_cleans_up() {
    let lab = Lab::empty();
    tree::plain(&lab.source());
    let scratch = lab.path("scratch");
    fs::create_dir(&scratch).unwrap();
    let mut command = lab.command("home");
    command
        .env("TMPDIR", &scratch)
        .args(["demo", lab.source().to_str().unwrap()]);
    let ran = finish(command).exits(0);
    for said in [
        "$ lockstone backup",
        "$ lockstone restore latest",
        "all the same",
        "What came back is what was backed up",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    assert!(!ran.stdout.contains("--kdf"), "a hidden option: {}", ran.stdout);
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    assert!(!lab.path("home").exists());
    assert_eq!(fs::read(lab.source().join("a.txt")).unwrap(), b"the first file\n");

    let mut command = lab.command("home");
    command
        .env("TMPDIR", &scratch)
        .args(["demo", "--json", lab.source().to_str().unwrap()]);
    assert_eq!(finish(command).exits(0).json()["ok"], true);
    let mut command = lab.command("home");
    command.env("TMPDIR", &scratch).args(["demo", "/does/not/exist"]);
    finish(command).exits(1);
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
}
