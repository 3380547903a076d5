//! A server runs one job at a time, and its records show what became of each.

use crate::support::lab::Lab;
use crate::support::running::{large, until_it_stores};

#[test]
fn two_jobs_do_not_run_at_once_and_one_can_be_cancelled_by_name() {
    let lab = Lab::new();
    large(&lab, 1);
    let source = lab.source();
    let source = source.to_str().unwrap();
    let before = lab.objects().len();
    let mut child = lab.spawn(["backup", source, "--upload-limit", "1MiB/s"]);
    until_it_stores(&lab, &mut child, before);
    assert!(
        child.try_wait().unwrap().is_none(),
        "forty megabytes took less than a moment at 1 MiB/s"
    );
    let busy = lab.run(["backup", source, "--json"]).exits(7).json();
    assert_eq!(busy["error"]["code"], "busy");
    lab.run(["check"]).exits(7);
    // Commands that only read work while a job runs.
    lab.run(["points", "list"]).exits(0);
    let jobs = lab.run(["jobs", "list", "--json"]).exits(0).json();
    assert_eq!(jobs["jobs"][0]["status"], "Running");
    let job = jobs["jobs"][0]["job"].as_str().unwrap();
    lab.run(["jobs", "cancel", &job[..8]]).exits(0);
    assert_eq!(child.wait().unwrap().code(), Some(4));
    let shown = lab.run(["jobs", "show", job, "--json"]).exits(0).json();
    assert_eq!(shown["status"], "Cancelled");
    lab.run(["jobs", "cancel", job]).exits(1);
    lab.run(["jobs", "show", "ffffffffffff"]).exits(1);
}

#[test]
fn a_killed_job_is_shown_as_interrupted() {
    let lab = Lab::new();
    large(&lab, 1);
    let source = lab.source();
    let before = lab.objects().len();
    let mut child = lab.spawn(["backup", source.to_str().unwrap(), "--upload-limit", "1MiB/s"]);
    until_it_stores(&lab, &mut child, before);
    child.kill().unwrap();
    child.wait().unwrap();
    let jobs = lab.run(["jobs", "list", "--json"]).exits(0).json();
    assert_eq!(jobs["jobs"][0]["status"], "Failed");
    assert_eq!(jobs["jobs"][0]["error"]["code"], "interrupted");
}
