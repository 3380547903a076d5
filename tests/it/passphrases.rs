//! What opens the backups: passphrase, recovery key, machine key; and what is left when some of them are lost. The
//! table in docs/operations.md has the cases.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::lab::{Lab, PASSPHRASE, Ran, finish};
use crate::support::tree::{self, assert_same};

const NEW: &str = "another passphrase, also long";
const KDF: [&str; 4] = ["--kdf-memory-mib", "8", "--kdf-passes", "1"];

/// A run with a passphrase, or with none.
fn with(lab: &Lab, home: &str, passphrase: Option<&str>, args: &[&str]) -> Ran {
    let mut command = lab.command(home);
    command.env_remove("LOCKSTONE_PASSPHRASE").args(args);
    if let Some(passphrase) = passphrase {
        command.env("LOCKSTONE_PASSPHRASE", passphrase);
    }
    finish(command)
}

/// A lab with a point, and the recovery key.
fn lab() -> (Lab, String) {
    let lab = Lab::empty();
    lab.create_vault();
    let registered = lab.register("home", "server", &[]).exits(0).json();
    tree::plain(&lab.source());
    lab.backup();
    (lab, registered["recovery_key"].as_str().unwrap().to_owned())
}

fn register(lab: &Lab, home: &str, passphrase: &str) -> Ran {
    let credentials = lab.credentials();
    let args = [
        "register",
        "--json",
        "--server-name",
        "server",
        "--credentials",
        credentials.to_str().unwrap(),
    ];
    with(lab, home, Some(passphrase), &[&args[..], &KDF].concat())
}

fn restore_elsewhere(lab: &Lab, passphrase: &str) -> Ran {
    let credentials = lab.credentials();
    let args = [
        "restore",
        "latest",
        "--target",
        "elsewhere",
        "--source-server",
        "server",
        "--credentials",
        credentials.to_str().unwrap(),
    ];
    let ran = with(lab, "another-home", Some(passphrase), &args);
    if ran.code == Some(0) {
        assert_same(&lab.source(), &lab.restored("elsewhere"));
    }
    ran
}

fn slots(lab: &Lab) -> Vec<Value> {
    let listed = lab.run(["passphrase", "slots", "--json"]).exits(0).json();
    listed["slots"].as_array().unwrap().clone()
}

fn slot(lab: &Lab, kind: &str) -> String {
    let slots = slots(lab);
    let found = slots.iter().find(|slot| slot["kind"] == kind).unwrap();
    found["id"].as_str().unwrap().to_owned()
}

// ---- The table: machine there or lost × passphrase known or lost × this or another machine × state folder kept or
// not.

#[test]
fn machine_there_passphrase_known() {
    let (lab, _) = lab();
    // This machine needs none; another one needs it.
    with(&lab, "home", None, &["restore", "latest", "--target", "here"]).exits(0);
    assert_same(&lab.source(), &lab.restored("here"));
    restore_elsewhere(&lab, PASSPHRASE).exits(0);
    // The state folder is lost, the machine is not: registered again, it goes on.
    fs::remove_dir_all(lab.path("home")).unwrap();
    lab.run(["vault", "servers", lab.vault().to_str().unwrap()]).exits(0);
    assert_eq!(register(&lab, "home", PASSPHRASE).exits(0).json()["joined"], true);
    lab.backup();
    assert_eq!(
        lab.run(["points", "list", "--json"]).exits(0).json()["points"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn machine_there_passphrase_lost() {
    let (lab, recovery) = lab();
    with(&lab, "home", None, &["restore", "latest", "--target", "here"]).exits(0);
    restore_elsewhere(&lab, "a guess that is long enough").exits(5);
    // The machine's key sets a new one, without the old. The new one is the latest, and the only one.
    let regenerate = [&["passphrase", "regenerate", "--json"][..], &KDF].concat();
    let done = with(&lab, "home", Some(NEW), &regenerate).exits(0).json();
    assert_eq!((&done["changed"], &done["old_removed"]), (&true.into(), &true.into()));
    restore_elsewhere(&lab, PASSPHRASE).exits(5);
    restore_elsewhere(&lab, NEW).exits(0);
    restore_elsewhere(&lab, &recovery).exits(0);
    with(&lab, "home", None, &["backup", lab.source().to_str().unwrap()]).exits(0);
}

#[test]
fn machine_lost_passphrase_known() {
    let (lab, _) = lab();
    // The operator's key is on another machine.
    fs::rename(lab.path("home"), lab.path("operators-home")).unwrap();
    restore_elsewhere(&lab, PASSPHRASE).exits(0);
    assert_eq!(
        register(&lab, "new-machine", PASSPHRASE).exits(0).json()["joined"],
        true
    );
    let points = lab.run_in("new-machine", ["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"].as_array().unwrap().len(), 1);
}

#[test]
fn machine_lost_state_folder_kept() {
    let (lab, _) = lab();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(lab.path("home"))
        .arg(lab.path("kept"))
        .status();
    assert!(copied.unwrap().success());
    fs::remove_dir_all(lab.path("home")).unwrap();
    // A copy of the state folder is a copy of the machine's key: nothing else is needed.
    with(&lab, "kept", None, &["restore", "latest", "--target", "here"]).exits(0);
    assert_same(&lab.source(), &lab.restored("here"));
    with(
        &lab,
        "kept",
        Some(NEW),
        &[&["passphrase", "regenerate"][..], &KDF].concat(),
    )
    .exits(0);
    restore_elsewhere(&lab, NEW).exits(0);
}

#[test]
fn machine_lost_passphrase_lost() {
    let (lab, recovery) = lab();
    fs::rename(lab.path("home"), lab.path("operators-home")).unwrap();
    let credentials = lab.credentials();
    fs::write(lab.path("saved"), fs::read(&credentials).unwrap()).unwrap();
    // Nothing replaces it there: no machine of the domain is left.
    let refused = with(&lab, "new-machine", Some(NEW), &["passphrase", "regenerate"]).exits(8);
    refused.says("not registered").says("the recovery key is the only way");
    register(&lab, "new-machine", NEW).exits(5);
    restore_elsewhere(&lab, NEW).exits(5);
    // The recovery key is the last way in, and does all that the passphrase does.
    restore_elsewhere(&lab, &recovery).exits(0);
    register(&lab, "new-machine", &recovery).exits(0);
    with(
        &lab,
        "new-machine",
        Some(NEW),
        &[&["passphrase", "regenerate"][..], &KDF].concat(),
    )
    .exits(0);
    restore_elsewhere(&lab, NEW).exits(0);
}

// ---- Rules, slots, recovery keys.

#[test]
fn a_passphrase_has_16_to_127_ascii_characters() {
    let lab = Lab::empty();
    lab.create_vault();
    for (passphrase, fits) in [
        ("x".repeat(15), false),
        ("x".repeat(128), false),
        ("sechzehn Zeichen mit ä".to_owned(), false),
        ("x".repeat(127), true),
    ] {
        let home = format!("home-{}", passphrase.len());
        let ran = register(&lab, &home, &passphrase);
        if fits {
            ran.exits(0);
        } else {
            assert_eq!(ran.exits(2).json()["error"]["code"], "passphrase-rules");
        }
    }
    let short = lab
        .register("home-16", "other", &["--passphrase-file", "/dev/null"])
        .exits(2);
    short.says("16 to 127 characters");
}

#[test]
fn a_machine_without_its_key_slot_regenerates_nothing() {
    let (lab, recovery) = lab();
    let own = slot(&lab, "machine");
    lab.run(["passphrase", "revoke", &own]).exits(5).says("--this-machine");
    lab.run(["passphrase", "revoke", &own, "--this-machine"]).exits(0);
    let refused = with(
        &lab,
        "home",
        Some(NEW),
        &[&["passphrase", "regenerate"][..], &KDF].concat(),
    )
    .exits(5);
    refused.says("passphrase change");
    // The old passphrase, or the recovery key, changes it.
    let mut change = lab.command("home");
    change
        .env("LOCKSTONE_PASSPHRASE", &recovery)
        .env("LOCKSTONE_NEW_PASSPHRASE", NEW)
        .args(["passphrase", "change"])
        .args(KDF);
    finish(change).exits(0);
    with(&lab, "home", Some(NEW), &["passphrase", "validate"]).exits(0);
}

#[test]
fn a_new_recovery_key_takes_the_place_of_the_old_one() {
    let (lab, old) = lab();
    let made = with(&lab, "home", None, &["passphrase", "recovery-key", "--json"])
        .exits(0)
        .json();
    let new = made["recovery_key"].as_str().unwrap();
    assert_eq!((new.len(), &made["old_removed"]), (old.len(), &true.into()));
    restore_elsewhere(&lab, &old).exits(5);
    restore_elsewhere(&lab, new).exits(0);
    restore_elsewhere(&lab, PASSPHRASE).exits(0);
    let shown = with(&lab, "home", None, &["passphrase", "recovery-key"]).exits(0);
    shown.says("shown this once");
}

#[test]
fn slots_are_listed_and_revoked_but_never_the_last_way_in() {
    let (lab, recovery) = lab();
    lab.register("second", "second", &["--join-domain", "server"]).exits(0);
    let listed = slots(&lab);
    let mut kinds: Vec<&str> = listed.iter().map(|slot| slot["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["machine", "machine", "passphrase", "recovery"]);
    let own: Vec<&Value> = listed.iter().filter(|slot| slot["this_machine"] == true).collect();
    assert_eq!((own.len(), &own[0]["server"]), (1, &"server".into()));
    let theirs = listed.iter().find(|slot| slot["server"] == "second").unwrap();
    let revoked = lab
        .run(["passphrase", "revoke", "--json", &theirs["id"].as_str().unwrap()[..8]])
        .exits(0)
        .json();
    assert_eq!(revoked["revoked"]["server"], "second");
    with(&lab, "second", None, &["points", "list"]).exits(5);

    lab.run(["passphrase", "revoke", &slot(&lab, "passphrase")]).exits(0);
    restore_elsewhere(&lab, PASSPHRASE).exits(5);
    let refused = lab
        .run(["passphrase", "revoke", "--json", &slot(&lab, "recovery")])
        .exits(5);
    assert_eq!(refused.json()["error"]["code"], "last-slot");
    restore_elsewhere(&lab, &recovery).exits(0);
    for (word, code) in [
        ("ffffffff", "no-such-slot"),
        ("", "no-such-slot"),
        ("abc", "no-such-slot"),
    ] {
        let refused = lab.run(["passphrase", "revoke", "--json", word]).exits(1).json();
        assert_eq!(refused["error"]["code"], code);
    }
}
