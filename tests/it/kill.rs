//! However a run ends, nothing that was committed is lost, and the next run continues from there.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::lab::Lab;
use crate::support::running::{large, signal, until_it_stores};
use crate::support::tree::{self, Seen, assert_like, assert_same, look};

/// How often a run is killed; `LOCKSTONE_KILLS=50` for a long test.
fn rounds() -> u64 {
    std::env::var("LOCKSTONE_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(8)
}

#[test]
fn a_backup_killed_at_any_instant_harms_nothing() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let first = look(&lab.source());
    large(&lab, 0);
    // How long a whole run takes here is used only to choose when to kill the next ones.
    let begun = Instant::now();
    lab.backup();
    let whole = begun.elapsed();
    for round in 1..=rounds() {
        large(&lab, round);
        let source = lab.source();
        let mut child = lab.spawn([
            "backup".as_ref(),
            source.as_os_str(),
            "--checkpoint-seconds".as_ref(),
            "1".as_ref(),
        ]);
        let part = u32::try_from((round * 7919) % 100).unwrap();
        std::thread::sleep(whole * part / 100);
        let _ = child.kill();
        child.wait().unwrap();
        // Every earlier point still exists.
        let points = lab.run(["points", "list", "--json"]).exits(0).json();
        assert!(
            points["points"].as_array().unwrap().len() > usize::try_from(round).unwrap() / 2,
            "{points}"
        );
        // The next run completes the work.
        lab.backup();
        fs::remove_dir_all(lab.source().join("large")).unwrap();
    }
    lab.check_clean();
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    let oldest = points["points"][0]["id"].as_str().unwrap();
    let (restored, _) = lab.restore(oldest, "oldest");
    assert_like(&first, &look(&restored));
    lab.backup();
    let (restored, _) = lab.restore("latest", "latest");
    assert_same(&lab.source(), &restored);
}

#[test]
fn a_cancelled_backup_ends_in_order_and_the_next_goes_on() {
    for kind in [Signal::INT, Signal::TERM] {
        let lab = Lab::new();
        tree::plain(&lab.source());
        lab.backup();
        for seed in 0..4 {
            large(&lab, seed);
        }
        let before = lab.objects().len();
        let source = lab.source();
        // Slow enough that it cannot end before the signal arrives.
        let args = [
            "backup",
            source.to_str().unwrap(),
            "--json",
            "--upload-limit",
            "4MiB/s",
            "--checkpoint-seconds",
            "1",
        ];
        let mut child = lab.spawn(args);
        until_it_stores(&lab, &mut child, before + 1);
        signal(&child, kind);
        assert_eq!(child.wait().unwrap().code(), Some(4));
        let points = lab.run(["points", "list", "--json"]).exits(0).json();
        assert_eq!(points["points"].as_array().unwrap().len(), 1);
        let jobs = lab.run(["jobs", "list", "--json"]).exits(0).json();
        assert_eq!(jobs["jobs"][0]["status"], "Cancelled");
        lab.backup();
        lab.check_clean();
        let (restored, _) = lab.restore("latest", "out");
        assert_same(&lab.source(), &restored);
    }
}

#[test]
fn a_killed_restore_leaves_nothing_that_looks_whole_and_is_not_and_the_next_goes_on() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    for seed in 0..2 {
        large(&lab, seed);
    }
    lab.backup();
    let whole = look(&lab.source());
    let mut unfinished = 0;
    for round in 0..rounds() {
        let to = format!("out-{round}");
        let target = lab.path(&to);
        let args = ["restore", "latest", "--target", target.to_str().unwrap()];
        // Slow enough that it cannot end before it is killed.
        let mut child = lab.spawn(args.iter().chain(&["--download-limit", "20MiB/s"]));
        std::thread::sleep(Duration::from_millis(400 + round * 7919 % 2500));
        let _ = child.kill();
        child.wait().unwrap();
        let restored = lab.restored(&to);
        if restored.exists() {
            for (path, seen) in look(&restored) {
                match (seen.kind, seen.mode) {
                    ("file", 0o1600) | ("folder", 0o1700) => unfinished += 1,
                    _ if path.as_encoded_bytes().ends_with(b".part") => unfinished += 1,
                    _ => {
                        // Further names of the file may still be missing.
                        let (links, same_as) = (whole[&path].links, whole[&path].same_as.clone());
                        assert_eq!(Seen { links, same_as, ..seen }, whole[&path], "{}", path.display());
                    }
                }
            }
        }
        let report = lab.run(args.iter().chain(&["--json"])).exits(0).json();
        assert_eq!(
            (&report["copies"], &report["warnings_total"]),
            (&0.into(), &0.into()),
            "{report}"
        );
        assert_same(&lab.source(), &restored);
        fs::remove_dir_all(&target).unwrap();
    }
    assert!(unfinished > 0, "no restore was killed while it wrote");
}

#[test]
fn what_a_checkpoint_has_is_neither_read_nor_stored_again() {
    let lab = Lab::new();
    for seed in 0..4 {
        large(&lab, seed);
    }
    let source = lab.source();
    let before = lab.objects().len();
    let args = [
        "backup",
        source.to_str().unwrap(),
        "--upload-limit",
        "16MiB/s",
        "--checkpoint-seconds",
        "1",
    ];
    let mut child = lab.spawn(args);
    // The second log entry is the checkpoint.
    for _ in 0..4000 {
        let entries = lab
            .objects()
            .iter()
            .filter(|path| path.to_string_lossy().contains("/log/"))
            .count();
        if entries >= 2 || child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&child, Signal::INT);
    let code = child.wait().unwrap().code();
    let stored: u64 = lab
        .objects()
        .iter()
        .filter(|path| path.to_string_lossy().contains("/packs/"))
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    let report = lab.backup();
    if code == Some(4) && lab.objects().len() > before {
        assert!(stored > 0);
        assert!(report["files_resumed"].as_u64().unwrap() > 0, "{report}");
        let read = report["bytes_read"].as_u64().unwrap();
        assert!(read < report["bytes_scanned"].as_u64().unwrap(), "{report}");
    }
    let (restored, _) = lab.restore("latest", "out");
    assert_same(&lab.source(), &restored);
    lab.check_clean();
}

#[test]
fn a_cancelled_restore_leaves_no_half_file_under_its_name() {
    let lab = Lab::new();
    for seed in 0..4 {
        large(&lab, seed);
    }
    lab.backup();
    let target = lab.path("out");
    let mut child = lab.spawn([
        "restore",
        "latest",
        "--target",
        target.to_str().unwrap(),
        "--download-limit",
        "8MiB/s",
    ]);
    let restored = lab.restored("out");
    for _ in 0..2000 {
        if restored.join("large").exists() || child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&child, Signal::INT);
    child.wait().unwrap();
    if restored.exists() {
        tree::assert_partial(&look(&lab.source()), &look(&restored));
    }
    lab.restore("latest", "out");
    assert_same(&lab.source(), &restored);
}
