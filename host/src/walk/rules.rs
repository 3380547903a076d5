//! What a walk leaves out at the user's request. Rules see paths as they are in the source, not in a snapshot of it.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::folder::Folder;
use crate::read::OpenedFile;
use crate::stat::Stat;

/// An exclude pattern with a mistake in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the exclude pattern \"{glob}\" cannot be understood: {reason}")]
pub struct BadGlob {
    /// The pattern, as the user gave it.
    pub glob: String,
    /// The mistake, in words.
    pub reason: String,
}

/// The rules of one walk.
#[derive(Debug, Clone)]
pub struct Rules {
    globs: Arc<Gitignore>,
    /// Do not enter other file systems: their mount points are kept as empty folders.
    pub one_file_system: bool,
    /// Keep only the tag of a folder with a valid `CACHEDIR.TAG` (<https://bford.info/cachedir/>). The source itself is
    /// exempt: a user who names a cache as a source wants its content.
    pub honour_cachedir_tag: bool,
    /// Folders that are left out in any case: the path, and device and inode if the folder exists.
    folders: Vec<(PathBuf, Option<(u64, u64)>)>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            globs: Arc::new(Gitignore::empty()),
            one_file_system: false,
            honour_cachedir_tag: true,
            folders: Vec::new(),
        }
    }
}

impl Rules {
    /// Rules with these globs, which have the syntax of a `.gitignore` in `/`: a later glob overrides an earlier one,
    /// `!` includes again, `dir/` matches folders only, and a glob with a slash before its end is anchored at `/`.
    /// Empty lines and comments (`#`) are allowed.
    ///
    /// # Errors
    /// A glob has a mistake in it.
    pub fn new<S: AsRef<str>>(globs: &[S]) -> Result<Self, BadGlob> {
        let mut builder = GitignoreBuilder::new("/");
        for glob in globs {
            let glob = glob.as_ref();
            builder.add_line(None, glob).map_err(|error| BadGlob {
                glob: glob.to_owned(),
                reason: error.to_string(),
            })?;
        }
        let globs = builder.build().map_err(|error| BadGlob {
            glob: String::new(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            globs: Arc::new(globs),
            ..Self::default()
        })
    }

    /// Leaves a folder out with everything in it, whatever the globs say: for the vault and the cache folder. The
    /// folder is recognised by its path and, if it exists, by device and inode too, so no other path leads into it.
    pub fn exclude_folder(&mut self, folder: impl Into<PathBuf>) {
        let folder = folder.into();
        let identity = Stat::at(rustix::fs::CWD, &*folder)
            .ok()
            .map(|stat| (stat.device, stat.inode));
        self.folders.push((folder, identity));
    }

    pub(super) fn have_globs(&self) -> bool {
        !self.globs.is_empty()
    }

    /// Whether the globs leave this absolute path out.
    pub(super) fn exclude(&self, path: &[u8], is_folder: bool) -> bool {
        self.globs
            .matched(Path::new(std::ffi::OsStr::from_bytes(path)), is_folder)
            .is_ignore()
    }

    /// Whether this is one of the folders of [`Rules::exclude_folder`].
    pub(super) fn forbid(&self, path: &[u8], stat: &Stat) -> bool {
        self.folders.iter().any(|(folder, identity)| {
            *identity == Some((stat.device, stat.inode)) || folder.as_os_str().as_bytes() == path
        })
    }

    /// Whether this path is one of those folders or lies in one.
    pub(super) fn forbid_source(&self, source: &Path) -> bool {
        self.folders.iter().any(|(folder, _)| source.starts_with(folder))
    }
}

/// The name of a cache tag. A valid one begins with [`CACHE_SIGNATURE`].
pub(super) const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Whether the folder holds a valid cache tag.
pub(super) fn has_cache_tag(folder: &Folder) -> io::Result<bool> {
    let tag = OpenedFile::open(folder, CACHE_TAG)?;
    let mut start = [0; CACHE_SIGNATURE.len()];
    Ok(tag.read_full_at(&mut start, 0)? == start.len() && start == CACHE_SIGNATURE)
}
