#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, mkdirat, openat};

use super::*;
use crate::testing::{Mounted, root_for, run};

fn walk(source: &Path, rules: &Rules) -> Vec<WalkEvent> {
    Walker::new(&FrozenSource::live(source), rules).unwrap().collect()
}

/// The walk as lines: the event and the path relative to the source.
fn lines(source: &Path, rules: &Rules) -> Vec<String> {
    let mut path: Vec<Vec<u8>> = Vec::new();
    let relative = |full: &[u8]| {
        let rest = full.strip_prefix(source.as_os_str().as_bytes()).unwrap_or(full);
        rest.escape_ascii().to_string()
    };
    walk(source, rules)
        .into_iter()
        .map(|event| match event {
            WalkEvent::Enter { name, folder, stat } => {
                assert!(stat.is_folder());
                path.push(name);
                format!("enter {}", relative(&folder.path().to_vec()))
            }
            WalkEvent::Entry { name, folder, .. } => format!("entry {}", relative(&folder.join(&name))),
            WalkEvent::Leave => {
                path.pop().unwrap();
                "leave".to_owned()
            }
            WalkEvent::Skipped { path, what } => format!("skipped {} {what:?}", relative(&path)),
            WalkEvent::Problem { path, error } => format!("problem {} {:?}", relative(&path), error.kind()),
        })
        .collect()
}

fn write(path: std::path::PathBuf) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, b"x").unwrap();
}

#[test]
fn entries_come_in_byte_order_and_every_folder_is_left() {
    let top = tempfile::tempdir().unwrap();
    for name in ["b/z", "b/a/q", "a.x", "a/1", "a-/2", "B"] {
        write(top.path().join(name));
    }
    std::fs::create_dir(top.path().join("empty")).unwrap();
    std::os::unix::fs::symlink("b", top.path().join("link-to-folder")).unwrap();
    std::os::unix::fs::symlink("nowhere", top.path().join("dangling")).unwrap();
    let expected = "enter |entry /B|enter /a|entry /a/1|leave|enter /a-|entry /a-/2|leave|entry /a.x|enter /b|enter /b/a|\
        entry /b/a/q|leave|entry /b/z|leave|entry /dangling|enter /empty|leave|entry /link-to-folder|leave";
    assert_eq!(lines(top.path(), &Rules::default()).join("|"), expected);
}

#[test]
fn names_of_any_bytes_and_every_kind_of_entry_are_met() {
    let top = tempfile::tempdir().unwrap();
    let long = [b'n'; 255];
    for name in [&b"\xff\xfe"[..], b"new\nline", b" ", b"-", b"*?[", &long] {
        std::fs::write(top.path().join(OsStr::from_bytes(name)), b"").unwrap();
    }
    rustix::fs::mkfifoat(CWD, top.path().join("fifo"), Mode::RUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(top.path().join("socket")).unwrap();
    let found = lines(top.path(), &Rules::default()).join("|");
    let long = "n".repeat(255);
    let expected = format!(
        "enter |entry / |entry /*?[|entry /-|entry /fifo|entry /new\\nline|entry /{long}|skipped /socket Socket|\
         entry /\\xff\\xfe|leave"
    );
    assert_eq!(found, expected);
}

#[test]
fn excludes_are_pruned_as_in_a_gitignore() {
    let top = tempfile::tempdir().unwrap();
    for name in [
        "a/node_modules/m/f",
        "node_modules/f",
        "x.tmp",
        "keep.tmp",
        "build",
        "d/build/f",
        "logs/1.log",
        "logs/d/2.log",
    ] {
        write(top.path().join(name));
    }
    let anchored = format!("{}/logs/*.log", top.path().display());
    let rules = Rules::new(&[
        "**/node_modules",
        "# a comment",
        "",
        "*.tmp",
        "!keep.tmp",
        "build/",
        &anchored,
    ])
    .unwrap();
    let found = lines(top.path(), &rules).join("|");
    assert_eq!(
        found,
        "enter |enter /a|skipped /a/node_modules Excluded|leave|entry /build|enter /d|skipped /d/build Excluded|leave|\
         entry /keep.tmp|enter /logs|skipped /logs/1.log Excluded|enter /logs/d|entry /logs/d/2.log|leave|leave|\
         skipped /node_modules Excluded|skipped /x.tmp Excluded|leave"
    );
    assert!(Rules::new(&["a{b"]).is_err());
}

#[test]
fn forbidden_folders_are_left_out_however_they_are_reached() {
    let top = tempfile::tempdir().unwrap();
    write(top.path().join("vault/packs/p"));
    write(top.path().join("f"));
    let mut rules = Rules::default();
    rules.exclude_folder(top.path().join("vault"));
    assert_eq!(
        lines(top.path(), &rules).join("|"),
        "enter |entry /f|skipped /vault Forbidden|leave"
    );
    assert_eq!(
        lines(&top.path().join("vault/packs"), &rules).join("|"),
        "skipped  Forbidden"
    );
    // The folder is recognised by device and inode under another name.
    std::fs::rename(top.path().join("vault"), top.path().join("moved")).unwrap();
    assert_eq!(
        lines(top.path(), &rules).join("|"),
        "enter |entry /f|skipped /moved Forbidden|leave"
    );
}

#[test]
fn of_a_tagged_cache_only_the_tag_is_kept() {
    let top = tempfile::tempdir().unwrap();
    let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# more";
    write(top.path().join("cache/sub/f"));
    write(top.path().join("cache/a"));
    std::fs::write(top.path().join("cache/CACHEDIR.TAG"), tag).unwrap();
    write(top.path().join("no-cache/CACHEDIR.TAG"));
    write(top.path().join("no-cache/z"));
    std::fs::write(top.path().join("CACHEDIR.TAG"), tag).unwrap();
    let mut rules = Rules::default();
    let found = lines(top.path(), &rules).join("|");
    assert_eq!(
        found,
        "enter |entry /CACHEDIR.TAG|enter /cache|skipped /cache CacheDir|entry /cache/CACHEDIR.TAG|leave|\
         enter /no-cache|entry /no-cache/CACHEDIR.TAG|entry /no-cache/z|leave|leave"
    );
    rules.honour_cachedir_tag = false;
    assert!(lines(top.path(), &rules).contains(&"entry /cache/sub/f".to_owned()));
}

#[test]
fn a_source_may_be_one_file_and_must_exist() {
    let top = tempfile::tempdir().unwrap();
    write(top.path().join("f"));
    let walker = Walker::new(&FrozenSource::live(top.path().join("f")), &Rules::default()).unwrap();
    let events: Vec<_> = walker.collect();
    let [WalkEvent::Entry { folder, name, stat }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(
        (&folder.path().to_vec()[..], &name[..]),
        (top.path().as_os_str().as_bytes(), &b"f"[..])
    );
    assert_eq!(crate::read::OpenedFile::open(folder, name).unwrap().stat(), stat);
    assert!(Walker::new(&FrozenSource::live(top.path().join("none")), &Rules::default()).is_err());
    // A source that is a link is not followed.
    std::os::unix::fs::symlink("f", top.path().join("l")).unwrap();
    let events = walk(&top.path().join("l"), &Rules::default());
    assert!(matches!(&events[..], [WalkEvent::Entry { stat, .. }] if stat.mode & 0o170_000 == 0o120_000));
}

#[test]
fn views_into_the_kernel_are_empty_folders_and_other_file_systems_where_asked() {
    if !root_for("mounting") {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    write(top.path().join("f"));
    for name in ["proc", "other"] {
        std::fs::create_dir(top.path().join(name)).unwrap();
    }
    let mount = |fs: &str, name: &str| {
        let at = top.path().join(name);
        run("mount", &["-t".as_ref(), fs.as_ref(), "none".as_ref(), at.as_os_str()]);
        Mounted(at)
    };
    let _mounts = [mount("proc", "proc"), mount("tmpfs", "other")];
    write(top.path().join("other/g"));
    let mut rules = Rules::default();
    let proc_line = "enter /proc|skipped /proc PseudoFileSystem|leave|leave";
    assert_eq!(
        lines(top.path(), &rules).join("|"),
        format!("enter |entry /f|enter /other|entry /other/g|leave|{proc_line}")
    );
    rules.boundaries.one_file_system = true;
    assert_eq!(
        lines(top.path(), &rules).join("|"),
        format!("enter |entry /f|enter /other|skipped /other OtherFileSystem|leave|{proc_line}")
    );
}

/// Makes folders within folders, and removes them, by handles, because their paths are too long for a system call.
struct Deep {
    top: tempfile::TempDir,
    depth: usize,
    name: Vec<u8>,
}

impl Deep {
    fn new(depth: usize, name: &[u8]) -> Self {
        let top = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut at = open_dir(CWD, top.path().as_os_str().as_bytes());
        for _ in 0..depth {
            mkdirat(&at, name, Mode::RWXU).unwrap();
            let below = open_dir(at.as_fd(), name);
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            drop(openat(&at, "zz", flags, Mode::RUSR).unwrap());
            at = below;
        }
        Self {
            top,
            depth,
            name: name.to_vec(),
        }
    }
}

fn open_dir(at: std::os::fd::BorrowedFd<'_>, name: &[u8]) -> OwnedFd {
    openat(
        at,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .unwrap()
}

impl Drop for Deep {
    fn drop(&mut self) {
        // Move each level up to the top and remove it there.
        let top = open_dir(CWD, self.top.path().as_os_str().as_bytes());
        for _ in 0..self.depth {
            let below = open_dir(top.as_fd(), &self.name);
            let _ = rustix::fs::unlinkat(&below, "zz", rustix::fs::AtFlags::empty());
            let _ = rustix::fs::renameat(&below, &self.name[..], &top, "next");
            let _ = rustix::fs::unlinkat(&top, &self.name[..], rustix::fs::AtFlags::REMOVEDIR);
            let _ = rustix::fs::renameat(&top, "next", &top, &self.name[..]);
        }
    }
}

#[test]
fn paths_beyond_path_max_are_walked_with_few_handles() {
    let deep = Deep::new(600, &[b'd'; 100]);
    let handles = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = handles();
    let walker = Walker::new(&FrozenSource::live(deep.top.path()), &Rules::default()).unwrap();
    let (mut depth, mut deepest, mut files, mut most) = (0, 0, 0, 0);
    for event in walker {
        match event {
            WalkEvent::Enter { .. } => depth += 1,
            WalkEvent::Entry { folder, name, stat } => {
                files += 1;
                assert_eq!(
                    folder.path().len(),
                    deep.top.path().as_os_str().len() + (depth - 1) * 101
                );
                // The folder that was opened again on the way up is the right one.
                assert_eq!(
                    crate::read::OpenedFile::open(&folder, &name).unwrap().stat().inode,
                    stat.inode
                );
            }
            WalkEvent::Leave => depth -= 1,
            other => panic!("{other:?}"),
        }
        deepest = deepest.max(depth);
        if files == 0 && depth % 50 == 0 {
            most = most.max(handles());
        }
    }
    assert_eq!((depth, deepest, files), (0, 601, 600));
    // Tests on other threads open files too.
    assert!(most < before + MAX_OPEN + 200, "{most} handles");
}

#[test]
fn a_folder_moved_away_meanwhile_is_reported_and_the_walk_goes_on() {
    let deep = Deep::new(MAX_OPEN + 40, b"d");
    let walker = Walker::new(&FrozenSource::live(deep.top.path()), &Rules::default()).unwrap();
    let mut depth = 0;
    let (mut problems, mut files) = (0, 0);
    for event in walker {
        match event {
            WalkEvent::Enter { .. } => {
                depth += 1;
                if depth == MAX_OPEN + 41 {
                    // Level 20, which the walker closed long ago, is moved away with everything below it. `..` of level
                    // 21 still leads to it, but another folder is now in its old place.
                    let at = |n: usize| deep.top.path().join(["d"; 128][..n].join("/"));
                    std::fs::rename(at(20), deep.top.path().join("moved")).unwrap();
                    std::fs::create_dir(at(20)).unwrap();
                }
            }
            WalkEvent::Leave => depth -= 1,
            WalkEvent::Entry { .. } => files += 1,
            WalkEvent::Problem { .. } => problems += 1,
            WalkEvent::Skipped { .. } => {}
        }
    }
    assert_eq!(depth, 0);
    // Above the moved folder, only level 19 (whose `..` was changed) has to be found by its name.
    assert!(problems <= 1 && files >= MAX_OPEN + 39, "{problems} {files}");
    let moved = deep.top.path().join("moved");
    let back = deep.top.path().join(["d"; 20].join("/"));
    std::fs::remove_dir(&back).unwrap();
    std::fs::rename(moved, back).unwrap();
}

#[test]
fn what_may_not_be_read_is_kept_as_an_empty_folder_and_reported() {
    let top = tempfile::tempdir().unwrap();
    write(top.path().join("closed/f"));
    write(top.path().join("z"));
    std::fs::set_permissions(top.path().join("closed"), std::fs::Permissions::from_mode(0o0)).unwrap();
    std::fs::set_permissions(top.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let found = crate::testing::without_rights(|| lines(top.path(), &Rules::default()).join("|"));
    assert_eq!(
        found,
        "enter |enter /closed|problem /closed PermissionDenied|leave|entry /z|leave"
    );
}

#[test]
fn the_walk_agrees_with_the_standard_library() {
    let source = Path::new("/usr/share/doc");
    if !source.exists() {
        return;
    }
    let mut expected = BTreeMap::new();
    let mut open = vec![source.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let stat = std::fs::symlink_metadata(entry.path()).unwrap();
            if stat.is_dir() {
                open.push(entry.path());
            }
            use std::os::unix::fs::MetadataExt;
            expected.insert(
                entry.path().as_os_str().as_bytes().to_vec(),
                (
                    stat.ino(),
                    stat.dev(),
                    stat.mode(),
                    stat.size(),
                    stat.mtime(),
                    stat.ctime_nsec(),
                    stat.nlink(),
                ),
            );
        }
    }
    let mut found = BTreeMap::new();
    let of = |stat: &Stat| {
        (
            stat.inode,
            stat.device,
            stat.mode,
            stat.size,
            stat.mtime_s,
            i64::from(stat.ctime_ns),
            stat.links,
        )
    };
    for event in walk(source, &Rules::default()) {
        match event {
            WalkEvent::Enter { folder, stat, .. } => {
                found.insert(folder.path().to_vec(), of(&stat));
            }
            WalkEvent::Entry { folder, name, stat } => {
                found.insert(folder.join(&name), of(&stat));
            }
            _ => {}
        }
    }
    found.remove(source.as_os_str().as_bytes());
    assert_eq!(found, expected);
}

/// Not run by default: `LOCKSTONE_WALK=/path cargo test --release -- --ignored --nocapture walk_speed`.
#[test]
#[ignore = "a measurement"]
fn walk_speed() {
    let source = std::env::var_os("LOCKSTONE_WALK").unwrap();
    for _ in 0..5 {
        let begun = std::time::Instant::now();
        let events = Walker::new(&FrozenSource::live(&source), &Rules::default())
            .unwrap()
            .count();
        eprintln!("{events} events in {:?}", begun.elapsed());
    }
}

#[test]
fn a_folder_of_snapshots_is_known_by_its_record_and_not_by_its_name() {
    let top = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    for folder in [".lockstone-snapshots-1", ".lockstone-snapshots-2"] {
        write(top.path().join(folder).join("s"));
    }
    let recorded = top.path().join(".lockstone-snapshots-1");
    std::fs::write(state.path().join("btrfs-1"), recorded.as_os_str().as_bytes()).unwrap();
    let mut source = FrozenSource::live(top.path());
    source.records = Some(state.path().to_owned());
    let events: Vec<WalkEvent> = Walker::new(&source, &Rules::default()).unwrap().collect();
    let skipped = events.iter().filter_map(|event| match event {
        WalkEvent::Skipped { path, what } => Some((path.clone(), *what)),
        _ => None,
    });
    let expected = (recorded.as_os_str().as_bytes().to_vec(), SkipReason::Snapshots);
    assert_eq!(skipped.collect::<Vec<_>>(), [expected]);
    let entries = events.iter().filter(|event| matches!(event, WalkEvent::Entry { .. }));
    assert_eq!(entries.count(), 1, "what only has the name is walked");
}

#[test]
fn patterns_are_matched_with_the_source_and_counted() {
    let top = tempfile::tempdir().unwrap();
    write(top.path().join("data/a.iso"));
    write(top.path().join("data/b.iso"));
    let source = top.path().join("data/a.iso");
    let rules = Rules::new(&["*.iso", "*.none", "# a comment"]).unwrap();
    assert_eq!(lines(&source, &rules), ["skipped  Excluded"]);
    assert_eq!(lines(&top.path().join("data"), &rules).len(), 4);
    let counts = [("*.iso".to_owned(), 3), ("*.none".to_owned(), 0)];
    assert_eq!(rules.counts(), counts);
    rules.forget_counts();
    assert_eq!(rules.counts()[0].1, 0);
    // A path above the source is matched if the pattern names it, and not if only a name is the same.
    let above = format!("{}/data", top.path().display());
    assert_eq!(
        lines(&source, &Rules::new(&[above.as_str()]).unwrap()),
        ["skipped  Excluded"]
    );
    assert_eq!(lines(&source, &Rules::new(&["data"]).unwrap()).len(), 1);
    assert!(lines(&source, &Rules::new(&["data"]).unwrap())[0].starts_with("entry"));
}

#[test]
fn a_cache_tag_of_another_user_does_not_count() {
    use std::os::unix::fs::chown;
    if !root_for("a cache tag of another user") {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    let tag = top.path().join("cache/CACHEDIR.TAG");
    write(top.path().join("cache/f"));
    std::fs::write(&tag, b"Signature: 8a477f597d28d172789f06886806bc55").unwrap();
    let keeps_file = || lines(top.path(), &Rules::default()).contains(&"entry /cache/f".to_owned());
    assert!(!keeps_file(), "a tag of root");
    chown(&tag, Some(1234), None).unwrap();
    assert!(keeps_file(), "a tag of another user");
    chown(top.path().join("cache"), Some(1234), None).unwrap();
    assert!(!keeps_file(), "a tag of the folder's owner");
}

#[test]
fn a_file_of_another_file_system_is_left_out_with_one_file_system() {
    if !root_for("mounting a file") {
        return;
    }
    let top = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    write(top.path().join("f"));
    write(other.path().join("g"));
    let (from, at) = (other.path().join("g"), top.path().join("f"));
    run("mount", &["--bind".as_ref(), from.as_os_str(), at.as_os_str()]);
    let _mounted = Mounted(at);
    let mut rules = Rules::default();
    assert!(lines(top.path(), &rules).contains(&"entry /f".to_owned()));
    rules.boundaries.one_file_system = true;
    assert!(lines(top.path(), &rules).contains(&"skipped /f OtherFileSystem".to_owned()));
}
