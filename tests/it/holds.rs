//! Points that are held are not deleted; deletions keep their reason; lists can be narrowed.

use serde_json::Value;

use crate::support::lab::{Lab, finish};
use crate::support::tree::file;

fn points(lab: &Lab, more: &[&str]) -> Vec<Value> {
    let listed = lab
        .run([&["points", "list", "--json"][..], more].concat())
        .exits(0)
        .json();
    listed["points"].as_array().unwrap().clone()
}

fn ids(lab: &Lab, more: &[&str]) -> Vec<String> {
    let all = points(lab, more);
    all.iter()
        .map(|point| point["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_held_point_is_not_deleted_until_it_is_released() {
    let lab = Lab::new();
    file(&lab.source().join("a"), b"a");
    let one = lab.backup()["point"].as_str().unwrap().to_owned();
    let two = lab.backup()["point"].as_str().unwrap().to_owned();
    let held = lab
        .run([
            "points",
            "hold",
            &one,
            "--reason",
            "the lawsuit",
            "--until",
            "2199-01-31",
            "--json",
        ])
        .exits(0)
        .json();
    assert_eq!(held["held"][0], one.as_str());
    let refused = lab.run(["points", "delete", &two, &one, "--json"]).exits(5);
    assert_eq!(refused.json()["error"]["code"], "held");
    refused.says("the lawsuit").says("points release");
    let all = points(&lab, &[]);
    assert!(
        all.iter().all(|point| point["deleted"].is_null()),
        "none of them is deleted"
    );
    assert_eq!(all[0]["hold"]["reason"], "the lawsuit");
    assert!(all[0]["hold"]["until"].as_str().unwrap().starts_with("2199-0"));
    assert_eq!((&all[0]["held"], &all[1]["held"]), (&true.into(), &false.into()));
    assert!(all[1]["hold"].is_null());
    assert_eq!(ids(&lab, &["--held"]), [one.as_str()]);
    let shown = lab.run(["points", "list"]).exits(0).stdout;
    assert!(
        shown.contains("held until 2199-0") && shown.contains("the lawsuit"),
        "{shown}"
    );
    // The operator sees that it is held, and not why.
    let mut command = lab.command("elsewhere");
    command.args(["vault", "points", lab.vault().to_str().unwrap(), "--json"]);
    let seen = finish(command).exits(0);
    assert_eq!(seen.json()["points"][0]["held"], true);
    assert!(!seen.stdout.contains("lawsuit"));

    lab.run(["points", "release", &one]).exits(0);
    lab.run(["points", "release", &one]).exits(0);
    lab.run(["points", "delete", &one]).exits(0);
    lab.run(["points", "hold", &one, "--reason", "too late"])
        .exits(1)
        .says("undelete");
    for bad in [
        &["--reason", " "][..],
        &["--reason", "a\nb"],
        &["--reason", "x", "--until", "2001-01-01"],
        &[],
    ] {
        lab.run([&["points", "hold", &two][..], bad].concat()).exits(2);
    }
    lab.check_clean();
}

#[test]
fn a_deletion_keeps_its_reason() {
    let lab = Lab::new();
    file(&lab.source().join("a"), b"a");
    let one = lab.backup()["point"].as_str().unwrap().to_owned();
    lab.backup();
    assert!(ids(&lab, &["--deleted"]).is_empty());
    lab.run(["points", "delete", &one]).exits(0);
    let deleted = points(&lab, &["--deleted"]);
    assert_eq!(deleted.len(), 1);
    let deletion = &deleted[0]["deletion"];
    assert_eq!(
        (&deletion["server"], &deletion["reason"]),
        (&"server".into(), &"hand".into())
    );
    assert_eq!(deletion["time"], deleted[0]["deleted"]);
    let shown = lab.run(["points", "list", "--deleted"]).exits(0).stdout;
    assert!(shown.contains("by hand"), "{shown}");
    lab.run(["points", "undelete", &one]).exits(0);
    assert!(points(&lab, &[])[0]["deletion"].is_null());
}

#[test]
fn a_list_can_be_narrowed() {
    let lab = Lab::new();
    file(&lab.source().join("a"), b"a");
    file(&lab.path("other/b"), b"b");
    let other = lab.path("other");
    let all = [
        lab.backup_with(&["--label", "before the move"]).exits(0).json(),
        lab.backup(),
        lab.run(["backup", other.to_str().unwrap(), "--json"]).exits(0).json(),
    ];
    let all: Vec<&str> = all.iter().map(|report| report["point"].as_str().unwrap()).collect();
    assert_eq!(ids(&lab, &["--label", "move"]), [all[0]]);
    assert_eq!(ids(&lab, &["--latest", "1"]), [all[2]]);
    assert_eq!(
        ids(&lab, &["--latest", "2", "--path", lab.source().to_str().unwrap()]),
        all[..2]
    );
    assert_eq!(ids(&lab, &["--path", other.join("b").to_str().unwrap()]), [all[2]]);
    assert_eq!(ids(&lab, &["--tag", "on-demand"]), all);
    assert!(ids(&lab, &["--tag", "daily"]).is_empty());
    assert_eq!(ids(&lab, &["--since", "2001-01-01", "--until", "2199-01-01"]), all);
    assert!(ids(&lab, &["--until", "2001-01-01"]).is_empty());
    assert!(ids(&lab, &["--status", "completed-with-warnings"]).is_empty());
    assert_eq!(ids(&lab, &["--status", "completed", "--latest", "9"]), all);
    let nothing = lab.run(["points", "list", "--held"]).exits(0).stdout;
    assert_eq!(nothing, "no recovery point is like that\n");
}
