//! `gc`: what no recovery point needs leaves the vault, and what one needs stays, whatever happens meanwhile.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::lab::{Lab, finish, noise};
use crate::support::tree::{file, look};

/// A vault whose deleted points cannot be brought back, and a registered server.
fn without_soft_delete() -> Lab {
    let lab = Lab::empty();
    let vault = lab.vault();
    lab.run(["vault", "create", vault.to_str().unwrap(), "--soft-delete-days", "0"])
        .exits(0);
    lab.issue(&[]);
    lab.register("home", "server", &[]).exits(0);
    lab
}

fn packs(lab: &Lab) -> Vec<(PathBuf, u64)> {
    let objects = lab.objects().into_iter();
    // A killed writer may leave a staged object, whose name is longer. It is removed when it is a week old.
    let is_pack = |path: &PathBuf| path.to_string_lossy().contains("/packs/") && path.file_name().unwrap().len() == 64;
    let packs = objects.filter(is_pack);
    packs
        .map(|path| (path.clone(), fs::metadata(&path).unwrap().len()))
        .collect()
}

fn bytes(lab: &Lab) -> u64 {
    packs(lab).iter().map(|(_, len)| len).sum()
}

fn gc(lab: &Lab, more: &[&str]) -> Value {
    let args = ["gc", "--json"].iter().chain(more).copied();
    lab.run(args).exits(0).json()
}

fn delete(lab: &Lab, point: &Value) {
    lab.run(["points", "delete", point["point"].as_str().unwrap()]).exits(0);
}

#[test]
fn what_no_point_needs_is_freed_and_the_rest_restores() {
    let lab = without_soft_delete();
    for n in 0..60 {
        file(&lab.source().join(format!("{n}")), &noise(n, 200_000));
    }
    let first = lab.backup();
    for n in 0..60 {
        if n % 2 == 0 {
            fs::remove_file(lab.source().join(format!("{n}"))).unwrap();
        }
    }
    let second = lab.backup();
    let before = look(&lab.source());
    let full = bytes(&lab);
    delete(&lab, &first);

    let dry = gc(&lab, &["--dry-run", "--grace", "0s"]);
    assert_eq!(
        (dry["dry_run"].as_bool(), dry["packs_deleted"].as_u64()),
        (Some(true), Some(0))
    );
    assert!(dry["bytes_reclaimable"].as_u64().unwrap() > 5_500_000, "{dry}");
    assert_eq!(bytes(&lab), full);

    let report = gc(&lab, &["--grace", "0s"]);
    assert_eq!(report["status"], "Completed", "{report}");
    let dead = 30 * 200_000;
    assert!(full - bytes(&lab) >= dead * 95 / 100, "{report}");
    assert_eq!(report["bytes"].as_u64(), Some(bytes(&lab)));
    let (restored, _) = lab.restore(second["point"].as_str().unwrap(), "out");
    assert_eq!(look(&restored), before);
    lab.check_clean();
    lab.run(["points", "undelete", first["point"].as_str().unwrap()])
        .exits(1)
        .says("there is no recovery point");

    let there = packs(&lab);
    let again = gc(&lab, &["--grace", "0s"]);
    assert_eq!(
        (packs(&lab), again["packs_condemned"].as_u64()),
        (there, Some(0)),
        "{again}"
    );
    // An empty cache, as on another machine, sees the same.
    fs::remove_dir_all(lab.path("home/cache")).unwrap();
    let fresh = gc(&lab, &["--grace", "0s"]);
    assert_eq!(
        (fresh["packs_condemned"].as_u64(), fresh["packs_repacked"].as_u64()),
        (Some(0), Some(0)),
        "{fresh}"
    );
    lab.check_clean();
    lab.backup();
    lab.check_clean();
}

#[test]
fn what_was_deleted_can_be_brought_back_after_a_collection() {
    let lab = Lab::new();
    file(&lab.source().join("a"), &noise(1, 300_000));
    let first = lab.backup();
    fs::remove_file(lab.source().join("a")).unwrap();
    file(&lab.source().join("b"), &noise(2, 300_000));
    lab.backup();
    delete(&lab, &first);
    let report = gc(&lab, &["--grace", "0s"]);
    assert_eq!(
        (report["packs_condemned"].as_u64(), report["points_gone"].as_u64()),
        (Some(0), Some(0))
    );
    let point = first["point"].as_str().unwrap();
    lab.run(["points", "undelete", point]).exits(0);
    let (restored, _) = lab.restore(point, "out");
    assert_eq!(fs::read(restored.join("a")).unwrap(), noise(1, 300_000));
}

#[test]
fn condemned_packs_wait_for_readers() {
    let lab = without_soft_delete();
    file(&lab.source().join("a"), &noise(1, 300_000));
    let first = lab.backup();
    file(&lab.source().join("a"), &noise(2, 300_000));
    lab.backup();
    delete(&lab, &first);
    let full = packs(&lab);
    let report = gc(&lab, &[]);
    assert_eq!(
        (report["packs_condemned"].as_u64(), report["packs_deleted"].as_u64()),
        (Some(2), Some(0))
    );
    assert!(report["bytes_reclaimable"].as_u64().unwrap() > 300_000, "{report}");
    assert_eq!(packs(&lab), full);
    let said = lab.run(["gc"]).exits(0).stdout;
    assert!(said.contains("will be freed by a later `lockstone gc`"), "{said}");
    let report = gc(&lab, &["--grace", "0s"]);
    assert_eq!((report["packs_deleted"].as_u64(), packs(&lab).len()), (Some(2), 2));
    lab.check_clean();
}

#[test]
fn an_interrupted_backup_keeps_what_it_stored_for_a_while() {
    let lab = without_soft_delete();
    file(&lab.source().join("a"), &noise(1, 300_000));
    lab.backup();
    // Packs that nothing lists, as a killed backup leaves them.
    let left = lab
        .vault()
        .join(packs(&lab)[0].0.parent().unwrap())
        .join("0".repeat(64));
    let folder = left.parent().unwrap().parent().unwrap().join("00");
    fs::create_dir_all(&folder).unwrap();
    let left = folder.join("0".repeat(64));
    fs::write(&left, b"left behind").unwrap();
    assert_eq!(gc(&lab, &[])["packs_left_behind"].as_u64(), Some(0));
    let later = std::time::SystemTime::now() - std::time::Duration::from_secs(90_000);
    fs::File::options()
        .write(true)
        .open(&left)
        .unwrap()
        .set_modified(later)
        .unwrap();
    let report = gc(&lab, &[]);
    assert_eq!(report["packs_left_behind"].as_u64(), Some(1), "{report}");
    gc(&lab, &["--grace", "0s"]);
    assert!(!left.exists());
}

#[test]
fn a_damaged_tree_stops_a_collection_and_is_named() {
    let lab = without_soft_delete();
    file(&lab.source().join("folder/a"), &noise(1, 300_000));
    let first = lab.backup();
    file(&lab.source().join("folder/a"), &noise(2, 300_000));
    lab.backup();
    delete(&lab, &first);
    let full = packs(&lab);
    // Every pack of the vault is lost, pages too. The cache is new, so the pages are not in it.
    for (pack, _) in &full {
        fs::rename(pack, pack.with_extension("gone")).unwrap();
    }
    fs::remove_dir_all(lab.path("home/cache")).unwrap();
    lab.run(["gc", "--grace", "0s"])
        .exits(6)
        .says("nothing can be collected");
    for (pack, _) in &full {
        fs::rename(pack.with_extension("gone"), pack).unwrap();
    }
    assert_eq!(packs(&lab), full);
    lab.run(["check", "--read-data"]).exits(0);
    let report = gc(&lab, &["--grace", "0s"]);
    assert_eq!(report["packs_deleted"].as_u64(), Some(2), "{report}");
    lab.check_clean();
}

#[test]
fn keys_that_may_not_delete_collect_up_to_the_condemned_packs() {
    if !crate::support::lab::root_or_skip("an immutable folder") {
        return;
    }
    let lab = without_soft_delete();
    file(&lab.source().join("a"), &noise(1, 300_000));
    let first = lab.backup();
    file(&lab.source().join("a"), &noise(2, 300_000));
    lab.backup();
    delete(&lab, &first);
    let folders: Vec<PathBuf> = packs(&lab)
        .iter()
        .map(|(pack, _)| pack.parent().unwrap().to_owned())
        .collect();
    let append_only = |flag: &str| {
        folders.iter().all(|folder| {
            let status = std::process::Command::new("chattr").arg(flag).arg(folder).status();
            status.is_ok_and(|status| status.success())
        })
    };
    if !append_only("+a") {
        eprintln!("SKIPPED: this file system has no append-only folders");
        append_only("-a");
        return;
    }
    let ran = lab.run(["gc", "--grace", "0s", "--json"]);
    append_only("-a");
    let ran = ran.exits(3).says("do not allow to delete");
    let report = ran.json();
    assert_eq!(
        (report["packs_condemned"].as_u64(), report["packs_deleted"].as_u64()),
        (Some(2), Some(0))
    );
    assert_eq!(gc(&lab, &["--grace", "0s"])["packs_deleted"].as_u64(), Some(2));
    lab.check_clean();
}

#[test]
fn a_collection_killed_at_any_step_harms_nothing() {
    let lab = without_soft_delete();
    for n in 0..40 {
        file(&lab.source().join(format!("{n}")), &noise(n, 150_000));
    }
    let first = lab.backup();
    for n in 0..20 {
        fs::remove_file(lab.source().join(format!("{}", 2 * n))).unwrap();
    }
    let second = lab.backup();
    let before = look(&lab.source());
    delete(&lab, &first);
    for round in 0..8_u64 {
        let mut child = lab.spawn(["gc", "--grace", "0s"]);
        std::thread::sleep(std::time::Duration::from_millis(15 + 25 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let out = format!("out{round}");
        let (restored, _) = lab.restore(second["point"].as_str().unwrap(), &out);
        assert_eq!(look(&restored), before, "round {round}");
    }
    gc(&lab, &["--grace", "0s"]);
    lab.check_clean();
    assert!(bytes(&lab) < 20 * 150_000 * 105 / 100, "{}", bytes(&lab));
}

#[test]
fn two_servers_of_a_domain_collect_and_back_up_at_once() {
    let lab = without_soft_delete();
    lab.register("other", "other", &["--join-domain", "server"]).exits(0);
    for n in 0..30 {
        file(&lab.source().join(format!("{n}")), &noise(n, 100_000));
    }
    let first = lab.backup();
    fs::remove_file(lab.source().join("3")).unwrap();
    lab.backup();
    delete(&lab, &first);
    for round in 0..4 {
        file(&lab.source().join("changing"), &noise(1000 + round, 400_000));
        let mut collecting = lab.spawn(["gc", "--grace", "0s"]);
        let mut backup = lab.command("other");
        backup.args(["backup", "--json"]).arg(lab.source());
        let made = finish(backup).exits(0).json();
        let mut other = lab.command("other");
        let collected = finish({
            other.args(["gc", "--grace", "0s", "--json"]);
            other
        });
        collected.exits(0);
        assert!(collecting.wait().unwrap().success());
        let (restored, _) = lab.restore(made["point"].as_str().unwrap(), &format!("out{round}"));
        assert_eq!(look(&restored), look(&lab.source()), "round {round}");
        let list = lab.run(["points", "list", "--json"]).exits(0).json();
        let point = &list["points"].as_array().unwrap().last().unwrap()["id"];
        lab.run_in("other", ["points", "delete", point.as_str().unwrap()])
            .exits(0);
    }
    gc(&lab, &["--grace", "0s"]);
    lab.check_clean();
}

#[test]
fn only_a_registered_server_collects() {
    let lab = Lab::empty();
    lab.create_vault();
    lab.run(["gc"]).exits(8).says("not registered");
    let lab = Lab::new();
    let report = gc(&lab, &["--grace", "0s"]);
    assert_eq!(
        (report["packs"].as_u64(), report["bytes"].as_u64()),
        (Some(0), Some(0)),
        "{report}"
    );
    lab.run(["gc", "--grace", "soon"]).exits(2);
    lab.run(["gc", "--repack-below", "120%"]).exits(2);
}
