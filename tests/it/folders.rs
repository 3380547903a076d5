//! The folders of a server: the state folder is private, the cache folder can be rebuilt and moved.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::lab::Lab;
use crate::support::tree;

#[test]
fn the_state_folder_and_its_files_are_private() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let mode = |name: &str| fs::metadata(lab.path("home").join(name)).unwrap().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("agent.json"), 0o600);
    assert_eq!(mode("machine.key"), 0o600);
    let keys: Vec<_> = fs::read_dir(lab.path("home/operator"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(fs::metadata(&keys[0]).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(lab.credentials()).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn the_cache_folder_can_be_rebuilt_and_moved() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    lab.run(["cache", "check"]).exits(0);
    lab.run(["cache", "rebuild"]).exits(0);
    let moved = lab.path("moved/cache");
    lab.run(["cache", "move", moved.to_str().unwrap()]).exits(0);
    // The old folder goes after a good backup.
    assert!(moved.exists() && lab.path("home/cache").exists());
    let second = lab.backup();
    assert!(!lab.path("home/cache").exists());
    assert_eq!(second["bytes_new"], 0, "{second}");
    let source = lab.source();
    lab.run(["cache", "move", source.to_str().unwrap()]).exits(1);
    assert!(source.join("a.txt").exists());
}
