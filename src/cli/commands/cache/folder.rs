//! The cache folder on disk: a new place for it, its size, and emptying it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::agent::state::files::private_folder;
use crate::failure::Failure;

/// Makes the folder that a cache folder moves to. Fails if it is inside the old folder, or not empty.
pub(super) fn new_place(dir: &Path, old: &Path) -> Result<PathBuf, Failure> {
    let new = std::path::absolute(dir).context("no such place")?;
    if new.starts_with(old) {
        let message = format!("{} is within the cache folder", new.display());
        return Err(Failure::usage(message, "name another place"));
    }
    private_folder(&new).with_context(|| format!("cannot make {}", new.display()))?;
    let mut entries = fs::read_dir(&new).with_context(|| format!("cannot read {}", new.display()))?;
    if entries.next().is_some() {
        let message = format!("{} is not empty", new.display());
        return Err(Failure::failed("not-empty", message, "name an empty folder"));
    }
    Ok(new)
}

/// Removes everything in the folder. The folder itself stays.
pub(super) fn empty(folder: &Path) -> anyhow::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let removed = if entry.file_type()?.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// The bytes of all files in the folder. What cannot be read counts as 0.
pub(super) fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => size(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_cache_folder_moves_only_to_an_empty_place_outside_itself() {
        let top = tempfile::tempdir().unwrap();
        let old = top.path().join("old");
        fs::create_dir(&old).unwrap();
        assert!(new_place(&old.join("inner"), &old).is_err());
        let new = new_place(&top.path().join("new"), &old).unwrap();
        fs::write(new.join("file"), "12345").unwrap();
        assert_eq!(new_place(&new, &old).unwrap_err().code, "not-empty");
        assert_eq!(size(&new), 5);
        empty(&new).unwrap();
        assert!(new.is_dir() && size(&new) == 0);
    }
}
