//! A backup and a restore need few file handles and little memory, whatever the tree. With fewer handles than a job
//! needs, it ends at once and names the limit.

use std::fs;
use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::fs::{CWD, Mode, OFlags};

use crate::support::lab::{Lab, finish, finish_and_measure};

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

/// A folder with one file in each of many folders.
fn one_file_a_folder(lab: &Lab, folders: u32) {
    for number in 0..folders {
        let folder = lab.source().join(format!("{}/{number}", number / 1000));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("f"), number.to_string()).unwrap();
    }
}

#[test]
fn a_job_that_is_short_of_handles_ends_at_once_and_names_the_limit() {
    let lab = Lab::new();
    one_file_a_folder(&lab, 500);
    let source = lab.source();
    let backup = ["backup", source.to_str().unwrap(), "--json"];
    // A budget keeps within the limit where that is possible.
    let report = finish(with_few_handles(&lab, 256, &backup)).exits(0).json();
    assert_eq!(report["files_new"], 500, "{report}");
    let target = lab.path("out");
    let restore = ["restore", "latest", "--target", target.to_str().unwrap(), "--json"];
    for handles in [8, 24, 80] {
        // No file is a warning, because every file would be one.
        for job in [
            &[&backup[..], &["--full"]].concat()[..],
            &restore,
            &["check", "--read-data", "--json"],
        ] {
            let ran = finish(with_few_handles(&lab, handles, job));
            // 80 are enough for some jobs.
            if handles == 80 && job[0] != "backup" && ran.code == Some(0) {
                continue;
            }
            let said = ran.exits(1).json()["error"].clone();
            let message = said["message"].as_str().unwrap();
            assert!(
                message.contains(&format!("this process may hold {handles} files open")),
                "{job:?}: {said}"
            );
            assert_eq!(said["code"], "shortage", "{job:?}: {said}");
            assert!(said["hint"].as_str().unwrap().contains("ulimit -n"), "{job:?}: {said}");
        }
    }
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"].as_array().unwrap().len(), 1, "{points}");
}

#[test]
fn a_backup_of_more_folders_than_handles_is_complete() {
    let lab = Lab::new();
    one_file_a_folder(&lab, 3000);
    let source = lab.source();
    for more in [&[][..], &["--full"]] {
        let args = [&["backup", source.to_str().unwrap(), "--readers", "16", "--json"], more].concat();
        let report = finish(with_few_handles(&lab, 256, &args)).exits(0).json();
        assert_eq!(
            (&report["files_new"], &report["warnings_total"]),
            (&3000.into(), &0.into()),
            "{report}"
        );
    }
}

/// The whole measure: a restore of 100,000 folders with 1,024 handles, in at most 160 MiB. To run it:
/// `cargo nextest run --release --locked --features failpoints --run-ignored all -E 'test(a_hundred_thousand)'`.
#[test]
#[ignore = "takes a minute"]
fn a_hundred_thousand_folders_are_restored_with_few_handles_and_little_memory() {
    let lab = Lab::new();
    one_file_a_folder(&lab, 100_000);
    lab.backup();
    let target = lab.path("out");
    let args = ["restore", "latest", "--target", target.to_str().unwrap(), "--json"];
    let (ran, peak) = finish_and_measure(with_few_handles(&lab, 1024, &args));
    assert_eq!(ran.exits(0).json()["files"], 100_000);
    assert!(peak <= 160 << 20, "{peak} bytes");
    for number in (0..100_000).step_by(97) {
        let path = lab.restored("out").join(format!("{}/{number}/f", number / 1000));
        assert_eq!(fs::read_to_string(path).unwrap(), number.to_string());
    }
}

#[test]
fn a_chain_of_folders_longer_than_any_path_is_restored() {
    chain(1500, 300);
}

/// The whole measure. To run it: see above, with `test(a_chain_of_ten_thousand)`.
#[test]
#[ignore = "takes long"]
fn a_chain_of_ten_thousand_folders_is_restored_in_little_memory() {
    chain(10_000, 1024);
}

fn chain(depth: usize, handles: u32) {
    let lab = Lab::new();
    let name = "n".repeat(200);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |at: &OwnedFd, name: &str| rustix::fs::openat(at, name, flags, Mode::empty());
    let mut at = rustix::fs::openat(CWD, lab.source(), flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = open(&at, &name).unwrap();
        rustix::fs::symlinkat("x", &at, "link").unwrap();
    }
    let source = lab.source();
    let args = ["backup", source.to_str().unwrap()];
    let (ran, peak) = finish_and_measure(with_few_handles(&lab, handles, &args));
    ran.exits(0);
    assert!(peak <= 160 << 20, "{peak} bytes");
    let target = lab.path("out");
    let args = ["restore", "latest", "--target", target.to_str().unwrap(), "--json"];
    let (ran, peak) = finish_and_measure(with_few_handles(&lab, handles, &args));
    ran.exits(0);
    assert!(peak <= 160 << 20, "{peak} bytes");
    let mut at = rustix::fs::openat(CWD, lab.restored("out"), flags, Mode::empty()).unwrap();
    for level in 0..depth {
        at = open(&at, &name).unwrap_or_else(|error| panic!("at depth {level}: {error}"));
        let mode = rustix::fs::fstat(&at).unwrap().st_mode;
        assert_eq!(mode & 0o7777, 0o700, "at depth {level}");
    }
    // `TempDir` cannot remove such paths.
    for folder in ["source", "out"] {
        Command::new("rm").arg("-rf").arg(lab.path(folder)).status().unwrap();
    }
}
