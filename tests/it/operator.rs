//! What the vault's operator sees of servers and jobs, and the tenant.

use std::fs;

use serde_json::Value;

use crate::support::lab::{Lab, Ran, finish};
use crate::support::tree;

fn vault(lab: &Lab, words: &[&str]) -> Ran {
    let url = lab.vault();
    let mut args = vec!["vault", words[0], url.to_str().unwrap(), "--json"];
    args.extend(&words[1..]);
    lab.run(args)
}

fn jobs(lab: &Lab, more: &[&str]) -> Vec<Value> {
    let listed = vault(lab, &[&["jobs"], more].concat()).exits(0).json();
    listed["jobs"].as_array().unwrap().clone()
}

#[test]
fn the_operator_sees_how_each_server_is() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let servers = || {
        let listed = vault(&lab, &["servers"]).exits(0).json();
        listed["servers"].as_array().unwrap().clone()
    };
    let new = &servers()[0];
    assert_eq!(
        (&new["health"], &new["points"], &new["last_point"]),
        (&"ok".into(), &0.into(), &Value::Null)
    );
    let backup = lab.backup();
    let one = &servers()[0];
    assert_eq!((&one["health"], &one["points"]), (&"ok".into(), &1.into()));
    assert_eq!(one["stored_bytes"], backup["bytes_stored"]);
    assert_eq!(
        (&one["last_job"]["kind"], &one["last_job"]["status"]),
        (&"backup".into(), &"Completed".into())
    );
    assert!(one["last_point"].as_str().unwrap().starts_with("20"));
    // A backup that fails after the vault was opened.
    fs::remove_dir_all(lab.source()).unwrap();
    fs::create_dir(lab.source()).unwrap();
    lab.run(["unregister"]).exits(0);
    assert_eq!(servers()[0]["health"], "unregistered");
    let people = lab
        .run(["vault", "servers", lab.vault().to_str().unwrap()])
        .exits(0)
        .stdout;
    assert!(people.contains("HEALTH") && people.contains("unregistered"), "{people}");
}

#[test]
fn the_operator_sees_what_the_vault_is_and_moves_it_to_another_tenant() {
    let lab = Lab::empty();
    let url = lab.vault();
    lab.run(["vault", "create", url.to_str().unwrap(), "--tenant", "first"])
        .exits(0);
    lab.issue(&[]);
    lab.register("home", "server", &[]).exits(0);
    tree::plain(&lab.source());
    lab.backup();
    let info = vault(&lab, &["info"]).exits(0).json();
    for (member, value) in [
        ("tenant", Value::from("first")),
        ("servers", 1.into()),
        ("revoked_servers", 0.into()),
        ("domains", 1.into()),
        ("points", 1.into()),
        ("soft_delete_days", 14.into()),
        ("operator_key_here", true.into()),
    ] {
        assert_eq!(info[member], value, "{member}");
    }
    assert_eq!(info["regions"][0]["name"], "primary");
    assert_eq!(info["store"]["create_if_absent"], true);
    let elsewhere = lab.run_in(
        "elsewhere",
        ["vault", "info", url.to_str().unwrap(), "--json", "--no-probe"],
    );
    let elsewhere = elsewhere.exits(0).json();
    assert_eq!(
        (&elsewhere["operator_key_here"], &elsewhere["store"]),
        (&false.into(), &Value::Null)
    );

    let before = fs::read(url.join("lockstone.json")).unwrap();
    let moved = vault(&lab, &["tenant", "second"]).exits(0).json();
    assert_eq!(
        (&moved["before"], &moved["tenant"]),
        (&"first".into(), &"second".into())
    );
    assert_eq!(
        fs::read(url.join("lockstone.json")).unwrap(),
        before,
        "nothing is written over"
    );
    // The registered server is not disturbed, and sees it.
    lab.backup();
    let status = lab.run(["status", "--json"]).exits(0).json();
    assert_eq!(status["tenant"], "second");
    assert_eq!(vault(&lab, &["info"]).exits(0).json()["tenant"], "second");
    lab.issue(&[]);
    let credentials = lab.credentials();
    let shown = lab
        .run(["credentials", "show", "--json", credentials.to_str().unwrap()])
        .exits(0)
        .json();
    assert_eq!(shown["tenant"], "second");
    // Once more changes nothing; no tenant at all is possible; only the operator does it.
    vault(&lab, &["tenant", "second"]).exits(0);
    assert_eq!(fs::read_dir(url.join("orders")).unwrap().count(), 1);
    vault(&lab, &["tenant", ""]).exits(0);
    assert_eq!(vault(&lab, &["info"]).exits(0).json()["tenant"], Value::Null);
    vault(&lab, &["tenant", "a\nb"]).exits(2);
    lab.run_in("elsewhere", ["vault", "tenant", url.to_str().unwrap(), "mine"])
        .exits(5);
}

#[test]
fn two_tenants_at_once_leave_one_of_them() {
    let lab = Lab::new();
    let url = lab.vault();
    let children: Vec<_> = (0..4)
        .map(|n| lab.spawn(["vault", "tenant", url.to_str().unwrap(), &format!("tenant {n}")]))
        .collect();
    for mut child in children {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let tenant = vault(&lab, &["info"]).exits(0).json()["tenant"].clone();
    assert!(tenant.as_str().unwrap().starts_with("tenant "), "{tenant}");
    lab.run(["status"]).says("");
}

#[test]
fn jobs_are_filtered() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    lab.backup();
    lab.run(["check"]).exits(0);
    assert_eq!(jobs(&lab, &[]).len(), 3);
    let newest = jobs(&lab, &["--limit", "1"]);
    assert_eq!(newest, jobs(&lab, &[])[2..]);
    assert_eq!(jobs(&lab, &["--state", "completed"]).len(), 3);
    assert!(jobs(&lab, &["--state", "Failed"]).is_empty());
    assert!(jobs(&lab, &["--since", "2200-01-01"]).is_empty());
    assert_eq!(jobs(&lab, &["--since", "2020-01-01", "--server", "server"]).len(), 3);
    vault(&lab, &["jobs", "--state", "gone"])
        .exits(2)
        .says("CompletedWithWarnings");
    vault(&lab, &["jobs", "--server", "nobody"]).exits(1);
}

#[test]
fn the_operator_sees_a_restore_by_credentials() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let backup = lab.backup();
    let restore = |to: &[&str]| {
        let mut command = lab.command("elsewhere");
        command
            .args([
                "restore",
                "latest",
                "--json",
                "--source-server",
                "server",
                "--credentials",
            ])
            .arg(lab.credentials())
            .args(to);
        finish(command)
    };
    // Another machine's files do not go to their original place by themselves.
    restore(&["--original"]).exits(2).says("--target");
    restore(&["--target", "out"]).exits(0);
    let credentials = lab.credentials();
    let shown = lab
        .run(["credentials", "show", "--json", credentials.to_str().unwrap()])
        .exits(0)
        .json();
    let seen = jobs(&lab, &[]);
    assert_eq!(seen.len(), 2);
    // They may have begun in the same second, so their order says nothing.
    let of = |kind: &str| seen.iter().find(|job| job["kind"] == kind).unwrap();
    let job = of("restore");
    assert_eq!(job["credential_id"], shown["id"]);
    assert_eq!(
        (&job["server"], &job["kind"], &job["status"]),
        (&"server".into(), &"restore".into(), &"Completed".into())
    );
    assert_eq!(job["point"], backup["point"]);
    assert_eq!(of("backup")["credential_id"], Value::Null);
    assert_eq!(jobs(&lab, &["--server", "server"]).len(), 2);
    let url = lab.vault();
    let people = lab.run(["vault", "jobs", url.to_str().unwrap()]).exits(0).stdout;
    assert!(people.contains("by credentials"), "{people}");
    // It is not the server's own job, and no damage.
    let servers = vault(&lab, &["servers"]).exits(0).json();
    assert_eq!(servers["servers"][0]["last_job"]["kind"], "backup");
    lab.check_clean();
}

#[cfg(feature = "failpoints")]
#[test]
fn the_operator_sees_the_progress_of_a_job() {
    use crate::support::running::{large, until_it_stores};
    let mut lab = Lab::new();
    large(&lab, 1);
    lab.set("FAILPOINTS", "operators-record=return(0.05)");
    let source = lab.source();
    let before = lab.objects().len();
    let mut child = lab.spawn(["backup", source.to_str().unwrap(), "--upload-limit", "1MiB/s"]);
    until_it_stores(&lab, &mut child, before);
    // Each record has more than the one before it, or as much.
    let (mut stored, mut seen) = (0, 0);
    while stored == 0 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended and never said how far it was"
        );
        let job = jobs(&lab, &["--limit", "1"]).pop().unwrap();
        assert_eq!((&job["status"], &job["ended"]), (&"Running".into(), &Value::Null));
        let now = job["stored_bytes"].as_u64().unwrap();
        assert!(now >= stored);
        (stored, seen) = (now, seen + 1);
    }
    assert!(seen > 0);
    let job = lab.run(["jobs", "list", "--json"]).exits(0).json()["jobs"][0]["job"]
        .as_str()
        .unwrap()
        .to_owned();
    lab.run(["jobs", "cancel", &job]).exits(0);
    assert_eq!(child.wait().unwrap().code(), Some(4));
    let last = jobs(&lab, &["--limit", "1"]).pop().unwrap();
    assert_eq!((&last["job"], &last["status"]), (&job.into(), &"Cancelled".into()));
    assert!(!last["ended"].is_null());
}

#[cfg(feature = "failpoints")]
#[test]
fn a_killed_job_is_closed_behind_its_last_record() {
    use crate::support::running::{large, until_it_stores};
    let mut lab = Lab::new();
    large(&lab, 1);
    lab.set("FAILPOINTS", "operators-record=return(0.05)");
    let source = lab.source();
    let before = lab.objects().len();
    let mut child = lab.spawn(["backup", source.to_str().unwrap(), "--upload-limit", "1MiB/s"]);
    until_it_stores(&lab, &mut child, before);
    while jobs(&lab, &[])[0]["stored_bytes"] == 0 {
        assert!(child.try_wait().unwrap().is_none());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(jobs(&lab, &[])[0]["status"], "Running");
    lab.run(["check"]).exits(0);
    let seen = jobs(&lab, &[]);
    let job = seen.iter().find(|job| job["kind"] == "backup").unwrap();
    assert_eq!(
        (&job["status"], &job["error"]),
        (&"Failed".into(), &"interrupted".into())
    );
}
