//! Protection can be stopped and begun again; a strange backup holds the pruning until somebody has looked.

use std::fs;

use serde_json::Value;

use crate::support::lab::Lab;
use crate::support::tree::file;

fn with_policy(retention: &str) -> Lab {
    let lab = Lab::new();
    let policy = format!(
        "short_retention = true\n[[item]]\npath = {:?}\n[schedule]\ntime_zone = \"UTC\"\ntimes = [\"02:00\"]\n[retention]\n{retention}\n",
        lab.source()
    );
    fs::write(lab.path("policy.toml"), policy).unwrap();
    let file = lab.path("policy.toml");
    lab.run(["policy", "set", "--file", file.to_str().unwrap()]).exits(0);
    lab
}

fn points(lab: &Lab) -> Vec<Value> {
    let listed = lab.run(["points", "list", "--json"]).exits(0).json();
    listed["points"].as_array().unwrap().clone()
}

#[test]
fn stopped_with_its_data_kept_a_server_makes_no_backups() {
    let lab = with_policy("daily = { days = 7 }");
    file(&lab.source().join("a"), b"a");
    lab.run(["backup", "--json"]).exits(0);
    for (more, word, kept) in [
        (&["--keep-data"][..], "stopped-keep", "on-demand"),
        (
            &["--keep-data", "--for-ever"],
            "stopped-keep-for-ever",
            "protection-stopped",
        ),
    ] {
        let stopped = lab
            .run([&["protection", "stop", "--json"][..], more].concat())
            .exits(0)
            .json();
        assert_eq!(stopped["protection"], word);
        let refused = lab.run(["backup", "--json"]).exits(1);
        assert_eq!(refused.json()["error"]["code"], "protection-stopped");
        lab.run(["status"]).exits(3);
        let shown = lab.run(["policy", "show", "--json"]).exits(0).json();
        assert!(shown["next_run"].is_null());
        let all = points(&lab);
        assert_eq!(
            (all.len(), &all[0]["kept"], all[0]["expires"].is_null()),
            (1, &kept.into(), kept != "on-demand")
        );
        // By hand is another matter.
        lab.run(["restore", "latest", "--target", lab.path("out").to_str().unwrap()])
            .exits(0);
    }
    // A change of the policy does not begin it again.
    let policy = lab.path("policy.toml");
    lab.run(["policy", "set", "--file", policy.to_str().unwrap()])
        .exits(0)
        .says("stopped");
    lab.run(["backup"]).exits(1);
    lab.run(["protection", "resume"]).exits(0);
    lab.run(["backup"]).exits(0);
    for bad in [
        &["stop"][..],
        &["stop", "--for-ever"],
        &["stop", "--keep-data", "--delete-data"],
    ] {
        lab.run([&["protection"][..], bad].concat()).exits(2);
    }
}

#[test]
fn stopped_with_its_data_deleted_a_server_gets_it_back() {
    let lab = with_policy("daily = { days = 7 }");
    file(&lab.source().join("a"), b"a");
    let mut ids: Vec<String> = Vec::new();
    for _ in 0..3 {
        let report = lab.run(["backup", "--json"]).exits(0).json();
        ids.push(report["point"].as_str().unwrap().to_owned());
    }
    lab.run(["points", "delete", &ids[0]]).exits(0);
    lab.run(["points", "hold", &ids[1], "--reason", "an audit"]).exits(0);
    lab.run(["protection", "stop", "--delete-data"]).exits(2).says("--yes");
    assert!(points(&lab)[2]["deleted"].is_null());
    let stopped = lab
        .run(["protection", "stop", "--delete-data", "--yes", "--json"])
        .exits(3)
        .json();
    assert_eq!(stopped["protection"], "stopped-deleted");
    assert_eq!(
        (&stopped["deleted"][0], &stopped["held"][0]),
        (&ids[2].clone().into(), &ids[1].clone().into())
    );
    let all = points(&lab);
    let reasons: Vec<&Value> = all.iter().map(|point| &point["deletion"]["reason"]).collect();
    assert_eq!(reasons, [&"hand".into(), &Value::Null, &"protection-stopped".into()]);
    lab.run(["backup"]).exits(1);
    let resumed = lab.run(["protection", "resume", "--json"]).exits(0).json();
    assert_eq!(
        (&resumed["protection"], &resumed["undeleted"][0]),
        (&"active".into(), &ids[2].clone().into())
    );
    let all = points(&lab);
    assert!(!all[0]["deleted"].is_null(), "what was deleted by hand stays deleted");
    assert!(all[2]["deleted"].is_null());
    lab.run(["backup"]).exits(0);
    lab.check_clean();
}

#[test]
fn a_server_without_a_policy_has_nothing_to_stop_but_data_to_delete() {
    let lab = Lab::new();
    file(&lab.source().join("a"), b"a");
    lab.backup();
    lab.run(["protection", "stop", "--keep-data"])
        .exits(1)
        .says("no policy");
    lab.run(["protection", "stop", "--delete-data", "-y"]).exits(0);
    assert!(!points(&lab)[0]["deleted"].is_null());
    lab.run(["protection", "resume"]).exits(0);
    assert!(points(&lab)[0]["deleted"].is_null());
}

#[test]
fn a_paused_policy_makes_no_scheduled_runs() {
    let lab = with_policy("daily = { days = 7 }");
    file(&lab.source().join("a"), b"a");
    lab.run(["policy", "pause"]).exits(0);
    let run = "2026-01-05T02:00:00Z";
    let refused = lab.run(["backup", "--scheduled", run, "--json"]).exits(1).json();
    assert_eq!(refused["error"]["code"], "paused");
    lab.run(["policy", "resume"]).exits(0);
    lab.run(["backup", "--scheduled", run]).exits(0);
}

#[test]
fn a_strange_backup_is_made_and_holds_the_pruning() {
    // No tier names any run, so a point lives until a newer one is there.
    let lab = with_policy("monthly = { months = 1, on = 1, at = [\"03:00\"] }");
    let rename = |from: &str, to: &str| {
        for n in 0..300 {
            let source = lab.source();
            fs::rename(source.join(format!("{n}.{from}")), source.join(format!("{n}.{to}"))).unwrap();
        }
    };
    for n in 0..300 {
        file(&lab.source().join(format!("{n}.txt")), format!("file {n}").as_bytes());
    }
    let run = |time: &str| lab.run(["backup", "--scheduled", time, "--json"]);
    run("2026-01-05T02:00:00Z").exits(0);
    let quiet = run("2026-01-06T02:00:00Z").exits(0).json();
    assert_eq!(quiet["guard"], serde_json::json!([]));
    assert_eq!(quiet["points_forgotten"].as_array().unwrap().len(), 1);
    lab.run(["guard", "show"]).exits(0);

    rename("txt", "locked");
    let strange = run("2026-01-07T02:00:00Z").exits(0);
    let report = strange.json();
    strange.says("looks strange").says("end in .locked");
    assert_eq!(report["guard"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(
        report["suffixes"][0],
        serde_json::json!({ "suffix": "locked", "files": 300 })
    );
    assert_eq!(report["points_forgotten"], serde_json::json!([]));
    let shown = lab.run(["guard", "show", "--json"]).exits(3).json();
    assert_eq!((&shown["raised"], &shown["point"]), (&true.into(), &report["point"]));
    assert!(lab.run(["status"]).exits(3).stdout.contains("looks strange"));
    let alerts = lab.run(["alerts", "list", "--json"]).exits(0).json();
    let alarm = alerts["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|alert| alert["kind"] == "guard")
        .unwrap();
    assert_eq!(
        (&alarm["severity"], &alarm["job"]),
        (&"critical".into(), &report["job"])
    );
    // Nothing is pruned by the next backup either, which is quiet; by hand, points can be deleted.
    let next = run("2026-01-08T02:00:00Z").exits(0).json();
    assert_eq!(
        (&next["guard"], &next["points_forgotten"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );
    // An alarm that cannot be read is one.
    fs::write(lab.path("home/guard.json"), "rubbish").unwrap();
    lab.run(["guard", "show"]).exits(1).says("guard clear");
    assert!(lab.run(["status"]).exits(3).stdout.contains("guard clear"));
    let next = run("2026-01-08T02:00:00Z").exits(0).json();
    assert_eq!(next["points_forgotten"], serde_json::json!([]));
    lab.run(["guard", "clear"]).exits(0);
    lab.run(["guard", "show"]).exits(0);
    let pruned = run("2026-01-09T02:00:00Z").exits(0).json();
    assert_eq!(pruned["points_forgotten"].as_array().unwrap().len(), 4, "{pruned}");
}
