//! The operator ends the right of a server, and of credentials.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::lab::{Lab, PASSPHRASE, Ran, finish};
use crate::support::tree::{self, assert_same, file};

fn revoke(lab: &Lab, more: &[&str]) -> Ran {
    let vault = lab.vault();
    lab.run([&["vault", "revoke", vault.to_str().unwrap(), "--json"][..], more].concat())
}

fn servers(lab: &Lab) -> Vec<Value> {
    let vault = lab.vault();
    let listed = lab.run(["vault", "servers", "--json", vault.to_str().unwrap()]);
    listed.exits(0).json()["servers"].as_array().unwrap().clone()
}

fn copy(lab: &Lab, from: &str, to: &str) {
    let copied = Command::new("cp")
        .arg("-a")
        .arg(lab.path(from))
        .arg(lab.path(to))
        .status();
    assert!(copied.unwrap().success());
}

fn without_passphrase(lab: &Lab, home: &str, args: &[&str]) -> Ran {
    let mut command = lab.command(home);
    command.env_remove("LOCKSTONE_PASSPHRASE").args(args);
    finish(command)
}

#[test]
fn a_revoked_server_writes_nothing_and_its_machine_opens_nothing() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let source = lab.source();
    let source = source.to_str().unwrap();
    let revoked = revoke(&lab, &["--server", "server", "--reason", "sold"])
        .exits(0)
        .json();
    assert_eq!(revoked["revoked"][0]["server"], "server");
    assert_eq!(revoked["revoked"][0]["slots_removed"], 1);
    assert_eq!(revoked["revoked"][0]["again"], false);

    let refused = without_passphrase(&lab, "home", &["backup", source, "--json"]).exits(5);
    let refused = refused.says("ended this server's right to write").says("sold");
    assert_eq!(refused.json()["error"]["code"], "revoked");
    // With the passphrase it still reads, and says what is wrong; it writes nothing.
    lab.run(["points", "list"]).exits(0).says("ended this server's right");
    lab.run(["backup", source]).exits(5).says("sold");
    lab.run(["points", "delete", "latest", "--yes"]).exits(5);
    let status = lab.run(["status", "--json"]).exits(3).json();
    assert!(
        status["warnings"].to_string().contains("ended this server's right"),
        "{status}"
    );

    let listed = servers(&lab);
    assert_eq!(listed[0]["health"], "revoked");
    assert_eq!(listed[0]["revoked"]["reason"], "sold");
    assert_eq!(listed[0]["points"], 1, "what it did before stays");
    // Once more changes nothing.
    let again = revoke(&lab, &["--server", "server"]).exits(0).json();
    assert_eq!(again["revoked"][0]["again"], true);
    assert_eq!(fs::read_dir(lab.vault().join("orders")).unwrap().count(), 1);

    // Registered anew, with new credentials, it is a new server and finds its backups.
    lab.run(["unregister"]).exits(0);
    lab.issue(&[]);
    lab.register("home", "server", &[]).exits(0);
    lab.backup();
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"].as_array().unwrap().len(), 2);
    lab.check_clean();
}

#[test]
fn what_a_stolen_machine_does_afterwards_counts_for_nobody() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let first = lab.backup();
    let point = first["point"].as_str().unwrap();
    lab.register("second", "second", &["--join-domain", "server"]).exits(0);
    // The thief has the state folder. His program obeys no orders: in his copy of the vault there are none.
    copy(&lab, "second", "stolen");
    revoke(&lab, &["--server", "second", "--reason", "stolen"]).exits(0);
    let end = fs::read_dir(log(&lab)).unwrap().count();
    fs::rename(lab.vault().join("orders"), lab.path("orders")).unwrap();
    let rest = fs::read_dir(lab.path("orders")).unwrap().count();
    assert_eq!(rest, 1);
    file(&lab.path("loot/own.bin"), &crate::support::lab::noise(7, 3 << 20));
    let loot = lab.path("loot");
    let stolen = |args: &[&str]| lab.run_in("stolen", args);
    stolen(&["backup", loot.to_str().unwrap(), "--label", "forged"]).exits(0);
    fs::rename(lab.path("orders"), lab.vault().join("orders")).unwrap();
    assert!(fs::read_dir(log(&lab)).unwrap().count() > end);

    // Nobody takes it in, and nobody calls it damage.
    for home in ["home", "third"] {
        if home == "third" {
            lab.register("third", "third", &["--join-domain", "server"]).exits(0);
        }
        let points = lab.run_in(home, ["points", "list", "--json"]).exits(0).json();
        let ids: Vec<&str> = points["points"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, [point], "{home}");
    }
    let vault = lab.vault();
    let operators = lab
        .run(["vault", "points", "--json", vault.to_str().unwrap()])
        .exits(0)
        .json();
    assert_eq!(operators["points"].as_array().unwrap().len(), 1);

    // An honest backup of the same content stores it again, and does not rely on what the thief stored.
    let backup = lab.run(["backup", loot.to_str().unwrap(), "--json"]).exits(0).json();
    assert!(backup["bytes_new"].as_u64().unwrap() >= 3 << 20, "{backup}");
    lab.check_clean();
    let restored = ["restore", "latest", "--target", "out"];
    lab.run(restored).exits(0);
    assert_same(&loot, &lab.path("out").join(loot.strip_prefix("/").unwrap()));
}

/// The folder of the log of the only domain.
fn log(lab: &Lab) -> std::path::PathBuf {
    let domain = fs::read_dir(lab.vault().join("domains"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    domain.path().join("log")
}

#[test]
fn a_server_is_revoked_from_a_time_on() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let kept = lab.backup();
    // Times of entries are whole seconds here; the next one begins in a later one.
    let since = jiff::Timestamp::now().as_second() + 1;
    while jiff::Timestamp::now().as_second() < since {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    file(&lab.source().join("late"), b"late");
    lab.backup();
    let time = jiff::Timestamp::from_second(since).unwrap().to_string();
    let revoked = revoke(&lab, &["--server", "server", "--since", &time]).exits(0).json();
    let last = revoked["revoked"][0]["last_entry"].as_u64().unwrap();
    assert!(last < fs::read_dir(log(&lab)).unwrap().count() as u64);
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"].as_array().unwrap().len(), 1);
    assert_eq!(points["points"][0]["id"], kept["point"]);
}

#[test]
fn revoked_credentials_neither_register_nor_restore() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let credentials = lab.credentials();
    let credentials = credentials.to_str().unwrap();
    let shown = lab.run(["credentials", "show", "--json", credentials]).exits(0).json();
    let id = shown["id"].as_str().unwrap();
    let revoked = revoke(&lab, &["--credential", id, "--reason", "mailed around"])
        .exits(0)
        .json();
    assert_eq!(revoked["credential_id"], *id);
    assert_eq!(
        revoked["servers"][0]["server"], "server",
        "it registered before, and stays"
    );
    let refused = lab
        .register("another", "another", &[])
        .exits(5)
        .says("revoked")
        .says("mailed around");
    assert_eq!(refused.json()["error"]["code"], "revoked");
    let mut restore = lab.command("elsewhere");
    restore.args([
        "restore",
        "latest",
        "--target",
        "out",
        "--source-server",
        "server",
        "--credentials",
        credentials,
    ]);
    finish(restore).exits(5).says("mailed around");
    assert!(!lab.path("out").exists());
    lab.backup();
    // The file does as well as the id, and new credentials admit again.
    lab.issue(&[]);
    revoke(&lab, &["--credential", credentials]).exits(0);
    lab.register("another", "another", &[]).exits(5);
    lab.issue(&[]);
    lab.register("another", "another", &[]).exits(0);
}

#[test]
fn a_registration_with_revoked_credentials_is_void_whatever_its_date() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let credentials = lab.credentials();
    revoke(&lab, &["--credential", credentials.to_str().unwrap()]).exits(0);
    // A program that looks at no orders registers, and joins the domain by its passphrase.
    fs::rename(lab.vault().join("orders"), lab.path("orders")).unwrap();
    lab.register("thief", "server2", &["--join-domain", "server"]).exits(0);
    let source = lab.source();
    lab.run_in("thief", ["backup", source.to_str().unwrap()]).exits(0);
    fs::rename(lab.path("orders"), lab.vault().join("orders")).unwrap();
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"].as_array().unwrap().len(), 1);
    lab.run_in("thief", ["backup", source.to_str().unwrap()]).exits(5);
    let listed = servers(&lab);
    let health: Vec<&str> = listed.iter().map(|server| server["health"].as_str().unwrap()).collect();
    assert_eq!(health, ["ok", "revoked"]);
    lab.check_clean();
}

#[test]
fn only_the_operator_revokes_and_names_must_be_known() {
    let lab = Lab::new();
    revoke(&lab, &["--server", "nobody"]).exits(1).says("no server");
    revoke(&lab, &["--credential", "nonsense"])
        .exits(2)
        .says("credentials show");
    revoke(&lab, &[]).exits(2);
    revoke(&lab, &["--server", "server", "--reason", "two\nlines"]).exits(2);
    let vault = lab.vault();
    let args = ["vault", "revoke", vault.to_str().unwrap(), "--server", "server"];
    lab.run_in("no-operator", args).exits(5).says("operator's key");
    // Two servers of one name in domains of their own: it has to be said which.
    let mut second = lab.command("second");
    second
        .env("LOCKSTONE_PASSPHRASE", "another passphrase of the second")
        .args([
            "register",
            "--kdf-memory-mib",
            "8",
            "--kdf-passes",
            "1",
            "--new-domain",
            "--server-name",
            "server",
        ])
        .arg("--credentials")
        .arg(lab.credentials());
    finish(second).exits(0);
    revoke(&lab, &["--server", "server"])
        .exits(1)
        .says("name one of them by its id");
    let listed = servers(&lab);
    let id = listed[1]["id"].as_str().unwrap();
    revoke(&lab, &["--server", id]).exits(0);
    assert_eq!(servers(&lab)[0]["health"], "ok");
    assert_eq!(PASSPHRASE.len(), 28);
}

#[test]
fn orders_that_were_taken_away_are_missed_by_who_saw_them() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let vault = lab.vault();
    for tenant in ["a", "b", "c"] {
        lab.run(["vault", "tenant", vault.to_str().unwrap(), tenant]).exits(0);
    }
    lab.backup();
    // The last one is gone: only who saw it knows.
    fs::remove_file(vault.join("orders/0000000000000003")).unwrap();
    let source = lab.source();
    lab.run(["backup", source.to_str().unwrap()])
        .exits(0)
        .says("lacks orders of its operator");
    let info = lab
        .run(["vault", "info", "--json", vault.to_str().unwrap()])
        .exits(0)
        .json();
    assert_eq!(info["tenant"], "b");
    // One in the middle is missed by everybody, and so is one that cannot be read.
    fs::remove_file(vault.join("orders/0000000000000001")).unwrap();
    let info = lab
        .run(["vault", "info", "--json", vault.to_str().unwrap()])
        .exits(3)
        .json();
    assert_eq!(info["damaged"][0]["kind"], "order");
    let check = lab.run(["check", "--json"]).exits(6).json();
    assert_eq!(check["damaged"][0]["object"], "orders/0000000000000001");
    fs::write(vault.join("orders/0000000000000002"), "junk").unwrap();
    lab.run(["vault", "info", vault.to_str().unwrap()])
        .exits(3)
        .says("orders/0000000000000002");
    lab.run(["points", "list"]).exits(3).says("orders/0000000000000002");
}

#[test]
fn a_revoked_server_does_not_write_its_policy() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.register("second", "second", &["--join-domain", "server"]).exits(0);
    let policy = lab.path("policy.toml");
    let set = |days: u32| {
        let text = format!(
            "[[item]]\npath = \"{}\"\n[schedule]\ntimes = [\"02:00\"]\n[retention]\ndaily = {{ days = {days} }}\n",
            lab.source().display()
        );
        fs::write(&policy, text).unwrap();
        lab.run_in("second", ["policy", "set", "--file", policy.to_str().unwrap()])
    };
    let in_vault = || {
        let objects = lab.objects().into_iter();
        objects
            .filter(|path| path.to_string_lossy().contains("/policy/"))
            .count()
    };
    set(30).exits(0);
    assert_eq!(in_vault(), 1);
    revoke(&lab, &["--server", "second", "--reason", "stolen"]).exits(0);
    let ran = set(7);
    assert!(matches!(ran.code, Some(0 | 3 | 5)), "{:?}\n{}", ran.code, ran.stderr);
    ran.says("stolen");
    assert_eq!(in_vault(), 1);
    lab.run_in("second", ["backup"]).exits(5);
    assert_eq!(in_vault(), 1);
}
