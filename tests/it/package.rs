//! The Debian package: what it puts where, and what it leaves.

use std::process::Command;

use crate::support::lab::finish;

#[test]
fn the_debian_package_installs_upgrades_and_goes() {
    let path = std::env::var("PATH").unwrap_or_default();
    let tools = std::env::var("LOCKSTONE_TEST_TOOLS").unwrap_or_default();
    let path = format!("{tools}/tools/bin:{path}");
    let there = Command::new("cargo")
        .args(["deb", "--version"])
        .env("PATH", &path)
        .output();
    if !there.is_ok_and(|found| found.status.success()) {
        eprintln!("SKIPPED: the Debian package was neither made nor installed: no cargo-deb (`make deb` installs it)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = |name: &str| {
        let mut script = Command::new(format!("{}/scripts/{name}", env!("CARGO_MANIFEST_DIR")));
        script.env("PATH", &path);
        script
    };
    let mut make = script("deb");
    make.arg(env!("CARGO_BIN_EXE_lockstone"))
        .arg(folder.path())
        .arg("--fast");
    finish(make).exits(0);
    let made = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
    let mut check = script("check-deb");
    check.arg(made.path());
    let ran = finish(check).exits(0);
    for skipped in ran.stdout.lines().filter(|line| line.starts_with("SKIPPED:")) {
        eprintln!("{skipped}");
    }
}
