//! What becomes of each entry, given what is in the target already. The Planner asks. Only folders are made here,
//! because they must exist before anything can be put into them.
//!
//! Three rules hold whatever the user asked for. A folder that only leads to what was selected replaces nothing. What
//! this restore has put somewhere is not replaced by another entry. What is already as it should be stays.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use lockstone_host::walk::Stat;
use lockstone_host::write::{Dir, Handles, TargetOptions};
use lockstone_proto::vault::{Entry, EntryKind};

use super::compare::Compared;
use super::copies::{beside_message, too_many};
use super::open_files::{Action, FileOut, FolderOut, Plan};
use super::options;
use crate::flow::{EntryError, Stop};
use crate::progress::add;
use crate::restore::job::{Conflict, RestoreContext, RestoreTo, target_fault};

/// At most this many paths are listed by a dry run.
const MAX_WOULD: usize = 1000;
/// As many copies are named.
const MAX_COPIED: usize = 1000;

/// File handles that are left for other things than the target: the index (256), the store's files or connections, the
/// log, and the runtime.
const OTHER_HANDLES: usize = 400;

/// Whether a folder existed before this restore or was made by it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// This restore made it.
    Made,
    /// A restore that was killed made it and did not set its attributes.
    Unfinished,
    /// It existed.
    Existing,
}

/// What is decided about an entry.
enum Decision {
    /// Nothing is done.
    Nothing,
    /// It is there, under this name and as it should be.
    There(Bytes, Stat),
    /// Something is done. The file that is there stays the same file, if it is given.
    Do(Plan, Option<Stat>),
}

impl RestoreContext {
    /// The target folder for the recovery point's `/`. `is_selected`: `/` itself is restored, and not only a part of
    /// what is in it. If it was a source, the target folder gets its attributes, like every other folder.
    pub(in crate::restore) fn root(&self, is_selected: bool) -> Result<Arc<FolderOut>, Stop> {
        let request = &self.job.request;
        let path = match &request.to {
            RestoreTo::Folder(path) => path.as_path(),
            RestoreTo::Original => Path::new("/"),
        };
        if request.dry_run && !path.exists() {
            return Ok(FolderOut::new(Bytes::new(), None, None, None, true));
        }
        let options = TargetOptions {
            sync: request.sync,
            read_only: request.dry_run,
            handles: Handles::of_this_process(OTHER_HANDLES),
            job: request.job.to_string().into_bytes(),
        };
        let is_empty = || std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none());
        let was_empty = *self.job.target_was_empty.get_or_init(is_empty);
        let dir = Dir::open_target(path, options)
            .map_err(|error| target_fault(path.as_os_str().as_encoded_bytes(), &error))?;
        *self.job.target.lock() = Some(dir.clone());
        let body = &request.point.body;
        let is_source = is_selected && body.sources.iter().any(|source| &source[..] == b"/");
        let mut entry = body.root_folder.clone().filter(|_| is_source && !request.dry_run);
        if let Some(root) = &entry {
            add(&self.job.progress.counters.folders, 1);
            if !was_empty && request.conflict != Conflict::Overwrite {
                self.note_folder_kept(b"/", Some(&dir), root);
                entry = None;
            }
        }
        Ok(FolderOut::new(Bytes::new(), None, Some(dir), entry, false))
    }

    /// Enters a folder of the recovery point; makes it if it is missing. `None`: it is left out, with everything in it.
    pub(in crate::restore) fn enter(
        &self,
        above: &Arc<FolderOut>,
        mut entry: Entry,
        implied: bool,
    ) -> Result<Option<Arc<FolderOut>>, Stop> {
        entry.implied = implied;
        if !implied {
            add(&self.job.progress.counters.folders, 1);
        }
        let name = entry.name.clone();
        match self.open_or_make(above, &entry) {
            Ok(Some((dir, origin))) => {
                let keeps = origin == Origin::Existing && (implied || self.job.request.conflict != Conflict::Overwrite);
                if keeps && !implied {
                    self.note_folder_kept(&above.join(&name), dir.as_ref(), &entry);
                }
                let is_fresh = origin == Origin::Made;
                let above = Some(Arc::clone(above));
                Ok(Some(FolderOut::new(
                    name,
                    above,
                    dir,
                    (!keeps).then_some(entry),
                    is_fresh,
                )))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                self.not_restored(&above.join(&name), &error)?;
                Ok(None)
            }
        }
    }

    /// Says that a folder keeps attributes that are not those of the recovery point.
    fn note_folder_kept(&self, path: &[u8], dir: Option<&Dir>, entry: &Entry) {
        let is_like = |dir: &Dir| dir.is_like(entry, &options(self)).unwrap_or(true);
        if dir.is_none_or(is_like) {
            return;
        }
        match self.job.request.conflict {
            Conflict::Skip => add(&self.job.progress.counters.skipped, 1),
            Conflict::Copy | Conflict::Overwrite => self.job.warnings.add(
                path,
                "this folder has another owner, mode or other attributes than in the recovery point, and keeps them; \
                 `--on-conflict overwrite` gives them back",
            ),
        }
    }

    /// The folder, and where it came from. A dry run has no handle of a folder that is missing.
    fn open_or_make(&self, above: &FolderOut, entry: &Entry) -> io::Result<Option<(Option<Dir>, Origin)>> {
        let request = &self.job.request;
        let Some(dir) = &above.dir else {
            return Ok(Some((None, Origin::Made)));
        };
        let there = if above.is_fresh { None } else { dir.lookup(&entry.name)? };
        let Some(there) = there else {
            return self.make(above, dir, entry).map(Some);
        };
        if there.is_folder() {
            if above.claims.lock().is_taken(dir, &entry.name, &there)? {
                return self.make_beside(above, dir, entry, true).map(Some);
            }
            return self.open(dir, &entry.name, entry).map(Some);
        }
        if entry.implied {
            return Ok(self
                .follow(above, dir, entry, &there)
                .map(|dir| (Some(dir), Origin::Existing)));
        }
        match request.conflict {
            Conflict::Skip => {
                add(&self.job.progress.counters.skipped, 1);
                Ok(None)
            }
            Conflict::Overwrite => {
                let what = what_is(dir, &entry.name, &there);
                let done = if request.dry_run {
                    "would be removed"
                } else {
                    "was removed"
                };
                if !request.dry_run {
                    dir.remove(&entry.name)?;
                }
                let message = format!("{what} was in the place of this folder and {done}");
                self.job.warnings.add(above.join(&entry.name), message);
                self.make(above, dir, entry).map(Some)
            }
            Conflict::Copy => self.make_beside(above, dir, entry, false).map(Some),
        }
    }

    /// Opens a folder that exists.
    fn open(&self, dir: &Dir, name: &[u8], entry: &Entry) -> io::Result<(Option<Dir>, Origin)> {
        let folder = dir.open_folder(name, entry.mode)?;
        if !folder.is_unfinished() {
            return Ok((Some(folder), Origin::Existing));
        }
        if !self.job.request.dry_run {
            folder.remove_leftovers()?;
        }
        Ok((Some(folder), Origin::Unfinished))
    }

    /// Makes a folder.
    fn make(&self, above: &FolderOut, dir: &Dir, entry: &Entry) -> io::Result<(Option<Dir>, Origin)> {
        if self.job.request.dry_run {
            self.would(&above.join(&entry.name));
            return Ok((None, Origin::Made));
        }
        match dir.make_folder(&entry.name) {
            Ok(made) => {
                if !above.is_fresh {
                    above.claims.lock().made(&entry.name, made.identity()?);
                }
                Ok((Some(made), Origin::Made))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.make_beside(above, dir, entry, true),
            Err(error) => Err(error),
        }
    }

    /// Makes a folder beside what is in its place, or opens the one that an earlier restore of this recovery point made
    /// there. `is_said`: a warning names it.
    fn make_beside(
        &self,
        above: &FolderOut,
        dir: &Dir,
        entry: &Entry,
        is_said: bool,
    ) -> io::Result<(Option<Dir>, Origin)> {
        for copy in self.copy_names(&entry.name) {
            let there = dir.lookup(&copy)?;
            if there.is_some_and(|there| !there.is_folder()) {
                continue;
            }
            if is_said {
                self.job.warnings.add(above.join(&entry.name), beside_message(&copy));
            }
            if there.is_some() {
                return self.open(dir, &copy, entry);
            }
            add(&self.job.progress.counters.copies, 1);
            if self.job.request.dry_run {
                self.would(&above.join(&copy));
                return Ok((None, Origin::Made));
            }
            return Ok((Some(dir.make_folder(&copy)?), Origin::Made));
        }
        Err(too_many())
    }

    /// Something that is no folder is in the place of a folder that only leads to what was selected. A symbolic link is
    /// followed beneath the target. Anything else stays, and what is below is left out with a warning.
    fn follow(&self, above: &FolderOut, dir: &Dir, entry: &Entry, there: &Stat) -> Option<Dir> {
        let refused = if there.kind() == EntryKind::Symlink {
            match dir.follow(&entry.name) {
                Ok(folder) => return Some(folder),
                Err(error) => format!("cannot be followed to a folder beneath the target ({error})"),
            }
        } else {
            "stays as it is".to_owned()
        };
        let what = what_is(dir, &entry.name, there);
        let message = format!("{what} is in the place of this folder and {refused}; what is in it was not restored");
        self.job.warnings.add(above.join(&entry.name), message);
        None
    }

    /// What to do with a file, symlink, fifo or device. Empty: nothing.
    pub(in crate::restore) fn plan_file(
        &self,
        folder: &Arc<FolderOut>,
        entry: Entry,
    ) -> Result<Vec<Arc<FileOut>>, Stop> {
        let decided = self.decide(folder, &entry).or_else(|error| {
            self.not_restored(&folder.join(&entry.name), &error.entry()?)?;
            Ok::<_, Stop>(Decision::Nothing)
        })?;
        let (plan, there) = match decided {
            Decision::Nothing => return Ok(Vec::new()),
            Decision::There(..) if entry.links < 2 || self.job.request.dry_run => return Ok(Vec::new()),
            Decision::There(name, there) => (Action::Keep(name).into(), Some(there)),
            Decision::Do(plan, there) => (plan, there),
        };
        if self.job.request.dry_run {
            self.would(&folder.join(&entry.name));
            add(&self.job.progress.counters.files_done, 1);
            add(&self.job.progress.counters.bytes_done, entry.size);
            return Ok(Vec::new());
        }
        if entry.links < 2 {
            return Ok(vec![FileOut::new(folder, entry, plan)]);
        }
        let may_replace = self.job.request.conflict == Conflict::Overwrite;
        let path = folder.join(&entry.name);
        let joined = self
            .groups
            .lock()
            .join(folder, entry, plan, there.as_ref(), may_replace);
        if joined.is_torn && self.job.request.conflict == Conflict::Copy {
            let message = "it is no longer the same file as its other names; `--on-conflict overwrite` makes it one";
            self.job.warnings.add(path, message);
        }
        Ok(joined.files)
    }

    /// What to do with an entry that is no folder.
    fn decide(&self, folder: &FolderOut, entry: &Entry) -> Result<Decision, EntryError> {
        let write = |name: Bytes, replace: bool| Action::Write { name, replace };
        let anew = || Decision::Do(write(entry.name.clone(), false).into(), None);
        let Some(dir) = folder.dir.as_ref().filter(|_| !folder.is_fresh) else {
            return Ok(anew());
        };
        let Some(there) = dir.lookup(&entry.name)? else {
            return Ok(anew());
        };
        let counters = &self.job.progress.counters;
        if folder.claims.lock().is_taken(dir, &entry.name, &there)? {
            // Writing it finds the name taken, says so, and puts it beside, unless it is there already.
            return Ok(match self.copy_there(dir, entry)? {
                Some((name, there)) => {
                    add(&counters.unchanged, 1);
                    let message = beside_message(&name);
                    self.job.warnings.add(folder.join(&entry.name), message);
                    Decision::There(name, there)
                }
                None => anew(),
            });
        }
        // What a killed restore left is always replaced.
        let conflict = if dir.is_unfinished_file(&there, entry) {
            Conflict::Overwrite
        } else {
            self.job.request.conflict
        };
        if conflict == Conflict::Skip {
            add(&counters.skipped, 1);
            let is_same = entry.links > 1 && self.compare_any(dir, &entry.name, entry, &there)?.same;
            return Ok(if is_same {
                Decision::There(entry.name.clone(), there)
            } else {
                Decision::Nothing
            });
        }
        if there.is_folder() && conflict == Conflict::Overwrite {
            if self.job.request.dry_run && self.job.request.delete {
                // It would be gone by then.
                return Ok(anew());
            }
            return Err(io::Error::other("a folder is in its place and was left as it is").into());
        }
        let compared = self.compare_any(dir, &entry.name, entry, &there)?;
        if compared.same {
            if dir.has_attributes(&entry.name, entry, &options(self))? {
                add(&counters.unchanged, 1);
                if conflict == Conflict::Overwrite {
                    add(&counters.files_done, 1);
                    add(&counters.bytes_done, entry.size);
                }
                return Ok(Decision::There(entry.name.clone(), there));
            }
            if conflict == Conflict::Overwrite && entry.kind() == EntryKind::File {
                add(&counters.unchanged, 1);
                let plan = Plan {
                    seen: compared.seen,
                    ..Action::Attributes.into()
                };
                return Ok(Decision::Do(plan, Some(there)));
            }
        }
        let action = if conflict == Conflict::Copy {
            if let Some((name, there)) = self.copy_there(dir, entry)? {
                add(&counters.unchanged, 1);
                return Ok(Decision::There(name, there));
            }
            add(&counters.copies, 1);
            let copy = self.free_copy_name(dir, &entry.name)?;
            self.copied(folder, &copy);
            write(copy, false)
        } else {
            write(entry.name.clone(), true)
        };
        let plan = Plan {
            action,
            kept: compared.kept,
            seen: compared.seen,
        };
        Ok(Decision::Do(plan, None))
    }

    /// Compares whatever is there, but not its attributes, except for those of links and devices.
    fn compare_any(&self, dir: &Dir, name: &[u8], entry: &Entry, there: &Stat) -> Result<Compared, EntryError> {
        if there.kind() != entry.kind() {
            return Ok(Compared::default());
        }
        let same = match entry.kind() {
            EntryKind::File => return self.compare(dir, name, entry),
            EntryKind::Symlink => dir.read_link(name)? == entry.link_target,
            EntryKind::CharDevice | EntryKind::BlockDevice => {
                (there.rdev_major, there.rdev_minor) == (entry.rdev_major, entry.rdev_minor)
            }
            EntryKind::Fifo => true,
            _ => false,
        };
        Ok(Compared {
            same,
            ..Compared::default()
        })
    }

    /// The copy of an entry that an earlier restore, or an earlier generation of this one, put beside what is in its
    /// place. Without looking for it, each further restore would make another one.
    fn copy_there(&self, dir: &Dir, entry: &Entry) -> Result<Option<(Bytes, Stat)>, EntryError> {
        for copy in self.copy_names(&entry.name) {
            let Some(there) = dir.lookup(&copy)? else {
                return Ok(None);
            };
            if self.compare_any(dir, &copy, entry, &there)?.same {
                return Ok(Some((copy, there)));
            }
        }
        Ok(None)
    }

    /// Notes the path of a copy.
    fn copied(&self, folder: &FolderOut, copy: &[u8]) {
        let mut copied = self.job.copied.lock();
        if copied.len() < MAX_COPIED {
            copied.push(folder.join(copy));
        }
    }

    /// Notes a path that a dry run would restore.
    fn would(&self, path: &[u8]) {
        let mut would = self.job.would.lock();
        if would.len() < MAX_WOULD {
            would.push(path.to_vec());
        }
    }
}

/// What is in the place of something else, in words.
fn what_is(dir: &Dir, name: &[u8], there: &Stat) -> String {
    match there.kind() {
        EntryKind::Symlink => {
            let to = dir.read_link(name).unwrap_or_default();
            format!("a symbolic link to {}", String::from_utf8_lossy(&to))
        }
        EntryKind::File => "a file".to_owned(),
        _ => "something else".to_owned(),
    }
}
