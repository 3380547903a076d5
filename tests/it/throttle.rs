//! The throttle, seen from outside: a setting is kept and shown, acts on a running job, and is refused if it makes no
//! sense.

use std::fs;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::lab::{Lab, noise};
use crate::support::tree::{assert_same, file};
use crate::support::web::until;

fn shown(lab: &Lab) -> Value {
    lab.run(["throttle", "show", "--json"]).exits(0).json()
}

fn source(lab: &Lab, bytes: usize) {
    file(&lab.source().join("noise"), &noise(1, bytes));
}

/// A backup that a pause has stopped before it could store anything.
fn held(lab: &Lab) -> Child {
    lab.run(["throttle", "set", "--upload", "0"]).exits(0);
    let before = lab.objects();
    let source = lab.source();
    let mut child = lab.spawn(["backup", source.to_str().unwrap(), "--progress", "none"]);
    let lock = lab.path("home").join("lock");
    until("the job is there", || {
        fs::read_to_string(&lock)
            .is_ok_and(|text| text.contains("backup"))
            .then_some(())
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "a pause holds nobody");
    assert_eq!(before, lab.objects());
    child
}

fn ends_well(mut child: Child) {
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_is_set_is_kept_and_shown_and_cleared() {
    let lab = Lab::new();
    let all = shown(&lab);
    assert_eq!(all["upload"], "unlimited");
    assert_eq!(all["now"]["upload_bytes_per_second"], Value::Null);
    lab.run([
        "throttle",
        "set",
        "--upload",
        "20Mbps",
        "--requests",
        "7",
        "--time-zone",
        "UTC",
        "--window",
        "daily 00:00-12:00 up=0",
        "--window",
        "daily 12:00-24:00 1MiB/s",
    ])
    .exits(0);
    lab.run(["throttle", "set", "--download", "8MiB/s"]).exits(0);
    let all = shown(&lab);
    assert_eq!(all["upload"], "20Mbps");
    assert_eq!(all["download"], "8MiB/s");
    assert_eq!(all["requests_per_second"], 7);
    assert_eq!(all["time_zone"], "UTC");
    assert_eq!(all["windows"].as_array().unwrap().len(), 2);
    let open = all["now"]["windows"].as_array().unwrap();
    let now = &all["now"]["upload_bytes_per_second"];
    if open[0] == "daily 00:00-12:00 up=0" {
        assert_eq!(
            (now, &all["now"]["download_bytes_per_second"]),
            (&json!(0), &json!(8 << 20))
        );
    } else {
        assert_eq!(*now, 1 << 20);
    }
    lab.run([
        "throttle",
        "set",
        "--upload",
        "unlimited",
        "--requests",
        "0",
        "--time-zone",
        "local",
    ])
    .exits(0);
    let all = shown(&lab);
    assert_eq!(
        (&all["upload"], &all["requests_per_second"]),
        (&json!("unlimited"), &Value::Null)
    );
    lab.run(["throttle", "clear"]).exits(0);
    assert_eq!(shown(&lab)["windows"], json!([]));
    assert!(!lab.path("home").join("throttle.json").exists());
}

#[test]
fn what_means_nothing_is_refused_and_changes_nothing() {
    let lab = Lab::new();
    lab.run(["throttle", "set", "--upload", "1MiB/s"]).exits(0);
    for bad in [
        &["--upload", "fast"][..],
        &["--upload", "12"],
        &["--download", "7bps"],
        &["--window", "mon-fri 2Mbps"],
        &["--window", "someday 08:00-18:00 2Mbps"],
        &["--time-zone", "Mars/Olympus"],
        &["--requests", "-1"],
        &[],
    ] {
        lab.run([&["throttle", "set"][..], bad].concat()).exits(2);
    }
    assert_eq!(shown(&lab)["upload"], "1MiB/s");

    fs::write(lab.path("home").join("throttle.json"), "{\"upload\": \"fast\"}").unwrap();
    for command in [&["throttle", "show"][..], &["points", "list"]] {
        lab.run(command).exits(2).says("throttle.json").says("throttle clear");
    }
    lab.run(["throttle", "clear"]).exits(0);
    lab.run(["points", "list"]).exits(0);
}

#[test]
fn a_pause_holds_a_job_until_it_ends_and_signals_do_not_hurt_it() {
    let lab = Lab::new();
    source(&lab, 3 << 20);
    let child = held(&lab);
    let process = Pid::from_child(&child);
    // Settings that make no sense are not used. A SIGHUP makes the program read them again and does not end it.
    fs::write(lab.path("home").join("throttle.json"), "{\"upload\": ").unwrap();
    kill_process(process, Signal::HUP).unwrap();
    std::thread::sleep(Duration::from_millis(400));
    assert!(
        lab.objects()
            .iter()
            .all(|path| !path.to_string_lossy().contains("packs"))
    );
    lab.run(["throttle", "clear"]).exits(0);
    ends_well(child);
    let (restored, _) = lab.restore("latest", "out");
    assert_same(&lab.source(), &restored);
}

#[test]
fn a_paused_job_can_be_cancelled() {
    let lab = Lab::new();
    source(&lab, 3 << 20);
    let mut child = held(&lab);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

#[test]
fn a_jobs_own_limit_decides_before_what_is_set_and_waiting_is_reported() {
    let lab = Lab::new();
    source(&lab, 3 << 20);
    lab.run(["throttle", "set", "--upload", "0"]).exits(0);
    let report = lab
        .backup_with(&["--upload-limit", "6MiB/s", "--nice", "5", "--ionice", "idle"])
        .exits(0)
        .json();
    assert!(report["throttled_seconds"].as_f64().unwrap() > 0.0, "{report}");
    source(&lab, 2 << 20);
    let report = lab.backup_with(&["--upload-limit", "unlimited"]).exits(0).json();
    assert_eq!(report["throttled_seconds"], 0.0, "{report}");
    lab.run(["throttle", "set", "--upload", "unlimited", "--download", "4MiB/s"])
        .exits(0);
    let (restored, _) = lab.restore("latest", "out");
    assert_same(&lab.source(), &restored);
    lab.backup_with(&["--ionice", "realtime"]).exits(2);
    lab.backup_with(&["--nice", "20"]).exits(2);
}
