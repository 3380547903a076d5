//! Further names of files with several names: hard links or, where the target can't make them, copies.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use lockstone_host::process::is_out_of_handles;
use lockstone_host::write::Dir;
use lockstone_proto::vault::EntryKind;

use super::open_files::FileOut;
use super::options;
use crate::restore::job::RestoreContext;

/// Makes `file` another name of `first`. If the target can't do that, because the folders are on two file systems, or
/// because a file has as many names as it may have, the name becomes a copy, with a warning.
pub(super) fn link(
    context: &RestoreContext,
    dir: &Dir,
    file: &Arc<FileOut>,
    first: &FileOut,
    (name, replace): (&Bytes, bool),
    problems: &mut Vec<String>,
) -> io::Result<()> {
    let Some(first_dir) = first.folder.dir.as_ref().filter(|_| first.failure().is_none()) else {
        return Err(io::Error::other("the file it is another name of could not be restored"));
    };
    let linked = context.put_or_beside(file, name, replace, |name| {
        let mut linked = dir.hard_link(first_dir, first.final_name(), name, replace);
        // A copy on the same file system may have been made for another name.
        for other in first.elsewhere.lock().iter().rev() {
            if let (Err(error), Some(other_dir)) = (&linked, &other.folder.dir)
                && cannot_link(error)
            {
                linked = dir.hard_link(other_dir, other.final_name(), name, replace);
            }
        }
        linked
    });
    match linked {
        Err(error) if cannot_link(&error) => {
            context.put_or_beside(file, name, replace, |name| {
                problems.clear();
                copy(context, dir, file, first_dir, first, (name, replace), problems)
            })?;
            let first_path = first.path();
            problems.push(format!(
                "it is not the same file as {} any more, but a copy: {error}",
                String::from_utf8_lossy(&first_path)
            ));
            first.elsewhere.lock().push(Arc::clone(file));
            Ok(())
        }
        linked => linked,
    }
}

/// Whether the target can't make this link, although nothing is wrong with the file.
fn cannot_link(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AlreadyExists, IsADirectory, NotADirectory, NotFound, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    let is_other = matches!(
        error.kind(),
        AlreadyExists | IsADirectory | NotADirectory | NotFound | QuotaExceeded | ReadOnlyFilesystem | StorageFull
    );
    !is_other && !is_out_of_handles(error)
}

/// Writes `file` with the content of `first`, which is restored.
fn copy(
    context: &RestoreContext,
    dir: &Dir,
    file: &FileOut,
    first_dir: &Dir,
    first: &FileOut,
    (name, replace): (&[u8], bool),
    problems: &mut Vec<String>,
) -> io::Result<()> {
    let (entry, options) = (&file.entry, options(context));
    if entry.kind() != EntryKind::File {
        return dir.make_special(name, entry, &options, replace, problems);
    }
    let mut from = first_dir.open_file(first.final_name())?;
    let part = dir.create_part(&Bytes::copy_from_slice(name), entry)?;
    let mut at = 0;
    while let Some(data) = from.next_data(at)? {
        part.copy_from(&from, data.start, data.end - data.start)?;
        at = data.end;
    }
    part.set_len(entry.size)?;
    part.finish_as(name, entry, &options, replace, problems)
}

/// Makes the name that this restore wrote for `made` another name of `kept`, which was there.
pub(super) fn rejoin(dir: &Dir, made: &FileOut, kept: &FileOut) -> io::Result<()> {
    let Some(kept_dir) = kept.folder.dir.as_ref().filter(|_| made.failure().is_none()) else {
        // The failure was said already.
        return Ok(());
    };
    match dir.hard_link(kept_dir, kept.final_name(), made.final_name(), true) {
        // Both are whole files with the same content.
        Err(error) if cannot_link(&error) => Ok(()),
        joined => joined,
    }
}
