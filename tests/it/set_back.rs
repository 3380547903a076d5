//! A vault that an older copy of itself replaced, and objects at the end of a log that are no entries.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::lab::{Lab, finish};
use crate::support::tree::{assert_same, file};

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(from).arg(to);
    finish(copy).exits(0);
}

/// A server that has seen a later state of the vault than the one that is there. The source has a file of then.
fn set_back() -> Lab {
    let lab = Lab::new();
    file(&lab.source().join("first"), b"first");
    lab.backup();
    copy(&lab.vault(), &lab.path("older"));
    file(&lab.source().join("second"), b"second");
    lab.backup();
    copy(&lab.path("older"), &lab.vault());
    lab
}

#[test]
fn a_vault_that_was_set_back_is_not_written_to_and_the_way_out_is_said() {
    for without_cache in [false, true] {
        let lab = set_back();
        if without_cache {
            fs::remove_dir_all(lab.path("home/cache")).unwrap();
        }
        let before = lab.objects();
        for command in [
            &["backup", lab.source().to_str().unwrap()][..],
            &["points", "delete", "latest"],
        ] {
            lab.run(command)
                .exits(6)
                .says("the vault's log went back: entry 2 was there, now it is missing")
                .says("`lockstone unregister`");
        }
        // The records of failed jobs are all that is new.
        let mut new = lab.objects().into_iter().filter(|object| !before.contains(object));
        assert!(new.all(|object| object.to_string_lossy().contains("/jobs/")));
        let status = lab.run(["status", "--json"]).exits(3).json();
        assert!(
            status["warnings"].to_string().contains("the vault was set back"),
            "{status}"
        );
        let listed = lab.run(["points", "list"]).exits(6);
        assert!(listed.stderr.contains("the vault was set back"), "{}", listed.stderr);
        lab.run(["check"]).exits(6);

        // What the copy has can be restored.
        let points = lab.run(["points", "list", "--json"]).json();
        let first = points["points"][0]["id"].as_str().unwrap().to_owned();
        let target = lab.path("out");
        lab.run(["restore", &first, "--target", target.to_str().unwrap()])
            .exits(0);
        assert_eq!(fs::read(lab.restored("out").join("first")).unwrap(), b"first");

        // The way out that the hint says.
        lab.run(["unregister"]).exits(0);
        assert!(!lab.path("home/cache").exists(), "nothing is left of the cache");
        lab.register("home", "server", &[]).exits(0);
        lab.backup();
        lab.check_clean();
        lab.run(["status"]).exits(0);
        let (restored, _) = lab.restore("latest", "after");
        assert_same(&lab.source(), &restored);
    }
}

#[test]
fn an_object_at_the_end_of_the_log_that_is_no_entry_is_said_once() {
    let lab = Lab::new();
    file(&lab.source().join("file"), b"content");
    lab.backup();
    let log = lab
        .objects()
        .into_iter()
        .find(|path| path.to_string_lossy().contains("/log/"));
    let log = log.unwrap().parent().unwrap().to_owned();
    fs::write(log.join(format!("{:016x}", 2)), "junk").unwrap();
    lab.run(["points", "list"]).exits(6).says("0000000000000002");
    lab.backup_with(&[])
        .exits(3)
        .says("0000000000000002 counts as no log entry from now on")
        .says("if it held a recovery point, that point is lost");
    let again = lab.backup();
    assert_eq!(again["status"], "Completed", "{again}");
    let report = lab.run(["check", "--json"]).exits(0).json();
    assert!(report["harmless"].to_string().contains("0000000000000002"), "{report}");
    for list in [
        &["points", "list", "--json"][..],
        &["vault", "points", lab.vault().to_str().unwrap(), "--json"],
    ] {
        let listed = lab.run(list).exits(0).json();
        assert_eq!(listed["points"].as_array().unwrap().len(), 3, "{listed}");
    }
}
