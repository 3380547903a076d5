//! A source without files is no good recovery point, and what a source is does not depend on how it was reached.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::lab::{Lab, Ran, finish, root_or_skip};
use crate::support::strace::{failing_to_read, strace_works};
use crate::support::tree::file;

fn backup(lab: &Lab, paths: &[&Path]) -> Ran {
    let mut args = vec![Path::new("backup"), Path::new("--json")];
    args.extend(paths);
    lab.run(args)
}

fn succeeds(program: &str, args: &[&Path]) -> bool {
    Command::new(program)
        .args(args)
        .output()
        .is_ok_and(|out| out.status.success())
}

fn number(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name} in {report}"))
}

struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    /// Mounts an image through a loop device.
    fn image(image: &Path, at: &'a Path) -> Option<Self> {
        succeeds("mount", &[Path::new("-o"), Path::new("loop"), image, at]).then_some(Self(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

fn ext4(lab: &Lab, options: &[&str]) -> Option<std::path::PathBuf> {
    let image = lab.path("image");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let made = Command::new("mkfs.ext4").arg("-q").args(options).arg(&image).output();
    made.is_ok_and(|out| out.status.success()).then_some(image)
}

#[test]
fn an_emptied_source_is_warned_about_for_as_long_as_there_are_points_with_files() {
    let lab = Lab::new();
    let source = lab.source();
    backup(&lab, &[&source]).exits(0);
    file(&source.join("folder/f"), b"f");
    backup(&lab, &[&source]).exits(0);
    fs::remove_file(source.join("folder/f")).unwrap();
    for _ in 0..2 {
        let report = backup(&lab, &[&source]).exits(3).json();
        assert_eq!(report["status"], "CompletedWithWarnings", "{report}");
        assert!(report.to_string().contains("has no files now"), "{report}");
    }
}

#[test]
fn a_source_that_is_left_out_as_a_whole_is_warned_about() {
    let lab = Lab::new();
    let source = lab.source();
    file(&source.join("f"), b"f");
    let pattern = source.to_str().unwrap();
    let report = lab.backup_with(&["--exclude", pattern]).exits(3).json();
    assert_eq!(report["excluded"]["patterns"][0]["entries"], 1, "{report}");
    lab.backup_with(&["--exclude", "*"]).exits(3);
    backup(&lab, &[Path::new("/proc/sys")]).exits(3);
    let _socket = std::os::unix::net::UnixListener::bind(lab.path("socket")).unwrap();
    backup(&lab, &[&lab.path("socket")]).exits(3);
}

#[test]
fn patterns_apply_to_sources_and_say_what_they_left_out() {
    let lab = Lab::new();
    let source = lab.source();
    for name in ["a.iso", "b", "#recycle/x"] {
        file(&source.join(name), b"x");
    }
    let (iso, b) = (source.join("a.iso"), source.join("b"));
    let args = [Path::new("backup"), Path::new("--json"), &iso, &b].map(Path::as_os_str);
    let more = ["--exclude", "*.iso"].map(std::ffi::OsStr::new);
    let report = lab.run(args.into_iter().chain(more)).exits(0).json();
    assert_eq!(number(&report, "files_new"), 1, "{report}");

    let bom = lab.path("globs");
    fs::write(&bom, "\u{feff}*.iso\n# comment\n").unwrap();
    let more = [
        "--exclude",
        "#recycle",
        "--exclude",
        "none",
        "--exclude-from",
        bom.to_str().unwrap(),
    ];
    let ran = lab.backup_with(&more).exits(0).says("\"none\" matched nothing");
    let report = ran.json();
    let entries: Vec<u64> = report["excluded"]["patterns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pattern| number(pattern, "entries"))
        .collect();
    assert_eq!(entries, [1, 0, 1], "{report}");
    assert_eq!(
        number(&report, "files_new") + number(&report, "files_unchanged"),
        1,
        "{report}"
    );
}

#[test]
fn a_part_of_an_earlier_source_is_not_read_again_and_neither_is_the_whole() {
    let lab = Lab::new();
    let source = lab.source();
    file(&source.join("a/f"), b"f");
    file(&source.join("g"), b"g");
    backup(&lab, &[&source.join("a")]).exits(0);
    let report = backup(&lab, &[&source]).exits(0).json();
    assert_eq!(
        (number(&report, "files_unchanged"), number(&report, "files_new")),
        (1, 1),
        "{report}"
    );
    let report = backup(&lab, &[&source.join("a")]).exits(0).json();
    assert_eq!(number(&report, "bytes_read"), 0, "{report}");
}

#[test]
fn a_source_without_content_is_warned_about_or_refused() {
    let lab = Lab::new();
    let source = lab.source();
    file(&source.join("f"), b"f");
    symlink("f", source.join("link")).unwrap();
    symlink("/dev/null", source.join("device")).unwrap();
    let report = backup(&lab, &[&source.join("link")]).exits(3).json();
    assert!(report.to_string().contains("to back up the file"), "{report}");
    backup(&lab, &[&source.join("device")]).exits(2);
}

#[test]
fn a_file_that_says_it_is_empty_is_read_to_its_end() {
    let lab = Lab::new();
    backup(&lab, &[Path::new("/proc/cpuinfo")]).exits(0);
    lab.restore("latest", "out");
    let restored = fs::read(lab.path("out/proc/cpuinfo")).unwrap();
    assert!(restored.len() > 100 && restored.starts_with(b"processor"));
}

#[test]
fn a_change_within_the_same_second_is_found_on_a_file_system_with_whole_seconds() {
    if !root_or_skip("mounting a file system") {
        return;
    }
    let lab = Lab::new();
    let at = lab.path("mount");
    fs::create_dir(&at).unwrap();
    let Some(_mounted) = ext4(&lab, &["-I", "128"]).and_then(|image| Mounted::image(&image, &at)) else {
        eprintln!("SKIPPED: ext4 cannot be made or mounted here");
        return;
    };
    let path = at.join("d/f");
    fs::create_dir(at.join("d")).unwrap();
    // Until both writes fall into one second, which is seen in the ctime.
    loop {
        fs::write(&path, "AAAA").unwrap();
        let before = std::os::unix::fs::MetadataExt::ctime(&fs::metadata(&path).unwrap());
        backup(&lab, &[&at.join("d")]).exits(0);
        fs::write(&path, "BBBB").unwrap();
        let after = std::os::unix::fs::MetadataExt::ctime(&fs::metadata(&path).unwrap());
        if before == after {
            break;
        }
    }
    backup(&lab, &[&at.join("d")]).exits(0);
    lab.restore("latest", "out");
    let restored = lab.path("out").join(path.strip_prefix("/").unwrap());
    assert_eq!(fs::read(restored).unwrap(), b"BBBB");
}

#[test]
fn a_file_system_that_moved_is_not_read_again_and_one_that_is_gone_is_missed() {
    if !root_or_skip("mounting a file system") {
        return;
    }
    let lab = Lab::new();
    let (at, elsewhere) = (lab.path("mount"), lab.path("elsewhere"));
    fs::create_dir(&at).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    let Some(image) = ext4(&lab, &[]) else {
        eprintln!("SKIPPED: ext4 cannot be made here");
        return;
    };
    {
        let Some(_mounted) = Mounted::image(&image, &at) else {
            eprintln!("SKIPPED: ext4 cannot be mounted here");
            return;
        };
        file(&at.join("d/f"), b"f");
        backup(&lab, &[&at]).exits(0);
    }
    {
        // Another file system takes the loop device that this one had.
        let other = lab.path("other");
        fs::copy(&image, &other).unwrap();
        let _other = Mounted::image(&other, &elsewhere).unwrap();
        let _mounted = Mounted::image(&image, &at).unwrap();
        let report = backup(&lab, &[&at]).exits(0).json();
        assert_eq!(number(&report, "files_unchanged"), 1, "{report}");
        assert_eq!(number(&report, "bytes_read"), 0, "{report}");
    }
    let report = backup(&lab, &[&at]).exits(3).json();
    assert!(report.to_string().contains("is not mounted now"), "{report}");
}

#[test]
fn files_that_cannot_be_read_are_in_no_figure_but_the_warnings() {
    if !strace_works() {
        return;
    }
    let lab = Lab::new();
    let files: Vec<PathBuf> = (0..10).map(|number| lab.source().join(format!("{number}"))).collect();
    for path in &files {
        file(path, &[7; 1000]);
    }
    let unreadable: Vec<&Path> = files[..3].iter().map(PathBuf::as_path).collect();
    for round in 0..2 {
        let mut command = lab.command("home");
        command.args(["backup", "--json"]).arg(lab.source());
        let report = finish(failing_to_read(&command, &unreadable, "EIO")).exits(3).json();
        let outcome = if round == 0 { "files_new" } else { "files_unchanged" };
        assert_eq!(
            (number(&report, outcome), number(&report, "warnings_total")),
            (7, 3),
            "{report}"
        );
        let others =
            number(&report, "files_new") + number(&report, "files_unchanged") + number(&report, "files_changed");
        assert_eq!(others, 7, "{report}");
        let points = lab.run(["points", "list", "--json"]).exits(0).json();
        assert_eq!(points["points"][round]["files"], 7, "{points}");
        assert_eq!(points["points"][round]["bytes"], 7000, "{points}");
    }
}
