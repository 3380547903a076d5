//! Credentials: what they say, until when they are good, and by which clock.

use std::fs;

use lockstone_vault::access::credentials::{OperatorKey, VaultCredentials};
use serde_json::Value;

use crate::support::lab::{Lab, Ran, finish};
use crate::support::tree;

const DAY: i64 = 86_400;

fn show(lab: &Lab) -> Ran {
    let file = lab.credentials();
    lab.run(["credentials", "show", "--json", file.to_str().unwrap()])
}

/// Restores the newest point of the server into a new folder, as a machine that is not registered.
fn restore_elsewhere(lab: &Lab, home: &str, to: &str) -> Ran {
    let (file, target) = (lab.credentials(), lab.path(to));
    let args = [
        "restore",
        "latest",
        "--json",
        "--source-server",
        "server",
        "--credentials",
    ];
    let mut command = lab.command(home);
    command.args(args).arg(file).arg("--target").arg(target);
    finish(command)
}

/// Seconds since the epoch.
fn time(value: &Value) -> i64 {
    value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
}

#[test]
fn credentials_say_what_they_admit_to() {
    let lab = Lab::empty();
    let vault = lab.vault();
    let vault = vault.to_str().unwrap();
    let create = [
        "vault",
        "create",
        vault,
        "--secondary",
        "s3://b/c",
        "--tenant",
        "Café",
        "--json",
    ];
    let created = lab.run(create).exits(0).json();
    let file = lab.credentials();
    let issue = ["vault", "credentials", vault, "--json", "--out", file.to_str().unwrap()];
    let issued = lab.run(issue).exits(0).json();
    let shown = show(&lab).exits(0).json();
    for member in [
        "vault",
        "operator_key",
        "tenant",
        "region",
        "issued",
        "expires",
        "id",
        "least_version",
        "url",
        "format",
    ] {
        assert_eq!(issued[member], shown[member], "{member}");
        assert!(!shown[member].is_null(), "{member}");
    }
    assert_eq!((&shown["vault"], &shown["tenant"]), (&created["vault"], &"Café".into()));
    assert_eq!((&shown["region"], &shown["valid"]), (&"primary".into(), &true.into()));
    assert_eq!(time(&shown["expires"]) - time(&shown["issued"]), 10 * DAY);
    let people = lab.run(["credentials", "show", file.to_str().unwrap()]).exits(0).stdout;
    assert!(people.contains("primary") && people.contains("Good until"), "{people}");
    assert!(!people.contains(&fs::read_to_string(&file).unwrap()[40..80]));

    lab.issue(&["--region", "secondary", "--valid-days", "2"]);
    let shown = show(&lab).exits(0).json();
    assert_eq!(
        (&shown["region"], &shown["url"]),
        (&"secondary".into(), &"s3://b/c".into())
    );
    assert_eq!(time(&shown["expires"]) - time(&shown["issued"]), 2 * DAY);
    // They do not register; that is said before anything is asked.
    let refused = lab.register("home", "server", &[]).exits(5).says("secondary region");
    assert_eq!(refused.json()["error"]["code"], "bad-credentials");
}

#[test]
fn an_agent_that_is_too_old_for_its_credentials_says_so() {
    let lab = Lab::new();
    let folder = fs::read_dir(lab.path("home/operator")).unwrap().next().unwrap();
    let operator = OperatorKey::from_text(&fs::read_to_string(folder.unwrap().path()).unwrap()).unwrap();
    let file = lab.credentials();
    let credentials = VaultCredentials::parse(&fs::read_to_string(&file).unwrap()).unwrap();
    fs::write(&file, credentials.text_for_version(&operator, "99.0.0").as_bytes()).unwrap();
    let wanted = "the credentials need lockstone 99.0.0 or newer";
    for ran in [
        show(&lab),
        lab.register("new", "new", &[]),
        restore_elsewhere(&lab, "other", "out"),
    ] {
        let refused = ran.exits(5).says(wanted).says("update lockstone");
        assert_eq!(refused.json()["error"]["code"], "bad-credentials");
    }
    assert!(!lab.path("new/agent.json").exists() && !lab.path("out").exists());
    // What is registered goes on.
    tree::plain(&lab.source());
    lab.backup();
}

#[test]
fn secondary_credentials_restore() {
    let lab = Lab::empty();
    let vault = lab.vault();
    let vault = vault.to_str().unwrap();
    // The replica is at another place; here it is the same folder.
    lab.run(["vault", "create", vault, "--secondary", vault]).exits(0);
    lab.issue(&[]);
    lab.register("home", "server", &[]).exits(0);
    tree::plain(&lab.source());
    lab.backup();
    lab.issue(&["--region", "secondary"]);
    restore_elsewhere(&lab, "another-home", "out").exits(0);
    tree::assert_same(&lab.source(), &lab.restored("out"));
}

#[test]
fn expired_credentials_are_refused_with_the_date_and_a_way_out() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    lab.issue(&["--valid-days", "0"]);
    let shown = show(&lab)
        .exits(5)
        .says("the credentials expired on ")
        .says("lockstone vault credentials URL --out");
    let shown = shown.json();
    assert_eq!(
        (&shown["valid"], &shown["error"]["code"]),
        (&false.into(), &"bad-credentials".into())
    );
    lab.register("another-home", "other", &[])
        .exits(5)
        .says("the credentials expired on ");
    restore_elsewhere(&lab, "another-home", "out")
        .exits(5)
        .says("the credentials expired on ");
    assert!(!lab.path("out").exists());
}

#[test]
fn tampered_and_foreign_credentials_are_refused() {
    let lab = Lab::new();
    let other = Lab::empty();
    other.create_vault();
    let good = fs::read_to_string(lab.credentials()).unwrap();
    // A letter in the middle of the base64.
    let mut bytes = good.clone().into_bytes();
    let at = good.len() / 2;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    fs::write(lab.credentials(), bytes).unwrap();
    show(&lab).exits(5);
    lab.register("another-home", "other", &[]).exits(5);
    for text in ["", "hello", "-----BEGIN LOCKSTONE VAULT CREDENTIALS-----\n"] {
        fs::write(lab.credentials(), text).unwrap();
        let refused = show(&lab).exits(5).json();
        assert_eq!(refused["error"]["code"], "bad-credentials");
    }
    fs::remove_file(lab.credentials()).unwrap();
    show(&lab).exits(1);
    // Another vault stands where theirs was.
    fs::write(lab.credentials(), &good).unwrap();
    fs::remove_dir_all(lab.vault()).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(other.vault())
        .arg(lab.vault())
        .status();
    assert!(copied.unwrap().success());
    lab.register("another-home", "other", &[])
        .exits(5)
        .says("another vault");
}

/// Sets the latest time that the machine remembers.
fn remember(lab: &Lab, home: &str, time: &str) {
    fs::write(lab.path(home).join("clock.json"), format!("{{\"seen\":\"{time}\"}}")).unwrap();
}

#[test]
fn a_clock_that_is_set_back_revives_nothing() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    // A machine that is not registered remembers the time, too.
    restore_elsewhere(&lab, "another-home", "out").exits(0);
    let file = lab.path("another-home/clock.json");
    let seen: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let now = jiff::Timestamp::now().as_second();
    assert!((now - time(&seen["seen"])).abs() < 600, "{seen}");
    assert!(lab.path("home/clock.json").exists());

    // It has seen the end of the credentials; now its clock is behind that.
    remember(&lab, "another-home", "2200-01-01T00:00:00Z");
    let refused = restore_elsewhere(&lab, "another-home", "again").exits(5);
    refused.says("behind a time that it has seen");
    let shown = lab.credentials();
    let shown = shown.to_str().unwrap();
    lab.run_in("another-home", ["credentials", "show", shown]).exits(5);
    lab.run(["credentials", "show", shown]).exits(0);
    // What is remembered never goes back, and what cannot be read counts as nothing.
    let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(kept["seen"], "2200-01-01T00:00:00Z");
    remember(&lab, "another-home", "rubbish");
    restore_elsewhere(&lab, "another-home", "again").exits(0);
}

#[test]
fn credentials_that_were_refused_once_stay_refused() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let shown = show(&lab).exits(0).json();
    let end = shown["expires"].as_str().unwrap();
    // The clock was ahead, and showed their end; then it was set back.
    remember(&lab, "home", end);
    fs::create_dir(lab.path("another-home")).unwrap();
    remember(&lab, "another-home", end);
    restore_elsewhere(&lab, "another-home", "out")
        .exits(5)
        .says("behind a time that it has seen");
    // New ones end a moment later, and are good.
    let later = time(&shown["issued"]) + 1;
    while jiff::Timestamp::now().as_second() < later {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    lab.issue(&[]);
    restore_elsewhere(&lab, "another-home", "out").exits(0);
}

#[test]
fn a_store_that_is_ahead_is_believed_for_this_run_and_not_remembered() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let _ = fs::remove_file(lab.path("home/clock.json"));
    // A folder that cannot be written to tells its time by what was changed in it last.
    if !crate::support::lab::root_or_skip("a file system of its own") {
        return;
    }
    let script = "mount --bind vault vault; touch -d 2200-01-01 vault/servers; mount -o remount,ro,bind vault; \
                  \"$LOCKSTONE\" restore latest --target out --source-server server --credentials \
                  test.vaultcredentials";
    let own = lab.command("another-home");
    let mut command = std::process::Command::new("unshare");
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
    let ran = finish(command);
    if ran.stderr.contains("mount:") || ran.stderr.contains("unshare") {
        eprintln!("SKIPPED: mounts are not allowed here");
        return;
    }
    ran.exits(5).says("by the clock of the vault's store");
    let seen = fs::read_to_string(lab.path("another-home/clock.json")).unwrap();
    assert!(!seen.contains("2200"), "{seen}");
}
