//! `check --repair` heals what can be healed, and writes down what is lost. What a check found is remembered until it
//! is healed.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::lab::{Lab, flip, noise, replace};
use crate::support::tree::{assert_same, file};

/// A vault with two points of files that the second one shares with the first, and more.
fn backed_up() -> Lab {
    let lab = Lab::new();
    for number in 0..10 {
        file(&lab.source().join(format!("folder/{number}")), &noise(number, 60_000));
    }
    lab.backup();
    file(&lab.source().join("folder/later"), b"a later file");
    lab.backup();
    lab
}

fn objects(lab: &Lab, kind: &str) -> Vec<PathBuf> {
    let objects = lab.objects().into_iter();
    let mut objects: Vec<PathBuf> = objects.filter(|path| path.to_string_lossy().contains(kind)).collect();
    objects.sort();
    objects
}

fn largest(lab: &Lab, kind: &str) -> PathBuf {
    let objects = objects(lab, kind).into_iter();
    objects.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

/// The next command works as on a machine that has not seen the vault before.
fn forget_the_cache(lab: &Lab) {
    let _ = fs::remove_dir_all(lab.path("home/cache"));
}

fn open_alerts(lab: &Lab, kind: &str) -> usize {
    let listed = lab.run(["alerts", "list", "--json"]).exits(0).json();
    let alerts = listed["alerts"].as_array().unwrap();
    let open = |alert: &&Value| alert["kind"] == kind && alert.get("ended").is_none();
    alerts.iter().filter(open).count()
}

/// Asserts that every check is clean and the newest point restores, here and on a machine without a cache.
#[track_caller]
fn is_well(lab: &Lab, to: &str) {
    for _ in 0..2 {
        let report = lab.run(["check", "--read-data", "--json"]).exits(0).json();
        assert_eq!(report["ok"], true, "{report}");
        forget_the_cache(lab);
    }
    let listed = lab.run(["points", "list", "--json"]).exits(0).json();
    assert!(
        listed["points"]
            .as_array()
            .unwrap()
            .iter()
            .all(|point| point["lost_files"] == false)
    );
    lab.run(["status", "--json"]).exits(0);
    assert_eq!(open_alerts(lab, "damage"), 0);
    let target = lab.path(to);
    lab.run(["restore", "latest", "--target", target.to_str().unwrap()])
        .exits(0);
    assert_same(&lab.source(), &lab.restored(to));
}

#[test]
fn a_pack_that_is_flipped_cut_or_gone_is_healed_by_repair_and_the_next_backup() {
    for harm in ["flipped", "cut", "gone"] {
        let lab = backed_up();
        let pack = largest(&lab, "/packs/");
        match harm {
            "flipped" => flip(&pack, 100),
            "cut" => {
                let whole = fs::read(&pack).unwrap();
                replace(&pack, &whole[..whole.len() / 2]);
            }
            _ => fs::remove_file(&pack).unwrap(),
        }
        let report = lab.run(["check", "--read-data", "--repair", "--json"]).exits(6).json();
        assert!(!report["repaired"].as_array().unwrap().is_empty(), "{harm}: {report}");
        assert_eq!(open_alerts(&lab, "damage"), 1, "{harm}");
        // The mark and what was found outlive the cache.
        forget_the_cache(&lab);
        let listed = lab.run(["points", "list", "--json"]).exits(0).json();
        assert_eq!(listed["points"][0]["lost_files"], true, "{harm}: {listed}");
        lab.run(["check", "--json"]).exits(6);
        lab.run(["status", "--json"]).exits(3);
        assert_eq!(open_alerts(&lab, "damage"), 1, "nothing new: {harm}");
        // The source still has everything.
        lab.backup_with(&[]);
        let report = lab.run(["check", "--repair", "--json"]).exits(0).json();
        assert_eq!(report["ok"], true, "{harm}: {report}");
        is_well(&lab, "out");
    }
}

#[test]
fn a_lost_segment_is_made_anew() {
    let lab = backed_up();
    for segment in objects(&lab, "/segments/") {
        fs::remove_file(segment).unwrap();
    }
    forget_the_cache(&lab);
    lab.run(["check", "--json"]).exits(6);
    let report = lab.run(["check", "--repair", "--json"]).exits(0).json();
    assert!(report["repaired"].to_string().contains("/segments/"), "{report}");
    is_well(&lab, "out");
}

#[test]
fn a_lost_log_entry_is_put_back_or_written_down() {
    for cached in [true, false] {
        let lab = backed_up();
        file(&lab.source().join("folder/last"), b"the last file");
        lab.backup();
        let entry = objects(&lab, "/log/").remove(1);
        flip(&entry, 40);
        if !cached {
            forget_the_cache(&lab);
        }
        lab.run(["check", "--json"]).exits(6);
        let report = lab.run(["check", "--repair", "--json"]).exits(0).json();
        assert_eq!(report["ok"], true, "{report}");
        assert_eq!(objects(&lab, "/quarantine/").len(), usize::from(cached));
        is_well(&lab, "out");
    }
}

#[test]
fn a_backup_after_a_repair_takes_nothing_over_that_is_lost() {
    let lab = backed_up();
    // Nothing says any more what the first point stored, and the content is gone, too.
    fs::remove_file(largest(&lab, "/packs/")).unwrap();
    flip(&objects(&lab, "/log/").remove(0), 40);
    forget_the_cache(&lab);
    lab.run(["check", "--repair", "--json"]).exits(6);
    lab.backup_with(&[]);
    lab.run(["check", "--repair", "--json"]).exits(0);
    is_well(&lab, "out");
}

#[test]
fn credentials_repair_nothing() {
    let lab = backed_up();
    fs::remove_file(largest(&lab, "/packs/")).unwrap();
    let credentials = lab.credentials();
    let args = [
        "check",
        "--repair",
        "--credentials",
        credentials.to_str().unwrap(),
        "--source-server",
        "web1",
    ];
    let before = objects(&lab, "/domains/");
    lab.run(args).exits(5).says("not repair");
    assert_eq!(objects(&lab, "/domains/"), before);
}

#[test]
fn a_share_is_read_each_time() {
    let lab = backed_up();
    let first = lab.run(["check", "--within", "30d", "--json"]).exits(0).json();
    // The packs are small, so a share may be several of them.
    assert!(first["packs_read"].as_u64().unwrap() >= 1, "{first}");
    let all = lab.run(["check", "--read-data", "--json"]).exits(0).json();
    assert_eq!(all["packs_read"], all["packs"], "{all}");
}

#[test]
fn a_restore_on_trial_compares_and_tells_of_damage() {
    let lab = backed_up();
    // The file is not the one that was backed up any more.
    file(&lab.source().join("folder/3"), b"changed");
    let ran = lab.run(["test-restore", "--files", "50", "--json"]).exits(0).json();
    // A file that was written in the moment of the backup counts as changed.
    let (with_source, by_ids) = (
        ran["compared_with_source"].as_u64().unwrap(),
        ran["compared_by_ids"].as_u64().unwrap(),
    );
    assert!(with_source + by_ids == 11 && by_ids >= 1, "{ran}");
    assert!(!lab.path("home/test-restore").exists());
    let pack = largest(&lab, "/packs/");
    let whole = fs::read(&pack).unwrap();
    flip(&pack, 100);
    lab.run(["test-restore", "--files", "50", "--json"]).exits(6);
    assert_eq!(open_alerts(&lab, "test"), 1);
    assert!(!lab.path("home/test-restore").exists());
    replace(&pack, &whole);
    lab.run(["test-restore", "--files", "50", "--json"]).exits(0);
    assert_eq!(open_alerts(&lab, "test"), 0);
    let jobs = lab.run(["jobs", "list", "--json"]).exits(0).json();
    assert!(jobs.to_string().contains("\"test\""), "{jobs}");
}
