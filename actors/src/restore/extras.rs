//! What the target has and the recovery point does not: `--delete` removes it. Only below folders that are restored
//! whole, before anything is put into the folder, and never this program's own folders.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use lockstone_proto::vault::EntryKind;

use super::planner::Planner;
use super::selection::Selection;
use super::writer::open_files::FolderOut;
use crate::flow::Stop;
use crate::progress::add;

/// At most this many paths are listed.
const MAX_LISTED: usize = 1000;

impl Planner {
    /// Removes what the folder has in the target and not in the recovery point. In a dry run, only lists it.
    pub(super) fn remove_extras(
        &self,
        top: &Bytes,
        folder: &Arc<FolderOut>,
        selection: &Selection,
    ) -> Result<(), Stop> {
        let job = &self.context.job;
        let Some(dir) = folder.dir.as_ref().filter(|_| job.request.delete && !folder.is_fresh) else {
            return Ok(());
        };
        // A hash of each name and kind: large folders would need too much memory. Two names with one hash cost
        // nothing: what is not deleted stays.
        let random = RandomState::new();
        let hash = |name: &[u8], is_folder: bool| random.hash_one((name, is_folder));
        let mut names = HashSet::new();
        let read = self.each_entry(top, &mut |entry| {
            names.insert(hash(&entry.name, entry.kind() == EntryKind::Folder));
            Ok(())
        });
        if let Err(error) = read {
            let error = error.entry()?;
            if !error.costs_one_object() {
                return Err(error.into());
            }
            let message = format!("nothing was deleted in this folder, since a part of it cannot be read: {error}");
            job.warnings.add(folder.join(b""), message);
            return Ok(());
        }
        let path = folder.path();
        let join = |name: &[u8]| {
            let path = path.strip_suffix(b"/").unwrap_or(&path);
            [path, b"/", name].concat()
        };
        let mut extras = Vec::new();
        let listed = dir.each_name(&mut |name, is_folder| {
            let belongs = names.contains(&hash(name, is_folder)) || !is_folder && names.contains(&hash(name, true));
            if !belongs && !selection.leaves_out(&join(name), is_folder) {
                extras.push((name.to_vec(), is_folder));
            }
        });
        let real = listed.and_then(|()| {
            if extras.is_empty() {
                Ok(PathBuf::new())
            } else {
                dir.real_path()
            }
        });
        let real = match real {
            Ok(real) => real,
            Err(error) => {
                let message = format!("nothing was deleted in this folder: {error}");
                job.warnings.add(folder.join(b""), message);
                return Ok(());
            }
        };
        extras.sort_unstable();
        for (name, is_folder) in extras {
            let there = real.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&name));
            let is_own = |own: &&PathBuf| own.starts_with(&there) || there.starts_with(own);
            if let Some(own) = job.request.spare.iter().find(is_own) {
                let message = format!("was not deleted: {} is of this program", own.display());
                job.warnings.add(folder.join(&name), message);
                continue;
            }
            let spares = |path: &[u8], is_folder: bool| selection.leaves_out(&join(path), is_folder);
            if !job.request.dry_run && !self.remove_extra(folder, (&name, is_folder), &spares) {
                continue;
            }
            add(&job.deleted, 1);
            let mut list = job.deleted_paths.lock();
            if list.len() < MAX_LISTED {
                list.push(join(&name));
            }
        }
        Ok(())
    }

    /// Returns whether it is gone.
    fn remove_extra(
        &self,
        folder: &FolderOut,
        (name, is_folder): (&[u8], bool),
        spares: &dyn Fn(&[u8], bool) -> bool,
    ) -> bool {
        let Some(dir) = &folder.dir else { return false };
        let warnings = &self.context.job.warnings;
        let message = |error: &io::Error| format!("was not deleted: {error}");
        let removed = if is_folder {
            dir.remove_folder(name, spares, &mut |path, error| {
                warnings.add(folder.join(path), message(error))
            })
        } else {
            dir.remove(name).map(|()| true)
        };
        removed.unwrap_or_else(|error| {
            warnings.add(folder.join(name), message(&error));
            false
        })
    }
}
