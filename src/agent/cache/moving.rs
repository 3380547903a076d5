//! Moving the cache folder: its files are copied and compared, then the settings name the new place.
//!
//! The new folder gets its stamp first, and the settings are replaced last, as one file. A run that is killed before
//! leaves the old folder in use, and a folder with a stamp that the settings do not name: the next move to it empties
//! it. A run that is killed after leaves the new folder in use. The old one is kept until a backup has succeeded.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lockstone_vault::index;

use super::known::{free_bytes, real_place};
use super::rules::Finding;
use super::stamp::{self, Stamp, Standing, compare};
use super::{folder, judge_place, refusal};
use crate::agent::state::files::private_folder;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::registration::Registration;
use crate::failure::Failure;
use crate::text::render;

/// How much is copied and compared at once.
const BLOCK: usize = 256 << 10;

/// So much must be left when everything is copied.
const LEFT: u64 = 16 << 20;

/// Moves the cache folder. The caller holds the job lock. Returns what the rules say of the new place.
pub(crate) fn move_to(
    state: &StateFolder,
    registration: &mut Registration,
    dir: &Path,
    protected_bytes: Option<u64>,
) -> Result<Vec<Finding>, Failure> {
    let old = registration.cache_folder(state);
    if let Standing::Differs(_) = compare(&old, registration) {
        let found = super::look(state, registration, protected_bytes)?;
        return Err(refusal(&old, &found).unwrap_or_else(|| Failure::failed("cache-place", "", "")));
    }
    let new = std::path::absolute(dir).context("no such place")?;
    must_be_elsewhere(&new, &old)?;
    let findings = judge_place(state, registration, &new, protected_bytes, None)?;
    if let Some(refusal) = refusal(&new, &findings) {
        return Err(Failure {
            hint: "name a folder on another disk of this machine; `lockstone cache rules` shows how much must be free"
                .to_owned(),
            ..refusal
        });
    }
    let is_new = !new.exists();
    make_room(state, registration, &new)?;
    let is_default = new == state.cache();
    let moved = stamp::stamp_new_place(registration, (!is_default).then(|| new.clone()), &new)?;
    let copied = copy_all(&old, &new);
    if let Err(failure) = copied {
        let emptied = folder::empty(&new);
        if is_new && matches!(emptied, Ok(true)) {
            let _ = fs::remove_dir(&new);
        }
        return Err(failure);
    }
    fail::fail_point!("cache-copied");
    switch(state, registration, moved, old)?;
    fail::fail_point!("cache-switched");
    Ok(findings)
}

/// The settings name the new folder from here on.
fn switch(
    state: &StateFolder,
    registration: &mut Registration,
    mut moved: Registration,
    old: PathBuf,
) -> Result<(), Failure> {
    // Only one old folder is remembered. The one of an earlier move goes now.
    if let Some(older) = registration.old_cache.as_ref()
        && *older != moved.cache_folder(state)
        && *older != old
    {
        remove_known(older, registration)?;
    }
    moved.old_cache = old.exists().then_some(old);
    moved.save(state)?;
    *registration = moved;
    Ok(())
}

/// Fails if one of the folders lies in the other.
fn must_be_elsewhere(new: &Path, old: &Path) -> Result<(), Failure> {
    let (new_real, old_real) = (real_place(new), real_place(old));
    let message = if new_real.starts_with(&old_real) {
        format!("{} is within the cache folder", new.display())
    } else if old_real.starts_with(&new_real) {
        format!("the cache folder is within {}", new.display())
    } else {
        return Ok(());
    };
    Err(Failure::usage(message, "name another place"))
}

/// Makes the folder that the cache moves to. What an earlier move left in it is removed. Fails if anything else is
/// there.
fn make_room(state: &StateFolder, registration: &Registration, new: &Path) -> Result<(), Failure> {
    private_folder(new).with_context(|| format!("cannot make {}", new.display()))?;
    if is_left_over(state, registration, new) {
        folder::empty(new)?;
    }
    let mut entries = fs::read_dir(new).with_context(|| format!("cannot read {}", new.display()))?;
    if entries.next().is_some() {
        let message = format!("{} is not empty", new.display());
        return Err(Failure::failed("not-empty", message, "name an empty folder"));
    }
    Ok(())
}

/// Whether a move of this server left the folder behind: a cache that was moved away, or one that was never finished.
fn is_left_over(state: &StateFolder, registration: &Registration, folder: &Path) -> bool {
    if registration.old_cache.as_deref() == Some(folder) {
        return is_own_or_unmarked(registration, folder);
    }
    let stamp = Stamp::read(folder).ok().flatten();
    stamp.is_some_and(|stamp| {
        stamp.server_id == registration.server_id && stamp.path.unwrap_or_else(|| state.cache()) == folder
    })
}

fn is_own_or_unmarked(registration: &Registration, folder: &Path) -> bool {
    Stamp::read(folder).is_ok_and(|stamp| stamp.is_none_or(|stamp| stamp.server_id == registration.server_id))
}

/// Removes what a move left behind, and forgets it. The caller holds the job lock.
pub(super) fn remove_old(state: &StateFolder, mut registration: Registration) -> anyhow::Result<()> {
    if let Some(old) = registration.old_cache.take()
        && real_place(&old) != real_place(&registration.cache_folder(state))
    {
        remove_known(&old, &registration)?;
    }
    registration.save(state)
}

/// Removes this server's cache from a folder, and the folder if it is empty then. One that another server has taken
/// since stays.
pub(crate) fn remove_known(old: &Path, registration: &Registration) -> anyhow::Result<()> {
    let is_folder = fs::symlink_metadata(old).is_ok_and(|stat| stat.is_dir());
    if is_folder && is_own_or_unmarked(registration, old) && folder::empty(old)? {
        let _ = fs::remove_dir(old);
    }
    Ok(())
}

/// Copies the cache, compares the copy with it, and makes it durable. Files that are not lockstone's are not copied.
fn copy_all(old: &Path, new: &Path) -> Result<(), Failure> {
    let files = files(old).with_context(|| format!("cannot read the cache folder {}", old.display()))?;
    let bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    if let Some(free) = free_bytes(new)
        && free < bytes.saturating_add(LEFT)
    {
        let message = format!(
            "{} has no room for the cache: {} are free, and it has {}",
            new.display(),
            render::bytes(free),
            render::bytes(bytes)
        );
        return Err(Failure::failed(
            "cache-space",
            message,
            "free space there, or name another place",
        ));
    }
    let mut is_first = true;
    for (name, _) in &files {
        let (from, to) = (old.join(name), new.join(name));
        copy(&from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        if std::mem::take(&mut is_first) {
            fail::fail_point!("cache-copying");
        }
    }
    for (name, _) in &files {
        let (from, to) = (old.join(name), new.join(name));
        let same =
            is_same(&from, &to).with_context(|| format!("cannot compare {} with {}", to.display(), from.display()))?;
        if !same {
            let message = format!("{} differs from {} after it was copied", to.display(), from.display());
            return Err(Failure::failed(
                "cache-copy",
                message,
                "check the disk, and name another place",
            ));
        }
    }
    sync_folders(new).with_context(|| format!("cannot sync {}", new.display()))?;
    Ok(())
}

/// The files of the cache, by their names below the folder, and their sizes. The stamp is not one of them.
fn files(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for name in index::OWN {
        collect(folder, Path::new(name), &mut found)?;
    }
    Ok(found)
}

fn collect(folder: &Path, name: &Path, found: &mut Vec<(PathBuf, u64)>) -> io::Result<()> {
    let place = folder.join(name);
    let stat = match fs::symlink_metadata(&place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if stat.is_file() {
        found.push((name.to_owned(), stat.len()));
    } else if stat.is_dir() {
        for entry in fs::read_dir(&place)? {
            collect(folder, &name.join(entry?.file_name()), found)?;
        }
    }
    Ok(())
}

/// Copies a file with its times: the index knows its tables by them.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(above) = to.parent() {
        private_folder(above)?;
    }
    let mut source = File::open(from)?;
    let mut options = fs::OpenOptions::new();
    let mut copy = options.write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut source, &mut copy)?;
    let stat = source.metadata()?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(stat.mode() & 0o777);
    copy.set_permissions(mode)?;
    copy.set_times(fs::FileTimes::new().set_modified(stat.modified()?))?;
    copy.sync_all()
}

/// Whether two files have the same size and content.
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (vec![0; BLOCK], vec![0; BLOCK]);
    loop {
        let (read_a, read_b) = (fill(&mut one, &mut a)?, fill(&mut other, &mut b)?);
        if a[..read_a] != b[..read_b] {
            return Ok(false);
        }
        if read_a == 0 {
            return Ok(true);
        }
    }
}

fn fill(file: &mut File, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match file.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Makes the names in a folder, in those below it, and its own name durable.
fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()?;
    folder.parent().map_or(Ok(()), |above| File::open(above)?.sync_all())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_what_is_lockstones_with_its_times() {
        let top = tempfile::tempdir().unwrap();
        let (old, new) = (top.path().join("old"), top.path().join("new"));
        fs::create_dir_all(old.join("index/deep")).unwrap();
        fs::create_dir(&new).unwrap();
        fs::write(old.join("index/deep/1.sst"), vec![7; BLOCK + 5]).unwrap();
        fs::write(old.join("index.files"), "note").unwrap();
        fs::write(old.join("mine"), "mine").unwrap();
        copy_all(&old, &new).map_err(|failure| failure.message).unwrap();
        assert!(!new.join("mine").exists());
        let time = |folder: &Path| {
            fs::metadata(folder.join("index/deep/1.sst"))
                .unwrap()
                .modified()
                .unwrap()
        };
        assert_eq!(time(&old), time(&new));
        assert!(is_same(&old.join("index/deep/1.sst"), &new.join("index/deep/1.sst")).unwrap());
        // Copying again would write over something.
        assert!(copy_all(&old, &new).is_err());
        fs::write(new.join("index/deep/1.sst"), vec![8; BLOCK + 5]).unwrap();
        assert!(!is_same(&old.join("index/deep/1.sst"), &new.join("index/deep/1.sst")).unwrap());
    }

    #[test]
    fn a_folder_within_the_other_is_no_other_place() {
        let top = tempfile::tempdir().unwrap();
        let old = top.path().join("old");
        fs::create_dir(&old).unwrap();
        std::os::unix::fs::symlink(&old, top.path().join("link")).unwrap();
        for bad in ["old", "old/inner", "link", "link/inner", ""] {
            assert!(must_be_elsewhere(&top.path().join(bad), &old).is_err(), "{bad}");
        }
        must_be_elsewhere(&top.path().join("other"), &old)
            .map_err(|f| f.message)
            .unwrap();
    }
}
