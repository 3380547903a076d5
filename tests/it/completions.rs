//! Completions of recovery points and jobs, which the program itself knows.

use std::fs;
use std::process::Command;

use crate::support::lab::{Lab, finish};
use crate::support::tree;

/// What may stand at the end of these words.
fn complete(lab: &Lab, words: &[&str]) -> Vec<String> {
    let ran = lab.run([&["complete", "--"], words].concat()).exits(0);
    assert_eq!(ran.stderr, "");
    ran.stdout.lines().map(str::to_owned).collect()
}

/// The same by the script for bash.
fn by_bash(lab: &Lab, words: &[&str]) -> Vec<String> {
    fs::write(
        lab.path("completions.bash"),
        lab.run(["completions", "bash"]).exits(0).stdout,
    )
    .unwrap();
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c"])
        .arg("source completions.bash; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _lockstone_asking \"$1\" \"${@: -1}\" \"${@: -2:1}\"; printf '%s\\n' \"${COMPREPLY[@]}\"")
        .args(["bash", env!("CARGO_BIN_EXE_lockstone")])
        .args(words)
        .env("LOCKSTONE_HOME", lab.path("home"))
        .env("TZ", "UTC")
        .current_dir(&lab.root);
    let ran = finish(bash).exits(0);
    ran.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn points_and_jobs_are_completed_with_what_they_are() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    assert!(complete(&lab, &["restore", ""]).is_empty());
    let made = [(); 3].map(|()| lab.backup());
    let id = |n: usize| made[n]["point"].as_str().unwrap();
    lab.run(["points", "delete", id(1), "--yes"]).exits(0);
    let source = lab.source();
    let points = complete(&lab, &["restore", ""]);
    assert_eq!(points.len(), 3, "{points:?}");
    assert!(points[0].starts_with("latest\t"));
    for (line, n) in points[1..].iter().zip([2, 0]) {
        let (word, about) = line.split_once('\t').unwrap();
        assert!(
            id(n).starts_with(word) && about.contains(source.to_str().unwrap()),
            "{line}"
        );
    }
    let begun = &id(0)[..5];
    let found = complete(&lab, &["points", "ls", begun]);
    assert_eq!(found.len(), 1, "{found:?}");
    let jobs = complete(&lab, &["jobs", "show", ""]);
    assert_eq!(jobs.len(), 3);
    assert!(jobs[0].ends_with("backup Completed"), "{jobs:?}");
    assert!(complete(&lab, &["restore", "x", ""]).is_empty());
    assert!(complete(&lab, &["restore", "zz"]).is_empty());

    // The vault is away: the records of the jobs know the points.
    fs::rename(lab.vault(), lab.path("away")).unwrap();
    let known = complete(&lab, &["restore", ""]);
    assert!(known.len() >= 3 && known[1] == points[1], "{known:?}");
    fs::rename(lab.path("away"), lab.vault()).unwrap();

    // By the shell: several with what they are, one alone, and the words that clap knows.
    let shown = by_bash(&lab, &["restore", ""]);
    assert_eq!(
        shown,
        points
            .iter()
            .map(|line| line.replacen('\t', "  ", 1))
            .collect::<Vec<_>>()
    );
    let word = found[0].split('\t').next().unwrap();
    assert_eq!(by_bash(&lab, &["restore", begun]), [word]);
    assert!(by_bash(&lab, &["points", "und"]).contains(&"undelete".to_owned()));
    assert!(by_bash(&lab, &["restore", "x", "--on-con"]).contains(&"--on-conflict".to_owned()));
}

#[test]
fn a_machine_that_is_not_registered_completes_nothing() {
    let lab = Lab::empty();
    for words in [&["restore", ""][..], &["jobs", "show", ""], &[""], &[]] {
        assert!(complete(&lab, words).is_empty());
    }
}
