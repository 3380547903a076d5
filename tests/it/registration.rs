//! How a machine is registered, renamed, and registered elsewhere.

use std::fs;
use std::process::Command;

use crate::support::lab::{Lab, PASSPHRASE, Ran, finish, root_or_skip};
use crate::support::tree::{self, assert_same};

/// Runs the program on a machine of that host name. `None` if this machine does not allow that.
fn as_host(lab: &Lab, name: &str, args: &[&str]) -> Option<Ran> {
    if !root_or_skip("another host name") {
        return None;
    }
    let own = lab.command("home");
    let mut command = Command::new("unshare");
    command
        .args(["--uts", "sh", "-c", "hostname \"$0\" || exit 99; exec \"$@\"", name])
        .arg(own.get_program())
        .args(args)
        .env_clear()
        .current_dir(&lab.root);
    for (name, value) in own.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let ran = finish(command);
    if ran.code == Some(99) || ran.stderr.contains("unshare") {
        eprintln!("SKIPPED: host names cannot be set here");
        return None;
    }
    Some(ran)
}

fn register_as(lab: &Lab, name: &str, more: &[&str]) -> Option<Ran> {
    let credentials = lab.credentials();
    let args = [
        "register",
        "--json",
        "--kdf-memory-mib",
        "8",
        "--kdf-passes",
        "1",
        "--credentials",
    ];
    as_host(lab, name, &[&args[..], &[credentials.to_str().unwrap()], more].concat())
}

#[test]
fn a_renamed_machine_stops_until_it_is_registered_under_its_new_name() {
    let lab = Lab::empty();
    lab.create_vault();
    let Some(registered) = register_as(&lab, "old", &[]) else {
        return;
    };
    assert_eq!(registered.exits(0).json()["server"], "old");
    tree::plain(&lab.source());
    let source = lab.source();
    let backup = ["backup", source.to_str().unwrap(), "--json"];
    as_host(&lab, "old", &backup).unwrap().exits(0);

    let stopped = as_host(&lab, "new", &backup).unwrap().exits(8);
    let stopped = stopped
        .says("host name was old and is new")
        .says("lockstone register")
        .says("--source-server old");
    assert_eq!(stopped.json()["error"]["code"], "renamed");
    let status = as_host(&lab, "new", &["status", "--json"]).unwrap().exits(3).json();
    assert!(status["warnings"].to_string().contains("is new"), "{status}");
    // What is there can be read and restored all the same, and the old name is as good as before.
    as_host(&lab, "new", &["restore", "latest", "--target", "before"])
        .unwrap()
        .exits(0);
    as_host(&lab, "old", &backup).unwrap().exits(0);
    as_host(&lab, "old", &["register", "--credentials", "x"])
        .unwrap()
        .exits(8);

    let registered = register_as(&lab, "new", &[]).unwrap().exits(0).json();
    assert_eq!(
        (&registered["server"], &registered["joined"]),
        (&"new".into(), &false.into())
    );
    let first = as_host(&lab, "new", &backup).unwrap().exits(0).json();
    assert_eq!(
        (&first["files_unchanged"], &first["files_changed"]),
        (&0.into(), &0.into())
    );
    assert_eq!(first["bytes_read"], first["bytes_scanned"], "every file is read");
    let second = as_host(&lab, "new", &backup).unwrap().exits(0).json();
    assert_eq!(second["files_new"], 0);
    // What was backed up under the old name.
    let credentials = lab.credentials();
    let restore = [
        "restore",
        "latest",
        "--target",
        "out",
        "--source-server",
        "old",
        "--credentials",
        credentials.to_str().unwrap(),
    ];
    as_host(&lab, "new", &restore).unwrap().exits(0);
    assert_same(&source, &lab.restored("out"));
    let vault = lab.vault();
    let servers = lab
        .run(["vault", "servers", "--json", vault.to_str().unwrap()])
        .exits(0)
        .json();
    let health: Vec<_> = servers["servers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["health"].clone())
        .collect();
    assert_eq!(health, ["ok", "unregistered"]);
}

#[test]
fn a_renamed_machine_may_join_its_old_domain() {
    let lab = Lab::empty();
    lab.create_vault();
    if register_as(&lab, "old", &[]).is_none() {
        return;
    }
    tree::plain(&lab.source());
    let source = lab.source();
    let backup = ["backup", source.to_str().unwrap(), "--json"];
    as_host(&lab, "old", &backup).unwrap().exits(0);
    register_as(&lab, "new", &["--join-domain", "old"]).unwrap().exits(0);
    let first = as_host(&lab, "new", &backup).unwrap().exits(0).json();
    assert_eq!(
        (&first["files_unchanged"], &first["bytes_new"]),
        (&0.into(), &0.into()),
        "read, and found there"
    );
    assert_eq!(first["bytes_read"], first["bytes_scanned"]);
}

#[test]
fn a_machine_with_another_id_stops_too() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let file = lab.path("home/agent.json");
    let mut registration: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for (member, word) in [("machine_id", "machine id"), ("full_name", "full name")] {
        let mut changed = registration.clone();
        changed["host"][member] = "another".into();
        fs::write(&file, changed.to_string()).unwrap();
        let known = !registration["host"][member].is_null();
        let source = lab.source();
        let ran = lab.run(["backup", source.to_str().unwrap()]);
        if known {
            ran.exits(8).says(word);
        }
    }
    // A registration of an earlier version does not say what the machine was called.
    registration.as_object_mut().unwrap().remove("host");
    fs::write(&file, registration.to_string()).unwrap();
    lab.backup();
}

#[test]
fn the_name_of_a_live_machine_is_not_taken_by_accident() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    if !root_or_skip("another machine id") || fs::read("/etc/machine-id").is_ok_and(|id| id.is_empty()) {
        return;
    }
    fs::write(lab.path("machine-id"), "00000000000000000000000000000001\n").unwrap();
    let own = lab.command("other-home");
    let register = |more: &str| {
        let script = format!(
            "mount --bind machine-id /etc/machine-id && exec \"$LOCKSTONE\" register --json --kdf-memory-mib 8 \
             --kdf-passes 1 --server-name server --credentials test.vaultcredentials {more}"
        );
        let mut command = Command::new("unshare");
        command
            .args(["-m", "sh", "-c", &script])
            .env_clear()
            .current_dir(&lab.root);
        for (name, value) in own.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command.env("LOCKSTONE", own.get_program());
        finish(command)
    };
    let refused = register("");
    if refused.stderr.contains("mount:") || refused.stderr.contains("unshare") {
        eprintln!("SKIPPED: mounts are not allowed here");
        return;
    }
    let refused = refused
        .exits(5)
        .says("another machine is registered as server")
        .says("--replace");
    assert_eq!(refused.json()["error"]["code"], "name-taken");
    lab.backup();
    // It is gone for good: the new one goes on with its backups, and its key opens nothing.
    register("--replace").exits(0);
    let mut old = lab.command("home");
    old.env_remove("LOCKSTONE_PASSPHRASE").args(["points", "list"]);
    finish(old).exits(5);
    let points = lab.run_in("other-home", ["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"].as_array().unwrap().len(), 2);
}

#[test]
fn without_a_passphrase_nothing_is_registered_and_nothing_can_be_configured() {
    let lab = Lab::empty();
    lab.create_vault();
    tree::plain(&lab.source());
    let mut register = lab.command("home");
    register.env_remove("LOCKSTONE_PASSPHRASE");
    register
        .args(["register", "--server-name", "server", "--credentials"])
        .arg(lab.credentials());
    finish(register)
        .exits(2)
        .says("not registered until it has a passphrase");
    fs::write(lab.path("policy.toml"), "[schedule]\ntimes = [\"02:00\"]\n").unwrap();
    let source = lab.source();
    for args in [
        vec!["policy", "set", "--file", "policy.toml"],
        vec!["backup", source.to_str().unwrap()],
        vec!["backup"],
    ] {
        let ran = lab.run(&args);
        assert!(ran.code == Some(8) || ran.code == Some(2), "{args:?}: {}", ran.stderr);
        ran.says("register");
    }
    let status = lab.run(["status", "--json"]).exits(0).json();
    assert_eq!(status["registered"], false);
    let vault = lab.vault();
    let servers = lab
        .run(["vault", "servers", "--json", vault.to_str().unwrap()])
        .exits(0)
        .json();
    assert!(servers["servers"].as_array().unwrap().is_empty());
}

#[test]
fn a_server_that_left_registers_with_another_vault() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    lab.run(["unregister"]).exits(0);
    let other = Lab::empty();
    other.create_vault();
    let mut register = lab.registering("home", "server");
    register.arg("--credentials").arg(other.credentials());
    assert_eq!(finish(register).exits(0).json()["joined"], false);
    let first = lab.backup();
    assert_eq!(first["files_unchanged"], 0);
    let (restored, _) = lab.restore("latest", "out");
    assert_same(&lab.source(), &restored);
    // What it left in the first vault stays there.
    let vault = lab.vault();
    let left = lab
        .run(["vault", "points", "--json", vault.to_str().unwrap()])
        .exits(0)
        .json();
    assert_eq!(left["points"].as_array().unwrap().len(), 1);
}

#[test]
fn a_machine_registered_again_with_another_passphrase_reaches_old_points_by_the_old_one() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let old = lab.backup();
    fs::remove_dir_all(lab.path("home")).unwrap();
    let with = |passphrase: &str, more: &[&str]| {
        let mut command = lab.registering("home", "server");
        command
            .env("LOCKSTONE_PASSPHRASE", passphrase)
            .arg("--credentials")
            .arg(lab.credentials())
            .args(more);
        finish(command)
    };
    let another = "another passphrase, also long";
    with(another, &[])
        .exits(5)
        .says("is not the passphrase of server server")
        .says("--new-domain");
    with(another, &["--new-domain"]).exits(0);
    lab.backup();
    assert_eq!(
        lab.run(["points", "list", "--json"]).exits(0).json()["points"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let by = |passphrase: &str, to: &str| {
        let mut command = lab.command("home");
        command
            .env("LOCKSTONE_PASSPHRASE", passphrase)
            .args([
                "restore",
                old["point"].as_str().unwrap(),
                "--source-server",
                "server",
                "--target",
                to,
            ])
            .arg("--credentials")
            .arg(lab.credentials());
        finish(command)
    };
    by(another, "wrong").exits(1).says("no recovery point");
    by(PASSPHRASE, "right").exits(0);
    assert_same(&lab.source(), &lab.restored("right"));
}

#[test]
fn a_user_who_is_not_root_is_told_what_that_leaves_out() {
    if !root_or_skip("becoming another user") {
        return;
    }
    let lab = Lab::empty();
    lab.create_vault();
    // The user may enter the lab, and gets a state folder and a vault of their own.
    for (path, mode) in [(lab.root.clone(), 0o755), (lab.credentials(), 0o644)] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(path, mode).unwrap();
    }
    fs::create_dir(lab.path("home-of-user")).unwrap();
    let owned = Command::new("chown")
        .args(["-R", "65534:65534"])
        .arg(lab.path("home-of-user"))
        .arg(lab.vault())
        .status();
    assert!(owned.unwrap().success());
    // The program may lie where the user cannot go.
    let program = lab.path("program");
    fs::copy(env!("CARGO_BIN_EXE_lockstone"), &program).unwrap();
    let as_root = lab.command("home-of-user");
    let mut register = Command::new(&program);
    register
        .env_clear()
        .envs(as_root.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(&lab.root)
        .stdin(std::process::Stdio::null());
    std::os::unix::process::CommandExt::uid(&mut register, 65534);
    register
        .args([
            "register",
            "--json",
            "--kdf-memory-mib",
            "8",
            "--kdf-passes",
            "1",
            "--server-name",
            "user",
        ])
        .arg("--credentials")
        .arg(lab.credentials());
    finish(register)
        .exits(0)
        .says("for the files of this user only")
        .says("without root");
}
