//! The Writer stage: bytes into files, and when a file has all of its own: length, attributes, and its name. Then the
//! folders, each when the last of what belongs in it has arrived.

use std::io;
use std::sync::Arc;

use lockstone_host::write::{ApplyOptions, Dir, PartFile};
use lockstone_proto::vault::{ChunkKind, Entry, EntryKind};

use super::Context;
use super::files::{Action, FileOut, FolderOut};
use super::messages::WriteTask;
use crate::contents::Chunks;
use crate::flow::{Fault, Receiver, Stop, fault_point};
use crate::progress::add;

pub(super) struct Writer {
    pub(super) context: Context,
    pub(super) inbox: Receiver<WriteTask>,
}

impl Writer {
    pub(super) fn run(self) -> Result<(), Stop> {
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
                WriteTask::Planned(files) => {
                    for file in files {
                        one_done(&self.context, &file)?;
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

    fn write(&self, file: &FileOut, bytes: &[u8], offset: u64) -> Result<(), Stop> {
        if file.failure().is_some() {
            return Ok(());
        }
        let written = part(&self.context, file)?.and_then(|part| part.write_at(bytes, offset));
        match written {
            Ok(()) => add(&self.context.job.progress.counters.bytes_written, bytes.len() as u64),
            Err(error) => {
                self.context.not_restored(&file.path(), &error)?;
                file.fail(String::new());
            }
        }
        Ok(())
    }
}

/// The file's part, made when it is first asked for. The inner error is the target's.
fn part(context: &Context, file: &FileOut) -> Result<io::Result<Arc<PartFile>>, Stop> {
    let mut slot = file.part.lock();
    if let Some(part) = slot.as_ref() {
        return Ok(Ok(Arc::clone(part)));
    }
    let Some(dir) = &file.folder.dir else {
        return Err(Fault::integrity("a dry run wrote").into());
    };
    let made = dir.create_part(file.final_name(), &file.entry).and_then(|part| {
        if !file.kept.is_empty() {
            keep(context, dir, file, &part)?;
        }
        Ok(part)
    });
    Ok(made.map(|part| {
        let part = Arc::new(part);
        *slot = Some(Arc::clone(&part));
        part
    }))
}

/// Takes what is the same from the existing file: by reference where the file system can, else by a local copy.
fn keep(context: &Context, dir: &Dir, file: &FileOut, part: &PartFile) -> io::Result<()> {
    let existing = dir.open_file(&file.entry.name)?;
    for placed in Chunks::of(&file.entry, &context.job.domain, &context.job.engine) {
        let placed = placed.map_err(|error| io::Error::other(error.to_string()))?;
        if file.kept.contains(&placed.offset) {
            part.copy_from(&existing, placed.offset, u64::from(placed.len))?;
        }
    }
    Ok(())
}

/// A chunk of the file was written, or will never be.
pub(super) fn one_done(context: &Context, file: &Arc<FileOut>) -> Result<(), Stop> {
    if !file.one_done() {
        return Ok(());
    }
    if let Action::Link { first, .. } = &file.action {
        let mut waiting = first.waiting_links.lock();
        if let Some(waiting) = waiting.as_mut() {
            waiting.push(Arc::clone(file));
            return Ok(());
        }
    }
    finish_file(context, file)
}

fn finish_file(context: &Context, file: &Arc<FileOut>) -> Result<(), Stop> {
    let counters = &context.job.progress.counters;
    let part = file.part.lock().take();
    let mut failure = file.failure();
    if failure.is_none() {
        let mut problems = Vec::new();
        match put(context, file, part, &mut problems)? {
            Ok(()) => {
                add(&counters.files_done, 1);
                add(&counters.bytes_done, file.entry.size);
            }
            Err(error) => {
                context.not_restored(&file.path(), &error)?;
                failure = Some(String::new());
                file.fail(String::new());
            }
        }
        for problem in problems {
            context.job.warnings.add(file.path(), problem);
        }
    }
    // An empty reason was warned about where it was met.
    if let Some(reason) = failure.filter(|reason| !reason.is_empty()) {
        context.damaged(&file.path(), &format!("could not be restored: {reason}"));
    }
    let links = file.waiting_links.lock().take().unwrap_or_default();
    for link in links {
        finish_file(context, &link)?;
    }
    folder_done(context, Arc::clone(&file.folder))
}

/// Puts a file in its place. The inner error is the target's.
fn put(
    context: &Context,
    file: &FileOut,
    part_so_far: Option<Arc<PartFile>>,
    problems: &mut Vec<String>,
) -> Result<io::Result<()>, Stop> {
    let Some(dir) = &file.folder.dir else {
        return Err(Fault::integrity("a dry run wrote").into());
    };
    let options = options(context);
    let entry = &file.entry;
    Ok(match &file.action {
        Action::Attributes => dir.apply(&entry.name, entry, &options, problems),
        Action::Link { name, first } => match (&first.folder.dir, first.failure()) {
            (Some(first_dir), None) => dir.hard_link(first_dir, first.final_name(), name),
            _ => Err(io::Error::other("the file it is another name of could not be restored")),
        },
        Action::Write { replace, .. } if entry.kind() == EntryKind::File => {
            let part = match part_so_far {
                Some(part) => part,
                None => match part(context, file)? {
                    Ok(part) => {
                        file.part.lock().take();
                        part
                    }
                    Err(error) => return Ok(Err(error)),
                },
            };
            if let Err(error) = part.set_len(entry.size) {
                return Ok(Err(error));
            }
            if context.job.request.verify
                && let Err(error) = verify(context, entry, &part)?
            {
                return Ok(Err(error));
            }
            match Arc::into_inner(part) {
                Some(part) => part.finish(entry, &options, *replace, problems),
                None => Err(io::Error::other("it is still being written")),
            }
        }
        Action::Write { name, replace } => dir.make_special(name, entry, &options, *replace, problems),
    })
}

fn options(context: &Context) -> ApplyOptions {
    ApplyOptions {
        acls: !context.job.request.skip_acls,
        ..ApplyOptions::default()
    }
}

/// Reads back what was written and compares every chunk.
fn verify(context: &Context, entry: &Entry, part: &PartFile) -> Result<io::Result<()>, Stop> {
    let job = &context.job;
    if let Err(error) = part.drop_cached() {
        return Ok(Err(error));
    }
    let mut bytes = Vec::new();
    for placed in Chunks::of(entry, &job.domain, &job.engine) {
        let placed = placed?;
        bytes.resize(placed.len as usize, 0);
        if let Err(error) = part.read_exact_at(&mut bytes, placed.offset) {
            return Ok(Err(error));
        }
        let id = job
            .engine
            .compute(|| job.domain.keys().chunk_id(ChunkKind::Data, &bytes));
        if id != placed.id {
            let message = format!("what was written at offset {} reads back differently", placed.offset);
            return Ok(Err(io::Error::other(message)));
        }
    }
    Ok(Ok(()))
}

/// Something that belongs in the folder has arrived, or nothing more comes; the last one finishes it, and so on upwards.
pub(super) fn folder_done(context: &Context, folder: Arc<FolderOut>) -> Result<(), Stop> {
    let mut folder = Some(folder);
    while let Some(done) = folder.take_if(|folder| folder.one_done()) {
        if let (Some(dir), Some(entry)) = (&done.dir, &done.entry) {
            let mut problems = Vec::new();
            if let Err(error) = dir.apply_to_self(entry, &options(context), &mut problems) {
                context.not_restored(done.path(), &error)?;
            }
            // A folder that only leads to what was asked for is made as like as it can be, and no more.
            for problem in problems.into_iter().filter(|_| !entry.implied) {
                context.job.warnings.add(done.path(), problem);
            }
        }
        folder = done.parent.clone();
    }
    Ok(())
}
