//! Compares two trees by content and metadata. It shares no code with the restore, so that it cannot share its
//! mistakes.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;

use crate::failure::{Exit, Failure};
use crate::text::render;

/// Compares the tree at `a` with the tree at `b` and returns the number of entries. The first difference is an error.
pub(super) fn compare(a: &Path, b: &Path) -> Result<u64, Failure> {
    let (found_a, found_b) = (look(a)?, look(b)?);
    attributes(a, &found_a, &found_b)?;
    let mut compared = 1;
    if found_a.is_symlink() {
        same(
            a,
            "the link's target",
            &fs::read_link(a).context("cannot read a link")?,
            &fs::read_link(b).context("cannot read a link")?,
        )?;
    } else if found_a.is_file() {
        content(a, b)?;
    } else if found_a.is_dir() {
        let (names_a, names_b) = (names(a)?, names(b)?);
        same(a, "the names in it", &names_a, &names_b)?;
        for name in names_a {
            compared += compare(&a.join(&name), &b.join(&name))?;
        }
    }
    Ok(compared)
}

fn look(path: &Path) -> Result<Metadata, Failure> {
    Ok(fs::symlink_metadata(path).with_context(|| format!("{} did not come back", render::path(path)))?)
}

fn attributes(path: &Path, a: &Metadata, b: &Metadata) -> Result<(), Failure> {
    same(path, "its type and permissions", &a.mode(), &b.mode())?;
    same(path, "its owner", &(a.uid(), a.gid()), &(b.uid(), b.gid()))?;
    same(
        path,
        "its time",
        &(a.mtime(), a.mtime_nsec()),
        &(b.mtime(), b.mtime_nsec()),
    )?;
    if !a.is_dir() {
        same(path, "its size", &a.size(), &b.size())?;
        same(path, "its number of names", &a.nlink(), &b.nlink())?;
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<std::ffi::OsString>, Failure> {
    let read = || -> std::io::Result<Vec<_>> { fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect() };
    let mut names = read().with_context(|| format!("cannot read {}", render::path(folder)))?;
    names.sort();
    Ok(names)
}

fn content(a: &Path, b: &Path) -> Result<(), Failure> {
    let open = |path: &Path| File::open(path).with_context(|| format!("cannot read {}", render::path(path)));
    let (mut file_a, mut file_b) = (open(a)?, open(b)?);
    let (mut buffer_a, mut buffer_b) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = file_a
            .read(&mut buffer_a)
            .with_context(|| format!("cannot read {}", render::path(a)))?;
        if read == 0 {
            return Ok(());
        }
        let whole = file_b.read_exact(&mut buffer_b[..read]);
        if whole.is_err() || buffer_a[..read] != buffer_b[..read] {
            return Err(differs(a, "its content"));
        }
    }
}

fn same<T: PartialEq>(path: &Path, what: &str, a: &T, b: &T) -> Result<(), Failure> {
    if a == b { Ok(()) } else { Err(differs(path, what)) }
}

fn differs(path: &Path, what: &str) -> Failure {
    let message = format!("{} did not come back as it was: {what} differs", render::path(path));
    Failure::new(Exit::Failed, "differs", message, "this is a defect; please report it")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let time = std::time::SystemTime::UNIX_EPOCH;
        for root in [&a, &b] {
            fs::create_dir(root).unwrap();
            fs::write(root.join("f"), "one").unwrap();
            std::os::unix::fs::symlink("t", root.join("l")).unwrap();
            File::open(root.join("f")).unwrap().set_modified(time).unwrap();
            File::open(root).unwrap().set_modified(time).unwrap();
        }
        // The standard library cannot set the time of a link, so those of the two links may differ.
        fs::remove_file(a.join("l")).unwrap();
        fs::remove_file(b.join("l")).unwrap();
        File::open(&a).unwrap().set_modified(time).unwrap();
        File::open(&b).unwrap().set_modified(time).unwrap();
        assert_eq!(compare(&a, &b).unwrap(), 2);
        fs::write(b.join("f"), "two").unwrap();
        File::open(b.join("f")).unwrap().set_modified(time).unwrap();
        assert!(compare(&a, &b).unwrap_err().message.contains("content"));
        fs::write(b.join("g"), "").unwrap();
        File::open(&b).unwrap().set_modified(time).unwrap();
        assert!(compare(&a, &b).unwrap_err().message.contains("names"));
    }
}
