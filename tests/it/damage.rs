//! Damage in a vault is detected and reported, together with what is lost by it; everything else can still be restored.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::lab::{Lab, flip, noise, replace};
use crate::support::tree::{self, file, look};

/// A vault with two points and several packs.
fn two_points() -> Lab {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    for number in 0..30 {
        file(&lab.source().join(format!("second/{number}")), &noise(number, 100_000));
    }
    lab.backup();
    lab
}

/// One object of each kind, with the name of its folder.
fn one_of_each(lab: &Lab) -> Vec<(&'static str, PathBuf)> {
    let objects = lab.objects();
    let mut chosen = Vec::new();
    for kind in [
        "/packs/",
        "/segments/",
        "/log/",
        "/keys/",
        "registration",
        "/jobs/",
        "lockstone.json",
    ] {
        let found: Vec<&PathBuf> = objects
            .iter()
            .filter(|path| path.to_string_lossy().contains(kind))
            .collect();
        assert!(!found.is_empty(), "no object {kind}");
        for path in found {
            chosen.push((kind, path.clone()));
        }
    }
    chosen
}

/// Checks with an empty cache folder, as another machine would.
fn check(lab: &Lab) -> (Option<i32>, Value, String) {
    let _ = fs::remove_dir_all(lab.path("home/cache"));
    let ran = lab.run(["check", "--read-data", "--json"]);
    (ran.code, ran.json(), ran.stderr)
}

fn object_name(lab: &Lab, path: &Path) -> String {
    path.strip_prefix(lab.vault()).unwrap().to_str().unwrap().to_owned()
}

/// Asserts that the check reports the damaged object.
#[track_caller]
fn assert_named(lab: &Lab, path: &Path, what: &str) {
    let (code, report, stderr) = check(lab);
    assert_eq!(code, Some(6), "{what} {}: {report}\n{stderr}", path.display());
    let name = object_name(lab, path);
    let said = format!("{report}{stderr}");
    assert!(said.contains(&name), "{what} {name} is not named: {report}\n{stderr}");
}

/// Damages one object after another, each restored before the next.
fn each_object(damage: impl Fn(&Path, usize), what: &str) {
    let lab = two_points();
    let mut tried = 0;
    for (place, (kind, path)) in one_of_each(&lab).into_iter().enumerate() {
        let whole = fs::read(&path).unwrap();
        damage(&path, place);
        assert_named(&lab, &path, &format!("{what} {kind}"));
        let _ = fs::remove_file(&path);
        fs::write(&path, whole).unwrap();
        tried += 1;
    }
    assert!(tried > 10);
    let (code, report, _) = check(&lab);
    assert_eq!(code, Some(0), "{report}");
}

#[test]
fn a_flipped_bit_is_found_in_every_kind_of_object() {
    each_object(|path, place| flip(path, (place as u64) * 7919 + 11), "flipped");
}

#[test]
fn a_truncated_object_is_found() {
    each_object(
        |path, _| {
            let whole = fs::read(path).unwrap();
            replace(path, &whole[..whole.len() / 2]);
        },
        "truncated",
    );
}

#[test]
fn an_empty_object_is_found() {
    each_object(|path, _| replace(path, b""), "emptied");
}

#[test]
fn a_missing_pack_segment_or_log_entry_is_found() {
    let lab = two_points();
    for (kind, path) in one_of_each(&lab) {
        // A missing job record or key slot cannot be told from one that never existed. The same holds for the last log
        // entry, except on a server whose state folder remembers it.
        if !matches!(
            kind,
            "/packs/" | "/segments/" | "/log/" | "registration" | "lockstone.json"
        ) {
            continue;
        }
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let (code, report, stderr) = check(&lab);
        assert_eq!(code, Some(6), "{kind} {}: {report}\n{stderr}", path.display());
        fs::write(&path, whole).unwrap();
    }
    lab.check_clean();
}

#[test]
fn what_is_not_damaged_still_comes_back_and_what_is_lost_is_named() {
    let lab = Lab::new();
    file(&lab.source().join("old/a"), &noise(1, 3_000_000));
    lab.backup();
    let old = look(&lab.source());
    let known: Vec<PathBuf> = lab.objects();
    file(&lab.source().join("new/b"), &noise(2, 3_000_000));
    let second = lab.backup();
    // The pack with the data of the second point is the largest new one.
    let packs = lab
        .objects()
        .into_iter()
        .filter(|path| !known.contains(path) && path.to_string_lossy().contains("/packs/"));
    let pack = packs.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    flip(&pack, 1_000_000);

    let (code, report, _) = check(&lab);
    assert_eq!(code, Some(6));
    let damage = &report["damaged"][0];
    assert_eq!(damage["object"].as_str().unwrap(), object_name(&lab, &pack), "{report}");
    assert_eq!(damage["points"][0], second["point"], "{report}");
    assert_eq!(damage["points"].as_array().unwrap().len(), 1, "{report}");
    let path = lab.source().join("new/b");
    assert!(
        damage["paths"]
            .as_array()
            .unwrap()
            .iter()
            .any(|p| p.as_str() == path.to_str()),
        "{report}"
    );

    let points = lab.run(["points", "list", "--json"]);
    let points = points.json();
    let first = points["points"][0]["id"].as_str().unwrap();
    let (restored, _) = lab.restore(first, "first");
    crate::support::tree::assert_like(&old, &look(&restored));
    let target = lab.path("second");
    let ran = lab.run(["restore", "latest", "--json", "--target", target.to_str().unwrap()]);
    assert_eq!(ran.code, Some(6), "{}", ran.stderr);
    assert!(ran.stdout.contains("new/b"), "{}", ran.stdout);
    assert_eq!(
        fs::read(lab.restored("second").join("old/a")).unwrap(),
        noise(1, 3_000_000)
    );
    assert!(!lab.restored("second").join("new/b").exists());
}

#[test]
fn a_log_that_was_cut_back_is_noticed() {
    let lab = two_points();
    let mut log: Vec<PathBuf> = lab
        .objects()
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("/log/"))
        .collect();
    log.sort();
    fs::remove_file(log.last().unwrap()).unwrap();
    let ran = lab.run(["check", "--json"]);
    assert_eq!(ran.code, Some(6), "{} {}", ran.stdout, ran.stderr);
}

#[test]
fn objects_that_trade_places_are_found() {
    let lab = two_points();
    for kind in ["/packs/", "/segments/", "/log/"] {
        let found: Vec<PathBuf> = lab
            .objects()
            .into_iter()
            .filter(|path| path.to_string_lossy().contains(kind))
            .collect();
        let (a, b) = (&found[0], &found[1]);
        let (content_a, content_b) = (fs::read(a).unwrap(), fs::read(b).unwrap());
        replace(a, &content_b);
        replace(b, &content_a);
        let (code, report, stderr) = check(&lab);
        assert_eq!(code, Some(6), "{kind}: {report} {stderr}");
        replace(a, &content_a);
        replace(b, &content_b);
    }
    lab.check_clean();
}

#[test]
fn rubbish_beside_the_objects_does_no_harm() {
    let lab = two_points();
    let packs = lab
        .objects()
        .into_iter()
        .find(|path| path.to_string_lossy().contains("/packs/"))
        .unwrap();
    fs::write(packs.with_file_name("rubbish"), "rubbish").unwrap();
    fs::write(lab.vault().join("README"), "a note of the operator").unwrap();
    lab.backup();
    lab.check_clean();
}
