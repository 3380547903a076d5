//! The daemon where a machine is short of something: it stays, says what is wrong, and goes on when it is over.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::lab::Lab;
use crate::support::tree::{self, file};
use crate::support::web::{Started, control, until};

/// A policy whose newest run is due.
fn overdue(lab: &Lab) {
    let text = format!(
        "[[item]]\npath = \"{}\"\n[schedule]\ntime_zone = \"UTC\"\ntimes = [\"02:00\", \"14:00\"]\n[retention]\n\
         daily = {{ days = 7 }}\n",
        lab.source().display()
    );
    let path = lab.path("policy.toml");
    file(&path, text.as_bytes());
    lab.run(["policy".as_ref(), "set".as_ref(), "--file".as_ref(), path.as_os_str()])
        .exits(0);
    let policy = lab.path("home/policy.json");
    let mut held: Value = serde_json::from_slice(&fs::read(&policy).unwrap()).unwrap();
    let days_ago = Timestamp::now().checked_sub(SignedDuration::from_hours(48)).unwrap();
    held["since"] = days_ago.to_string().into();
    fs::write(&policy, serde_json::to_vec_pretty(&held).unwrap()).unwrap();
}

/// The daemon, started by a shell that first does something. Its log goes to a file.
fn daemon(lab: &Lab, first: &str) -> Started {
    let program = lab.command("home");
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            &format!("{first}; exec \"$0\" agent --metrics-listen 127.0.0.1:0"),
        ])
        .arg(program.get_program())
        .env_clear()
        .current_dir(&lab.root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(lab.path("log")).unwrap());
    for (name, value) in program.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    Started(shell.spawn().unwrap())
}

fn log(lab: &Lab) -> String {
    fs::read_to_string(lab.path("log")).unwrap()
}

fn ask(lab: &Lab, method: &str, path: &str) -> Option<(u16, Value)> {
    let (status, body) = control(&lab.path("home/agent.sock"), method, path, "")?;
    Some((status, serde_json::from_str(&body).unwrap_or(Value::Null)))
}

fn until_it_answers(lab: &Lab) {
    until("the daemon answers", || ask(lab, "GET", "/v1/status"));
}

fn points(lab: &Lab) -> usize {
    let list = lab.run(["points", "list", "--json"]).exits(0).json();
    list["points"].as_array().unwrap().len()
}

/// A small file system in memory, until it is dropped.
struct Small(PathBuf);

impl Small {
    /// `None` if this machine cannot mount one.
    fn mount(at: &Path, size: &str) -> Option<Small> {
        let options = format!("size={size},mode=700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "none"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Small(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_state_folder_delays_a_run_and_loses_none() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    overdue(&lab);
    fs::rename(lab.path("home"), lab.path("before")).unwrap();
    fs::create_dir(lab.path("home")).unwrap();
    let Some(_small) = Small::mount(&lab.path("home"), "200m") else {
        eprintln!("SKIPPED: nothing can be mounted here");
        return;
    };
    let copied = Command::new("cp")
        .arg("-a")
        .arg(lab.path("before/."))
        .arg(lab.path("home"))
        .status();
    assert!(copied.unwrap().success());
    // Nothing more fits.
    let filled = Command::new("sh")
        .args(["-c", "cat /dev/zero > home/fill 2>/dev/null; test -s home/fill"])
        .current_dir(&lab.root)
        .status();
    assert!(filled.unwrap().success());
    let mut daemon = daemon(&lab, ":");
    until_it_answers(&lab);
    until("it says what is wrong", || {
        let log = log(&lab);
        (log.contains("No space left") || log.contains("full")).then_some(())
    });
    fs::remove_file(lab.path("home/fill")).unwrap();
    assert_eq!(ask(&lab, "POST", "/v1/reload").unwrap().0, 204);
    until("the run is done", || (points(&lab) == 1).then_some(()));
    assert_eq!(daemon.end_by(Signal::TERM), Some(0));
    lab.check_clean();
}

#[test]
fn a_daemon_with_few_handles_says_so_and_goes_on() {
    let lab = Lab::new();
    for number in 0..200 {
        file(
            &lab.source().join(format!("{number}/file")),
            number.to_string().as_bytes(),
        );
    }
    overdue(&lab);
    let mut daemon = daemon(&lab, "ulimit -n 100");
    until_it_answers(&lab);
    // The backup needs more, and says so. The daemon goes on.
    let failed = until("the run has failed", || {
        let jobs = lab.run(["jobs", "list", "--json"]).exits(0).json();
        (jobs["jobs"][0]["status"] == "Failed").then(|| jobs["jobs"][0].clone())
    });
    let message = failed["error"]["message"].as_str().unwrap();
    assert!(message.contains("may hold 100 files open"), "{failed}");
    until_it_answers(&lab);
    assert_eq!(daemon.end_by(Signal::TERM), Some(0), "{}", log(&lab));
    // With more handles, the next one is made.
    lab.run(["backup"]).exits(0);
}

#[test]
fn followers_that_take_all_handles_end_no_daemon() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    overdue(&lab);
    let mut daemon = daemon(&lab, "ulimit -n 128");
    until_it_answers(&lab);
    let socket = lab.path("home/agent.sock");
    // More than the daemon can hold.
    let followers: Vec<UnixStream> = (0..200).filter_map(|_| UnixStream::connect(&socket).ok()).collect();
    assert!(followers.len() > 64);
    drop(followers);
    until_it_answers(&lab);
    assert_eq!(ask(&lab, "POST", "/v1/jobs").map(|(status, _)| status / 100), Some(4));
    lab.run(["backup", "--json"]).exits(0);
    assert_eq!(daemon.end_by(Signal::TERM), Some(0), "{}", log(&lab));
}

#[test]
fn a_vault_that_was_away_for_runs_gets_the_next_one() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    overdue(&lab);
    fs::rename(lab.vault(), lab.path("away")).unwrap();
    let mut daemon = daemon(&lab, ":");
    until("the run has failed", || {
        let jobs = lab.run(["jobs", "list", "--json"]).exits(0).json();
        (jobs["jobs"][0]["status"] == "Failed").then_some(())
    });
    let alerts = lab.run(["alerts", "list", "--json"]).exits(0).json();
    let failures = alerts["alerts"].as_array().unwrap().iter();
    let failures = failures.filter(|alert| alert["kind"] == "failure").count();
    assert_eq!(failures, 1, "it is said once: {alerts}");
    fs::rename(lab.path("away"), lab.vault()).unwrap();
    // It still runs, and does what it is asked for.
    let socket = lab.path("home/agent.sock");
    let (status, _) = control(&socket, "POST", "/v1/jobs", r#"{"kind":"backup"}"#).unwrap();
    assert_eq!(status, 202);
    until("a point", || (points(&lab) == 1).then_some(()));
    assert_eq!(daemon.end_by(Signal::TERM), Some(0));
}
