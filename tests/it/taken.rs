//! What a backup can take beside files and folders: what programs print, standard input, the system state. And what it
//! leaves out, or only counts.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::lab::{Lab, Ran, finish, noise, root_or_skip};
use crate::support::tree::{self, file};

/// Runs the program with this on its standard input.
fn piped(lab: &Lab, args: &[&str], input: Vec<u8>) -> Ran {
    let mut command = lab.command("home");
    command.args(args);
    let (read, mut write) = std::io::pipe().unwrap();
    command.stdin(Stdio::from(read));
    // The program may end without reading it all.
    let writer = std::thread::spawn(move || drop(write.write_all(&input)));
    let ran = finish(command);
    writer.join().unwrap();
    ran
}

fn policy(lab: &Lab, text: &str) {
    let path = lab.path("policy.toml");
    file(
        &path,
        format!("{text}\n[retention]\ndaily = {{ days = 7 }}\n").as_bytes(),
    );
    lab.run(["policy", "set", "--file", path.to_str().unwrap()]).exits(0);
}

fn points(lab: &Lab) -> Vec<Value> {
    lab.run(["points", "list", "--json"]).exits(0).json()["points"]
        .as_array()
        .unwrap()
        .clone()
}

/// A shell command as an item of the policy.
fn item(name: &str, script: &str, more: &str) -> String {
    format!("[[item]]\nname = \"{name}\"\ncommand = [\"/bin/sh\", \"-c\", {script:?}]\n{more}\n")
}

#[test]
fn standard_input_becomes_one_file_and_comes_back() {
    let lab = Lab::new();
    // Long enough for several chunks and buffers.
    let dump = noise(7, 11 << 20);
    let first = piped(&lab, &["backup", "--stdin", "shop.sql", "--json"], dump.clone());
    let first = first.exits(0).json();
    assert_eq!(
        (&first["files_new"], &first["bytes_read"]),
        (&json!(1), &json!(dump.len()))
    );
    assert_eq!(first["consistency"], "live");
    // The same again is nothing new.
    let second = piped(&lab, &["backup", "--stdin", "shop.sql", "--json"], dump.clone());
    let second = second.exits(0).json();
    assert_eq!(
        (&second["files_unchanged"], &second["chunks_new"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(points(&lab)[0]["made"], json!(["/stdin/shop.sql"]));
    // A file with the same bytes has the same chunks.
    file(&lab.source().join("copy"), &dump);
    assert_eq!(lab.backup()["chunks_new"], 0);
    let id = first["point"].as_str().unwrap();
    let out = lab.path("out");
    lab.run(["restore", id, "--target", out.to_str().unwrap()]).exits(0);
    assert!(fs::read(out.join("stdin/shop.sql")).unwrap() == dump);
    // It has no original place.
    lab.run(["restore", id, "--original"])
        .exits(1)
        .says("has no original place");
    assert!(!Path::new("/stdin").exists());
    // Nothing at all is a file as well.
    piped(&lab, &["backup", "--stdin", "empty"], Vec::new()).exits(0);
    let listed = lab.run(["points", "ls", "latest", "/stdin", "--json"]).exits(0).json();
    assert_eq!(listed["entries"][0]["size"], 0, "{listed}");
    for bad in ["a/b", "..", ""] {
        piped(&lab, &["backup", "--stdin", bad], Vec::new()).exits(2);
    }
}

#[test]
fn a_standard_input_that_breaks_makes_no_point() {
    let lab = Lab::new();
    let mut command = lab.command("home");
    command.args(["backup", "--stdin", "x"]);
    // A folder opens, and cannot be read.
    command.stdin(Stdio::from(fs::File::open(lab.source()).unwrap()));
    finish(command).exits(1).says("it could not be read");
    assert!(points(&lab).is_empty());
}

#[test]
fn what_a_program_prints_becomes_a_file_without_secrets_in_its_environment() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let path = format!("[[item]]\npath = \"{}\"\n", lab.source().display());
    let print = item("env.txt", "env; echo noted >&2", "");
    policy(
        &lab,
        &format!("{path}{print}{}", item("big", "head -c 9000000 /dev/zero", "")),
    );
    let done = lab.run(["backup", "--json"]).exits(0).says("noted").json();
    assert_eq!(done["status"], "Completed");
    let out = lab.path("out");
    lab.run(["restore", "latest", "--target", out.to_str().unwrap()])
        .exits(0);
    let env = fs::read_to_string(out.join("commands/env.txt")).unwrap();
    assert!(env.contains("PATH=") && !env.contains("LOCKSTONE_PASSPHRASE"), "{env}");
    assert_eq!(fs::metadata(out.join("commands/big")).unwrap().len(), 9_000_000);
    let restored = out.join(lab.source().strip_prefix("/").unwrap());
    assert!(tree::look(&restored) == tree::look(&lab.source()));
    // To the original place go the files that have one.
    lab.run(["restore", "latest", "--original", "--on-conflict", "overwrite"])
        .says("has no original place and is not restored");
    assert!(!Path::new("/commands").exists());
    // Only one of the items.
    let one = lab.run(["backup", "--item", "big", "--json"]).exits(0).json();
    assert_eq!((&one["files_unchanged"], &one["dirs"]), (&json!(1), &json!(0)), "{one}");
}

#[test]
fn a_program_that_fails_makes_no_point_unless_it_may_fail() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let path = format!("[[item]]\npath = \"{}\"\n", lab.source().display());
    let fails = "head -c 3000000 /dev/urandom; exit 3";
    policy(&lab, &format!("{path}{}", item("db", fails, "")));
    lab.run(["backup"])
        .exits(1)
        .says("/commands/db: /bin/sh failed: exit status: 3")
        .says("required = false");
    assert!(points(&lab).is_empty());
    policy(&lab, &format!("{path}{}", item("db", fails, "required = false")));
    let done = lab.run(["backup", "--json"]).exits(3).json();
    assert!(done["warnings"].to_string().contains("is not in this point"), "{done}");
    assert_eq!(points(&lab).len(), 1);
    lab.run(["check", "--read-data"]).exits(0);
    let missing = "[[item]]\nname = \"db\"\ncommand = [\"/no/such/program\"]\n";
    policy(&lab, &format!("{path}{missing}"));
    lab.run(["backup"]).exits(1).says("/no/such/program");
    // A killed program is no good program either.
    policy(&lab, &format!("{path}{}", item("db", "echo half; kill -9 $$", "")));
    lab.run(["backup"]).exits(1).says("signal: 9");
}

#[test]
fn what_is_made_lies_among_the_entries_of_the_root_in_their_order() {
    if !root_or_skip("a chroot") {
        return;
    }
    let lab = Lab::new();
    // In a mount namespace of its own, a folder with little in it becomes the root.
    let root = lab.path("root");
    for name in ["a/f", "commandr", "commandsx/f", "zz"] {
        file(&root.join(name), name.as_bytes());
    }
    let others = "exclude = [\"/usr\", \"/lib*\", \"/bin\", \"/dev\", \"/tmp\", \"/program\"]";
    policy(
        &lab,
        &format!("{others}\n[[item]]\npath = \"/\"\n{}", item("db", "echo db", "")),
    );
    let script = "set -e; cd \"$1\"; mkdir -p usr dev \".$2\"; mount --rbind /usr usr; mount --rbind /dev dev; \
                  for d in bin lib lib64; do if test -L /$d; then cp -P /$d .; elif test -d /$d; then mkdir $d; \
                  mount --rbind /$d $d; fi; done; mount --bind \"$2\" \".$2\"; cp \"$3\" program; \
                  exec chroot . /program backup --json";
    let ours = lab.command("home");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).args([
        root.as_os_str(),
        lab.path("").as_os_str(),
        ours.get_program(),
    ]);
    for (name, value) in ours.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let ran = finish(command);
    let report = ran.json();
    assert!(report["point"].is_string(), "{report}");
    let listed = lab.run(["points", "ls", "latest", "/", "--json"]).exits(0).json();
    let names: Vec<&str> = listed["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["path"].as_str())
        .filter(|path| path.starts_with("/c") || path.starts_with("/z"))
        .collect();
    assert_eq!(names, ["/commandr", "/commands", "/commandsx", "/zz"]);
    lab.run(["check", "--read-data"]).exits(0);
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    file(&lab.source().join("new"), b"12345");
    file(&lab.source().join("docs/readme.md"), b"changed");
    let (vault, jobs) = (
        tree::look(&lab.vault()),
        lab.run(["jobs", "list", "--json"]).exits(0).json(),
    );
    let dry = lab.backup_with(&["--dry-run", "--verbose"]).exits(0);
    let dry = dry.says("new     ").says("changed ").json();
    assert_eq!(
        (&dry["dry_run"], &dry["point"], &dry["files_new"], &dry["bytes_read"]),
        (&json!(true), &Value::Null, &json!(1), &json!(0)),
        "{dry}"
    );
    assert!(tree::look(&lab.vault()) == vault);
    assert_eq!(lab.run(["jobs", "list", "--json"]).exits(0).json(), jobs);
    let done = lab.backup_with(&["-v"]).exits(0).says("/source/new").json();
    for name in ["files_new", "files_changed", "files_unchanged", "dirs", "bytes_scanned"] {
        assert_eq!(done[name], dry[name], "{name}");
    }
    assert_eq!(done["dry_run"], false);
}

#[test]
fn a_list_of_paths_is_read_from_a_file_or_from_standard_input() {
    let lab = Lab::new();
    for name in ["a", "b c", "d\ne"] {
        file(&lab.source().join(name), name.as_bytes());
    }
    let source = lab.source().display().to_string();
    let list = lab.path("list");
    file(&list, format!("{source}/a\n\n{source}/b c\n").as_bytes());
    let list = list.to_str().unwrap();
    let done = lab.run(["backup", "--json", "--files-from", list]).exits(0).json();
    assert_eq!(done["files_new"], 2);
    let zeros = format!("{source}/d\ne\0{source}/a\0").into_bytes();
    let done = piped(&lab, &["backup", "--json", "--files-from", "-"], zeros)
        .exits(0)
        .json();
    assert_eq!(
        (&done["files_new"], &done["files_unchanged"]),
        (&json!(1), &json!(1)),
        "{done}"
    );
    file(Path::new(list), format!("{source}/none\n").as_bytes());
    lab.run(["backup", "--files-from", list]).exits(1).says("none");
    file(Path::new(list), b"\n");
    lab.run(["backup", "--files-from", list]).exits(2).says("names no path");
    lab.run(["backup", "--files-from", "-", "--stdin", "x"]).exits(2);
}

#[test]
fn large_files_and_marked_folders_are_left_out_and_counted() {
    let lab = Lab::new();
    let source = lab.source();
    file(&source.join("small"), &[1; 1000]);
    file(&source.join("large"), &[1; 1001]);
    for name in ["marked/.nobackup", "marked/f", "marked/deep/g", "other/h"] {
        file(&source.join(name), b"x");
    }
    let options = ["--exclude-larger-than", "1000", "--exclude-if-present", ".nobackup"];
    let report = lab.backup_with(&options).exits(0).json();
    assert_eq!(report["files_new"], 3, "{report}");
    let excluded = &report["excluded"];
    assert_eq!(
        (&excluded["larger_files"], &excluded["marked_folders"]),
        (&json!(1), &json!(1))
    );
    let found = lab
        .run(["points", "find", "*", "--point", "latest", "--json"])
        .exits(0)
        .stdout;
    assert!(
        found.contains("/marked/.nobackup") && !found.contains("/marked/deep"),
        "{found}"
    );
    lab.backup_with(&["--exclude-if-present", "a/b"]).exits(2);
}

#[test]
fn a_point_has_tags_of_ones_own_beside_those_of_the_retention() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup_with(&["--tag", "before-upgrade", "--tag", "ticket:17"])
        .exits(0);
    assert_eq!(
        points(&lab)[0]["tags"],
        json!(["on-demand", "before-upgrade", "ticket:17"])
    );
    for bad in ["daily", "On-Demand", "a b", ""] {
        lab.backup_with(&["--tag", bad]).exits(2);
    }
    assert_eq!(points(&lab).len(), 1);
}

#[test]
fn an_emptied_source_on_temporary_storage_fails_the_backup() {
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let lab = Lab::new();
    let source = memory.path().join("s");
    file(&source.join("f"), b"f");
    let path = source.to_str().unwrap();
    let run = || lab.run(["backup", path, "--json"]);
    run().exits(0).says("is on temporary storage");
    assert_eq!(points(&lab)[0]["temporary"], json!([path]));
    // Restoring it to memory again is worth a word.
    let out = memory.path().join("out");
    lab.run(["restore", "latest", "--target", out.to_str().unwrap()])
        .exits(0)
        .says("is restored to temporary storage");
    fs::remove_file(source.join("f")).unwrap();
    let failed = run().exits(1).says("temporary storage was emptied").json();
    assert_eq!(failed["point"], Value::Null);
    // A folder on a disk in its place does not hide that.
    fs::remove_dir(&source).unwrap();
    run().exits(1).says("No such file");
    assert_eq!(points(&lab).len(), 1);
}

#[test]
fn the_system_state_is_described_and_restored_as_files() {
    let lab = Lab::new();
    let args = [
        "backup",
        "--system-state",
        "--no-package-check",
        "--exclude",
        "/boot/*",
        "--json",
    ];
    let done = lab.run(args).json();
    assert!(done["point"].is_string(), "{done}");
    let point = points(&lab).remove(0);
    assert_eq!(point["made"], json!(["/system state"]));
    assert!(point["sources"].as_array().unwrap().contains(&json!("/etc")), "{point}");
    let out = lab.path("out");
    let target = out.to_str().unwrap();
    lab.run(["restore", "latest", "/system state", "--target", target])
        .exits(0);
    let guide = fs::read_to_string(out.join("system state/RESTORE.md")).unwrap();
    assert!(guide.contains("lockstone restore latest --target /mnt"), "{guide}");
    assert!(out.join("system state/NOTES.txt").exists());
    assert!(out.join("system state/disks/mountinfo.txt").exists());
    // The policy can ask for it as well. How much is free on the disk of this test does not matter.
    lab.run(["cache", "rules", "--system-state-bytes", "0"]).exits(0);
    policy(
        &lab,
        "system_state = true\npackage_check = false\nexclude = [\"/boot/*\", \"/etc/*\"]",
    );
    let done = lab.run(["backup", "--json"]).json();
    assert!(done["point"].is_string(), "{done}");
    assert_eq!(points(&lab)[1]["made"], json!(["/system state"]));
}

#[test]
fn a_volume_that_is_not_eligible_needs_a_word() {
    if !root_or_skip("mounting an image") {
        return;
    }
    let lab = Lab::new();
    let (image, at) = (lab.path("image"), lab.path("volume"));
    fs::create_dir(&at).unwrap();
    fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    let run = |program: &str, args: &[&Path]| {
        Command::new(program)
            .args(args)
            .output()
            .is_ok_and(|out| out.status.success())
    };
    if !run("mkfs.ext4", &[Path::new("-q"), &image])
        || !run("mount", &[Path::new("-o"), Path::new("loop"), &image, &at])
    {
        eprintln!("SKIPPED: no ext4 image can be mounted");
        return;
    }
    struct Unmount<'a>(&'a Path);
    impl Drop for Unmount<'_> {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(self.0).status();
        }
    }
    let _mounted = Unmount(&at);
    file(&at.join("f"), b"f");
    file(&lab.path("beside"), b"b");
    assert!(run("mount", &[Path::new("-o"), Path::new("remount,ro"), &at]));
    let volume = at.to_str().unwrap();
    let refused = lab.run(["backup", volume]).exits(1);
    refused.says("which is not eligible: read-only").says("--allow-volume");
    let listed = lab.run(["volumes", "--json"]).exits(0).json();
    let row = listed["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["mount"] == volume)
        .unwrap();
    assert_eq!(row["eligible"], false, "{row}");
    lab.run(["backup", volume, "--allow-volume", volume]).exits(0);
    assert_eq!(points(&lab)[0]["allowed_volumes"], json!([volume]));
    // Below another source it is left out with a warning, and nothing else is.
    let around = lab.path("");
    let around = around.to_str().unwrap().trim_end_matches('/');
    let args = ["backup", around, "--exclude", "image", "--json"];
    let report = lab.run(args).exits(3).json();
    assert!(
        report["warnings"]
            .to_string()
            .contains("the volume is left out: read-only"),
        "{report}"
    );
    lab.run(args.into_iter().chain(["--one-file-system"])).exits(3);
    let allowed = lab.run(args.into_iter().chain(["--allow-volume", volume])).json();
    assert!(
        !allowed["warnings"].to_string().contains("the volume is left out"),
        "{allowed}"
    );
    policy(
        &lab,
        &format!("allow_volume = [\"{volume}\"]\n[[item]]\npath = \"{volume}\""),
    );
    lab.run(["backup"]).exits(0);
}

#[test]
fn a_hook_that_takes_too_long_is_ended_with_all_that_it_started() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let path = format!("[[item]]\npath = \"{}\"\n", lab.source().display());
    policy(
        &lab,
        &format!("{path}[hooks]\nbefore = [\"/bin/sh\", \"-c\", \"sleep 600 & wait\"]\ntimeout = \"1s\"\n"),
    );
    lab.run(["backup"]).exits(1).says("it took longer than 1 s");
    assert!(points(&lab).is_empty());
}
