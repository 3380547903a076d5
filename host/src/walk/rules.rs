//! What a walk leaves out, as the user asked for it. Paths are matched as the source has them, not as a snapshot does.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::Stat;

/// A glob that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the exclude pattern \"{glob}\" cannot be understood: {reason}")]
pub struct BadGlob {
    /// As it was given.
    pub glob: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What to leave out.
#[derive(Debug, Clone)]
pub struct Rules {
    globs: Arc<Gitignore>,
    /// Do not cross into other file systems; their mount points are kept as empty folders.
    pub one_file_system: bool,
    /// Of a folder with a valid `CACHEDIR.TAG`, keep only that file (<https://bford.info/cachedir/>). The source itself
    /// is exempt: who names a cache wants it.
    pub honour_cachedir_tag: bool,
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
    /// Rules with these globs, written as the lines of a `.gitignore` that stands in `/`: a later one wins, `!` takes
    /// back, `dir/` is for folders only, and a pattern with a slash before its end is anchored at `/`. Empty lines and
    /// comments (`#`) are allowed.
    ///
    /// # Errors
    /// A glob cannot be understood.
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

    /// Leaves a folder out whatever the globs say, with all that is in it: the vault, the cache folder. It is known by
    /// its path, and where it exists by device and inode too, so that no other path leads into it.
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

    /// Do the globs leave this path out? `path` is absolute.
    pub(super) fn exclude(&self, path: &[u8], is_folder: bool) -> bool {
        self.globs
            .matched(Path::new(std::ffi::OsStr::from_bytes(path)), is_folder)
            .is_ignore()
    }

    /// Is this one of the folders left out?
    pub(super) fn forbid(&self, path: &[u8], stat: &Stat) -> bool {
        self.folders.iter().any(|(folder, identity)| {
            *identity == Some((stat.device, stat.inode)) || folder.as_os_str().as_bytes() == path
        })
    }

    /// Is this path one of the folders left out, or inside one?
    pub(super) fn forbid_source(&self, source: &Path) -> bool {
        self.folders.iter().any(|(folder, _)| source.starts_with(folder))
    }
}

/// `CACHEDIR.TAG`, and what a valid one begins with.
pub(super) const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Does the folder hold a valid tag?
pub(super) fn has_cache_tag(folder: &super::Folder) -> io::Result<bool> {
    let tag = crate::read::OpenedFile::open(folder, CACHE_TAG)?;
    let mut start = [0; CACHE_SIGNATURE.len()];
    let mut filled = 0;
    while filled < start.len() {
        match tag.read_at(&mut start[filled..], filled as u64)? {
            0 => return Ok(false),
            n => filled += n,
        }
    }
    Ok(start == CACHE_SIGNATURE)
}
