//! Whichever stage fails or panics, and at whichever item: the job is restarted and completes, or it fails and cleans
//! up. It never hangs and is never half committed. Only test builds have the fault points (feature `failpoints`).

use serde_json::Value;

use crate::support::lab::{Lab, finish, noise};
use crate::support::tree::{self, assert_same, file};

const BACKUP_POINTS: [&str; 10] = [
    "snapshotter",
    "enumerator",
    "hasher",
    "cataloguer",
    "dedup",
    "sealer",
    "uploader",
    "bookkeeper",
    "checkpoint",
    "commit",
];
const RESTORE_POINTS: [&str; 4] = ["planner", "fetcher", "opener", "writer"];

/// A source with several folders, small files, files of several windows, and duplicates.
fn source(lab: &Lab) {
    tree::plain(&lab.source());
    for number in 0..30 {
        file(&lab.source().join(format!("large/{number}")), &noise(number, 3 << 20));
    }
    for number in 0..600 {
        file(
            &lab.source().join(format!("small/{}/{number}", number % 7)),
            &noise(1000 + number, 700),
        );
    }
}

fn with_fault(lab: &Lab, faults: &str, args: &[&str]) -> crate::support::lab::Ran {
    let mut command = lab.command("home");
    command.env("FAILPOINTS", faults).args(args);
    command.args(["--json", "--restart-pause-ms", "1", "--memory-budget", "24MiB"]);
    finish(command)
}

fn points(lab: &Lab) -> Vec<Value> {
    lab.run(["points", "list", "--json"]).exits(0).json()["points"]
        .as_array()
        .unwrap()
        .clone()
}

#[test]
fn a_backup_that_fails_once_in_any_stage_begins_again_and_completes() {
    // What was done before a restart counts once: the figures are the same wherever it began again.
    let mut figures = std::collections::BTreeSet::new();
    for point in BACKUP_POINTS {
        for action in ["panic", "return"] {
            let lab = Lab::new();
            source(&lab);
            let path = lab.source();
            let args = ["backup", path.to_str().unwrap(), "--checkpoint-seconds", "1"];
            let skipped = if point == "enumerator" || point == "hasher" {
                300
            } else {
                0
            };
            let faults = format!("{point}={skipped}*off->1*{action}(x)->off").replace("=0*off->", "=");
            let report = with_fault(&lab, &faults, &args).exits(0).json();
            assert_eq!(report["status"], "Completed", "{point} {action}: {report}");
            // A short run may have no checkpoint before its Commit. It passes every other fault point.
            if point != "checkpoint" {
                assert_eq!(report["restarts"], 1, "{point} {action}: {report}");
            }
            let made = points(&lab);
            assert_eq!(made.len(), 1, "{point} {action}");
            let of = |value: &Value| value.as_u64().unwrap();
            figures.insert((
                of(&report["files_new"]),
                of(&report["bytes_scanned"]),
                of(&made[0]["bytes"]),
            ));
            lab.check_clean();
            let (restored, _) = lab.restore("latest", "out");
            assert_same(&lab.source(), &restored);
        }
    }
    assert_eq!(figures.len(), 1, "{figures:?}");
}

#[test]
fn a_backup_that_keeps_failing_ends_failed_and_clean() {
    for point in BACKUP_POINTS.into_iter().filter(|point| *point != "checkpoint") {
        let lab = Lab::new();
        source(&lab);
        let path = lab.source();
        let ran = with_fault(&lab, &format!("{point}=panic(x)"), &["backup", path.to_str().unwrap()]).exits(1);
        // Only the bookkeeper commits.
        let stage = if point == "commit" { "bookkeeper" } else { point };
        assert!(
            ran.stderr.contains(stage),
            "{point}: the message names the stage: {}",
            ran.stderr
        );
        assert_eq!(points(&lab).len(), 0, "{point}");
        lab.backup();
        lab.check_clean();
        let (restored, _) = lab.restore("latest", "out");
        assert_same(&lab.source(), &restored);
    }
}

#[test]
fn a_restore_that_fails_once_in_any_stage_begins_again_and_completes() {
    let lab = Lab::new();
    source(&lab);
    lab.backup();
    for point in RESTORE_POINTS {
        for action in ["panic", "return"] {
            let to = format!("{point}-{action}");
            let target = lab.path(&to);
            let args = ["restore", "latest", "--target", target.to_str().unwrap()];
            let report = with_fault(&lab, &format!("{point}=1*off->1*{action}(x)->off"), &args)
                .exits(0)
                .json();
            assert_eq!(report["status"], "Completed", "{point} {action}: {report}");
            assert_same(&lab.source(), &lab.restored(&to));
        }
    }
}

#[test]
fn a_restore_that_keeps_failing_leaves_no_partial_file_under_a_final_name() {
    let lab = Lab::new();
    source(&lab);
    lab.backup();
    let whole = tree::look(&lab.source());
    for point in RESTORE_POINTS {
        let target = lab.path(point);
        let args = ["restore", "latest", "--target", target.to_str().unwrap()];
        with_fault(&lab, &format!("{point}=3*off->panic(x)"), &args).exits(1);
        if !lab.restored(point).exists() {
            continue;
        }
        tree::assert_partial(&whole, &tree::look(&lab.restored(point)));
    }
}
