//! Files that did not change are not read again, and content that the vault has is not stored again.

use std::fs;

use serde_json::Value;

use crate::support::lab::{Lab, noise};
use crate::support::tree::{self, assert_same, file};

fn number(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name} in {report}"))
}

#[test]
fn an_unchanged_tree_is_not_read() {
    let lab = Lab::new();
    tree::odd(&lab.source());
    let first = lab.backup();
    assert!(number(&first, "files_new") > 50);
    let second = lab.backup();
    assert_eq!(
        number(&second, "files_new") + number(&second, "files_changed"),
        0,
        "{second}"
    );
    assert_eq!(
        number(&second, "files_unchanged"),
        number(&first, "files_new"),
        "{second}"
    );
    assert_eq!(number(&second, "bytes_read"), 0, "{second}");
    let (restored, _) = lab.restore("latest", "out");
    assert_same(&lab.source(), &restored);
}

#[test]
fn only_what_changed_is_stored() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    fs::write(lab.source().join("docs/readme.md"), noise(9, 10_000)).unwrap();
    file(&lab.source().join("docs/added"), b"added");
    let second = lab.backup();
    assert_eq!(number(&second, "files_new"), 1, "{second}");
    assert_eq!(number(&second, "files_changed"), 1, "{second}");
    assert_eq!(number(&second, "bytes_read"), 10_005, "{second}");
    assert!(number(&second, "bytes_stored") < 100_000, "{second}");
    let (restored, _) = lab.restore("latest", "out");
    assert_same(&lab.source(), &restored);
}

#[test]
fn a_file_of_the_same_size_and_time_is_seen_to_have_changed() {
    let lab = Lab::new();
    let path = lab.source().join("f");
    file(&path, b"one");
    lab.backup();
    // The size and mtime are the same; only the ctime differs.
    file(&path, b"two");
    let second = lab.backup();
    assert_eq!(number(&second, "files_changed"), 1, "{second}");
    let (restored, _) = lab.restore("latest", "out");
    assert_eq!(fs::read(restored.join("f")).unwrap(), b"two");
}

#[test]
fn new_permissions_alone_are_kept() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    fs::set_permissions(lab.source().join("a.txt"), fs::Permissions::from_mode(0o604)).unwrap();
    fs::set_permissions(lab.source().join("docs"), fs::Permissions::from_mode(0o705)).unwrap();
    let second = lab.backup();
    assert!(number(&second, "bytes_stored") < 100_000, "{second}");
    let (restored, _) = lab.restore("latest", "out");
    assert_same(&lab.source(), &restored);
}

#[test]
fn a_second_copy_of_everything_costs_next_to_nothing() {
    let lab = Lab::new();
    for number in 0..20 {
        file(&lab.source().join(format!("one/{number}")), &noise(number, 300_000));
    }
    let first = lab.backup();
    for number in 0..20 {
        file(&lab.source().join(format!("two/{number}")), &noise(number, 300_000));
    }
    let second = lab.backup();
    assert_eq!(number(&second, "files_new"), 20);
    assert_eq!(number(&second, "bytes_new"), 0, "{second}");
    assert!(
        number(&second, "bytes_stored") * 50 < number(&first, "bytes_stored"),
        "{second}"
    );
}

#[test]
fn one_byte_in_front_does_not_store_the_file_again() {
    let lab = Lab::new();
    let content = noise(5, 24 << 20);
    fs::write(lab.source().join("f"), &content).unwrap();
    lab.backup();
    let mut longer = vec![b'x'];
    longer.extend_from_slice(&content);
    fs::write(lab.source().join("f"), &longer).unwrap();
    let second = lab.backup();
    assert!(number(&second, "bytes_new") <= 8 << 20, "{second}");
    let (restored, _) = lab.restore("latest", "out");
    assert_eq!(fs::read(restored.join("f")).unwrap(), longer);
}

#[test]
fn a_full_backup_reads_everything_and_stores_nothing_twice() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let first = lab.backup();
    let full = lab.backup_with(&["--full"]).exits(0).json();
    assert_eq!(number(&full, "bytes_read"), number(&first, "bytes_read"), "{full}");
    assert_eq!(number(&full, "bytes_new"), 0, "{full}");
}

#[test]
fn a_lost_cache_folder_costs_time_and_nothing_else() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    fs::remove_dir_all(lab.path("home/cache")).unwrap();
    let second = lab.backup();
    assert_eq!(number(&second, "bytes_new"), 0, "{second}");
    assert_eq!(number(&second, "bytes_read"), 0, "{second}");
    lab.check_clean();
}

#[test]
fn a_damaged_cache_folder_is_dropped_and_said() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let mut damaged = 0;
    let mut folders = vec![lab.path("home/cache")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.starts_with("MANIFEST") || name.ends_with(".sst") || name == "CURRENT" {
                fs::write(path, "no longer what it was").unwrap();
                damaged += 1;
            }
        }
    }
    assert!(damaged > 0);
    let ran = lab.backup_with(&[]).exits(0);
    assert!(ran.stderr.contains("cache"), "{}", ran.stderr);
    assert_eq!(number(&ran.json(), "bytes_new"), 0, "{}", ran.stdout);
    lab.check_clean();
}

#[test]
fn a_clock_that_was_set_back_loses_nothing() {
    if !std::process::Command::new("faketime")
        .arg("--version")
        .output()
        .is_ok_and(|o| o.status.success())
    {
        // The test cannot set the clock. A source with times in the future has much the same effect on the comparison.
        let lab = Lab::new();
        let path = lab.source().join("f");
        file(&path, b"later");
        let late = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400 * 400);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(late)
            .unwrap();
        lab.backup();
        let second = lab.backup();
        assert_eq!(number(&second, "files_unchanged"), 1, "{second}");
        let (restored, _) = lab.restore("latest", "out");
        assert_same(&lab.source(), &restored);
        return;
    }
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    file(&lab.source().join("added"), b"added");
    let mut command = std::process::Command::new("faketime");
    command
        .args(["-f", "-100d", env!("CARGO_BIN_EXE_lockstone"), "backup"])
        .arg(lab.source());
    command.env("LOCKSTONE_HOME", lab.path("home"));
    crate::support::lab::finish(command).exits(0);
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"].as_array().unwrap().len(), 2);
    let (restored, _) = lab.restore("latest", "out");
    assert_same(&lab.source(), &restored);
}
