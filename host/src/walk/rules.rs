//! What a walk leaves out at the user's request. Rules see paths as they are in the source, not in a snapshot of it.

use std::collections::HashMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder, Glob};

use crate::boundaries::Boundaries;
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

/// An exclude pattern, in the syntax of a line of a `.gitignore` in `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The line that is matched: absolute if the pattern names a path.
    pub line: String,
    /// The pattern as the user gave it.
    pub shown: String,
}

impl From<&str> for Pattern {
    fn from(line: &str) -> Self {
        Self {
            line: line.to_owned(),
            shown: line.to_owned(),
        }
    }
}

/// The patterns of a walk, and how many entries each has decided about.
#[derive(Debug)]
struct Patterns {
    globs: Gitignore,
    /// Index in `counts`, by the glob's text.
    by_text: HashMap<String, usize>,
    counts: Vec<(String, AtomicU64)>,
}

/// The rules of one walk.
#[derive(Debug, Clone)]
pub struct Rules {
    patterns: Arc<Patterns>,
    /// Which of the file systems mounted below the source are entered. The mount points of the others are kept as empty
    /// folders.
    pub boundaries: Boundaries,
    /// Keep only the tag of a folder with a valid `CACHEDIR.TAG` (<https://bford.info/cachedir/>), if root or the
    /// folder's owner owns the tag. The source itself is exempt: a user who names a cache as a source wants its
    /// content.
    pub honour_cachedir_tag: bool,
    /// Of a folder that has an entry with one of these names, only that entry is kept. At most [`MAX_MARKERS`] are
    /// looked for.
    pub markers: Vec<Vec<u8>>,
    /// Files of more bytes are left out.
    pub max_size: Option<u64>,
    /// Folders that are left out in any case: the path, and device and inode if the folder exists.
    folders: Vec<(PathBuf, Option<(u64, u64)>)>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            patterns: Arc::new(Patterns {
                globs: Gitignore::empty(),
                by_text: HashMap::new(),
                counts: Vec::new(),
            }),
            boundaries: Boundaries::default(),
            honour_cachedir_tag: true,
            markers: Vec::new(),
            max_size: None,
            folders: Vec::new(),
        }
    }
}

impl Rules {
    /// Rules with these patterns, which have the syntax of a `.gitignore` in `/`: a later pattern overrides an earlier
    /// one, `!` includes again, `dir/` matches folders only, and a pattern with a slash before its end is anchored at
    /// `/`. Empty lines and comments (`#`) are allowed.
    ///
    /// # Errors
    /// A pattern has a mistake in it.
    pub fn new<P: Clone + Into<Pattern>>(patterns: &[P]) -> Result<Self, BadGlob> {
        let mut builder = GitignoreBuilder::new("/");
        let (mut by_text, mut counts) = (HashMap::new(), Vec::new());
        for pattern in patterns {
            let Pattern { line, shown } = pattern.clone().into();
            let before = counts.len();
            builder.add_line(None, &line).map_err(|error| BadGlob {
                glob: shown.clone(),
                reason: error.to_string(),
            })?;
            // The builder drops empty lines, comments and white space at the end.
            let text = if line.ends_with("\\ ") { &line } else { line.trim_end() };
            if !text.is_empty() && !text.starts_with('#') && *by_text.entry(text.to_owned()).or_insert(before) == before
            {
                counts.push((shown, AtomicU64::new(0)));
            }
        }
        let globs = builder.build().map_err(|error| BadGlob {
            glob: String::new(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            patterns: Arc::new(Patterns { globs, by_text, counts }),
            ..Self::default()
        })
    }

    /// Each pattern as the user gave it, and how many entries it has left out or, after `!`, included again.
    #[must_use]
    pub fn counts(&self) -> Vec<(String, u64)> {
        let counts = self.patterns.counts.iter();
        counts
            .map(|(shown, count)| (shown.clone(), count.load(Ordering::Relaxed)))
            .collect()
    }

    /// Sets all counts to 0, for another walk.
    pub fn forget_counts(&self) {
        for (_, count) in &self.patterns.counts {
            count.store(0, Ordering::Relaxed);
        }
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

    /// Whether a file is left out for its size.
    pub(super) fn is_too_large(&self, stat: &Stat) -> bool {
        self.max_size.is_some_and(|most| stat.is_file() && stat.size > most)
    }

    /// Whether the patterns leave this absolute path out. It counts for [`Rules::counts`].
    #[must_use]
    pub fn leaves_out(&self, path: &[u8], is_folder: bool) -> bool {
        self.have_globs() && self.exclude(path, is_folder)
    }

    pub(super) fn have_globs(&self) -> bool {
        !self.patterns.globs.is_empty()
    }

    /// Whether the patterns leave this absolute path out.
    pub(super) fn exclude(&self, path: &[u8], is_folder: bool) -> bool {
        let decided = self.matched(path, is_folder);
        if let Match::Ignore(glob) | Match::Whitelist(glob) = decided
            && let Some((_, count)) = self.count_of(glob)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
        decided.is_ignore()
    }

    /// Whether the patterns leave a source out: they match it, or one that names an absolute path matches a folder
    /// above it.
    pub(super) fn exclude_source(&self, path: &[u8], is_folder: bool) -> bool {
        if !self.have_globs() || path.is_empty() {
            return false;
        }
        if !self.matched(path, is_folder).is_none() {
            return self.exclude(path, is_folder);
        }
        let above = as_path(path)
            .ancestors()
            .skip(1)
            .take_while(|above| above.parent().is_some());
        for above in above {
            let above = above.as_os_str().as_bytes();
            if let Match::Ignore(glob) = self.matched(above, true)
                && glob.original().starts_with('/')
            {
                return self.exclude(above, true);
            }
        }
        false
    }

    fn matched(&self, path: &[u8], is_folder: bool) -> Match<&Glob> {
        self.patterns.globs.matched(as_path(path), is_folder)
    }

    fn count_of(&self, glob: &Glob) -> Option<&(String, AtomicU64)> {
        let at = self.patterns.by_text.get(glob.original())?;
        self.patterns.counts.get(*at)
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

/// The most names of [`Rules::markers`].
pub const MAX_MARKERS: usize = 31;

/// The name of a cache tag. A valid one begins with [`CACHE_SIGNATURE`].
pub(super) const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Whether the folder holds a valid cache tag that root or the folder's owner made. Another user of the folder must not
/// be able to hide its content.
pub(super) fn has_cache_tag(folder: &Folder, stat: &Stat) -> io::Result<bool> {
    let tag = OpenedFile::open(folder, CACHE_TAG)?;
    let mut start = [0; CACHE_SIGNATURE.len()];
    let is_valid = tag.read_full_at(&mut start, 0)? == start.len() && start == CACHE_SIGNATURE;
    let owner = tag.stat().uid;
    Ok(is_valid && (owner == 0 || owner == stat.uid))
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path))
}
