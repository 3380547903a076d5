//! What a vault lost comes back with the next backup, as far as the files still have it.

use std::fs;
use std::path::PathBuf;

use crate::support::lab::{Lab, flip, noise};
use crate::support::running::agent;
use crate::support::tree::{assert_same, file};
use crate::support::web::{page, until, value};

/// A vault with a point of ten files in one folder.
fn backed_up() -> Lab {
    let lab = Lab::new();
    for number in 0..10 {
        file(&lab.source().join(format!("folder/{number}")), &noise(number, 60_000));
    }
    lab.backup();
    lab
}

fn objects(lab: &Lab, kind: &str) -> Vec<PathBuf> {
    let objects = lab.objects().into_iter();
    objects.filter(|path| path.to_string_lossy().contains(kind)).collect()
}

/// Asserts that the newest point restores whole, whatever else is damaged.
#[track_caller]
fn restores_whole(lab: &Lab, to: &str) {
    let target = lab.path(to);
    lab.run(["restore", "latest", "--target", target.to_str().unwrap()]);
    assert_same(&lab.source(), &lab.restored(to));
}

#[test]
fn a_backup_stores_again_what_a_lost_segment_listed() {
    let lab = backed_up();
    let segments = objects(&lab, "/segments/");
    // The folder's page is in a later segment than the content of its files.
    file(&lab.source().join("folder/later"), b"a later file");
    lab.backup();
    for path in segments {
        fs::remove_file(path).unwrap();
    }
    fs::remove_dir_all(lab.path("home/cache")).unwrap();
    lab.backup_with(&[]);
    restores_whole(&lab, "out");
}

#[test]
fn a_backup_stores_again_what_a_check_found_lost() {
    for flipped in [false, true] {
        let lab = backed_up();
        let packs = objects(&lab, "/packs/");
        let largest = packs.iter().max_by_key(|path| fs::metadata(path).unwrap().len());
        let content = largest.unwrap();
        if flipped {
            flip(content, 100);
        } else {
            fs::remove_file(content).unwrap();
        }
        let report = lab.run(["check", "--read-data", "--json"]).exits(6).json();
        assert!(report.to_string().contains("folder/"), "{report}");
        let status = lab.run(["status", "--json"]).exits(3).json();
        assert!(
            status["warnings"].to_string().contains("damaged or missing"),
            "{status}"
        );
        lab.backup_with(&[]);
        restores_whole(&lab, "out");
        // Nothing that a point needs is missing any more. The damaged object still is what it is, and is named.
        let report = lab.run(["check", "--read-data", "--json"]).exits(0).json();
        assert!(report["harmless"].to_string().contains("/packs/"), "{report}");
        lab.run(["status", "--json"]).exits(0);
    }
}

#[test]
fn the_agents_metric_counts_damaged_packs_until_they_are_healed() {
    let lab = backed_up();
    let (_agent, address) = agent(&lab);
    let counts = |wanted: f64| {
        until("the agent has read the last job's record", || {
            let found = value(&page(&address, "/metrics"), "lockstone_vault_distrusted_packs");
            (found == Some(wanted)).then_some(())
        });
    };
    counts(0.0);
    let packs = objects(&lab, "/packs/");
    let content = packs.iter().max_by_key(|path| fs::metadata(path).unwrap().len());
    fs::remove_file(content.unwrap()).unwrap();
    lab.run(["check"]).exits(6);
    counts(1.0);
    lab.backup_with(&[]);
    // That no point needs the lost pack any more is known when every point was walked.
    lab.run(["check"]).exits(0);
    counts(0.0);
}
