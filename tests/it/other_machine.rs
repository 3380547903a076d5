//! When a machine is lost, its backups can be restored elsewhere, with the credentials and the passphrase.

use std::fs;
use std::path::Path;

use crate::support::lab::{Lab, Ran, finish};
use crate::support::tree::{self, assert_same, file};

fn restore_elsewhere(lab: &Lab, secret: &str, more: &[&str]) -> Ran {
    let mut command = lab.command("another-home");
    command
        .env("LOCKSTONE_PASSPHRASE", secret)
        .args(["restore", "latest", "--json", "--credentials"]);
    command
        .arg(lab.credentials())
        .args(["--source-server", "server", "--target"])
        .arg(lab.path("elsewhere"))
        .args(more);
    finish(command)
}

fn elsewhere(lab: &Lab) -> std::path::PathBuf {
    lab.restored("elsewhere")
}

#[test]
fn a_machine_that_never_saw_the_server_restores_it() {
    let lab = Lab::new();
    tree::odd(&lab.source());
    lab.backup();
    restore_elsewhere(&lab, crate::support::lab::PASSPHRASE, &[]).exits(0);
    assert_same(&lab.source(), &elsewhere(&lab));
    // The machine is not registered by that, and no keys stay on it.
    assert!(!lab.path("another-home/machine.key").exists());
    assert!(!lab.path("another-home/cache").exists());
    let mut look = lab.command("another-home");
    look.args(["points", "list", "--json", "--source-server", "server", "--credentials"])
        .arg(lab.credentials());
    assert_eq!(finish(look).exits(0).json()["points"].as_array().unwrap().len(), 1);
}

#[test]
fn a_wrong_passphrase_restores_nothing() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    for wrong in ["correct horse battery stapler", "short", "näh"] {
        let ran = restore_elsewhere(&lab, wrong, &[]).exits(5);
        assert_eq!(ran.json()["error"]["code"], "wrong-passphrase");
    }
    assert!(!lab.path("elsewhere").exists());
}

#[test]
fn the_recovery_key_does_what_the_passphrase_does() {
    let lab = Lab::empty();
    lab.create_vault();
    let registered = lab.register("home", "server", &[]).exits(0).json();
    let recovery = registered["recovery_key"].as_str().unwrap().to_owned();
    tree::plain(&lab.source());
    lab.backup();
    restore_elsewhere(&lab, &recovery, &[]).exits(0);
    assert_same(&lab.source(), &elsewhere(&lab));
    let mistyped = recovery.replacen(|c: char| c.is_ascii_alphanumeric(), "0", 3);
    if mistyped != recovery {
        restore_elsewhere(&lab, &mistyped, &[]).exits(5);
    }
}

#[test]
fn expired_credentials_and_unknown_servers_are_refused() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let mut command = lab.command("another-home");
    command
        .args([
            "restore",
            "latest",
            "--target",
            "x",
            "--source-server",
            "nobody",
            "--credentials",
        ])
        .arg(lab.credentials());
    finish(command).exits(1).says("nobody");
    lab.issue(&["--valid-days", "0"]);
    restore_elsewhere(&lab, crate::support::lab::PASSPHRASE, &[]).exits(5);
    let mut command = lab.command("another-home");
    command
        .args(["restore", "latest", "--target", "x", "--credentials"])
        .arg(lab.credentials());
    finish(command).exits(2);
}

#[test]
fn the_passphrase_can_be_tried_and_changed() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let with = |passphrase: &str, args: &[&str]| {
        let mut command = lab.command("home");
        command
            .env("LOCKSTONE_PASSPHRASE", passphrase)
            .env("LOCKSTONE_NEW_PASSPHRASE", "another passphrase, also long");
        command.args(args);
        finish(command)
    };
    with(crate::support::lab::PASSPHRASE, &["passphrase", "validate"]).exits(0);
    with("not this passphrase, surely", &["passphrase", "validate"]).exits(5);
    let change = [
        "passphrase",
        "change",
        "--json",
        "--kdf-memory-mib",
        "8",
        "--kdf-passes",
        "1",
    ];
    with("not this passphrase, surely", &change).exits(5);
    assert_eq!(
        with(crate::support::lab::PASSPHRASE, &change).exits(0).json()["old_removed"],
        true
    );
    with(crate::support::lab::PASSPHRASE, &["passphrase", "validate"]).exits(5);
    with("another passphrase, also long", &["passphrase", "validate"]).exits(0);
    restore_elsewhere(&lab, crate::support::lab::PASSPHRASE, &[]).exits(5);
    restore_elsewhere(&lab, "another passphrase, also long", &[]).exits(0);
    assert_same(&lab.source(), &elsewhere(&lab));
    lab.backup();
}

#[test]
fn a_machine_set_up_anew_finds_its_backups() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let first = lab.backup();
    fs::remove_dir_all(lab.path("home")).unwrap();
    let wrong = lab.path("wrong");
    fs::write(&wrong, "a passphrase that is not it\n").unwrap();
    lab.register("home", "server", &["--passphrase-file", wrong.to_str().unwrap()])
        .exits(5)
        .says("--new-domain");
    let again = lab.register("home", "server", &[]).exits(0).json();
    assert_eq!(again["joined"], true);
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"][0]["id"], first["point"]);
    let (restored, _) = lab.restore("latest", "out");
    assert_same(&lab.source(), &restored);
    let second = lab.backup();
    assert_eq!(second["bytes_new"], 0, "{second}");
    lab.check_clean();
}

#[test]
fn a_new_domain_starts_afresh() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    lab.run(["unregister"]).exits(0);
    lab.run(["points", "list"]).exits(8);
    lab.register("home", "server", &["--new-domain"]).exits(0);
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"].as_array().unwrap().len(), 0);
    let second = lab.backup();
    assert!(second["bytes_new"].as_u64().unwrap() > 3 << 20, "{second}");
}

#[test]
fn servers_of_a_domain_share_what_they_store() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    lab.register("second-home", "second", &["--join-domain", "server"])
        .exits(0);
    file(
        &lab.path("copy/large.bin"),
        &fs::read(lab.source().join("large.bin")).unwrap(),
    );
    let copy = lab.path("copy");
    let backup = ["backup".as_ref(), "--json".as_ref(), copy.as_os_str()];
    let report = lab.run_in("second-home", backup).exits(0).json();
    assert_eq!(report["bytes_new"], 0, "{report}");
    // Each server sees the other's points, and `latest` means its own.
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"].as_array().unwrap().len(), 2);
    let mine = lab.run(["points", "ls", "latest", "--json"]).exits(0).json();
    assert!(mine["entries"].as_array().unwrap().len() > 3);
    let theirs = points["points"][1]["id"].as_str().unwrap();
    lab.run(["points", "delete", theirs]).exits(5);
    lab.restore(theirs, "theirs");
    assert!(
        lab.path("theirs")
            .join(copy.strip_prefix("/").unwrap_or(Path::new("")))
            .join("large.bin")
            .exists()
    );
    lab.register("third-home", "third", &["--join-domain", "nobody"])
        .exits(1);
    lab.check_clean();
}

#[test]
fn without_its_slot_a_machine_key_opens_nothing() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    // A copy of the state folder, as a thief would make it.
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(lab.path("home"))
        .arg(lab.path("stolen"))
        .status();
    assert!(copied.unwrap().success());
    let steal = || {
        let mut command = lab.command("stolen");
        command.env_remove("LOCKSTONE_PASSPHRASE").args(["points", "list"]);
        finish(command)
    };
    steal().exits(0);
    lab.run(["unregister"]).exits(0);
    steal().exits(5);
}

#[test]
fn a_second_server_of_the_same_name_hides_no_backups() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let mut second = lab.command("second");
    second
        .env("LOCKSTONE_PASSPHRASE", "another passphrase of the second")
        .args(["register", "--json", "--kdf-memory-mib", "8", "--kdf-passes", "1"])
        .args(["--server-name", "server", "--new-domain", "--credentials"])
        .arg(lab.credentials());
    finish(second).exits(0).says("is taken already");
    let vault = lab.vault();
    let servers = lab
        .run(["vault", "servers", "--json", vault.to_str().unwrap()])
        .exits(0)
        .json();
    let ids: Vec<&str> = servers["servers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|server| server["id"].as_str().or(server["server_id"].as_str()).unwrap())
        .collect();
    assert_eq!(ids.len(), 2);
    let credentials = lab.credentials();
    let listed = |word: &str| {
        let args = [
            "points",
            "list",
            "--json",
            "--credentials",
            credentials.to_str().unwrap(),
            "--source-server",
            word,
        ];
        lab.run_in("elsewhere", args)
    };
    // By the name, the passphrase selects. By ids, only one of the two has these backups.
    let by_name = listed("server").exits(0).json();
    assert_eq!(by_name["points"].as_array().unwrap().len(), 1);
    let mut codes: Vec<Option<i32>> = ids.iter().map(|id| listed(id).code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(5)]);
}

#[test]
fn of_two_registrations_at_once_one_counts() {
    let lab = Lab::empty();
    lab.create_vault();
    let lab = std::sync::Arc::new(lab);
    let running: Vec<_> = (0..4)
        .map(|_| {
            let lab = std::sync::Arc::clone(&lab);
            std::thread::spawn(move || lab.register("home", "server", &["--new-domain"]).code)
        })
        .collect();
    let mut codes: Vec<_> = running.into_iter().map(|one| one.join().unwrap()).collect();
    codes.sort_unstable();
    // Those that found the lock taken for too long, or the server registered.
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, Some(0 | 7 | 8))), "{codes:?}");
    crate::support::tree::file(&lab.source().join("file"), b"content");
    lab.backup();
    lab.check_clean();
}
