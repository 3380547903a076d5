#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use super::*;
use crate::testing::{Mounted, mounted_btrfs, root_for, run};
use crate::walk::{Rules, WalkEvent, Walker};

/// A btrfs file system in a file, mounted at `at`, and a state folder beside it.
struct Lab {
    _mounted: Mounted,
    at: PathBuf,
    state: PathBuf,
    top: tempfile::TempDir,
}

fn all(mode: SnapshotMode, sources: &[PathBuf]) -> Vec<ToFreeze> {
    sources.iter().map(|source| ToFreeze::new(source, mode)).collect()
}

fn subvolume(path: &Path) {
    run("btrfs", &["subvolume".as_ref(), "create".as_ref(), path.as_os_str()]);
}

impl Lab {
    fn new() -> Self {
        let top = tempfile::tempdir_in("/dev/shm").unwrap();
        let mounted = mounted_btrfs(top.path());
        let at = mounted.0.clone();
        let state = top.path().join("state");
        std::fs::create_dir(&state).unwrap();
        Self {
            _mounted: mounted,
            at,
            state,
            top,
        }
    }

    /// f · home (subvolume): a/b, a/deep (subvolume): g · folder/ro (read-only subvolume): r · snap of home, read-only
    fn furnish(&self) {
        let at = &self.at;
        std::fs::write(at.join("f"), b"old").unwrap();
        subvolume(&at.join("home"));
        std::fs::create_dir(at.join("home/a")).unwrap();
        std::fs::write(at.join("home/a/b"), b"old").unwrap();
        subvolume(&at.join("home/a/deep"));
        std::fs::write(at.join("home/a/deep/g"), b"old").unwrap();
        std::fs::create_dir(at.join("folder")).unwrap();
        subvolume(&at.join("folder/ro"));
        std::fs::write(at.join("folder/ro/r"), b"old").unwrap();
        let ro = at.join("folder/ro");
        run(
            "btrfs",
            &[
                "property".as_ref(),
                "set".as_ref(),
                ro.as_os_str(),
                "ro".as_ref(),
                "true".as_ref(),
            ],
        );
    }

    fn freeze(&self, source: &Path) -> Frozen {
        freeze(&[ToFreeze::new(source, SnapshotMode::Require)], &self.state).unwrap()
    }

    fn hidden(&self) -> usize {
        let is_ours = |name: &OsStr| name.as_bytes().starts_with(SNAPSHOT_FOLDER_PREFIX.as_bytes());
        std::fs::read_dir(&self.at)
            .unwrap()
            .filter(|entry| is_ours(&entry.as_ref().unwrap().file_name()))
            .count()
    }

    fn records(&self) -> usize {
        std::fs::read_dir(self.state.join("snapshots")).map_or(0, Iterator::count)
    }

    fn subvolumes(&self) -> usize {
        run("btrfs", &["subvolume".as_ref(), "list".as_ref(), self.at.as_os_str()])
            .split(|&b| b == b'\n')
            .count()
            - 1
    }
}

/// What a walk finds: path → (inode, device, mtime, content).
fn content(source: &FrozenSource) -> BTreeMap<String, (u64, u64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for event in Walker::new(source, &Rules::default()).unwrap() {
        let (folder, name, stat) = match event {
            WalkEvent::Enter { stat, folder, .. } => (folder, None, stat),
            WalkEvent::Entry { folder, name, stat } => (folder, Some(name), stat),
            WalkEvent::Leave
            | WalkEvent::Skipped {
                what: crate::walk::SkipReason::Snapshots,
                ..
            } => continue,
            other => panic!("{other:?}"),
        };
        let mut bytes = Vec::new();
        let mut path = folder.path().to_vec();
        if let Some(name) = name {
            path = folder.join(&name);
            let file = crate::read::OpenedFile::open(&folder, &name).unwrap();
            bytes = vec![0; usize::try_from(stat.size).unwrap()];
            assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
            assert_eq!(file.stat(), &stat);
        }
        let mtime = stat.mtime_s * 1_000_000_000 + i64::from(stat.mtime_ns);
        found.insert(
            String::from_utf8(path).unwrap(),
            (stat.inode, stat.device, mtime, bytes),
        );
    }
    found
}

#[test]
fn nested_subvolumes_are_frozen_with_their_devices_and_times() {
    if !root_for("a loop device") {
        return;
    }
    let lab = Lab::new();
    lab.furnish();
    let live = content(&FrozenSource::live(&lab.at));
    assert_eq!(live.len(), 10);
    let mut frozen = lab.freeze(&lab.at);
    assert_eq!((lab.hidden(), lab.records(), frozen.notes().len()), (1, 1, 0));
    for name in ["f", "home/a/b", "home/a/deep/g"] {
        std::fs::write(lab.at.join(name), b"changed since").unwrap();
    }
    std::fs::write(lab.at.join("later"), b"").unwrap();
    let source = &frozen.sources()[0];
    assert_eq!(source.consistency, Consistency::Snapshot);
    // Paths, inodes, devices, times and content are those from before the changes.
    assert_eq!(content(source), live);
    frozen.release().unwrap();
    frozen.release().unwrap();
    assert_eq!((lab.hidden(), lab.records(), lab.subvolumes()), (0, 0, 3));
}

#[test]
fn a_source_below_the_top_or_a_single_file_is_frozen_too() {
    if !root_for("a loop device") {
        return;
    }
    let lab = Lab::new();
    lab.furnish();
    let before = std::fs::metadata(&lab.at).unwrap().mtime_nsec();
    let sources = ["home/a", "home/a/b", "folder/ro"].map(|name| lab.at.join(name));
    let live = sources.clone().map(|source| content(&FrozenSource::live(source)));
    let mut frozen = freeze(&all(SnapshotMode::Require, &sources), &lab.state).unwrap();
    std::fs::write(lab.at.join("home/a/b"), b"changed since").unwrap();
    std::fs::write(lab.at.join("home/a/deep/g"), b"changed since").unwrap();
    for (source, live) in frozen.sources().iter().zip(live) {
        assert_eq!(content(source), live);
    }
    // One snapshot of home serves two sources.
    assert_eq!(lab.subvolumes(), 3 + 3);
    frozen.release().unwrap();
    assert_eq!(lab.subvolumes(), 3);
    assert_eq!(std::fs::metadata(&lab.at).unwrap().mtime_nsec(), before);
}

#[test]
fn a_crashed_runs_snapshots_are_removed_and_a_running_ones_are_not() {
    if !root_for("a loop device") {
        return;
    }
    let lab = Lab::new();
    lab.furnish();
    let running = lab.freeze(&lab.at);
    let count = lab.subvolumes();
    assert_eq!(cleanup_leftovers(&lab.state), [""; 0]);
    assert_eq!((lab.subvolumes(), lab.hidden()), (count, 1));
    // A crash: the lock is gone, but the record and the snapshots still exist.
    let record = std::fs::read_dir(lab.state.join("snapshots"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let saved = std::fs::read(&record).unwrap();
    std::fs::remove_file(&record).unwrap();
    std::fs::write(&record, &saved).unwrap();
    // While its file system is not mounted, the record is kept.
    let elsewhere = lab.top.path().join("elsewhere");
    run("umount", &["-l".as_ref(), lab.at.as_os_str()]);
    assert_eq!(cleanup_leftovers(&lab.state).len(), 1);
    assert_eq!(lab.records(), 1);
    let image = lab.top.path().join("image");
    run(
        "mount",
        &["-o".as_ref(), "loop".as_ref(), image.as_os_str(), lab.at.as_os_str()],
    );
    // Snapshots of the crashed run are neither walked nor frozen again.
    let is_snapshot = |path: &String| path.contains(SNAPSHOT_FOLDER_PREFIX);
    assert!(!content(&FrozenSource::live(&lab.at)).keys().any(is_snapshot));
    assert_eq!(cleanup_leftovers(&lab.state), [""; 0]);
    assert_eq!((lab.subvolumes(), lab.hidden(), lab.records()), (3, 0, 0));
    drop(running);
    // A record that names any other folder removes nothing.
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::create_dir_all(lab.state.join("snapshots")).unwrap();
    std::fs::write(lab.state.join("snapshots/0123"), elsewhere.as_os_str().as_bytes()).unwrap();
    assert_eq!(cleanup_leftovers(&lab.state), [""; 0]);
    assert!(elsewhere.exists());
}

#[test]
fn what_is_mounted_below_is_read_live_and_said() {
    if !root_for("a loop device") {
        return;
    }
    let lab = Lab::new();
    lab.furnish();
    let other = Lab::new();
    std::fs::write(other.at.join("o"), b"old").unwrap();
    for name in ["memory", "btrfs", "proc"] {
        std::fs::create_dir(lab.at.join(name)).unwrap();
    }
    std::fs::write(lab.at.join("memory/covered"), b"").unwrap();
    let mount = |args: &[&OsStr], name: &str| {
        let at = lab.at.join(name);
        run("mount", &[args, &[at.as_os_str()]].concat());
        Mounted(at)
    };
    let _mounted = [
        mount(&["-t".as_ref(), "tmpfs".as_ref(), "none".as_ref()], "memory"),
        mount(&["-t".as_ref(), "proc".as_ref(), "none".as_ref()], "proc"),
        mount(&["--bind".as_ref(), other.at.as_os_str()], "btrfs"),
    ];
    std::fs::write(lab.at.join("memory/m"), b"m").unwrap();
    let frozen = lab.freeze(&lab.at);
    std::fs::write(other.at.join("o"), b"changed since").unwrap();
    assert_eq!((frozen.notes().len(), lab.hidden(), other.hidden()), (1, 1, 1));
    let source = &frozen.sources()[0];
    assert_eq!(source.consistency, Consistency::Snapshot);
    let mut rules = Rules::default();
    let walk = |rules: &Rules| -> Vec<String> {
        let mut lines = Vec::new();
        for event in Walker::new(source, rules).unwrap() {
            match event {
                WalkEvent::Entry { folder, name, .. } => {
                    let path = folder.join(&name);
                    lines.push(String::from_utf8_lossy(&path[lab.at.as_os_str().len() + 1..]).into_owned());
                }
                WalkEvent::Skipped { path, what } => {
                    lines.push(format!(
                        "{} {what:?}",
                        String::from_utf8_lossy(&path[lab.at.as_os_str().len() + 1..])
                    ));
                }
                WalkEvent::Problem { path, error } => panic!("{} {error}", path.escape_ascii()),
                _ => {}
            }
        }
        lines
    };
    let all = [
        "btrfs/o",
        "f",
        "folder/ro/r",
        "home/a/b",
        "home/a/deep/g",
        "memory/m",
        "proc PseudoFileSystem",
    ];
    // Folders of snapshots are reported as left out, by names that differ from run to run.
    let walk = |rules: &Rules| -> Vec<String> {
        let left_out = |line: &String| line.contains(SNAPSHOT_FOLDER_PREFIX) && line.ends_with(" Snapshots");
        walk(rules).into_iter().filter(|line| !left_out(line)).collect()
    };
    assert_eq!(walk(&rules), all);
    rules.boundaries.one_file_system = true;
    let one = [
        "btrfs OtherFileSystem",
        "f",
        "folder/ro/r",
        "home/a/b",
        "home/a/deep/g",
        "memory OtherFileSystem",
        "proc PseudoFileSystem",
    ];
    assert_eq!(walk(&rules), one);
    drop(frozen);
    assert_eq!((lab.hidden(), other.hidden(), lab.records()), (0, 0, 0));
}

#[test]
fn what_cannot_be_frozen_is_read_live_or_refused() {
    let top = tempfile::tempdir_in("/dev/shm").unwrap();
    let sources = [top.path().to_owned()];
    let state = top.path().join("state");
    for (mode, notes) in [(SnapshotMode::Auto, 1), (SnapshotMode::Off, 0)] {
        let frozen = freeze(&all(mode, &sources), &state).unwrap();
        assert_eq!(
            (frozen.sources()[0].consistency, frozen.notes().len()),
            (Consistency::Live, notes)
        );
        assert_eq!(frozen.sources()[0].read_from, sources[0]);
    }
    let refused = freeze(&all(SnapshotMode::Require, &sources), &state).err().unwrap();
    assert!(matches!(refused, SnapshotError::NotPossible { .. }), "{refused}");
    let gone = freeze(&all(SnapshotMode::Auto, &[top.path().join("gone")]), &state)
        .err()
        .unwrap();
    assert!(matches!(gone, SnapshotError::Source { .. }), "{gone}");
    assert!(!state.exists());
    assert_eq!(cleanup_leftovers(&state), [""; 0]);
}

#[test]
fn a_record_is_cleaned_up_by_the_provider_that_it_names() {
    let top = tempfile::tempdir().unwrap();
    let records = top.path().join("snapshots");
    std::fs::create_dir(&records).unwrap();
    // Cut short, of this version and of one whose records did not name their provider.
    std::fs::write(records.join("btrfs-0123456789abcdef"), b"/cut/sh").unwrap();
    std::fs::write(records.join("0123456789abcdef"), b"").unwrap();
    assert_eq!(cleanup_leftovers(top.path()), [""; 0]);
    assert_eq!(std::fs::read_dir(&records).unwrap().count(), 0);
    // A record of a provider that only a later version has is kept and reported.
    let unknown = records.join("unknown-0123456789abcdef");
    std::fs::write(&unknown, b"/anything").unwrap();
    let problems = cleanup_leftovers(top.path());
    assert!(
        problems.len() == 1 && problems[0].contains("\"unknown\""),
        "{problems:?}"
    );
    assert!(unknown.exists());
}
