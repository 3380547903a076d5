//! The exit code of a job tells how it ended, whoever reads its output: the reader of stdout or stderr may be gone, its
//! disk may be full, or there may be none at all.

use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::lab::{Lab, finish, flip, noise};
use crate::support::tree::file;

/// What may be at the other end of stdout and stderr.
#[derive(Debug, Clone, Copy)]
enum Reader {
    /// A pipe whose reader has gone.
    Gone,
    /// A file on a disk without space.
    Full,
}

impl Reader {
    fn stdio(self) -> Stdio {
        match self {
            Reader::Gone => std::io::pipe().unwrap().1.into(),
            Reader::Full => full().into(),
        }
    }
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

/// The exit codes of a command for each combination of readers.
#[track_caller]
fn exits(lab: &Lab, args: &[&str], code: i32) {
    let run = |what: &str, set: &dyn Fn(&mut Command)| {
        let mut command = lab.command("home");
        command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
        set(&mut command);
        let ended = command.status().unwrap();
        assert_eq!(ended.code(), Some(code), "{args:?}, {what}: {ended}");
    };
    for reader in [Reader::Gone, Reader::Full] {
        run(&format!("stdout {reader:?}"), &|command| {
            command.stdout(reader.stdio());
        });
        run(&format!("stderr {reader:?}"), &|command| {
            command.stderr(reader.stdio());
        });
        run(&format!("both {reader:?}"), &|command| {
            command.stdout(reader.stdio()).stderr(reader.stdio());
        });
    }
    let mut closed = Command::new("sh");
    let lab_command = lab.command("home");
    closed.env_clear().current_dir(&lab.root);
    for (name, value) in lab_command.get_envs() {
        if let Some(value) = value {
            closed.env(name, value);
        }
    }
    closed
        .args(["-c", "\"$0\" \"$@\" >&- 2>&-"])
        .arg(lab_command.get_program())
        .args(args);
    assert_eq!(closed.status().unwrap().code(), Some(code), "{args:?}, both closed");
}

fn lab() -> Lab {
    let lab = Lab::new();
    for number in 0..20 {
        file(&lab.source().join(format!("file-{number}")), &noise(number, 50_000));
    }
    lab
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_job_ends_with_its_own_code_whoever_reads_it() {
    let lab = lab();
    let (source, link, none) = (lab.source(), lab.path("link"), lab.path("none"));
    std::os::unix::fs::symlink(&source, &link).unwrap();
    let (source, link, none) = (text(&source), text(&link), text(&none));
    exits(&lab, &["backup", source], 0);
    exits(&lab, &["backup", source, "--json", "--progress", "json"], 0);
    exits(&lab, &["backup", source, link], 3);
    exits(
        &lab,
        &["backup", source, link, "--log-format", "json", "--log-level", "debug"],
        3,
    );
    exits(&lab, &["backup", source, none, "--json"], 1);
    exits(&lab, &["restore", "latest", "--target", text(&lab.path("out"))], 0);
    exits(&lab, &["check"], 0);
    let packs = lab.objects().into_iter().filter(|path| text(path).contains("/packs/"));
    flip(&packs.max_by_key(|path| path.metadata().unwrap().len()).unwrap(), 5000);
    exits(&lab, &["check", "--read-data"], 6);
    exits(&lab, &["check", "--read-data", "--json"], 6);
}

#[test]
fn an_answer_that_nobody_can_get_is_a_failure_and_a_closed_pipe_is_none() {
    let lab = lab();
    lab.backup();
    for args in [
        &["points", "list"][..],
        &["points", "ls", "latest"],
        &["points", "list", "--json"],
        &["status"],
    ] {
        for (reader, code) in [(Reader::Gone, 0), (Reader::Full, 1)] {
            let mut command = lab.command("home");
            command.args(args).stdout(reader.stdio()).stderr(Stdio::null());
            assert_eq!(command.status().unwrap().code(), Some(code), "{args:?} {reader:?}");
        }
    }
}

#[test]
fn arguments_of_any_bytes_are_answered() {
    let lab = lab();
    let odd = || std::ffi::OsString::from_vec(b"caf\xe9".to_vec());
    let named = lab.source().join(odd());
    file(&named, b"coffee");
    for args in [
        &["points", "find"][..],
        &["vault", "create"],
        &["backup", ".", "--exclude"],
        &["backup", "--bogus"],
    ] {
        let mut command = lab.command("home");
        command.args(args).arg(odd()).arg("--json");
        let ran = finish(command).exits(2);
        assert!(!ran.json()["error"]["message"].as_str().unwrap().is_empty());
    }
    // A path may be of any bytes, and a pattern reaches it.
    let mut command = lab.command("home");
    command.arg("backup").arg(&named);
    finish(command).exits(0);
    let found = lab.run(["points", "find", "caf?"]).exits(0);
    assert!(found.stdout.contains("caf"), "{}", found.stdout);
    let report = lab.backup_with(&["--exclude", "caf?"]).exits(0).json();
    assert_eq!(report["files_new"], 20, "{report}");
}

#[test]
fn a_limit_of_file_sizes_is_said_and_kills_nothing() {
    let lab = lab();
    let mut command = Command::new("sh");
    let own = lab.command("home");
    command.env_clear().current_dir(&lab.root);
    for (name, value) in own.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command
        .args(["-c", "ulimit -f 100; exec \"$0\" \"$@\""])
        .arg(own.get_program());
    command.arg("backup").arg(lab.source());
    let ran = finish(command);
    assert!(ran.code.is_some_and(|code| code == 1), "{:?} {}", ran.code, ran.stderr);
    assert!(
        ran.stderr.contains("cannot be written") && ran.stderr.contains("`ulimit -f`"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("is full"), "{}", ran.stderr);
    lab.backup();
    lab.check_clean();
}
