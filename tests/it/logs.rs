//! Lines on stderr, for people, for programs and for the journal. Each names its job, and its stage if it has one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use serde_json::Value;

use crate::support::lab::{Lab, finish};
use crate::support::tree;

#[test]
fn every_line_of_a_job_is_json_with_job_and_stage() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let ran = lab
        .backup_with(&[
            "--log-format",
            "json",
            "--log-level",
            "debug",
            "--metrics-listen",
            "127.0.0.1:0",
        ])
        .exits(0);
    let job = ran.json()["job"].as_str().unwrap().to_owned();
    let mut stages = BTreeSet::new();
    let mut words = 0;
    for line in ran.stderr.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for member in ["time", "level", "target", "message"] {
            assert!(line[member].is_string(), "{member}: {line}");
        }
        let target = line["target"].as_str().unwrap();
        if target.starts_with("lockstone_actors") {
            assert_eq!(line["job"], job, "{line}");
        }
        if target == "lockstone::words" {
            words += 1;
        }
        if let Some(stage) = line["stage"].as_str() {
            stages.insert(stage.to_owned());
        }
    }
    // Lines that the uploader and the snapshotter write, and one about the end of every stage.
    for stage in ["snapshotter", "uploader", "bookkeeper", "hasher"] {
        assert!(stages.contains(stage), "{stage}: {stages:?}");
    }
    assert!(
        words > 0,
        "what the command itself says is a line like all others: {}",
        ran.stderr
    );
}

#[test]
fn a_stage_s_own_line_names_it_in_text_too() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let ran = lab
        .backup_with(&["--log-level", "lockstone_actors::backup=debug"])
        .exits(0);
    let job = ran.json()["job"].as_str().unwrap().to_owned();
    let line = ran.stderr.lines().find(|line| line.contains("pack uploaded")).unwrap();
    assert!(
        line.contains(&format!("DEBUG job={job} ")) && line.contains(" stage=uploader "),
        "{line}"
    );
    // By default nothing is logged, and a wrong level is refused.
    assert!(!lab.backup_with(&[]).exits(0).stderr.contains("pack uploaded"));
    lab.backup_with(&["--log-level", "loud=very=much"])
        .exits(2)
        .says("--log-level");
}

#[test]
fn where_stderr_is_the_journal_each_line_begins_with_its_level() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let place = lab.path("journal");
    let journal = File::create(&place).unwrap();
    let found = journal.metadata().unwrap();
    let run = |stream: String| {
        let mut command = lab.command("home");
        command
            .env("JOURNAL_STREAM", stream)
            .env("LOCKSTONE_LOG", "debug")
            .args(["backup", "--progress", "none"])
            .arg(lab.source())
            .arg(lab.path("is-not-there"))
            .stdout(Stdio::null())
            .stderr(File::create(&place).unwrap());
        assert_eq!(command.status().unwrap().code(), Some(1));
        fs::read_to_string(&place).unwrap()
    };
    let text = run(format!("{}:{}", found.dev(), found.ino()));
    assert!(text.contains("<3>error: "), "{text}");
    assert!(
        text.lines()
            .all(|line| line.starts_with('<') && line.as_bytes()[2] == b'>'),
        "{text}"
    );
    // The journal of another program.
    let text = run(format!("{}:{}", found.dev(), found.ino() + 1));
    assert!(text.starts_with("error: ") || text.contains("\nerror: "), "{text}");

    let mut command = lab.command("home");
    command.args(["backup", "--log-format", "journal"]).arg(lab.source());
    let ran = finish(command).exits(0);
    assert!(ran.stderr.lines().all(|line| line.starts_with("<6>")), "{}", ran.stderr);
}
