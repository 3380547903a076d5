//! The command line: help, completions, manual pages, JSON, exit codes, passphrases.

use std::fs;
use std::process::Stdio;

use crate::support::lab::{Lab, finish};
use crate::support::tree;

const COMMANDS: &[&str] = &[
    "vault create",
    "vault credentials",
    "vault servers",
    "vault jobs",
    "vault points",
    "register",
    "unregister",
    "status",
    "backup",
    "points list",
    "points ls",
    "points diff",
    "points find",
    "points delete",
    "points undelete",
    "restore",
    "check",
    "jobs list",
    "jobs show",
    "jobs cancel",
    "passphrase change",
    "passphrase validate",
    "cache check",
    "cache move",
    "cache rebuild",
    "throttle show",
    "throttle set",
    "throttle clear",
    "volumes",
    "bench primitives",
    "bench throttle",
    "gc",
    "demo",
    "completions",
    "man",
];

#[test]
fn every_command_has_help() {
    let lab = Lab::empty();
    for command in COMMANDS {
        let ran = lab.run(command.split(' ').chain(["--help"])).exits(0);
        assert!(
            ran.stdout.contains("Usage:") && ran.stdout.contains("--json"),
            "{command}: {}",
            ran.stdout
        );
        assert!(
            !ran.stdout.contains("kdf") && !ran.stdout.contains("channel-capacity"),
            "{command}"
        );
    }
    let help = lab.run(["--help"]).exits(0).stdout;
    assert!(!help.lines().any(|line| line.trim_start().starts_with("replicate")));
    assert!(lab.run(["--version"]).exits(0).stdout.starts_with("lockstone "));
}

#[test]
fn what_comes_later_is_not_pretended() {
    let lab = Lab::empty();
    for line in ["vault replicate x", "vault replicate"] {
        lab.run(line.split(' ')).exits(2).says("not in this version");
        let error = lab.run(line.split(' ').chain(["--json"])).exits(2).json();
        assert_eq!(error["error"]["code"], "usage", "{line}");
    }
    lab.run(["bakcup"]).exits(2).says("backup");
    assert_eq!(lab.run(["bakcup", "--json"]).exits(2).json()["error"]["code"], "usage");
}

#[test]
fn completions_and_manual_pages_are_made() {
    let lab = Lab::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = lab.run(["completions", shell]).exits(0).stdout;
        assert!(script.contains("undelete"), "{shell}");
    }
    assert!(lab.run(["man"]).exits(0).stdout.contains(".TH lockstone 1"));
    let folder = lab.path("man");
    lab.run(["man", folder.to_str().unwrap()]).exits(0);
    for page in [
        "lockstone.1",
        "lockstone-backup.1",
        "lockstone-points-list.1",
        "lockstone-vault-create.1",
    ] {
        assert!(folder.join(page).exists(), "{page}");
    }
}

#[test]
fn json_is_one_document_and_nothing_else() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let source = lab.source();
    let source = source.to_str().unwrap();
    lab.run(["--json", "backup", source, "--progress", "plain"])
        .exits(0)
        .json();
    for line in [
        "status",
        "points list",
        "points ls latest",
        "points find x",
        "jobs list",
        "check",
        "throttle show",
        "throttle clear",
        "volumes",
        "cache check",
    ] {
        let ran = lab.run(line.split(' ').chain(["--json"])).exits(0);
        assert!(ran.json().is_object(), "{line}");
        assert_eq!(ran.stdout.lines().count(), 1, "{line}");
    }
    let error = lab.run(["points", "ls", "ffffffff", "--json"]).exits(1);
    let value = error.json();
    assert!(value["error"]["message"].as_str().unwrap().contains("ffffffff"));
    assert!(value["error"]["hint"].is_string() && error.stderr.contains("error:"));
}

#[test]
fn a_report_has_what_the_contract_says() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let report = lab.backup();
    for name in [
        "job",
        "point",
        "status",
        "files_new",
        "files_changed",
        "files_unchanged",
        "dirs",
        "bytes_scanned",
        "bytes_read",
        "bytes_new",
        "bytes_stored",
        "chunks_new",
        "chunks_known",
        "duration_seconds",
        "throttled_seconds",
        "restarts",
        "warnings",
    ] {
        assert!(
            report.get(name).is_some_and(|value| !value.is_null()),
            "{name}: {report}"
        );
    }
    let (_, report) = lab.restore("latest", "out");
    for name in [
        "job",
        "status",
        "files",
        "bytes",
        "skipped",
        "copies",
        "duration_seconds",
        "warnings",
    ] {
        assert!(
            report.get(name).is_some_and(|value| !value.is_null()),
            "{name}: {report}"
        );
    }
    let report = lab.run(["check", "--json"]).exits(0).json();
    for name in ["ok", "packs", "chunks", "points", "damaged"] {
        assert!(report.get(name).is_some(), "{name}: {report}");
    }
    assert!(report["packs"].as_u64().unwrap() >= 2 && report["points"] == 1);
    let status = lab.run(["status", "--json"]).exits(0).json();
    for name in ["registered", "server", "vault", "warnings", "last_point", "next_run"] {
        assert!(status.get(name).is_some(), "{name}: {status}");
    }
    assert_eq!(status["registered"], true);
    assert!(status["last_point"]["id"].is_string());
    let volumes = lab.run(["volumes", "--json"]).exits(0).json();
    for name in ["mount", "device", "fs", "eligible", "reason"] {
        assert!(volumes["volumes"][0].get(name).is_some(), "{name}: {volumes}");
    }
}

#[test]
fn progress_can_be_read_by_a_program_or_not_at_all() {
    let lab = Lab::new();
    for number in 0..8 {
        tree::file(
            &lab.source().join(format!("{number}")),
            &crate::support::lab::noise(number, 1 << 20),
        );
    }
    // Slow enough for at least one line of progress.
    let ran = lab
        .backup_with(&["--progress", "json", "--upload-limit", "3MiB/s"])
        .exits(0);
    let lines: Vec<serde_json::Value> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!lines.is_empty(), "{}", ran.stderr);
    assert!(
        lines
            .iter()
            .all(|line| line["event"] == "progress" && line["kind"] == "backup")
    );
    let quiet = lab.backup_with(&["-q"]).exits(0);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_passphrase_comes_from_a_file_too_and_the_file_comes_first() {
    let lab = Lab::empty();
    lab.create_vault();
    let (good, bad) = (lab.path("good"), lab.path("bad"));
    fs::write(&good, "from a file, and long enough\n").unwrap();
    fs::write(&bad, "bad").unwrap();
    let register = |file: Option<&str>, variable: Option<&str>| {
        let mut command = lab.command("home");
        command.env("LOCKSTONE_PASSPHRASE", "short");
        if let Some(variable) = variable {
            command.env("LOCKSTONE_PASSPHRASE_FILE", variable);
        }
        command
            .args([
                "register",
                "--kdf-memory-mib",
                "8",
                "--kdf-passes",
                "1",
                "--credentials",
            ])
            .arg(lab.credentials());
        if let Some(file) = file {
            command.args(["--passphrase-file", file]);
        }
        finish(command)
    };
    register(None, None).exits(2);
    register(None, bad.to_str()).exits(2);
    register(bad.to_str(), good.to_str()).exits(2);
    register(good.to_str(), bad.to_str()).exits(0);
    let mut command = lab.command("home");
    command
        .env("LOCKSTONE_PASSPHRASE", "from a file, and long enough")
        .args(["passphrase", "validate"]);
    finish(command).exits(0);
}

#[test]
fn a_reader_that_has_enough_may_go() {
    let lab = Lab::new();
    for number in 0..5000 {
        tree::file(&lab.source().join(format!("{number}")), b"");
    }
    lab.backup();
    let mut command = lab.command("home");
    command
        .args(["points", "ls", "latest"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
