//! `/` itself is the source, as on a server that is backed up whole. The test makes a small system of its own and works
//! in it with `chroot`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lgetxattr, lsetxattr, mknodat};
use serde_json::Value;

use crate::support::lab::{Lab, PASSPHRASE, Ran, finish, root_or_skip};

/// A system with the program, the libraries that it needs, and no `/proc`.
struct System {
    root: PathBuf,
}

impl System {
    fn new(lab: &Lab) -> Option<Self> {
        let root = lab.path("system");
        let program = env!("CARGO_BIN_EXE_lockstone");
        let needs = Command::new("ldd").arg(program).output().ok()?;
        let needs = String::from_utf8_lossy(&needs.stdout).into_owned();
        let libraries = needs.split_whitespace().filter(|word| word.starts_with('/'));
        for from in libraries {
            let to = root.join(&from[1..]);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).ok()?;
        }
        for folder in ["data", "lockstone", "tmp"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::copy(program, root.join("lockstone/lockstone")).unwrap();
        fs::write(root.join("data/f"), "content").unwrap();
        Some(Self { root })
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = Command::new("chroot");
        command
            .arg(&self.root)
            .arg("/lockstone/lockstone")
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LOCKSTONE_HOME", "/lockstone/home")
            .env("LOCKSTONE_PASSPHRASE", PASSPHRASE);
        finish(command)
    }

    /// Mode, owner, group, time and an extended attribute of a folder of the system.
    fn look(&self, path: &str) -> (u32, u32, u32, i64, Vec<u8>) {
        let path = self.root.join(path);
        let stat = fs::metadata(&path).unwrap();
        let mut value = [0; 8];
        let len = lgetxattr(&path, "user.x", &mut value[..]).unwrap_or(0);
        let value = value[..len].to_vec();
        (stat.mode() & 0o7777, stat.uid(), stat.gid(), stat.mtime(), value)
    }

    /// Gives `/` attributes that no new folder has.
    fn furnish(&self) {
        chown(&self.root, Some(12), Some(34)).unwrap();
        fs::set_permissions(&self.root, fs::Permissions::from_mode(0o751)).unwrap();
        let _ = lsetxattr(&self.root, "user.x", b"y", XattrFlags::empty());
        touch(&self.root);
    }

    fn spoil(&self) {
        chown(&self.root, Some(0), Some(0)).unwrap();
        fs::set_permissions(&self.root, fs::Permissions::from_mode(0o700)).unwrap();
        touch(&self.root);
    }
}

fn touch(path: &Path) {
    let touched = Command::new("touch")
        .args(["-d", "2001-02-03 04:05:06"])
        .arg(path)
        .status();
    assert!(touched.unwrap().success());
}

fn warnings(ran: &Value) -> String {
    ran["warnings"].to_string()
}

#[test]
fn the_attributes_of_the_root_folder_are_kept_and_given_back() {
    if !root_or_skip("chroot") {
        return;
    }
    let lab = Lab::empty();
    let Some(system) = System::new(&lab) else {
        eprintln!("SKIPPED: no system can be made here");
        return;
    };
    if system.run(&["--version"]).code != Some(0) {
        eprintln!("SKIPPED: the program does not run in the small system");
        return;
    }
    let vault = "/lockstone/vault";
    system.run(&["vault", "create", vault]).exits(0);
    let file = "/lockstone/t.vaultcredentials";
    system.run(&["vault", "credentials", vault, "--out", file]).exits(0);
    let fast = ["--kdf-memory-mib", "8", "--kdf-passes", "1", "--server-name", "s"];
    let register = [&["register", "--credentials", file][..], &fast].concat();
    system.run(&register).exits(0);

    system.furnish();
    let before = system.look("");
    // Without /proc, nothing can be frozen, and what is mounted is unknown.
    system
        .run(&["backup", "/", "--exclude", "/lockstone", "--snapshot", "require"])
        .exits(1);
    let backup = ["backup", "/", "--exclude", "/lockstone", "--json"];
    let report = system.run(&backup).exits(0).json();
    assert_eq!(report["consistency"], "live", "{report}");

    // Into a new folder, and into one that is there.
    for _ in 0..2 {
        system.run(&["restore", "latest", "--target", "/tmp/t"]).exits(0);
        assert_eq!(system.look("tmp/t"), before);
        assert_eq!(fs::read(system.root.join("tmp/t/data/f")).unwrap(), b"content");
        fs::set_permissions(system.root.join("tmp/t"), fs::Permissions::from_mode(0o700)).unwrap();
    }
    let into_new = ["restore", "latest", "--target", "/tmp/new", "--on-conflict", "copy"];
    system.run(&into_new).exits(0);
    assert_eq!(system.look("tmp/new"), before);
    // What cannot be done without /proc is said, in a backup and in a restore.
    let fifo = system.root.join("data/fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
    system.run(&backup).exits(3).says("needs /proc");
    let into = ["restore", "latest", "/data", "--target", "/tmp/fifo"];
    system.run(&into).exits(3).says("needs /proc");
    fs::remove_file(fifo).unwrap();
    system.furnish();
    system.run(&backup).exits(0);
    // A part of it has nothing to do with the attributes of `/`.
    system
        .run(&["restore", "latest", "/data", "--target", "/tmp/part"])
        .exits(0);
    assert_eq!(system.look("tmp/part").1, 0);

    // In place: as every other folder, `/` follows the rule.
    system.spoil();
    let spoiled = system.look("");
    let restore = ["restore", "latest", "--original", "--json", "--on-conflict"];
    let report = system.run(&[&restore[..], &["copy"]].concat()).exits(3).json();
    assert!(warnings(&report).contains("keeps them"), "{report}");
    assert_eq!(system.look("").0, spoiled.0);
    let report = system.run(&[&restore[..], &["skip"]].concat()).exits(0).json();
    assert_eq!(report["warnings_total"], 0, "{report}");
    system
        .run(&[&restore[..], &["overwrite"], &["--dry-run"]].concat())
        .exits(0);
    assert_eq!(system.look("").0, spoiled.0);
    system.run(&[&restore[..], &["overwrite"]].concat()).exits(0);
    assert_eq!(system.look(""), before);
}
