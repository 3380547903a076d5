//! Every command that needs the store tells a store that is away, refuses, has expired keys, is full or has archived
//! its objects apart from a damaged vault, and ends with the exit code of that fault.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use crate::stores::source;
use crate::support::fault_proxy::{Fault, Proxy};
use crate::support::lab::{Lab, finish};
use crate::support::servers;
use crate::support::tree::assert_same;

/// Status and code of an answer, the exit code, and words of the message.
const FAULTS: [(u16, &str, i32, &str); 5] = [
    (503, "SlowDown", 1, "s3://vaults/all"),
    (403, "AccessDenied", 5, "docs/operations.md"),
    (400, "ExpiredToken", 5, "expired"),
    (403, "InvalidObjectState", 5, "archive"),
    (507, "InsufficientCapacity", 1, "full"),
];

#[test]
fn every_command_says_what_is_wrong_with_its_store() {
    let Some(server) = servers::moto() else { return };
    let proxy = Proxy::new(&server.endpoint);
    let url = server.url("all");
    let lab = Lab::elsewhere(&url, &server.env_at(&proxy.endpoint));
    lab.create_vault();
    lab.register("home", "server", &[]).exits(0);
    source(&lab);
    lab.backup();
    let source = lab.source();
    let path = |name: &str| lab.path(name).to_str().unwrap().to_owned();
    let (target, out) = (path("never"), path("never.vaultcredentials"));
    let commands: [&[&str]; 18] = [
        &["vault", "create", "s3://vaults/all/other"],
        &["vault", "points", &url],
        &["vault", "servers", &url],
        &["vault", "jobs", &url],
        &["vault", "credentials", &url, "--out", &out],
        &["points", "list"],
        &["points", "ls", "latest"],
        &["points", "find", "*"],
        &["points", "delete", "00000000"],
        &["restore", "latest", "--target", &target],
        &["check"],
        &["check", "--read-data"],
        &["backup", source.to_str().unwrap()],
        &["cache", "check"],
        &["cache", "rebuild"],
        &["passphrase", "validate"],
        &["passphrase", "change"],
        &["status"],
    ];
    for (status, code, exit, words) in FAULTS {
        proxy.set(Fault::Refuse(status, code));
        for command in commands {
            let mut run = lab.command("home");
            run.env("LOCKSTONE_NEW_PASSPHRASE", "another passphrase, long enough");
            run.args(command).args(["--store-patience", "300ms"]);
            let ran = finish(run);
            if command == ["status"] {
                // It needs no store to say what this server knows.
                assert!(ran.code.is_some_and(|code| code != 6), "{}", ran.stderr);
                continue;
            }
            let ran = ran.exits(exit).says(words);
            assert!(!ran.stderr.contains("damaged"), "{command:?} {code}: {}", ran.stderr);
        }
        let new = lab.register("new", "new", &["--store-patience", "300ms"]);
        new.exits(exit).says(words);
    }
    proxy.set(Fault::None);
    lab.check_clean();
    let (restored, _) = lab.restore("latest", "out");
    assert_same(&source, &restored);
}

#[test]
fn a_restore_that_its_store_stops_calls_nothing_damaged_and_can_go_on() {
    let Some(server) = servers::moto() else { return };
    let proxy = Proxy::new(&server.endpoint);
    let lab = Lab::elsewhere(&server.url("stopped"), &server.env_at(&proxy.endpoint));
    lab.create_vault();
    lab.register("home", "server", &[]).exits(0);
    source(&lab);
    lab.backup();
    let restore = |target: &str, more: &[&str]| {
        let mut command = lab.command("home");
        command.args(["restore", "latest", "--target", target]).args(more);
        finish(command)
    };
    for (status, code, exit, words) in FAULTS {
        if status == 507 {
            continue;
        }
        proxy.set(Fault::RefusePacksAfter(1, status, code));
        let words = if status == 503 { "stopped" } else { words };
        let ran = restore(&format!("{status}{code}"), &["--store-patience", "300ms"])
            .exits(exit)
            .says(words);
        assert!(!ran.stderr.contains("damaged"), "{code}: {}", ran.stderr);
    }
    proxy.set(Fault::None);
    for (status, code, ..) in FAULTS.iter().filter(|fault| fault.0 != 507) {
        let target = format!("{status}{code}");
        restore(&target, &[]).exits(0);
        assert_same(&lab.source(), &lab.restored(&target));
    }
    // What a store did is not remembered as damage.
    lab.run(["status"]).exits(0);
}

#[test]
fn no_vault_is_made_inside_another() {
    let lab = Lab::new();
    let inside = lab.vault().join("packs/inner");
    lab.run(["vault".as_ref(), "create".as_ref(), inside.as_os_str()])
        .exits(1)
        .says("is inside the vault");
    assert!(!inside.exists());
    let Some(server) = servers::moto() else { return };
    let lab = Lab::elsewhere(&server.url("outer"), &server.env());
    lab.create_vault();
    lab.run(["vault", "create", &server.url("outer/some/where")])
        .exits(1)
        .says("is inside the vault s3://vaults/outer");
    lab.run(["vault", "create", &server.url("outer2")]).exits(0);
}

#[test]
fn a_server_follows_a_vault_that_moved_and_no_other() {
    let lab = Lab::new();
    source(&lab);
    lab.backup();
    let there = lab.path("there");
    std::fs::rename(lab.vault(), &there).unwrap();
    let args = ["register".as_ref(), "--moved-to".as_ref(), there.as_os_str()];
    std::fs::create_dir(lab.vault()).unwrap();
    lab.run(["check"]).exits(1).says("lockstone register --moved-to");
    let other = Lab::new();
    let vault = other.vault();
    let wrong = ["register".as_ref(), "--moved-to".as_ref(), vault.as_os_str()];
    lab.run(wrong).exits(8).says("another vault");
    lab.run(["register"]).exits(2).says("--credentials");
    lab.run(args).exits(0);
    lab.backup();
    lab.check_clean();
    lab.run_in("nobody", args).exits(8);
}

#[test]
fn one_bad_answer_is_not_damage() {
    let Some(server) = servers::moto() else { return };
    let proxy = Proxy::new(&server.endpoint);
    let lab = Lab::elsewhere(&server.url("garbled"), &server.env_at(&proxy.endpoint));
    lab.create_vault();
    lab.register("home", "server", &[]).exits(0);
    source(&lab);
    lab.backup();
    // No page of the tree comes from the cache.
    lab.run(["cache", "rebuild"]).exits(0);
    proxy.set(Fault::GarblePacksOnce);
    lab.run(["points", "ls", "latest"]).exits(0);
    let (restored, report) = lab.restore("latest", "out");
    assert_eq!(report["status"], "Completed", "{report}");
    assert_same(&lab.source(), &restored);
    assert!(proxy.harmed() > 0);
    lab.run(["status"]).exits(0);
}

#[test]
fn a_signal_ends_every_wait_for_a_store() {
    let Some(server) = servers::moto() else { return };
    let proxy = Proxy::new(&server.endpoint);
    let url = server.url("deaf");
    let lab = Lab::elsewhere(&url, &server.env_at(&proxy.endpoint));
    lab.create_vault();
    lab.register("home", "server", &[]).exits(0);
    source(&lab);
    lab.backup();
    let source = lab.source();
    let target = lab.path("out").to_str().unwrap().to_owned();
    let backup: &[&str] = &["backup", "--full", source.to_str().unwrap()];
    let restore: &[&str] = &["restore", "latest", "--target", &target];
    let never = Fault::Delay(Duration::from_secs(3600));
    let away = Fault::RefusePacksAfter(0, 503, "SlowDown");
    let waits: [(Fault, &[&str]); 9] = [
        (never, backup),
        (never, restore),
        (never, &["check"]),
        (never, &["vault", "points", &url]),
        (never, &["points", "list"]),
        (never, &["passphrase", "validate"]),
        (never, &["cache", "rebuild"]),
        (away, restore),
        (away, &["check", "--read-data"]),
    ];
    for (fault, command) in waits {
        proxy.set(fault);
        let mut run = lab.command("home");
        run.args(command).args(["--store-patience", "20m"]);
        let mut child = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while proxy.harmed() == 0 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
        // Without the signal it would wait for 20 minutes and end with 1.
        assert_eq!(child.wait().unwrap().code(), Some(4), "{fault:?} {command:?}");
    }
    proxy.set(Fault::None);
    lab.check_clean();
}
