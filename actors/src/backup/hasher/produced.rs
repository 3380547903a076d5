//! Reads what a producer gives: the output of a program, or standard input. It is cut, hashed and deduplicated as any
//! file. It can be read only once and from its beginning, so the bytes behind the last cut are carried over.
//!
//! A thread of its own reads the output, because a read may block for as long as the program thinks. No permit of the
//! budget is held while the program is waited for. What waits for room outside of the budget is a chunk and a few
//! blocks.

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use lockstone_host::chunk::Chunker;
use lockstone_proto::limits::CHUNK_MAX;
use lockstone_vault::tree::content::ContentWriter;

use super::Hasher;
use super::content::{Listed, cut_all};
use crate::backup::messages::{FileRead, ProducedTask};
use crate::backup::source::Production;
use crate::flow::{Doing, Fault, Stop, fault_point, waiting};
use crate::progress::add;

/// Bytes of the output that are read at a time.
const BLOCK: usize = 128 * 1024;
/// Blocks that are read ahead.
const READY: usize = 4;
/// How often a program that has closed its output is asked whether it has ended.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// A block, or why there is none.
type Block = Result<Vec<u8>, String>;

impl Hasher {
    /// Reads a produced file to its end. A required one that fails ends the backup.
    pub(super) fn produced(&self, task: ProducedTask, chunker: &Chunker) -> Result<FileRead, Stop> {
        let job = &self.context.job;
        let (slot, path, producer) = (task.slot, task.path.clone(), Arc::clone(&task.producer));
        job.progress.set_current(&path, b"");
        let failed = match self.read_produced(task, chunker) {
            Ok(read) => return Ok(read),
            Err(Failed::Stop(stop)) => return Err(stop),
            Err(Failed::Producer(why)) => why,
        };
        if producer.is_required() {
            let message = format!("{}: {failed}", String::from_utf8_lossy(&path));
            return Err(Fault::permanent(message).hint(producer.hint()).into());
        }
        job.warnings.add(path, format!("is not in this point: {failed}"));
        Ok(FileRead {
            slot,
            entry: None,
            folder: None,
        })
    }

    fn read_produced(&self, task: ProducedTask, chunker: &Chunker) -> Result<FileRead, Failed> {
        let (job, generation) = (&self.context.job, &self.context.generation);
        let mut production = task.producer.start().map_err(Failed::Producer)?;
        let blocks = pump(production.output()).map_err(Failed::Producer)?;
        let mut writer = ContentWriter::new(Arc::clone(job.domain.keys()));
        let mut lists = Vec::new();
        let mut content = Listed {
            content: &mut writer,
            lists: &mut lists,
        };
        let mut pending: Vec<u8> = Vec::with_capacity(CHUNK_MAX + BLOCK);
        let (mut size, mut ended) = (0, false);
        loop {
            fault_point("hasher")?;
            while pending.len() < CHUNK_MAX && !ended {
                match self.next_block(&blocks)? {
                    Some(block) => pending.extend_from_slice(&block.map_err(Failed::Producer)?),
                    None => ended = true,
                }
            }
            let room = pending.len().min(CHUNK_MAX);
            let cuts = cut_all(chunker, &pending[..room], ended && room == pending.len());
            let used = cuts.last().map_or(0, |cut| cut.end);
            if used == 0 {
                break;
            }
            let permit = generation.budgets.data.take(used as u64, &generation.cancel)?;
            let mut buffer = job.pool.take(used);
            buffer.spare(used).copy_from_slice(&pending[..used]);
            buffer.filled(used);
            pending.drain(..used);
            size += used as u64;
            add(&job.progress.counters.bytes_seen, used as u64);
            self.send_cuts(buffer, permit, cuts, &mut content)?;
            self.send_lists(content.lists)?;
        }
        self.wait_for_end(&mut *production)?;
        let content = writer.finish(&mut lists).map_err(Stop::from)?;
        self.send_lists(&mut lists)?;
        let ProducedTask {
            path,
            mut entry,
            old,
            slot,
            ..
        } = task;
        entry.content = content;
        entry.size = size;
        add(&job.progress.counters.files_done, 1);
        if old
            .as_ref()
            .is_some_and(|old| old.content == entry.content && old.size == size)
        {
            add(&job.progress.counters.files_unchanged, 1);
        } else {
            job.count(old.is_some(), || path);
        }
        Ok(FileRead {
            slot,
            entry: Some(entry),
            // It is not looked for in the journal: what a program printed yesterday says nothing about today.
            folder: None,
        })
    }

    /// The next block of the output; `None` at its end.
    fn next_block(&self, blocks: &Receiver<Block>) -> Result<Option<Block>, Stop> {
        waiting(Doing::Starved, || {
            select! {
                recv(blocks) -> block => Ok(block.ok()),
                recv(self.context.generation.cancel.signal()) -> _ => Err(Stop::Cancelled),
            }
        })
    }

    /// Waits until the program has ended, and fails if it failed.
    fn wait_for_end(&self, production: &mut dyn Production) -> Result<(), Failed> {
        loop {
            if let Some(ended) = production.ended() {
                return ended.map_err(Failed::Producer);
            }
            if self.context.generation.cancel.is_cancelled() {
                return Err(Stop::Cancelled.into());
            }
            std::thread::sleep(ASK_EVERY);
        }
    }
}

/// Why a produced file could not be read.
enum Failed {
    /// The producer failed.
    Producer(String),
    /// The stage stops.
    Stop(Stop),
}

impl From<Stop> for Failed {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Reads the output on a thread of its own. The thread ends with the output, or when the receiver is gone.
fn pump(output: Box<dyn Read + Send>) -> Result<Receiver<Block>, String> {
    let (sender, receiver) = bounded(READY);
    std::thread::Builder::new()
        .name("ls-produced".to_owned())
        .spawn(move || pump_all(output, &sender))
        .map_err(|error| format!("no thread could be started for it: {error}"))?;
    Ok(receiver)
}

fn pump_all(mut output: Box<dyn Read + Send>, sender: &Sender<Block>) {
    loop {
        let mut block = vec![0; BLOCK];
        match output.read(&mut block) {
            Ok(0) => return,
            Ok(read) => {
                block.truncate(read);
                if sender.send(Ok(block)).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                // If the receiver is gone, the result is not needed.
                let _ = sender.send(Err(format!("it could not be read: {error}")));
                return;
            }
        }
    }
}
