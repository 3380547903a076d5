//! The Writer stage writes bytes into files. When a file has all of its bytes, it gets its length, its attributes and
//! its name. A folder gets its attributes when everything in it has arrived.

mod claims;
mod compare;
mod copies;
pub(super) mod groups;
mod kept;
mod links;
pub(super) mod open_files;
mod placement;
mod seen;

use std::io;
use std::sync::Arc;

use lockstone_host::write::{ApplyOptions, PartFile};
use lockstone_proto::vault::{ChunkKind, Entry, EntryKind};

use self::open_files::{Action, FileOut, FolderOut};
use super::job::RestoreContext;
use super::messages::{Wanted, WriteTask};
use crate::contents::Chunks;
use crate::flow::{Body, EntryError, Fault, Receiver, Stop, fault_point};
use crate::progress::add;

pub(super) struct Writer {
    context: RestoreContext,
    inbox: Receiver<WriteTask>,
}

impl Body for Writer {
    fn run(self) -> Result<(), Stop> {
        while let Some(task) = self.inbox.recv()? {
            fault_point("writer")?;
            match task {
                WriteTask::Chunks { raw, wanted, permit } => {
                    for wanted in wanted {
                        for (file, offset) in wanted.to {
                            self.write(&file, &raw[wanted.range.clone()], offset)?;
                            one_done(&self.context, &file)?;
                        }
                    }
                    drop((raw, permit));
                }
                WriteTask::Ready(files) => {
                    for file in files {
                        ready(&self.context, &file)?;
                    }
                }
                WriteTask::Left(folders) => {
                    for folder in folders {
                        folder_done(&self.context, folder)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Writer {
    pub(super) fn new(context: &RestoreContext, inbox: Receiver<WriteTask>) -> Self {
        Self {
            context: context.clone(),
            inbox,
        }
    }

    fn write(&self, file: &FileOut, bytes: &[u8], offset: u64) -> Result<(), Stop> {
        if file.failure().is_some() {
            return Ok(());
        }
        let written = part(&self.context, file).and_then(|part| Ok(part.write_at(bytes, offset)?));
        match written {
            Ok(()) => add(&self.context.job.progress.counters.bytes_written, bytes.len() as u64),
            Err(error) => {
                self.context.not_restored(&file.path(), &error.entry()?)?;
                file.fail(String::new());
            }
        }
        Ok(())
    }
}

/// The file's part, which is made when it is first needed.
fn part(context: &RestoreContext, file: &FileOut) -> Result<Arc<PartFile>, EntryError> {
    let mut slot = file.part.lock();
    if let Some(part) = slot.as_ref() {
        return Ok(Arc::clone(part));
    }
    let Some(dir) = &file.folder.dir else {
        return Err(Fault::integrity("a dry run wrote").into());
    };
    let part = dir.create_part(file.final_name(), &file.entry)?;
    if !file.kept.is_empty() {
        kept::keep(context, dir, file, &part)?;
    }
    let part = Arc::new(part);
    *slot = Some(Arc::clone(&part));
    Ok(part)
}

/// These chunks can't be restored. Their files fail for this reason and no longer wait for them.
pub(super) fn fail_wanted(context: &RestoreContext, wanted: Vec<Wanted>, reason: &str) -> Result<(), Stop> {
    for (file, _) in wanted.into_iter().flat_map(|wanted| wanted.to) {
        file.fail(reason.to_owned());
        one_done(context, &file)?;
    }
    Ok(())
}

/// One thing that the file waited for has come or will never come. The last one finishes the file.
fn one_done(context: &RestoreContext, file: &Arc<FileOut>) -> Result<(), Stop> {
    if file.one_done() { ready(context, file) } else { Ok(()) }
}

/// The file waits for no chunk any more. A link still waits for the file that it is to be a name of.
fn ready(context: &RestoreContext, file: &Arc<FileOut>) -> Result<(), Stop> {
    if let Action::Link { first: awaited, .. } | Action::Rejoin { made: awaited, .. } = &file.action {
        let mut waiting = awaited.waiting_links.lock();
        if let Some(waiting) = waiting.as_mut() {
            waiting.push(Arc::clone(file));
            return Ok(());
        }
    }
    finish_file(context, file)
}

fn finish_file(context: &RestoreContext, file: &Arc<FileOut>) -> Result<(), Stop> {
    let counters = &context.job.progress.counters;
    let part = file.part.lock().take();
    let mut failure = file.failure();
    if failure.is_none() {
        match put(context, file, part) {
            // These were counted when they were found, or written.
            Ok(()) if matches!(file.action, Action::Keep(_) | Action::Rejoin { .. }) => {}
            Ok(()) => {
                add(&counters.files_done, 1);
                add(&counters.bytes_done, file.entry.size);
            }
            Err(error) => {
                context.not_restored(&file.path(), &error.entry()?)?;
                failure = Some(String::new());
                file.fail(String::new());
            }
        }
    }
    // For an empty reason, a warning was given already.
    if let Some(reason) = failure.filter(|reason| !reason.is_empty()) {
        context.damaged(&file.path(), &format!("could not be restored: {reason}"));
    }
    let links = file.waiting_links.lock().take().unwrap_or_default();
    for link in links {
        finish_file(context, &link)?;
    }
    folder_done(context, Arc::clone(&file.folder))
}

/// Puts a file in its place.
fn put(context: &RestoreContext, file: &Arc<FileOut>, part_so_far: Option<Arc<PartFile>>) -> Result<(), EntryError> {
    let Some(dir) = &file.folder.dir else {
        return Err(Fault::integrity("a dry run wrote").into());
    };
    let options = options(context);
    let entry = &file.entry;
    let mut problems = Vec::new();
    let done = match &file.action {
        Action::Keep(_) => Ok(()),
        Action::Attributes => kept::attributes(context, dir, file, &mut problems)?,
        Action::Link { name, replace, first } => {
            links::link(context, dir, file, first, (name, *replace), &mut problems)
        }
        Action::Rejoin { made, kept } => links::rejoin(dir, made, kept),
        Action::Write { name, replace } if entry.kind() == EntryKind::File => {
            let part = whole_part(context, file, part_so_far)?;
            context.put_or_beside(file, name, *replace, |name| {
                problems.clear();
                part.finish_as(name, entry, &options, *replace, &mut problems)
            })
        }
        Action::Write { name, replace } => context.put_or_beside(file, name, *replace, |name| {
            problems.clear();
            dir.make_special(name, entry, &options, *replace, &mut problems)
        }),
    };
    context.job.warnings.all(|| file.path(), problems);
    Ok(done?)
}

/// The file's part with all of its content, verified if that was asked for. Nothing else has it any more.
fn whole_part(
    context: &RestoreContext,
    file: &FileOut,
    part_so_far: Option<Arc<PartFile>>,
) -> Result<PartFile, EntryError> {
    let part = match part_so_far {
        Some(part) => part,
        None => {
            let part = part(context, file)?;
            file.part.lock().take();
            part
        }
    };
    part.set_len(file.entry.size)?;
    if context.job.request.verify {
        verify(context, &file.entry, &part)?;
    }
    Ok(Arc::into_inner(part).ok_or_else(|| io::Error::other("it is still being written"))?)
}

fn options(context: &RestoreContext) -> ApplyOptions {
    ApplyOptions {
        acls: !context.job.request.skip_acls,
        ..ApplyOptions::default()
    }
}

/// Reads back what was written and compares every chunk.
fn verify(context: &RestoreContext, entry: &Entry, part: &PartFile) -> Result<(), EntryError> {
    let job = &context.job;
    part.drop_cached()?;
    let mut bytes = Vec::new();
    for placed in Chunks::of(entry, &job.domain, &job.engine) {
        let placed = placed?;
        bytes.resize(placed.len as usize, 0);
        part.read_exact_at(&mut bytes, placed.offset)?;
        let id = job
            .engine
            .compute(|| job.domain.keys().chunk_id(ChunkKind::Data, &bytes));
        if id != placed.id {
            let message = format!("what was written at offset {} reads back differently", placed.offset);
            return Err(io::Error::other(message).into());
        }
    }
    Ok(())
}

/// One thing that the folder waited for has arrived, or nothing more comes. The last one finishes the folder, and then
/// the folder above it hears of it in the same way.
fn folder_done(context: &RestoreContext, folder: Arc<FolderOut>) -> Result<(), Stop> {
    let mut folder = Some(folder);
    while let Some(done) = folder.take_if(|folder| folder.one_done()) {
        if let (Some(dir), Some(entry)) = (&done.dir, &done.entry) {
            let mut problems = Vec::new();
            if let Err(error) = dir.apply_to_self(entry, &options(context), &mut problems) {
                context.not_restored(&done.join(b""), &error)?;
            }
            // No warnings about a folder that only leads to what was selected.
            if !entry.implied {
                context.job.warnings.all(|| done.join(b""), problems);
            }
        }
        folder = done.parent.clone();
    }
    Ok(())
}
