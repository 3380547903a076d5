//! From the paths a person names to the sources of a backup: absolute, without `.` and `..`, none within another.
//!
//! Symlinks above a source are resolved, so that one folder has one path however it was reached. A source that is
//! itself a symlink is backed up as that symlink, like any other symlink in a tree. A path that ends in `/` or `/.`
//! means the folder, so it follows the link.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use lockstone_proto::limits::LOG_ENTRY_MAX;
use lockstone_vault::log::SOURCES_MAX;

use crate::failure::Failure;
use crate::text::render;

/// The maximum length of all sources together, in bytes. The log entry of a recovery point lists them.
#[allow(clippy::cast_possible_truncation, reason = "a constant of some MiB")]
const SOURCES_MAX_BYTES: usize = LOG_ENTRY_MAX as usize / 2;

/// The sources of a backup, and what the user should know about them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    /// Absolute paths in byte order, none within another.
    pub(crate) paths: Vec<PathBuf>,
    /// For each of them, which of the named paths it is.
    pub(crate) named: Vec<usize>,
    /// The named paths that lie within others, or are others.
    pub(crate) nested: Vec<Nested>,
    /// What deserves a look: path and message.
    pub(crate) warnings: Vec<(PathBuf, String)>,
}

/// A named path within another one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Nested {
    /// Its absolute path.
    pub(crate) path: PathBuf,
    /// Which of the named paths it is.
    pub(crate) inner: usize,
    /// Which of the named paths it lies in.
    pub(crate) outer: usize,
}

/// Resolves the paths that a person named.
///
/// Fails if one of them does not exist or cannot be reached. Then nothing is backed up, because a backup that
/// silently lacks a source looks like a good one.
pub(crate) fn resolve(named: &[PathBuf]) -> Result<Sources, Failure> {
    let mut sources = Sources::default();
    let mut missing = Vec::new();
    let mut found = Vec::new();
    for (index, path) in named.iter().enumerate() {
        match resolve_one(path) {
            Ok(resolved) => {
                if let Some(message) = doubt(&resolved)? {
                    sources.warnings.push((resolved.clone(), message));
                }
                found.push((resolved, index));
            }
            Err(error) => missing.push(format!("{}: {error}", render::name(path.as_os_str().as_bytes()))),
        }
    }
    if !missing.is_empty() {
        return Err(Failure::failed(
            "source-missing",
            format!("cannot back up {}", missing.join("; ")),
            "nothing was backed up; correct the paths, or leave these out",
        ));
    }
    sources.nested = collapse(&mut found);
    (sources.paths, sources.named) = found.into_iter().unzip();
    let bytes: usize = sources.paths.iter().map(|path| path.as_os_str().len()).sum();
    if sources.paths.len() > SOURCES_MAX || bytes > SOURCES_MAX_BYTES {
        return Err(Failure::usage(
            format!(
                "{} sources are too many: a recovery point has at most {SOURCES_MAX}",
                sources.paths.len()
            ),
            "name the folders that they are in, and leave out the rest with `--exclude`",
        ));
    }
    Ok(sources)
}

/// Finds the program's own folders within the sources. `own` are folders that must not be backed up, each with its name
/// ("the vault", …). Fails if a source is one of these folders or lies in one.
pub(crate) fn keep_out(sources: &[PathBuf], own: &[(&str, &Path)]) -> Result<Vec<PathBuf>, Failure> {
    let mut inside = Vec::new();
    for (what, folder) in own {
        let Ok(folder) = folder.canonicalize() else { continue };
        for source in sources {
            if source.starts_with(&folder) {
                let shown = render::name(source.as_os_str().as_bytes());
                return Err(Failure::failed(
                    "source-in-vault",
                    format!("{shown} lies within {what} ({})", folder.display()),
                    "a backup cannot hold itself; name another source",
                ));
            }
            if folder.starts_with(source) {
                inside.push(folder.clone());
            }
        }
    }
    Ok(inside)
}

/// Fails if the folder that a restore would write to is one of the folders `own` or lies in one. What is restored there
/// would look like a part of the vault.
pub(crate) fn keep_target_out(target: &Path, own: &[(&str, &Path)]) -> Result<(), Failure> {
    // What is missing of the path is made later; what is there may be a symbolic link.
    let there: Option<PathBuf> = target.ancestors().find_map(|above| {
        let real = above.canonicalize().ok()?;
        Some(real.join(target.strip_prefix(above).ok()?).components().collect())
    });
    let target = there.unwrap_or_else(|| target.to_owned());
    for (what, folder) in own {
        let Ok(folder) = folder.canonicalize() else { continue };
        if target.starts_with(&folder) {
            return Err(Failure::failed(
                "target-in-vault",
                format!("{} lies within {what} ({})", target.display(), folder.display()),
                "name another `--target`",
            ));
        }
    }
    Ok(())
}

/// The absolute path of one source; it exists.
fn resolve_one(path: &Path) -> io::Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an empty path"));
    }
    let bytes = path.as_os_str().as_bytes();
    let means_folder = bytes.ends_with(b"/") || bytes.ends_with(b"/.");
    match path.components().next_back() {
        Some(Component::Normal(name)) if !means_folder => {
            let above = match path.parent() {
                Some(above) if !above.as_os_str().is_empty() => above.canonicalize()?,
                _ => Path::new(".").canonicalize()?,
            };
            let resolved = above.join(name);
            fs::symlink_metadata(&resolved)?;
            Ok(resolved)
        }
        _ => path.canonicalize(),
    }
}

/// What the user should know about a source that has no content of its own. Fails if there is data behind it that
/// cannot be backed up.
fn doubt(path: &Path) -> Result<Option<String>, Failure> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(None);
    };
    let kind = found.file_type();
    if !kind.is_symlink() {
        return Ok(if kind.is_fifo() {
            Some("is a pipe: only its name and its attributes are backed up".to_owned())
        } else if kind.is_block_device() || kind.is_char_device() {
            Some("is a device: only its number and its attributes are backed up, not what is on it".to_owned())
        } else {
            None
        });
    }
    let Ok(behind) = fs::metadata(path) else {
        return Ok(Some(
            "is a symlink that leads nowhere, and is backed up as one".to_owned(),
        ));
    };
    let behind = behind.file_type();
    let what = if behind.is_dir() {
        "folder"
    } else if behind.is_file() {
        "file"
    } else {
        return Err(Failure::usage(
            format!(
                "{} leads to a pipe, a socket or a device, whose data cannot be backed up",
                render::name(path.as_os_str().as_bytes())
            ),
            "pipe the data into `lockstone backup --stdin NAME`, or write it to a file first",
        ));
    };
    let mut message = format!("is a symlink, and is backed up as one; to back up the {what}, name ");
    match path.canonicalize() {
        Ok(target) => message.push_str(&render::name(target.as_os_str().as_bytes())),
        Err(_) => message.push_str("it by its own path"),
    }
    Ok(Some(message))
}

/// Puts the paths in byte order, and takes out those that are within another. Each has its index among the named paths.
fn collapse(paths: &mut Vec<(PathBuf, usize)>) -> Vec<Nested> {
    paths.sort();
    let mut kept: Vec<(PathBuf, usize)> = Vec::with_capacity(paths.len());
    let mut nested = Vec::new();
    for (path, inner) in paths.drain(..) {
        // Paths compare by components, so what lies within a folder comes directly after it.
        match kept.last() {
            Some((last, outer)) if path.starts_with(last) => nested.push(Nested {
                path,
                inner,
                outer: *outer,
            }),
            _ => kept.push((path, inner)),
        }
    }
    kept.sort_by(|(a, _), (b, _)| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    *paths = kept;
    nested
}

/// Whether a path is on the same file system as another one.
pub(crate) fn is_on_file_system_of(path: &Path, other: &Path) -> bool {
    let device = |path: &Path| fs::symlink_metadata(path).map(|found| found.dev());
    matches!((device(path), device(other)), (Ok(one), Ok(two)) if one == two)
}

/// Whether a path is on another file system than the folder above it.
pub(crate) fn is_mount_point(path: &Path) -> bool {
    path.parent().is_some_and(|above| !is_on_file_system_of(path, above))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_source_within_another_is_not_backed_up_twice() {
        let named = ["/a/b", "/a", "/a-b", "/a/b/c", "/b", "/a"].map(PathBuf::from);
        let mut paths: Vec<(PathBuf, usize)> = named.into_iter().zip(0..).collect();
        let nested = collapse(&mut paths);
        let (paths, indexes): (Vec<PathBuf>, Vec<usize>) = paths.into_iter().unzip();
        assert_eq!(paths, ["/a", "/a-b", "/b"].map(PathBuf::from));
        assert_eq!(indexes, [1, 2, 4]);
        let nested: Vec<(usize, usize)> = nested.iter().map(|nested| (nested.inner, nested.outer)).collect();
        assert_eq!(nested, [(5, 1), (0, 1), (3, 1)]);
    }

    #[test]
    fn too_many_sources_are_refused_before_anything_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let many: Vec<PathBuf> = (0..=SOURCES_MAX).map(|n| folder.path().join(n.to_string())).collect();
        for path in &many {
            fs::write(path, "").unwrap();
        }
        assert_eq!(resolve(&many[1..]).unwrap().paths.len(), SOURCES_MAX);
        let failure = resolve(&many).unwrap_err();
        assert_eq!(failure.exit, crate::failure::Exit::Usage);
        assert!(failure.message.contains("4096"), "{failure}");
    }

    #[test]
    fn a_missing_source_stops_everything_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let failure = resolve(&[folder.path().to_owned(), folder.path().join("none")]).unwrap_err();
        assert!(failure.message.contains("none"), "{failure}");
        assert_eq!(failure.exit, crate::failure::Exit::Failed);
    }

    #[test]
    fn a_symlink_is_a_source_of_its_own_unless_the_folder_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        let link = resolve(&[root.join("link")]).unwrap();
        assert_eq!(link.paths, [root.join("link")]);
        assert_eq!(link.warnings.len(), 1);
        let behind = resolve(&[root.join("link/")]).unwrap();
        assert_eq!(behind.paths, [root.join("real")]);
        assert!(behind.warnings.is_empty());
        fs::write(root.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", root.join("to-file")).unwrap();
        std::os::unix::fs::symlink("none", root.join("dangling")).unwrap();
        std::os::unix::fs::symlink("/dev/null", root.join("to-device")).unwrap();
        for (name, word) in [("to-file", "file"), ("dangling", "nowhere")] {
            let link = resolve(&[root.join(name)]).unwrap();
            assert!(link.warnings[0].1.contains(word), "{link:?}");
        }
        let failure = resolve(&[root.join("to-device")]).unwrap_err();
        assert_eq!(failure.exit, crate::failure::Exit::Usage);
        let through = resolve(&[root.join("link/../real/.")]).unwrap();
        assert_eq!(through.paths, [root.join("real")]);
    }

    #[test]
    fn the_vault_is_kept_out_of_its_own_backup() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let vault = root.join("vault");
        fs::create_dir_all(vault.join("domains")).unwrap();
        let own = [("the vault", vault.as_path())];
        assert!(keep_out(&[vault.join("domains")], &own).is_err());
        assert!(keep_out(std::slice::from_ref(&vault), &own).is_err());
        assert_eq!(keep_out(&[root], &own).unwrap(), [vault.as_path()]);
        assert!(keep_out(&[PathBuf::from("/proc")], &own).unwrap().is_empty());
    }

    #[test]
    fn nothing_is_restored_into_the_vault() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let vault = root.join("vault");
        fs::create_dir_all(vault.join("domains")).unwrap();
        std::os::unix::fs::symlink(&vault, root.join("link")).unwrap();
        let own = [("the vault", vault.as_path()), ("the state folder", Path::new("/none"))];
        for inside in ["vault", "vault/new/folder", "link", "link/new"] {
            assert!(keep_target_out(&root.join(inside), &own).is_err(), "{inside}");
        }
        for outside in ["", "vault2", "new/vault"] {
            assert!(keep_target_out(&root.join(outside), &own).is_ok(), "{outside}");
        }
    }
}
