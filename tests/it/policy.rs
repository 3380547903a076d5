//! A policy says what is backed up, when, and for how long it is kept; the program does that and shows it.

use std::fs;

use serde_json::Value;

use crate::support::lab::{Lab, finish};
use crate::support::tree::{self, file};

/// Writes a policy file beside the lab's folders.
fn write(lab: &Lab, text: &str) -> std::path::PathBuf {
    let path = lab.path("policy.toml");
    file(&path, text.as_bytes());
    path
}

fn set(lab: &Lab, text: &str) -> Value {
    let path = write(lab, text);
    let args = [
        "policy".as_ref(),
        "set".as_ref(),
        "--file".as_ref(),
        path.as_os_str(),
        "--json".as_ref(),
    ];
    lab.run(args).exits(0).json()
}

/// A policy for the lab's source.
fn usual(lab: &Lab, more: &str) -> String {
    format!(
        "[[item]]\npath = \"{}\"\nexclude = [\"*.tmp\"]\n[schedule]\ntime_zone = \"UTC\"\ntimes = [\"02:00\"]\n[retention]\n\
         daily = {{ days = 7 }}\nweekly = {{ weeks = 4, on = \"sat\" }}\n{more}",
        lab.source().display()
    )
}

#[test]
fn a_preview_needs_no_registration_and_shows_runs_and_what_is_left() {
    let lab = Lab::empty();
    let example = lab.run(["policy", "init"]).exits(0);
    let path = write(&lab, &example.stdout);
    let path = path.to_str().unwrap();
    let span = [
        "policy",
        "preview",
        "--file",
        path,
        "--from",
        "2026-01-01",
        "--to",
        "2026-03-01",
    ];
    let shown = lab.run(span.into_iter().chain(["--json"])).exits(0).json();
    assert_eq!(shown["runs"].as_array().unwrap().len(), 59);
    let tags: Vec<&str> = shown["runs"][3]["tags"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(tags, ["daily", "weekly", "yearly"]);
    let points = shown["points"].as_array().unwrap();
    assert!(
        points.iter().all(|point| point["expires"].is_string()) && points.len() > 30,
        "{shown}"
    );
    let shown = lab.run(span).exits(0).stdout;
    assert!(shown.contains("January 2026\n"), "{shown}");
    assert!(shown.contains("Mo  Tu  We"), "{shown}");
    // What is wrong is said with its place, and nothing is shown.
    let path = write(&lab, "[[item]]\npath = \"relative\"\n");
    let span = [
        "policy",
        "preview",
        "--file",
        path.to_str().unwrap(),
        "--from",
        "2026-01-01",
        "--to",
        "2026-03-01",
    ];
    lab.run(span).exits(2).says("line 2, column 8").says("[retention]");
    lab.run(["policy", "show"]).exits(8);
    let path = path.to_str().unwrap();
    lab.run(["policy", "set", "--file", path]).exits(8);
}

#[test]
fn a_policy_is_set_shown_paused_and_resumed() {
    let lab = Lab::new();
    lab.run(["policy", "show"]).exits(1).says("this server has no policy");
    lab.run(["backup"]).exits(1).says("this server has no policy");
    let first = set(&lab, &usual(&lab, ""));
    assert_eq!((&first["generation"], &first["paused"]), (&1.into(), &false.into()));
    assert!(first["next_run"].is_string());
    let second = set(&lab, &format!("# kept as it is\n{}", usual(&lab, "")));
    assert_eq!(second["generation"], 2);
    let shown = lab.run(["policy", "show"]).exits(0).stdout;
    assert!(shown.starts_with("# kept as it is\n"), "{shown}");
    let paused = lab.run(["policy", "pause", "--json"]).exits(0).json();
    assert_eq!((&paused["paused"], &paused["next_run"]), (&true.into(), &Value::Null));
    lab.run(["policy", "resume"]).exits(0).says("next run");
    // A policy that is wrong changes nothing.
    let bad = write(&lab, &usual(&lab, "mont = 1\n"));
    lab.run(["policy".as_ref(), "set".as_ref(), "--file".as_ref(), bad.as_os_str()])
        .exits(2)
        .says("unknown field");
    let bad = write(&lab, &usual(&lab, "[bandwidth]\nupload = \"fast\"\n"));
    lab.run(["policy".as_ref(), "set".as_ref(), "--file".as_ref(), bad.as_os_str()])
        .exits(2)
        .says("bandwidth");
    // A pause and its end are changes, too.
    assert_eq!(lab.run(["policy", "show", "--json"]).exits(0).json()["generation"], 4);
    set(&lab, &usual(&lab, "[bandwidth]\nupload = \"20MiB/s\"\n"));
    // Without the vault it is set all the same, and what it deletes is not known.
    let (vault, away) = (lab.vault(), lab.path("away"));
    std::fs::rename(&vault, &away).unwrap();
    let path = write(&lab, &usual(&lab, ""));
    lab.run(["policy".as_ref(), "set".as_ref(), "--file".as_ref(), path.as_os_str()])
        .exits(0)
        .says("it is not known which recovery points this change deletes");
    std::fs::rename(&away, &vault).unwrap();
    let throttle = lab.run(["throttle", "show", "--json"]).exits(0).json();
    assert_eq!(throttle["upload"], "20MiB/s");
}

#[test]
fn a_backup_without_paths_does_what_the_policy_says() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    file(&lab.source().join("left.tmp"), b"out");
    file(&lab.path("elsewhere.tmp"), b"out");
    let log = lab.path("hooks");
    let hook = |word: &str| {
        format!(
            "[\"/bin/sh\", \"-c\", \"echo {word} $LOCKSTONE_STATE >> {}\"]",
            log.display()
        )
    };
    let hooks = format!("[hooks]\nbefore = {}\nafter = {}\n", hook("before"), hook("after"));
    set(&lab, &usual(&lab, &hooks));
    let done = lab.run(["backup", "--json"]).exits(0).json();
    assert!(done["point"].is_string(), "{done}");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "before\nafter Completed\n");
    let entries = lab.run(["points", "find", "*.tmp", "--json"]).exits(0).json();
    assert_eq!(entries["matches"].as_array().map_or(0, Vec::len), 0, "{entries}");
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"][0]["tags"], serde_json::json!(["on-demand"]));
    assert!(points["points"][0]["expires"].is_string(), "{points}");
    // A run of the schedule has the tags of its slot; a time without a run is refused.
    let policy = lab.run(["policy", "show", "--json"]).exits(0).json();
    let next = policy["next_run"].as_str().unwrap();
    let scheduled = lab.run(["backup", "--scheduled", next, "--json"]).exits(0).json();
    assert_eq!(scheduled["files_new"], 0, "{scheduled}");
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"][1]["tags"][0], "daily");
    lab.run(["backup", "--scheduled", "2026-01-01T02:00:01Z"])
        .exits(2)
        .says("no run of the schedule");
    // Options of items hold for each item by itself.
    let other = lab.path("other");
    tree::plain(&other);
    for source in [&other, &lab.source()] {
        file(
            &source.join("cache/CACHEDIR.TAG"),
            b"Signature: 8a477f597d28d172789f06886806bc55",
        );
        file(&source.join("cache/content"), b"cached");
    }
    let item = |more: &str| format!("[[item]]\npath = \"{}\"\n{more}", other.display());
    let policy = usual(
        &lab,
        &item("include_caches = true\none_file_system = true\nsnapshot = \"off\"\n"),
    );
    set(&lab, &policy);
    assert_eq!(lab.run(["backup", "--json"]).exits(0).json()["status"], "Completed");
    let found = lab
        .run(["points", "find", "content", "--point", "latest", "--json"])
        .exits(0)
        .json();
    let found: Vec<&str> = found["matches"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["path"].as_str())
        .collect();
    assert_eq!(found, [other.join("cache/content").to_str().unwrap()]);
    // Items that overlap must agree.
    let inner = format!(
        "[[item]]\npath = \"{}\"\nsnapshot = \"off\"\n",
        lab.source().join("cache").display()
    );
    set(&lab, &usual(&lab, &inner));
    lab.run(["backup"]).exits(2).says("and their options differ");
    set(&lab, &usual(&lab, &item("")));
    assert_eq!(lab.run(["backup", "--json"]).exits(0).json()["status"], "Completed");
    // Some of the items are no tier's backup, so they have the tag of a backup on demand alone.
    let some = ["backup", "--json", "--item", other.to_str().unwrap()];
    lab.run(some).exits(0);
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    let last = points["points"].as_array().unwrap().last().unwrap();
    assert_eq!(last["sources"], serde_json::json!([other]));
    assert_eq!(last["tags"], serde_json::json!(["on-demand"]));
    lab.run(["backup", "--item", "/no/such/item"])
        .exits(2)
        .says("the policy has no item /no/such/item");
    // A hook that must not fail stops the backup before it begins, and the other one runs all the same.
    set(
        &lab,
        &usual(
            &lab,
            &format!("[hooks]\nbefore = [\"false\"]\nafter = {}\n", hook("after")),
        ),
    );
    lab.run(["backup"]).exits(1).says("the hook before the backup failed");
    assert!(std::fs::read_to_string(&log).unwrap().ends_with("after Failed\n"));
}

#[test]
fn a_backup_by_the_policy_deletes_what_has_had_its_time() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let soon = jiff::Timestamp::now() + std::time::Duration::from_secs(4);
    let short = lab.backup_with(&["--retain-until", &soon.to_string()]).exits(0);
    drop(short);
    set(&lab, &usual(&lab, ""));
    while jiff::Timestamp::now() <= soon + std::time::Duration::from_secs(1) {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let list = || {
        lab.run(["points", "list", "--json"]).exits(0).json()["points"]
            .as_array()
            .unwrap()
            .clone()
    };
    lab.run(["policy", "pause"]).exits(0);
    let paused = lab.run(["backup", "--json"]).exits(0).json();
    assert_eq!(paused["points_forgotten"], serde_json::json!([]));
    // The first one is over, and the policy that is set again says so before it acts.
    let path = write(&lab, &usual(&lab, ""));
    lab.run(["policy".as_ref(), "set".as_ref(), "--file".as_ref(), path.as_os_str()])
        .exits(0)
        .says("this change deletes 1 recovery point");
    lab.run(["policy", "resume"]).exits(0);
    let done = lab.run(["backup", "--json"]).exits(0).json();
    let first = list()[0].clone();
    assert_eq!(done["points_forgotten"], serde_json::json!([first["id"]]));
    assert!(first["deleted"].is_string(), "{first}");
    lab.run(["points", "undelete", first["id"].as_str().unwrap()]).exits(0);
}

#[test]
fn policies_that_are_set_at_once_come_one_after_the_other() {
    let lab = Lab::new();
    let path = write(&lab, &usual(&lab, ""));
    let running: Vec<_> = (0..8)
        .map(|_| {
            let mut command = lab.command("home");
            command.args(["policy", "set", "--json", "--file"]).arg(&path);
            std::thread::spawn(move || finish(command).exits(0).json()["generation"].as_u64().unwrap())
        })
        .collect();
    let mut generations: Vec<u64> = running.into_iter().map(|one| one.join().unwrap()).collect();
    generations.sort_unstable();
    assert_eq!(generations, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn odd_policy_files_are_read_or_refused_with_words() {
    let lab = Lab::new();
    let good = usual(&lab, "");
    let set = |content: &[u8]| {
        let path = lab.path("policy.toml");
        fs::write(&path, content).unwrap();
        lab.run(["policy", "set", "--file", path.to_str().unwrap()])
    };
    set(good.replace('\n', "\r\n").as_bytes()).exits(0);
    set(&[b"\xef\xbb\xbf", good.as_bytes()].concat()).exits(0);
    set(&[good.as_bytes(), b"# \xe9\n"].concat())
        .exits(2)
        .says("not text in UTF-8");
    set(b"").exits(2).says("nothing is protected");
    let long = [good.as_bytes(), &vec![b'#'; 8 << 20]].concat();
    set(&long).exits(2).says("longer than 4 MiB");
    for (path, words) in [
        ("/dev/zero", "longer than 4 MiB"),
        ("/", "directory"),
        ("/no/such/file", "No such file"),
    ] {
        lab.run(["policy", "set", "--file", path]).exits(2).says(words);
    }
    let source = lab.source();
    let args = ["backup", source.to_str().unwrap(), "--exclude-from", "/dev/zero"];
    lab.run(args).exits(2).says("longer than 4 MiB");

    // A damaged policy can be replaced, and until then nothing goes by half of it.
    let held = lab.path("home/policy.json");
    for content in ["", "{", "garbage", "{}"] {
        fs::write(&held, content).unwrap();
        lab.run(["policy", "show"]).exits(1).says("policy.json");
        lab.run(["backup"]).exits(1).says("policy.json");
        set(good.as_bytes()).exits(0).says("the new policy replaces it");
        lab.run(["policy", "show"]).exits(0);
    }
}
