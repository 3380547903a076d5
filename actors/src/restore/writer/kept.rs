//! What is taken over from an existing file was compared some time ago. Before it counts as restored, it is made sure
//! that it is still the same; what is not is fetched from the vault, chunk by chunk.

use std::io;

use lockstone_host::read::OpenedFile;
use lockstone_host::write::{Dir, PartFile};
use lockstone_proto::vault::ChunkKind;

use super::open_files::FileOut;
use super::options;
use crate::contents::{Chunks, Placed};
use crate::flow::{EntryError, Fault};
use crate::progress::add;
use crate::restore::job::RestoreContext;

/// Takes the chunks that are the same from the existing file: by reference if the file system can do that, else by a
/// copy.
pub(super) fn keep(context: &RestoreContext, dir: &Dir, file: &FileOut, part: &PartFile) -> Result<(), EntryError> {
    let is_certain = match dir.open_file(&file.entry.name) {
        Ok(existing) => copy(context, &existing, file, part)?,
        // It is gone, or something else.
        Err(_) => false,
    };
    if is_certain {
        return Ok(());
    }
    // What was copied is compared once more, now that nothing else can change it.
    let mut bytes = Vec::new();
    for placed in kept_chunks(context, file) {
        let placed = placed?;
        bytes.resize(placed.len as usize, 0);
        let is_read = part.read_exact_at(&mut bytes, placed.offset).is_ok();
        let keys = context.job.domain.keys();
        let is_same = || context.job.engine.compute(|| keys.chunk_id(ChunkKind::Data, &bytes)) == placed.id;
        if !(is_read && is_same()) {
            fetch(context, &placed, part)?;
        }
    }
    Ok(())
}

/// The chunks that the existing file had when it was compared.
fn kept_chunks<'a>(
    context: &'a RestoreContext,
    file: &'a FileOut,
) -> impl Iterator<Item = Result<Placed, EntryError<Fault>>> + 'a {
    Chunks::of(&file.entry, &context.job.domain, &context.job.engine)
        .filter(|placed| placed.as_ref().map_or(true, |placed| file.has_already(placed)))
}

/// Copies the kept chunks. Returns whether the existing file certainly had not changed since it was compared.
fn copy(context: &RestoreContext, existing: &OpenedFile, file: &FileOut, part: &PartFile) -> Result<bool, EntryError> {
    for placed in kept_chunks(context, file) {
        let placed = placed?;
        match part.copy_from(existing, placed.offset, u64::from(placed.len)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    let is_still = file.seen.map_or(Ok(false), |seen| seen.is_still(existing))?;
    Ok(is_still)
}

/// Fetches one chunk and writes it. This is slower than what the pipeline does, but rare.
fn fetch(context: &RestoreContext, placed: &Placed, part: &PartFile) -> Result<(), EntryError> {
    let job = &context.job;
    let read = job.domain.read_chunk(ChunkKind::Data, &placed.id);
    match job.engine.run_cancellable(&context.cancel, read)? {
        Ok(bytes) => {
            part.write_at(&bytes, placed.offset)?;
            add(&job.progress.counters.bytes_written, bytes.len() as u64);
            Ok(())
        }
        Err(error) => Err(EntryError::of_fault(error.into()).into()),
    }
}

/// Sets the attributes of a file whose content was found to be right. If the file may have changed since, it is
/// compared again; if it has changed, it is restored whole. The outer error is a fault of the job, the inner one of the
/// file.
pub(super) fn attributes(
    context: &RestoreContext,
    dir: &Dir,
    file: &FileOut,
    problems: &mut Vec<String>,
) -> Result<io::Result<()>, EntryError> {
    let (entry, options) = (&file.entry, options(context));
    let existing = dir.open_file(&entry.name)?;
    let is_still = file.seen.map_or(Ok(false), |seen| seen.is_still(&existing))?;
    if is_still || context.compare(dir, &entry.name, entry)?.same {
        return Ok(dir.apply_to_file(&existing, entry, &options, problems));
    }
    let part = dir.create_part(&entry.name, entry)?;
    for placed in Chunks::of(entry, &context.job.domain, &context.job.engine) {
        fetch(context, &placed?, &part)?;
    }
    part.set_len(entry.size)?;
    Ok(part.finish(entry, &options, true, problems))
}
