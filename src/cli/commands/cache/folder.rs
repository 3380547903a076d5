//! The cache folder on disk: a new place for it, its size, and emptying it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lockstone_vault::index;

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

/// Removes what lockstone put into the folder, and nothing else. The folder itself stays. Returns whether it is empty
/// now.
pub(in crate::cli::commands) fn empty(folder: &Path) -> anyhow::Result<bool> {
    index::destroy(folder).with_context(|| format!("cannot remove the cache in {}", folder.display()))?;
    let Ok(mut entries) = fs::read_dir(folder) else {
        return Ok(true);
    };
    Ok(entries.next().is_none())
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
        fs::write(new.join("index.files"), "12345").unwrap();
        assert_eq!(new_place(&new, &old).unwrap_err().code, "not-empty");
        assert_eq!(size(&new), 5);
        assert!(empty(&new).unwrap());
        assert!(new.is_dir() && size(&new) == 0);
    }

    #[test]
    fn a_file_of_the_user_stays_in_an_emptied_cache_folder() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir_all(top.path().join("index/deep")).unwrap();
        // What an unfinished backup leaves is lockstone's, too.
        fs::write(top.path().join("index.journal"), "half").unwrap();
        fs::write(top.path().join("mine"), "mine").unwrap();
        assert!(!empty(top.path()).unwrap());
        let left = fs::read_dir(top.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["mine"]);
    }
}
