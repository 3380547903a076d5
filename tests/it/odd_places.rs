//! Machines that are not as they should be: a state folder that is full, read-only or copied, no /proc, a clock that
//! was wrong, paths through links. The program says what is wrong, and what can be done still works.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::lab::{Lab, Ran, finish, noise, root_or_skip};
use crate::support::tree::{self, file};

/// Runs a shell script in a mount namespace of its own, with the program as `$LOCKSTONE` and the environment of the
/// lab. `None` if this machine does not allow that.
fn in_own_mounts(lab: &Lab, script: &str) -> Option<Ran> {
    if !root_or_skip("a mount namespace") {
        return None;
    }
    let probe = Command::new("unshare")
        .args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"])
        .output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!("SKIPPED: mounts are not allowed here");
        return None;
    }
    let own = lab.command("home");
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-ec", script])
        .env_clear()
        .current_dir(&lab.root);
    for (name, value) in own.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.env("LOCKSTONE", own.get_program());
    Some(finish(command))
}

fn lab() -> Lab {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    lab
}

#[test]
fn a_read_only_state_folder_can_still_be_read_from() {
    let lab = lab();
    let read_only = "mount --bind home home; mount -o remount,ro,bind home";
    let Some(ran) = in_own_mounts(&lab, &format!("{read_only}; \"$LOCKSTONE\" points list")) else {
        return;
    };
    let ran = ran.exits(0).says("read-only");
    assert!(ran.stdout.contains("Completed"), "{}", ran.stdout);
    let restore = "\"$LOCKSTONE\" restore latest --target out";
    let Some(ran) = in_own_mounts(&lab, &format!("{read_only}; {restore}")) else {
        return;
    };
    ran.exits(1)
        .says("Read-only file system")
        .says("LOCKSTONE_HOME on another disk")
        .says("--credentials");
    // The way out that the hint names.
    let way_out = format!(
        "{read_only}; LOCKSTONE_HOME=elsewhere {restore} --credentials {} --source-server server",
        lab.credentials().display()
    );
    let Some(ran) = in_own_mounts(&lab, &way_out) else {
        return;
    };
    ran.exits(0);
    assert!(lab.restored("out").join("a.txt").exists());
}

#[test]
fn points_are_listed_although_the_disk_of_the_cache_is_full() {
    let lab = lab();
    let script = "mkdir full; mount -t tmpfs -o size=4m,mode=700 none full; cp -a home/. full/; \
                  cat /dev/zero >full/fill 2>/dev/null || true; export LOCKSTONE_HOME=$PWD/full; \
                  \"$LOCKSTONE\" points list";
    let Some(ran) = in_own_mounts(&lab, script) else {
        return;
    };
    let ran = ran.exits(0).says("reading without");
    assert!(ran.stdout.contains("Completed"), "{}", ran.stdout);
}

#[test]
fn a_full_state_folder_is_told_apart_from_a_full_vault() {
    let lab = lab();
    let full = "mkdir full; mount -t tmpfs -o size=256k,mode=700 none full; cp home/agent.json home/machine.key full/; \
                mkdir full/jobs full/snapshots; cat /dev/zero >full/fill 2>/dev/null || true; export \
                LOCKSTONE_HOME=$PWD/full";
    let Some(ran) = in_own_mounts(
        &lab,
        &format!("{full}; \"$LOCKSTONE\" restore latest --target out --json"),
    ) else {
        return;
    };
    let ran = ran
        .exits(1)
        .says("No space left on device")
        .says("free space on that disk");
    assert_eq!(ran.json()["error"]["code"], "shortage");
}

#[test]
fn without_proc_a_backup_and_a_restore_are_made() {
    let lab = Lab::new();
    // The attributes of symbolic links and devices cannot be read without /proc, which is a warning.
    file(&lab.source().join("a.txt"), b"the first file");
    lab.backup();
    let script = "mount -t tmpfs none /proc; \"$LOCKSTONE\" backup source --full --json --log-level info; \"$LOCKSTONE\" backup source \
                  --snapshot off -q; \"$LOCKSTONE\" restore latest --target out -q";
    let Some(ran) = in_own_mounts(&lab, script) else {
        return;
    };
    let ran = ran.exits(0);
    let report: Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(report["consistency"], "live", "{report}");
    assert!(ran.stderr.contains("/proc/self/mountinfo"), "{}", ran.stderr);
    assert!(lab.restored("out").join("a.txt").exists());
    let must = "mount -t tmpfs none /proc; \"$LOCKSTONE\" backup source --snapshot require";
    let Some(ran) = in_own_mounts(&lab, must) else { return };
    ran.exits(1).says("/proc/self/mountinfo");
}

#[test]
fn a_copied_state_folder_is_noticed_by_both() {
    let lab = lab();
    let copied = Command::new("cp")
        .args(["-a", "home", "home2"])
        .current_dir(&lab.root)
        .status();
    assert!(copied.unwrap().success());
    let source = lab.source();
    let backup = |home: &str| lab.run_in(home, ["backup".as_ref(), source.as_os_str()]).exits(0);
    assert_eq!(backup("home").stderr.matches("another copy").count(), 0);
    backup("home2").says("another copy of this state folder makes backups as this server");
    backup("home")
        .says("another copy of this state folder")
        .says("unregister --offline");
    for home in ["home", "home2"] {
        let status = lab.run_in(home, ["status", "--json"]).exits(3).json();
        let warnings = status["warnings"].to_string();
        assert!(warnings.contains("another copy"), "{home}: {warnings}");
    }
}

#[test]
fn a_damaged_registration_is_said_and_the_way_out_leads_on() {
    let lab = lab();
    let path = lab.path("home/agent.json");
    for content in ["", "garbage", "{}"] {
        fs::write(&path, content).unwrap();
        for args in [
            &["backup", "source"][..],
            &["points", "list"],
            &["policy", "show"],
            &["unregister"],
        ] {
            lab.run(args).exits(1).says("agent.json").says("move it away");
        }
    }
    fs::rename(&path, lab.path("damaged")).unwrap();
    lab.run(["points", "list"]).exits(8).says("`lockstone register");
    lab.register("home", "server", &[]).exits(0);
    lab.backup();
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"].as_array().unwrap().len(), 2, "{points}");
}

#[test]
fn a_job_from_the_future_hides_nothing() {
    let lab = lab();
    let jobs = lab.path("home").join("jobs");
    let record = fs::read_dir(&jobs).unwrap().next().unwrap().unwrap().path();
    let mut value: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    assert!(
        value["seen"]["newest_point"].as_str().unwrap().starts_with("20"),
        "{value}"
    );
    let job = "f".repeat(32);
    value["job"] = job.clone().into();
    value["started"] = "2999-01-01T00:00:00Z".into();
    value["ended"] = "2999-01-01T00:01:00Z".into();
    value["status"] = "Failed".into();
    value.as_object_mut().unwrap().remove("point");
    fs::write(jobs.join(format!("{job}.json")), value.to_string()).unwrap();
    let listed = lab.run(["jobs", "list", "--json"]).exits(0).json();
    let listed = listed["jobs"].as_array().unwrap();
    assert_eq!(listed.last().unwrap()["job"], job.as_str());
    let status = lab.run(["status", "--json"]).exits(0).json();
    assert_eq!(status["warnings"].as_array().unwrap().len(), 0, "{status}");
}

#[test]
fn status_knows_the_last_point_while_the_vault_is_away() {
    let lab = lab();
    fs::rename(lab.vault(), lab.path("away")).unwrap();
    let ran = lab.run(["status", "--store-patience", "1s"]).exits(3);
    assert!(ran.stdout.contains("as the backup of"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("none yet"), "{}", ran.stdout);
}

#[test]
fn a_path_through_a_link_is_found() {
    let lab = Lab::new();
    file(&lab.path("disk/bob/f"), b"hello");
    std::os::unix::fs::symlink(lab.path("disk"), lab.path("link")).unwrap();
    let through = lab.path("link/bob");
    lab.run(["backup".as_ref(), through.as_os_str()]).exits(0);
    let named = through.join("f");
    for args in [
        &["points", "ls", "latest"][..],
        &["restore", "latest", "--target", "out"],
    ] {
        let mut command = lab.command("home");
        command.args(args).arg(&named);
        finish(command).exits(0);
    }
    let restored = lab.path("out").join(lab.path("disk/bob/f").strip_prefix("/").unwrap());
    assert_eq!(fs::read(restored).unwrap(), b"hello");
}

#[test]
fn metrics_that_cannot_be_written_are_a_warning() {
    let lab = lab();
    let nowhere = lab.path("nowhere/metrics.prom");
    lab.backup_with(&["--metrics-textfile", nowhere.to_str().unwrap()])
        .exits(3)
        .says("cannot write the metrics");
}

#[test]
fn help_is_a_document_too() {
    let lab = Lab::empty();
    for args in [
        &["--help", "--json"][..],
        &["help", "backup", "--json"],
        &["--json", "restore", "-h"],
    ] {
        let page = lab.run(args).exits(0).json();
        assert!(page["page"].as_str().unwrap().contains("Usage:"), "{args:?}");
    }
    let version = lab.run(["--version", "--json"]).exits(0).json();
    assert!(version["page"].as_str().unwrap().starts_with("lockstone "));
}

/// Runs a command on a terminal, with an answer typed.
fn on_terminal(lab: &Lab, line: &str, typed: &str) -> String {
    let own = lab.command("home");
    let mut command = Command::new("sh");
    command.env_clear().current_dir(&lab.root);
    for (name, value) in own.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let program = Path::new(own.get_program()).display();
    command.args([
        "-c",
        &format!("printf '{typed}\\n' | script -qec '{program} {line}' /dev/null"),
    ]);
    finish(command).stdout
}

#[test]
fn a_terminal_is_asked_before_a_point_is_deleted() {
    let lab = lab();
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("SKIPPED: script(1) is needed");
        return;
    }
    let alive = || {
        let points = lab.run(["points", "list", "--json"]).exits(0).json();
        points["points"][0]["deleted"].is_null()
    };
    let said = on_terminal(&lab, "points delete latest", "n");
    assert!(
        said.contains("Delete ") && said.contains("nothing was deleted"),
        "{said}"
    );
    assert!(alive());
    let said = on_terminal(&lab, "points delete latest", "y");
    assert!(said.contains("undoes this until 20"), "{said}");
    assert!(!alive());
    lab.run(["points", "list"]).exits(0);
}

#[test]
fn the_operator_learns_that_a_job_was_interrupted() {
    let lab = Lab::new();
    file(&lab.source().join("large"), &noise(1, 16 << 20));
    let jobs = || {
        let vault = lab.vault();
        let args = ["vault".as_ref(), "jobs".as_ref(), vault.as_os_str(), "--json".as_ref()];
        let mut jobs: Vec<(String, String)> = Vec::new();
        for job in lab.run(args).exits(0).json()["jobs"].as_array().unwrap() {
            let text = |name: &str| job[name].as_str().unwrap_or_default().to_owned();
            jobs.push((text("status"), text("error")));
        }
        jobs.sort();
        jobs
    };
    let source = lab.source();
    let mut child = lab.spawn(["backup", source.to_str().unwrap(), "--upload-limit", "256KiB/s"]);
    while jobs().is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was seen");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    lab.backup();
    let told = [("Completed", ""), ("Failed", "interrupted")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(jobs(), told);
}

#[test]
fn a_copy_beside_a_file_is_named() {
    let lab = lab();
    fs::write(lab.source().join("a.txt"), "something else").unwrap();
    let ran = lab.run(["restore", "latest", "--original"]).exits(0);
    assert!(ran.stdout.contains("a (lockstone 20"), "{}", ran.stdout);
    assert!(ran.stdout.contains("put beside files that differ:"), "{}", ran.stdout);
}
