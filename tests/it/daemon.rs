//! The daemon: it runs the schedule, answers on its control socket, and whatever ends it, no run of the schedule is
//! lost or done twice.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::lab::Lab;
use crate::support::running::{agent, large};
use crate::support::tree::{self, file};
use crate::support::web::{Started, control, until};

/// Puts a policy in force that has been so for two days. So its newest run is due, and the daemon has to make up for
/// it.
fn overdue(lab: &Lab, more: &str) {
    let text = format!(
        "[[item]]\npath = \"{}\"\n[schedule]\ntime_zone = \"UTC\"\ntimes = [\"02:00\", \"14:00\"]\n[retention]\n\
         daily = {{ days = 7 }}\n{more}",
        lab.source().display()
    );
    let path = lab.path("policy.toml");
    file(&path, text.as_bytes());
    lab.run(["policy".as_ref(), "set".as_ref(), "--file".as_ref(), path.as_os_str()])
        .exits(0);
    change(&lab.path("home/policy.json"), |policy| {
        let days_ago = Timestamp::now().checked_sub(SignedDuration::from_hours(48)).unwrap();
        policy["since"] = days_ago.to_string().into();
    });
}

fn change(path: &PathBuf, by: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    by(&mut value);
    fs::write(path, serde_json::to_vec_pretty(&value).unwrap()).unwrap();
}

fn points(lab: &Lab) -> Vec<Value> {
    let list = lab.run(["points", "list", "--json"]).exits(0).json();
    list["points"].as_array().unwrap().clone()
}

fn jobs(lab: &Lab) -> Vec<Value> {
    let list = lab.run(["jobs", "list", "--json"]).exits(0).json();
    list["jobs"].as_array().unwrap().clone()
}

fn ask(lab: &Lab, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, body) = control(&lab.path("home/agent.sock"), method, path, body).unwrap();
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// Waits until the daemon neither runs a job nor has one waiting.
fn until_idle(lab: &Lab) {
    until("the daemon is idle", || {
        let (_, status) = ask(lab, "GET", "/v1/status", "");
        (status["running"].is_null() && status["waiting"] == json!([])).then_some(())
    });
}

/// Waits until a job of the daemon has begun to store.
fn until_running(lab: &Lab) -> String {
    until("a job runs", || {
        let running = jobs(lab).into_iter().find(|job| job["status"] == "Running")?;
        let stored = lab
            .objects()
            .iter()
            .filter(|path| path.to_string_lossy().contains("/packs/"))
            .count();
        (stored > 0).then(|| running["job"].as_str().unwrap().to_owned())
    })
}

/// A policy whose backup takes long enough to be interrupted.
fn slow(lab: &Lab) {
    large(lab, 1);
    overdue(lab, "[bandwidth]\nupload = \"4MiB/s\"\n");
}

#[test]
fn a_run_that_was_missed_is_made_up_for_once() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    overdue(&lab, "");
    let (mut daemon, _) = agent(&lab);
    until("a point", || (points(&lab).len() == 1).then_some(()));
    until_idle(&lab);
    assert_eq!(points(&lab)[0]["tags"], json!(["daily"]));
    let done = jobs(&lab);
    assert_eq!((done.len(), &done[0]["status"]), (1, &json!("Completed")));
    assert!(done[0]["scheduled"].is_string(), "{}", done[0]);
    assert_eq!(daemon.end_by(Signal::TERM), Some(0));
    assert!(!lab.path("home/agent.sock").exists());
    // Another start finds nothing to do.
    let (mut daemon, _) = agent(&lab);
    until_idle(&lab);
    assert_eq!((points(&lab).len(), jobs(&lab).len()), (1, 1));
    daemon.end_by(Signal::KILL);
    // Neither does one that finds the socket of a daemon that was killed.
    let (_daemon, _) = agent(&lab);
    until_idle(&lab);
    assert_eq!(points(&lab).len(), 1);
}

#[test]
fn a_backup_that_was_killed_after_its_commit_is_not_made_again() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    overdue(&lab, "");
    let (mut daemon, _) = agent(&lab);
    until("a point", || (points(&lab).len() == 1).then_some(()));
    until_idle(&lab);
    daemon.end_by(Signal::KILL);
    // The record is as it was before its end was written.
    let job = jobs(&lab)[0]["job"].as_str().unwrap().to_owned();
    change(&lab.path(format!("home/jobs/{job}.json")), |record| {
        let record = record.as_object_mut().unwrap();
        record["status"] = "Running".into();
        for member in ["ended", "point", "report", "seen"] {
            record.remove(member);
        }
    });
    assert_eq!(jobs(&lab)[0]["error"]["code"], "interrupted");
    let (_daemon, _) = agent(&lab);
    until("the record is corrected", || {
        (jobs(&lab)[0]["status"] == "Completed").then_some(())
    });
    until_idle(&lab);
    let (points, jobs) = (points(&lab), jobs(&lab));
    assert_eq!((points.len(), jobs.len()), (1, 1));
    assert_eq!(jobs[0]["point"], points[0]["id"]);
}

#[test]
fn a_run_that_was_stopped_or_killed_is_done_after_the_next_start() {
    for signal in [Signal::TERM, Signal::KILL] {
        let lab = Lab::new();
        slow(&lab);
        let (mut daemon, _) = agent(&lab);
        until_running(&lab);
        daemon.end_by(signal);
        let job = jobs(&lab).remove(0);
        assert_eq!(job["error"]["code"], "interrupted", "{job}");
        assert_eq!(points(&lab).len(), 0);
        lab.run(["throttle", "clear"]).exits(0);
        let (_daemon, _) = agent(&lab);
        until("a point", || (points(&lab).len() == 1).then_some(()));
        until_idle(&lab);
        let done = jobs(&lab);
        assert_eq!((done.len(), points(&lab).len()), (2, 1));
        assert_eq!(done[0]["scheduled"], done[1]["scheduled"]);
        lab.check_clean();
    }
}

#[test]
fn a_job_of_the_daemon_is_cancelled_and_not_repeated() {
    let lab = Lab::new();
    slow(&lab);
    let (_daemon, _) = agent(&lab);
    let job = until_running(&lab);
    // What is asked for meanwhile waits.
    let (status, asked) = ask(&lab, "POST", "/v1/jobs", r#"{"kind":"backup"}"#);
    assert_eq!(status, 202, "{asked}");
    let asked = asked["job"].as_str().unwrap();
    lab.run(["jobs", "cancel", asked]).exits(0);
    until("it is cancelled", || {
        let found = jobs(&lab).into_iter().find(|job| job["job"] == asked)?;
        (found["status"] == "Cancelled").then_some(())
    });
    lab.run(["jobs", "cancel", &job]).exits(0);
    until_idle(&lab);
    let cancelled = jobs(&lab).into_iter().find(|found| found["job"] == *job).unwrap();
    assert_eq!(cancelled["status"], "Cancelled", "{cancelled}");
    assert_eq!((points(&lab).len(), jobs(&lab).len()), (0, 2));
    lab.run(["jobs", "cancel", &job]).exits(1).says("does not run");
}

#[test]
fn the_control_socket_answers_and_there_is_one_daemon() {
    let lab = Lab::new();
    let (_daemon, _) = agent(&lab);
    let socket = lab.path("home/agent.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let (status, document) = ask(&lab, "GET", "/v1/status", "");
    assert_eq!((status, &document["running"]), (200, &Value::Null));
    assert_eq!(ask(&lab, "GET", "/v1/nothing", "").0, 404);
    assert_eq!(ask(&lab, "GET", "/v1/jobs/abcdef", "").0, 404);
    assert_eq!(ask(&lab, "POST", "/v1/jobs", r#"{"kind":"restore"}"#).0, 400);
    for bad in ["", "{", r#"{"kind":"x"}"#, r#"{"kind":"backup","paths":[]}"#] {
        let (status, _) = ask(&lab, "POST", "/v1/jobs", bad);
        assert!((400..500).contains(&status), "{bad}: {status}");
    }
    lab.run(["agent", "--metrics-listen", "127.0.0.1:0"])
        .exits(7)
        .says("an agent runs already");
    // Without a policy, what is asked for fails and says why.
    let (_, asked) = ask(&lab, "POST", "/v1/jobs", r#"{"kind":"backup"}"#);
    until("it failed", || {
        let found = jobs(&lab).into_iter().find(|job| job["job"] == asked["job"])?;
        (found["status"] == "Failed" && found["error"]["code"] == "no-policy").then_some(())
    });
}

#[test]
fn the_control_socket_describes_each_of_its_requests() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json")).unwrap();
    let lab = Lab::new();
    assert_eq!(
        lab.run(["openapi"]).exits(0).stdout,
        page,
        "docs/openapi.json is out of date: lockstone openapi >docs/openapi.json"
    );
    let (_daemon, _) = agent(&lab);
    let (status, document) = ask(&lab, "GET", "/v1/openapi.json", "");
    assert_eq!((status, &document), (200, &serde_json::from_str(&page).unwrap()));
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 8);
    for (path, verbs) in paths {
        let path = path.replace("{job}", &"0".repeat(32));
        for verb in ["get", "post"] {
            // What is described is answered. A verb that is not described is refused.
            if verbs.get(verb).is_none() {
                assert_eq!(ask(&lab, &verb.to_uppercase(), &path, "").0, 405, "{verb} {path}");
            } else if !["/v1/events", "/v1/turn"].contains(&path.as_str()) {
                let (status, answer) = ask(&lab, &verb.to_uppercase(), &path, "");
                let is_known = status != 405 && (status != 404 || answer["code"] == "no-such-job");
                assert!(is_known, "{verb} {path}: {status} {answer}");
            }
        }
    }
    let job = ask(&lab, "GET", "/v1/status", "").1;
    let schema = &document["components"]["schemas"]["Status"];
    let members = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&schema["properties"]), members(&job));
}

#[test]
fn a_paused_policy_runs_nothing_and_missed_nothing_when_it_goes_on() {
    let lab = Lab::new();
    overdue(&lab, "");
    lab.run(["policy", "pause"]).exits(0);
    let (_daemon, _) = agent(&lab);
    until_idle(&lab);
    lab.run(["policy", "resume"]).exits(0);
    ask(&lab, "POST", "/v1/reload", "");
    until_idle(&lab);
    assert_eq!((jobs(&lab).len(), points(&lab).len()), (0, 0));
}

#[test]
fn a_command_waits_for_its_turn_and_the_daemon_for_the_command() {
    let lab = Lab::new();
    slow(&lab);
    let (_daemon, _) = agent(&lab);
    let job = until_running(&lab);
    let waits = lab.spawn(["check"]);
    let mut waits = Started(waits);
    // The daemon is busy, so the command waits. It does not end as it would without a daemon.
    until("it waits", || {
        let (_, status) = ask(&lab, "GET", "/v1/status", "");
        (status["running"] == *job).then_some(())
    });
    lab.run(["jobs", "cancel", &job]).exits(0);
    assert_eq!(waits.0.wait().unwrap().code(), Some(0));
    let done = jobs(&lab);
    assert_eq!(
        (&done[0]["kind"], &done[0]["status"]),
        (&json!("check"), &json!("Completed")),
        "{done:?}"
    );
    // What is asked for while a command has its turn waits, too.
    lab.run(["check"]).exits(0);
    until_idle(&lab);
}

#[test]
fn a_state_folder_may_lie_as_deep_as_any_folder() {
    let lab = Lab::new();
    let deep = "d".repeat(150);
    fs::rename(lab.path("home"), lab.path(&deep)).unwrap();
    let mut command = lab.command(&deep);
    command.args(["agent", "--json", "--metrics-listen", "127.0.0.1:0"]);
    let mut daemon = Started(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let status = until("the daemon answers", || {
        let status = lab.run_in(&deep, ["status", "--json"]).json();
        (status["agent_runs"] == true).then_some(status)
    });
    assert_eq!(status["registered"], true);
    assert_eq!(daemon.end_by(Signal::TERM), Some(0));
}

/// The library that gives a program another clock.
fn faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|library| library.exists())
}

#[test]
fn a_clock_that_is_set_forward_by_weeks_leads_to_one_backup() {
    let Some(library) = faketime() else {
        eprintln!("SKIPPED: no faketime (make setup-tests installs it)");
        return;
    };
    let lab = Lab::new();
    tree::plain(&lab.source());
    overdue(&lab, "");
    let (mut daemon, _) = agent(&lab);
    until("a point", || (points(&lab).len() == 1).then_some(()));
    until_idle(&lab);
    daemon.end_by(Signal::TERM);
    // Weeks later, and then back again.
    for (clock, points_then) in [("+20d", 2), ("-1h", 2)] {
        let mut command = lab.command("home");
        command.args(["agent", "--json", "--metrics-listen", "127.0.0.1:0"]);
        command
            .env("LD_PRELOAD", &library)
            .env("FAKETIME", clock)
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let mut daemon = Started(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        until("the daemon answers", || {
            control(&lab.path("home/agent.sock"), "GET", "/v1/status", "")
        });
        until("the points are there", || {
            (points(&lab).len() == points_then).then_some(())
        });
        until_idle(&lab);
        assert_eq!(points(&lab).len(), points_then, "{clock}");
        daemon.end_by(Signal::TERM);
    }
}

/// Whenever the daemon is killed, in the end the run has been done exactly once.
fn killed(times: u64) {
    let lab = Lab::new();
    slow(&lab);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..times {
        let (mut daemon, _) = agent(&lab);
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(std::time::Duration::from_millis(state >> 54));
        daemon.end_by(Signal::KILL);
    }
    lab.run(["throttle", "clear"]).exits(0);
    let (_daemon, _): (Started, String) = agent(&lab);
    until("a point", || (points(&lab).len() == 1).then_some(()));
    until_idle(&lab);
    assert_eq!(points(&lab).len(), 1);
    let done = jobs(&lab).iter().filter(|job| job["status"] == "Completed").count();
    assert_eq!(done, 1);
    lab.check_clean();
}

#[test]
fn a_run_that_is_interrupted_each_time_is_told_once() {
    let lab = Lab::new();
    slow(&lab);
    let told = || {
        let listed = lab.run(["alerts", "list", "--json"]).exits(0).json();
        let alerts = listed["alerts"].as_array().unwrap().iter();
        let is_this = |alert: &&Value| alert["message"].as_str().unwrap().contains("was interrupted 3 times");
        alerts.filter(is_this).count()
    };
    for _ in 0..3 {
        assert_eq!(told(), 0);
        let (mut daemon, _) = agent(&lab);
        until_running(&lab);
        daemon.end_by(Signal::KILL);
    }
    for _ in 0..2 {
        let (mut daemon, _) = agent(&lab);
        until_running(&lab);
        assert_eq!(told(), 1);
        daemon.end_by(Signal::KILL);
    }
}

#[test]
fn a_daemon_that_is_killed_at_any_instant_loses_no_run_and_repeats_none() {
    killed(5);
}

#[test]
#[ignore = "takes minutes"]
fn a_daemon_that_is_killed_fifty_times_loses_no_run_and_repeats_none() {
    killed(50);
}
