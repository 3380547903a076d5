//! The cache folder on disk: its size, and emptying it.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use lockstone_vault::index;

use super::stamp;

/// Removes what lockstone put into the folder, and nothing else. The folder itself stays. Returns whether it is empty
/// now.
pub(crate) fn empty(folder: &Path) -> anyhow::Result<bool> {
    // Without its stamp the folder belongs to nobody.
    stamp::remove(folder)?;
    index::destroy(folder).with_context(|| format!("cannot remove the cache in {}", folder.display()))?;
    let Ok(mut entries) = fs::read_dir(folder) else {
        return Ok(true);
    };
    Ok(entries.next().is_none())
}

/// The bytes of all files in the folder. What cannot be read counts as 0.
pub(crate) fn size(folder: &Path) -> u64 {
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
    fn a_file_of_the_user_stays_in_an_emptied_cache_folder() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir_all(top.path().join("index/deep")).unwrap();
        // What an unfinished backup leaves is lockstone's, too.
        fs::write(top.path().join("index.journal"), "half").unwrap();
        fs::write(top.path().join("cache.stamp"), "{}").unwrap();
        fs::write(top.path().join("mine"), "mine").unwrap();
        assert_eq!(size(top.path()), 10);
        assert!(!empty(top.path()).unwrap());
        let left = fs::read_dir(top.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["mine"]);
    }
}
