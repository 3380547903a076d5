//! A request that makes no sense, or that cannot be fulfilled, gets a clear error with the right exit code. Nothing is
//! written and nothing is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::lab::{Lab, finish};
use crate::support::tree::{self, assert_same, file};

#[test]
fn a_vault_that_is_none_is_said_to_be_none() {
    let lab = Lab::new();
    let nowhere = lab.path("nowhere");
    lab.run(["vault", "servers", nowhere.to_str().unwrap()])
        .exits(1)
        .says("nowhere");
    assert!(!nowhere.exists());
    let source = lab.source();
    lab.run(["vault", "servers", source.to_str().unwrap()])
        .exits(1)
        .says("source");
    lab.run(["vault", "servers", "gopher://x"]).exits(1);
}

#[test]
fn a_vault_is_not_made_over_something_else() {
    let lab = Lab::new();
    let vault = lab.vault();
    lab.run(["vault", "create", vault.to_str().unwrap()]).exits(1);
    file(&lab.source().join("mine"), b"mine");
    let source = lab.source();
    lab.run(["vault", "create", source.to_str().unwrap()]).exits(1);
    assert_eq!(fs::read_dir(&source).unwrap().count(), 1);
    lab.run(["vault", "servers", vault.to_str().unwrap()]).exits(0);
}

#[test]
fn a_vault_of_a_newer_format_is_left_alone() {
    let lab = Lab::new();
    let path = lab.vault().join("lockstone.json");
    let text = fs::read_to_string(&path).unwrap();
    let newer = text
        .replacen("\"format\": 1", "\"format\": 2", 1)
        .replacen("\"format\":1", "\"format\":2", 1);
    assert_ne!(text, newer, "{text}");
    crate::support::lab::replace(&path, newer.as_bytes());
    let vault = lab.vault();
    let ran = lab.run(["vault", "servers", vault.to_str().unwrap()]).exits(1);
    assert!(ran.stderr.contains("newer"), "{}", ran.stderr);
}

#[test]
fn a_passphrase_keeps_to_the_rules() {
    let lab = Lab::empty();
    lab.create_vault();
    for bad in [
        "short",
        "fifteen letters",
        "sixteen letters and an ümlaut",
        "sixteen letters\tand a tab",
    ] {
        let mut command = lab.command("home");
        command
            .env("LOCKSTONE_PASSPHRASE", bad)
            .args(["register", "--json", "--credentials"])
            .arg(lab.credentials());
        let ran = finish(command).exits(2);
        assert!(!ran.json()["error"]["message"].as_str().unwrap().is_empty());
    }
    let vault = lab.vault();
    let servers = lab
        .run(["vault", "servers", "--json", vault.to_str().unwrap()])
        .exits(0)
        .json();
    assert_eq!(servers["servers"].as_array().unwrap().len(), 0);
    assert!(!lab.vault().join("domains").exists() || fs::read_dir(lab.vault().join("domains")).unwrap().count() == 0);
}

#[test]
fn a_passphrase_that_is_not_there_is_not_waited_for() {
    let lab = Lab::empty();
    lab.create_vault();
    let mut command = lab.command("home");
    command
        .env_remove("LOCKSTONE_PASSPHRASE")
        .args(["register", "--credentials"])
        .arg(lab.credentials());
    finish(command).exits(2).says("LOCKSTONE_PASSPHRASE");
}

#[test]
fn credentials_are_looked_at_closely() {
    let lab = Lab::empty();
    lab.create_vault();
    let good = fs::read_to_string(lab.credentials()).unwrap();
    // Change the text anywhere between its first and last line.
    let lines: Vec<&str> = good.lines().collect();
    let middle = lines[lines.len() / 2];
    let swapped: String = middle.chars().rev().collect();
    for bad in [String::new(), "nonsense".to_owned(), good.replacen(middle, &swapped, 1)] {
        fs::write(lab.credentials(), &bad).unwrap();
        let ran = lab.register("home", "server", &[]);
        assert_eq!(ran.code, Some(5), "{bad}\n{}", ran.stderr);
    }
    lab.issue(&["--valid-days", "0"]);
    lab.register("home", "server", &[]).exits(5).says("expired");
    lab.issue(&[]);
    lab.register("home", "server", &[]).exits(0);
}

#[test]
fn credentials_of_another_vault_are_refused() {
    let lab = Lab::empty();
    lab.create_vault();
    let other = lab.path("other");
    lab.run(["vault", "create", other.to_str().unwrap()]).exits(0);
    // Put the other vault in the place of the first.
    fs::rename(lab.vault(), lab.path("away")).unwrap();
    fs::rename(&other, lab.vault()).unwrap();
    lab.register("home", "server", &[]).exits(5);
}

#[test]
fn a_server_registers_once() {
    let lab = Lab::new();
    lab.register("home", "another", &[]).exits(8).says("unregister");
}

#[test]
fn who_is_not_registered_is_told_so() {
    let lab = Lab::empty();
    let source = lab.source();
    lab.run(["backup", source.to_str().unwrap()]).exits(8).says("register");
    lab.run(["points", "list"]).exits(8);
    lab.run(["check"]).exits(8);
    let status = lab.run(["status", "--json"]).exits(0).json();
    assert_eq!(status["registered"], false);
    assert!(!lab.path("home").exists());
}

#[test]
fn a_missing_source_is_named_and_nothing_is_written() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let before = lab.objects().len();
    let (source, missing) = (lab.source(), lab.source().join("missing"));
    lab.run(["backup", missing.to_str().unwrap()]).exits(1).says("missing");
    lab.run(["backup", source.to_str().unwrap(), missing.to_str().unwrap()])
        .exits(1)
        .says("missing");
    assert_eq!(lab.objects().len(), before);
}

#[test]
fn a_point_or_a_path_that_is_not_there_is_named_and_nothing_is_written() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let target = lab.path("out");
    let target = target.to_str().unwrap();
    lab.run(["restore", "latest", "--target", target])
        .exits(1)
        .says("no recovery point");
    lab.backup();
    lab.run(["restore", "latest", "/not/there", "--target", target])
        .exits(1)
        .says("/not/there");
    lab.run(["restore", "abcdef0123", "--target", target])
        .exits(1)
        .says("abcdef0123");
    assert!(!lab.path("out").exists());
    lab.run(["restore", "latest"]).exits(2);
    lab.run(["restore", "latest", "--original", "--target", target])
        .exits(2);
}

#[test]
fn the_vault_is_not_backed_up_into_itself() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let vault = lab.vault();
    lab.run(["backup", vault.to_str().unwrap()]).exits(1).says("vault");
    let domains = vault.join("domains");
    lab.run(["backup", domains.to_str().unwrap()]).exits(1).says("vault");
    // The source is the folder that holds vault, state folder and source.
    let root = lab.root.clone();
    let report = lab.run(["backup", "--json", root.to_str().unwrap()]).exits(3).json();
    assert_eq!(report["status"], "CompletedWithWarnings");
    // The state folder is left out too, but without a warning: every backup of `/` would have one.
    assert_eq!(report["warnings_total"], 1, "{report}");
    assert_eq!(report["warnings"][0]["path"].as_str(), lab.vault().to_str(), "{report}");
    let out = tempfile::tempdir().unwrap();
    lab.run([
        "restore".as_ref(),
        "latest".as_ref(),
        "--target".as_ref(),
        out.path().as_os_str(),
    ])
    .exits(0);
    let restored = out.path().join(root.strip_prefix("/").unwrap());
    assert_same(&lab.source(), &restored.join("source"));
    assert!(!restored.join("vault/lockstone.json").exists());
    assert!(!restored.join("home/machine.key").exists());
}

#[test]
fn a_vault_that_cannot_be_written_is_said_to_be_so() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    if rustix::process::geteuid().is_root() {
        // Permissions do not stop root, but a read-only mount does.
        let bind = |args: &[&str]| {
            let done = std::process::Command::new("mount").args(args).arg(lab.vault()).status();
            done.is_ok_and(|status| status.success())
        };
        let vault = lab.vault();
        if !bind(&["--bind", vault.to_str().unwrap()]) || !bind(&["-o", "remount,bind,ro"]) {
            eprintln!("SKIPPED: nothing can be mounted here");
            return;
        }
        file(&lab.source().join("more"), b"more");
        let ran = lab.backup_with(&[]);
        let listed = lab.run(["points", "list"]);
        let _ = std::process::Command::new("umount").arg(&vault).status();
        assert!(matches!(ran.code, Some(1 | 5)), "{:?}: {}", ran.code, ran.stderr);
        listed.exits(0);
    } else {
        for path in lab.objects().iter().filter_map(|path| path.parent()) {
            fs::set_permissions(path, fs::Permissions::from_mode(0o555)).unwrap();
        }
        file(&lab.source().join("more"), b"more");
        let ran = lab.backup_with(&[]);
        for path in lab.objects().iter().filter_map(|path| path.parent()) {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert!(matches!(ran.code, Some(1 | 5)), "{:?}: {}", ran.code, ran.stderr);
    }
    lab.backup();
    lab.check_clean();
}

#[test]
fn a_vault_that_fills_up_loses_nothing_and_goes_on_when_there_is_room() {
    if !crate::support::lab::root_or_skip("mounting a small file system") {
        return;
    }
    let lab = Lab::empty();
    let small = lab.path("small");
    fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"])
        .arg(&small)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: nothing can be mounted here");
        return;
    }
    fs::create_dir(small.join("vault")).unwrap();
    std::os::unix::fs::symlink(small.join("vault"), lab.vault()).unwrap();
    lab.create_vault();
    lab.register("home", "server", &[]).exits(0);
    file(&lab.source().join("first"), b"fits");
    lab.backup();
    for number in 0..20 {
        file(
            &lab.source().join(format!("large-{number:02}")),
            &crate::support::lab::noise(number, 1 << 20),
        );
    }
    let ran = lab.backup_with(&["--checkpoint-seconds", "1"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"].as_array().unwrap().len(), 1);
    let grown = std::process::Command::new("mount")
        .args(["-o", "remount,size=200m"])
        .arg(&small)
        .status();
    assert!(grown.unwrap().success());
    lab.backup();
    lab.check_clean();
    let (restored, _) = lab.restore("latest", "out");
    assert_same(&lab.source(), &restored);
    let _ = std::process::Command::new("umount").arg(&small).status();
}

#[test]
fn a_date_a_rate_or_a_glob_that_makes_no_sense_is_a_usage_error() {
    let lab = Lab::new();
    for bad in [
        ["--retain-until", "someday"],
        ["--retain-until", "1999-01-01"],
        ["--upload-limit", "fast"],
        ["--memory-budget", "1KiB"],
        ["--exclude", "a{b"],
        ["--exclude-from", "/does/not/exist"],
        ["--threads", "0"],
    ] {
        lab.backup_with(&bad).exits(2);
    }
}

#[test]
fn a_state_folder_for_everybody_is_refused() {
    let lab = Lab::empty();
    let shared = lab.path("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    let vault = lab.vault();
    lab.run_in("shared", ["vault", "create", vault.to_str().unwrap()])
        .exits(1);
    assert!(!vault.exists());
}
