//! What a vault lost comes back with the next backup, as far as the files still have it.

use std::fs;
use std::path::PathBuf;

use crate::support::lab::{Lab, flip, noise};
use crate::support::tree::{assert_same, file};

/// A vault with a point of ten files, and the object of each that lies in that folder.
fn backed_up(kind: &str) -> (Lab, Vec<PathBuf>) {
    let lab = Lab::new();
    for number in 0..10 {
        file(&lab.source().join(format!("folder/{number}")), &noise(number, 60_000));
    }
    lab.backup();
    let objects = lab
        .objects()
        .into_iter()
        .filter(|path| path.to_string_lossy().contains(kind));
    let objects = objects.collect();
    (lab, objects)
}

#[track_caller]
fn restores_whole(lab: &Lab, to: &str) {
    let (restored, _) = lab.restore("latest", to);
    assert_same(&lab.source(), &restored);
}

#[test]
fn a_backup_stores_again_what_a_lost_segment_listed() {
    let (lab, segments) = backed_up("/segments/");
    file(&lab.source().join("later"), b"a later file");
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
        let (lab, packs) = backed_up("/packs/");
        for path in &packs {
            if flipped {
                flip(path, 100);
            } else {
                fs::remove_file(path).unwrap();
            }
        }
        let report = lab.run(["check", "--read-data", "--json"]).exits(6).json();
        assert!(report.to_string().contains("folder/3"), "{report}");
        let status = lab.run(["status", "--json"]).exits(3).json();
        assert!(
            status["warnings"].to_string().contains("packs of the vault"),
            "{status}"
        );
        lab.backup_with(&[]);
        restores_whole(&lab, "out");
        // Nothing that a point needs is missing any more.
        lab.run(["check", "--read-data", "--json"]).exits(6);
        lab.run(["status", "--json"]).exits(0);
    }
}
