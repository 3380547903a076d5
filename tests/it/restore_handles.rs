//! A restore needs few file handles and little memory, whatever the tree.

use std::fs;
use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::fs::{CWD, Mode, OFlags};

use crate::support::lab::{Lab, finish};

/// The program with few handles.
fn with_few_handles(lab: &Lab, handles: u32, args: &[&str]) -> Command {
    let program = lab.command("home");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {handles}; exec \"$0\" \"$@\"")]);
    shell
        .arg(program.get_program())
        .args(args)
        .env_clear()
        .current_dir(&lab.root);
    for (name, value) in program.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    shell
}

#[test]
fn more_folders_than_handles_are_restored() {
    let lab = Lab::new();
    for number in 0..3000 {
        let folder = lab.source().join(format!("{}/{number}", number % 7));
        fs::create_dir_all(&folder).unwrap();
        if number % 3 == 0 {
            fs::write(folder.join("f"), number.to_string()).unwrap();
        }
    }
    lab.backup();
    let target = lab.path("out");
    let args = ["restore", "latest", "--target", target.to_str().unwrap(), "--json"];
    let report = finish(with_few_handles(&lab, 300, &args)).exits(0).json();
    assert_eq!(
        (&report["files"], &report["folders"]),
        (&1000.into(), &3008.into()),
        "{report}"
    );
    for number in (0..3000).step_by(3) {
        let path = lab.restored("out").join(format!("{}/{number}/f", number % 7));
        assert_eq!(fs::read_to_string(path).unwrap(), number.to_string());
    }
}

#[test]
fn a_chain_of_folders_longer_than_any_path_is_restored() {
    const DEPTH: usize = 1500;
    let lab = Lab::new();
    let name = "n".repeat(200);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |at: &OwnedFd, name: &str| rustix::fs::openat(at, name, flags, Mode::empty());
    let mut at = rustix::fs::openat(CWD, lab.source(), flags, Mode::empty()).unwrap();
    for _ in 0..DEPTH {
        rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = open(&at, &name).unwrap();
    }
    lab.backup();
    let target = lab.path("out");
    let args = ["restore", "latest", "--target", target.to_str().unwrap(), "--json"];
    finish(with_few_handles(&lab, 300, &args)).exits(0);
    let mut at = rustix::fs::openat(CWD, lab.restored("out"), flags, Mode::empty()).unwrap();
    for depth in 0..DEPTH {
        at = open(&at, &name).unwrap_or_else(|error| panic!("at depth {depth}: {error}"));
        let mode = rustix::fs::fstat(&at).unwrap().st_mode;
        assert_eq!(mode & 0o7777, 0o700, "at depth {depth}");
    }
    // `TempDir` cannot remove such paths.
    for folder in ["source", "out"] {
        Command::new("rm").arg("-rf").arg(lab.path(folder)).status().unwrap();
    }
}
