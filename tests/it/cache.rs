//! The cache folder: its rules are asked before each job, its place is recorded twice, and it moves without being lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::lab::{Lab, root_or_skip};
use crate::support::running::slow_backup;
use crate::support::tree::{self, file};

const RULES: [&str; 8] = [
    "place",
    "space",
    "storage",
    "link",
    "encryption",
    "compression",
    "sparse",
    "deduplication",
];

fn lab() -> Lab {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    lab
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn rule(document: &Value, name: &str) -> Value {
    let rules = document["rules"].as_array().unwrap();
    rules.iter().find(|rule| rule["rule"] == name).unwrap().clone()
}

/// What `free` is now, in bytes, as the program sees it.
fn free_at(path: &Path) -> u64 {
    let stat = rustix::fs::statvfs(path).unwrap();
    stat.f_bavail * stat.f_frsize
}

/// Makes the records of the jobs say that so much is protected.
fn protect(lab: &Lab, bytes: u64) {
    for entry in fs::read_dir(lab.path("home/jobs")).unwrap() {
        let path = entry.unwrap().path();
        let mut record = read(&path);
        if record["seen"].is_object() {
            record["seen"]["protected_bytes"] = bytes.into();
            fs::write(&path, record.to_string()).unwrap();
        }
    }
}

fn alerts(lab: &Lab, kind: &str) -> Vec<Value> {
    let listed = lab.run(["alerts", "list", "--json"]).json();
    let all = listed["alerts"].as_array().unwrap().clone();
    all.into_iter().filter(|alert| alert["kind"] == kind).collect()
}

#[test]
fn each_rule_is_reported() {
    let lab = lab();
    let document = lab.run(["cache", "check", "--json"]).exits(0).json();
    let names: Vec<&Value> = document["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| &rule["rule"])
        .collect();
    assert_eq!(names, RULES);
    assert_eq!(document["ok"], true);
    assert_eq!(document["points"], 1);
    assert!(document["bytes"].as_u64().unwrap() > 0 && document["log_entries"].as_u64().unwrap() > 0);
    lab.run(["cache", "check"]).exits(0);
    let moved = lab.run(["cache", "rebuild", "--json"]).exits(0).json();
    assert_eq!(rule(&moved, "place")["state"], "ok");
}

#[test]
fn how_much_must_be_free_can_be_set() {
    let lab = Lab::empty();
    let usual = lab.run(["cache", "rules", "--json"]).exits(0).json();
    let expected = json!({"refuse_percent": 5, "warn_percent": 10, "system_state_bytes": 35_u64 << 30});
    assert_eq!(usual, expected);
    lab.run(["cache", "rules", "--refuse-percent", "1", "--warn-percent", "2"])
        .exits(0);
    let set = lab
        .run(["cache", "rules", "--system-state-bytes", "1GiB", "--json"])
        .exits(0)
        .json();
    assert_eq!(
        set,
        json!({"refuse_percent": 1, "warn_percent": 2, "system_state_bytes": 1 << 30})
    );
    assert_eq!(lab.run(["cache", "rules", "--json"]).exits(0).json(), set);
    lab.run(["cache", "rules", "--refuse-percent", "3"]).exits(2);
    lab.run(["cache", "rules", "--refuse-percent", "101"]).exits(2);
    fs::write(lab.path("home/cache.json"), "{").unwrap();
    lab.run(["cache", "rules"]).exits(1);
    lab.run(["cache", "rules", "--refuse-percent", "3"]).exits(0);
}

#[test]
fn a_backup_is_refused_where_too_little_is_free_and_a_restore_warns() {
    let lab = lab();
    protect(&lab, free_at(&lab.path("home")) * 40);
    let refused = lab.backup_with(&[]).exits(1);
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "cache-space", "{error}");
    for way_out in ["free space", "cache move", "cache rules"] {
        assert!(error["hint"].as_str().unwrap().contains(way_out), "{error}");
    }
    assert_eq!(alerts(&lab, "failure").len(), 1);
    let check = lab.run(["cache", "check", "--json"]).exits(1).json();
    assert_eq!(
        (&check["ok"], &rule(&check, "space")["state"]),
        (&json!(false), &json!("refuse"))
    );
    lab.run(["backup", text(&lab.source()), "--dry-run"])
        .exits(3)
        .says("short of space");
    assert!(alerts(&lab, "cache").is_empty(), "a dry run raises nothing");
    lab.run(["restore", "latest", "--target", text(&lab.path("out"))])
        .exits(0)
        .says("short of space");
    assert_eq!(alerts(&lab, "cache").len(), 1);
    // The restore has seen what is protected.
    lab.backup();
    protect(&lab, free_at(&lab.path("home")) * 40);
    lab.run(["cache", "rules", "--refuse-percent", "0", "--warn-percent", "0"])
        .exits(0);
    lab.backup();
}

#[test]
fn a_backup_warns_where_little_is_free() {
    let lab = lab();
    protect(&lab, free_at(&lab.path("home")) * 14);
    let report = lab.backup_with(&[]).exits(3).json();
    assert_eq!(report["status"], "CompletedWithWarnings");
    let warned = report["warnings"][0]["message"].as_str().unwrap();
    assert!(warned.contains("short of space"), "{warned}");
    assert_eq!(alerts(&lab, "cache")[0]["job"], report["job"]);
    protect(&lab, free_at(&lab.path("home")) * 14);
    lab.run(["cache", "check"]).exits(3);
}

#[test]
fn a_cache_that_is_not_where_it_belongs_is_refused() {
    let lab = lab();
    let (settings, stamp) = (lab.path("home/agent.json"), lab.path("home/cache/cache.stamp"));
    let before = (read(&settings), read(&stamp));
    assert_eq!(
        (&before.0["cache_id"], &before.0["server_id"]),
        (&before.1["id"], &before.1["server_id"])
    );
    for (member, value, why) in [
        ("server_id", "00".repeat(16).into(), "another server"),
        ("path", json!("/elsewhere"), "moved by hand"),
        ("id", json!("01"), "not the cache"),
        ("version", json!(7), "cannot be read"),
    ] {
        let mut other = before.1.clone();
        other[member] = value;
        fs::write(&stamp, other.to_string()).unwrap();
        let refused = lab.backup_with(&[]).exits(1).says(why);
        assert_eq!(refused.json()["error"]["code"], "cache-place");
        let check = lab.run(["cache", "check", "--json"]).exits(1).json();
        assert_eq!(rule(&check, "place")["state"], "refuse");
        assert!(check["points"].is_null());
        lab.run(["cache", "move", text(&lab.path("new"))]).exits(1);
        assert_eq!(read(&stamp), other, "it stays as it is");
        lab.run(["restore", "latest", "--target", text(&lab.path("out"))])
            .exits(0)
            .says(why);
    }
    lab.run(["cache", "rebuild"]).exits(0);
    assert_ne!(read(&stamp)["id"], before.1["id"]);
    assert_eq!(lab.backup()["bytes_new"], 0);
}

#[test]
fn a_missing_stamp_or_folder_is_made_and_a_copied_state_folder_goes_on() {
    let lab = lab();
    let stamp = lab.path("home/cache/cache.stamp");
    let first = read(&stamp);
    fs::remove_file(&stamp).unwrap();
    lab.backup();
    assert_eq!(read(&stamp), first);
    fs::remove_dir_all(lab.path("home/cache")).unwrap();
    lab.backup();
    assert_eq!(read(&stamp), first);
    // Settings of an older version have no id.
    let mut settings = read(&lab.path("home/agent.json"));
    settings.as_object_mut().unwrap().remove("cache_id");
    fs::write(lab.path("home/agent.json"), settings.to_string()).unwrap();
    lab.run(["cache", "check"]).exits(0);
    assert_eq!(read(&lab.path("home/agent.json"))["cache_id"], first["id"]);
    let copied = Command::new("cp")
        .arg("-a")
        .arg(lab.path("home"))
        .arg(lab.path("copy"))
        .status();
    assert!(copied.unwrap().success());
    lab.run_in("copy", ["cache", "check"]).exits(0);
}

#[test]
fn a_link_in_the_place_of_the_folder_is_refused() {
    let lab = lab();
    fs::rename(lab.path("home/cache"), lab.path("real")).unwrap();
    std::os::unix::fs::symlink(lab.path("real"), lab.path("home/cache")).unwrap();
    lab.run(["cache", "check"]).exits(1).says("symbolic link");
    let refused = lab.backup_with(&[]).exits(1);
    assert_eq!(refused.json()["error"]["code"], "cache-folder");
    // Moving is the way out, and leaves alone what the link leads to.
    lab.run(["cache", "move", text(&lab.path("new"))]).exits(0);
    lab.backup();
    assert!(lab.path("real/index").exists());
}

#[test]
fn a_move_leaves_the_old_folder_until_a_backup_has_succeeded() {
    let lab = lab();
    let old = lab.path("home/cache");
    fs::write(old.join("mine"), "mine").unwrap();
    let new = lab.path("moved/cache");
    let moved = lab.run(["cache", "move", text(&new), "--json"]).exits(0).json();
    assert_eq!((&moved["folder"], &moved["old_folder"]), (&json!(new), &json!(old)));
    assert!(old.join("index").exists() && !new.join("mine").exists());
    let (settings, stamp) = (read(&lab.path("home/agent.json")), read(&new.join("cache.stamp")));
    assert_eq!(
        (&settings["cache"], &settings["cache_id"]),
        (&stamp["path"], &stamp["id"])
    );
    // A failed backup is no good one, and a restore is no backup.
    lab.run(["backup", text(&lab.path("nothing"))]).exits(1);
    lab.restore("latest", "out");
    lab.run(["backup", text(&lab.source()), "--dry-run"]).exits(0);
    assert!(old.join("index").exists());
    // Neither folder is a part of a backup.
    let all = lab.run(["backup", text(&lab.path("")), "--json"]).json();
    assert!(all["point"].is_string(), "{all}");
    let found = lab.run(["points", "find", "cache.stamp", "--json"]).exits(0).json();
    assert!(!found.to_string().contains("moved/cache/cache.stamp"), "{found}");
    let left: Vec<PathBuf> = fs::read_dir(&old).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [old.join("mine")]);
    assert!(read(&lab.path("home/agent.json"))["old_cache"].is_null());
    assert_eq!(lab.backup()["bytes_new"], 0);
    lab.check_clean();
}

#[test]
fn a_cache_moves_on_and_back() {
    let lab = lab();
    let home = lab.path("home/cache");
    let (one, two) = (lab.path("one"), lab.path("two"));
    lab.run(["cache", "move", text(&one)]).exits(0);
    lab.run(["cache", "move", text(&home)]).exits(0);
    assert!(read(&lab.path("home/agent.json"))["cache"].is_null());
    lab.run(["cache", "move", text(&two)]).exits(0);
    assert!(!one.exists() && home.exists(), "the oldest has gone");
    for bad in ["two", "two/inner", "source", "vault/cache", "."] {
        let ran = lab.run(["cache", "move", text(&lab.path(bad))]);
        assert!(matches!(ran.code, Some(1 | 2)), "{bad}: {:?}", ran.code);
    }
    assert_eq!(lab.backup()["bytes_new"], 0);
    assert!(!home.exists());
    lab.run(["cache", "move", text(&one)]).exits(0);
    lab.run(["unregister"]).exits(0);
    assert!(!one.exists() && !two.exists());
}

#[test]
fn a_cache_does_not_move_while_a_job_runs() {
    let lab = Lab::new();
    let (mut running, _) = slow_backup(&lab);
    lab.run(["cache", "move", text(&lab.path("new"))]).exits(7);
    lab.run(["cache", "check"]).exits(7);
    assert!(!lab.path("new").exists());
    running.end_by(rustix::process::Signal::TERM);
}

#[test]
fn a_move_needs_no_vault() {
    let lab = lab();
    fs::rename(lab.vault(), lab.path("away")).unwrap();
    lab.run(["cache", "move", text(&lab.path("new"))])
        .exits(3)
        .says("could not be brought up to date");
    fs::rename(lab.path("away"), lab.vault()).unwrap();
    assert_eq!(lab.backup()["bytes_new"], 0);
}

/// Killed at any instant, one cache is used and can be; the next move goes through.
#[cfg(feature = "failpoints")]
#[test]
fn a_move_that_is_killed_leaves_one_cache() {
    use crate::support::web::until;
    for (at, is_moved) in [
        ("cache-copying", false),
        ("cache-copied", false),
        ("cache-switched", true),
    ] {
        let lab = lab();
        let (old, new) = (lab.path("home/cache"), lab.path("new"));
        let mut command = lab.command("home");
        command.args(["cache", "move", text(&new)]);
        command.env("FAILPOINTS", format!("{at}=pause"));
        let mut child = command.spawn().unwrap();
        until("it has come so far", || {
            let there = if is_moved {
                read(&lab.path("home/agent.json"))["old_cache"].is_string()
            } else {
                new.join("cache.stamp").exists()
                    && new.join("index").exists()
                    && (at == "cache-copying" || new.join("index.files").exists())
            };
            there.then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let (used, other) = if is_moved { (&new, &old) } else { (&old, &new) };
        let check = lab.run(["cache", "check", "--json"]).exits(0).json();
        assert_eq!(check["folder"], json!(used), "{at}");
        assert!(other.exists(), "{at}");
        if is_moved {
            assert_eq!(lab.backup()["bytes_new"], 0);
            assert!(!other.exists(), "{at}");
        } else {
            lab.run(["cache", "move", text(&new)]).exits(0);
            assert_eq!(lab.backup()["bytes_new"], 0);
            assert!(!old.exists(), "{at}");
        }
        lab.check_clean();
    }
}

#[test]
fn memory_is_temporary_and_a_sparse_image_is_refused() {
    let lab = lab();
    let in_memory = tempfile::tempdir_in("/dev/shm");
    match &in_memory {
        Ok(folder)
            if Command::new("stat")
                .args(["-f", "-c", "%T", "/dev/shm"])
                .output()
                .is_ok_and(|out| out.stdout == b"tmpfs\n") =>
        {
            let moved = lab
                .run(["cache", "move", text(&folder.path().join("cache")), "--json"])
                .exits(3)
                .json();
            assert_eq!(rule(&moved, "storage")["state"], "warn");
            lab.backup();
            lab.run(["cache", "check"]).exits(3).says("temporary storage");
            lab.run(["cache", "move", text(&lab.path("back"))]).exits(0);
            lab.backup();
        }
        _ => eprintln!("SKIPPED: /dev/shm is not in memory here"),
    }
    if !root_or_skip("mounting an image") {
        return;
    }
    let (image, at) = (lab.path("image"), lab.path("volume"));
    fs::create_dir(&at).unwrap();
    fs::File::create(&image).unwrap().set_len(128 << 20).unwrap();
    let run = |program: &str, args: &[&str]| {
        let ran = Command::new(program).args(args).output();
        ran.is_ok_and(|out| out.status.success())
    };
    if !run("mkfs.ext4", &["-q", text(&image)]) || !run("mount", &["-o", "loop", text(&image), text(&at)]) {
        eprintln!("SKIPPED: no ext4 image can be mounted");
        return;
    }
    let ran = lab.run(["cache", "move", text(&at.join("cache")), "--json"]);
    let made = at.join("cache").exists();
    let unmounted = run("umount", &[text(&at)]);
    let error = ran.exits(1).json()["error"].clone();
    assert_eq!(error["code"], "cache-folder", "{error}");
    assert!(error["message"].as_str().unwrap().contains("sparse file"), "{error}");
    assert!(!made && unmounted);
}

#[test]
fn a_policy_with_the_system_state_asks_for_more() {
    let lab = Lab::new();
    file(&lab.source().join("a"), b"a");
    let policy = format!(
        "system_state = true\npackage_check = false\n[[item]]\npath = {:?}\n",
        lab.source()
    );
    fs::write(lab.path("policy.toml"), policy).unwrap();
    lab.run(["policy", "set", "--file", text(&lab.path("policy.toml"))])
        .exits(0);
    lab.run(["cache", "rules", "--system-state-bytes", "1000TiB"]).exits(0);
    let refused = lab.run(["backup", "--json"]).exits(1).says("for the system state");
    assert_eq!(refused.json()["error"]["code"], "cache-space");
}
