//! The files of the demo: a bounded copy of a real folder, and the changes that are made to it between two backups.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use anyhow::Context;

use crate::failure::Failure;

/// The largest copy that is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) bytes: u64,
    pub(super) files: u64,
}

/// What was copied.
#[derive(Debug, Default)]
pub(super) struct Copied {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Whether no file was left out because of the bounds.
    pub(super) complete: bool,
}

/// Copies files, folders and symlinks within the bounds. Entries that cannot be read are left out.
pub(super) fn copy(from: &Path, to: &Path, bounds: Bounds, cancelled: &dyn Fn() -> bool) -> Result<Copied, Failure> {
    fs::create_dir(to).with_context(|| format!("cannot make {}", to.display()))?;
    let mut copied = Copied {
        complete: true,
        ..Copied::default()
    };
    if from.is_file() {
        let name = from.file_name().unwrap_or(from.as_os_str());
        copied.bytes = fs::copy(from, to.join(name)).with_context(|| format!("cannot copy {}", from.display()))?;
        copied.files = 1;
        return Ok(copied);
    }
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = folders.pop() {
        let Ok(entries) = fs::read_dir(&from) else { continue };
        for entry in entries.flatten() {
            if cancelled() {
                return Err(Failure::cancelled());
            }
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            let Ok(found) = fs::symlink_metadata(&source) else {
                continue;
            };
            if found.is_dir() {
                if fs::create_dir(&target).is_ok() {
                    folders.push((source, target));
                }
            } else if found.is_symlink() {
                if let Ok(link) = fs::read_link(&source) {
                    let _ = symlink(link, &target);
                }
            } else if found.is_file() {
                if copied.files >= bounds.files || copied.bytes + found.size() > bounds.bytes {
                    copied.complete = false;
                    continue;
                }
                if fs::copy(&source, &target).is_ok() {
                    copied.files += 1;
                    copied.bytes += found.size();
                }
            }
        }
    }
    Ok(copied)
}

/// Adds a file, makes one longer and removes one. Also adds a hard link, a dangling link and a sparse file, which not
/// every program restores.
pub(super) fn change(root: &Path) -> std::io::Result<()> {
    let mut regular: Vec<_> = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)?.flatten() {
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                regular.push(entry.path());
            }
        }
        if regular.len() > 100 {
            break;
        }
    }
    regular.sort();
    if let Some(path) = regular.first() {
        let mut content = fs::read(path)?;
        content.extend_from_slice(b"one more line\n");
        fs::remove_file(path)?;
        fs::write(path, content)?;
    }
    if regular.len() > 1
        && let Some(path) = regular.last()
    {
        fs::remove_file(path)?;
    }
    let added = root.join("added by the demo");
    fs::write(&added, "a new file\n")?;
    fs::hard_link(&added, root.join("the same file by another name"))?;
    symlink("nowhere", root.join("a dangling link"))?;
    let sparse = fs::File::create(root.join("ten megabytes of nothing"))?;
    sparse.set_len(10 << 20)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_copy_stays_within_its_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        fs::create_dir_all(from.join("below")).unwrap();
        for name in ["a", "b", "below/c"] {
            fs::write(from.join(name), "12345").unwrap();
        }
        let bounds = |bytes| Bounds { bytes, files: 100 };
        let all = copy(&from, &folder.path().join("all"), bounds(100), &|| false).unwrap();
        assert!(all.complete && all.files == 3 && all.bytes == 15);
        let some = copy(&from, &folder.path().join("some"), bounds(11), &|| false).unwrap();
        assert!(!some.complete && some.files == 2);
        change(&folder.path().join("all")).unwrap();
        assert_eq!(
            fs::metadata(folder.path().join("all/added by the demo"))
                .unwrap()
                .nlink(),
            2
        );
    }
}
