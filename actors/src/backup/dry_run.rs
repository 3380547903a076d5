//! A dry run: the walk and the comparison of a backup, with two stages behind it that only count.

use super::enumerator::Enumerator;
use super::job::BackupContext;
use super::messages::{Catalogue, ToRead};
use super::snapshotter::Snapshotter;
use crate::flow::{Assembly, Body, CancelToken, Receiver, StageName, StageSpec, Stop};
use crate::progress::add;

/// The stages of a dry run.
pub(super) fn assemble(context: &BackupContext, cancel: &CancelToken) -> Vec<StageSpec> {
    let capacity = context.job.tuning.capacity;
    let mut flow = Assembly::new(cancel);
    let (to_enumerator, sources) = flow.channel("sources", 1);
    let (to_counter, files) = flow.channel("files", capacity);
    let (to_drain, steps) = flow.channel("steps", capacity * 2);
    flow.stage(StageName::Snapshotter)
        .outlets(to_enumerator)
        .thread(|(), enumerator| Snapshotter::new(context, enumerator));
    flow.stage(StageName::Enumerator)
        .inbox(sources)
        .outlets((to_counter, to_drain))
        .thread(|inbox, to| Enumerator::new(context, inbox, to));
    flow.stage(StageName::Hasher).inbox(files).thread(|inbox, ()| Counter {
        context: context.clone(),
        inbox,
    });
    flow.stage(StageName::Cataloguer)
        .inbox(steps)
        .thread(|inbox, ()| Drain {
            context: context.clone(),
            inbox,
        });
    flow.into_stages()
}

/// Counts the files that a backup would read.
struct Counter {
    context: BackupContext,
    inbox: Receiver<ToRead>,
}

impl Body for Counter {
    fn run(self) -> Result<(), Stop> {
        let job = &self.context.job;
        let counters = &job.progress.counters;
        while let Some(message) = self.inbox.recv()? {
            match message {
                ToRead::Files(batch) => {
                    for task in batch {
                        job.count_read(&task);
                        add(&counters.files_done, 1);
                        add(&counters.bytes_to_read, task.stat.size);
                    }
                }
                // What a producer would give is not known before it gives it.
                ToRead::Produced(task) => {
                    job.count(task.old.is_some(), || task.path.clone());
                    add(&counters.files_done, 1);
                }
            }
        }
        Ok(())
    }
}

/// Takes the steps of the walk, so that it can go on.
struct Drain {
    context: BackupContext,
    inbox: Receiver<Catalogue>,
}

impl Body for Drain {
    fn run(self) -> Result<(), Stop> {
        while let Some(message) = self.inbox.recv()? {
            if let Catalogue::Walked(steps) = message {
                self.context.generation.window.give(steps.len());
            }
        }
        Ok(())
    }
}
