//! The walk, on a thread of its own, a little ahead of the Enumerator. So the file system is asked for the next entries
//! while the last ones are compared with the last recovery point. How far the walk may be ahead is bounded in events,
//! and in folders because each folder is an open handle.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use lockstone_host::settle::{self, Moment};
use lockstone_host::walk::{WalkEvent, Walker};

use crate::flow::{CancelToken, Doing, Fault, Stop, waiting};
use crate::tuning::Tuning;

/// Events in one batch.
const EVENTS: usize = 256;
/// Folders entered in one batch, at most.
const FOLDERS: usize = 16;
/// Batches that may be ready, at most.
const READY: usize = 4;

/// Handles that are left for other things than the folders of files that wait to be read: the index (256), the walk
/// and what it has ready (128), the store's files or connections, files that are being read, and the rest.
const OTHER_HANDLES: usize = 512;

/// How long a cancelled backup waits for the walk to end. A walk that hangs in a dead file system is left behind.
const PATIENCE: Duration = Duration::from_secs(2);

/// Events, and the time before the first of them was seen.
type Batch = (Moment, Vec<WalkEvent>);

/// How many folders a batch of files that wait to be read may hold open, so that all batches together keep within the
/// limit of open files. Without this, 1,024 handles were too few for a tree with one file in each folder.
pub(super) fn folders_in_batch(tuning: &Tuning, open_files: u64) -> usize {
    let limit = usize::try_from(open_files).unwrap_or(usize::MAX);
    // With a very low limit, the other things get three quarters of it.
    let room = limit.saturating_sub(OTHER_HANDLES).max(limit / 4);
    let batches = tuning.capacity + tuning.readers + 1;
    (room / batches).max(1)
}

/// Calls `take` with every event of the walk, in order, and a time before it was seen. The first error, or a cancel,
/// ends this and the walk.
pub(super) fn each(
    walker: Walker,
    cancel: &CancelToken,
    mut take: impl FnMut(WalkEvent, Moment) -> Result<(), Stop>,
) -> Result<(), Stop> {
    // The side that ends first drops its end, which ends the other side.
    let (ready, events) = bounded::<Batch>(READY);
    let (ended, has_ended) = bounded::<()>(0);
    let walk = move || {
        let _ended = ended;
        walk(walker, &ready);
    };
    std::thread::Builder::new()
        .name("ls-walk".to_owned())
        .spawn(walk)
        .map_err(|error| Fault::transient(format!("no thread could be started for the walk: {error}")))?;
    let outcome = take_all(&events, cancel, &mut take);
    drop(events);
    // Nothing is ever sent: this returns when the walk has ended. A snapshot can only be removed after that.
    let _ = has_ended.recv_timeout(PATIENCE);
    outcome
}

fn walk(walker: Walker, ready: &Sender<Batch>) {
    let mut batch = (settle::now(), Vec::with_capacity(EVENTS));
    let mut folders = 0;
    for event in walker {
        folders += usize::from(matches!(event, WalkEvent::Enter { .. }));
        batch.1.push(event);
        if batch.1.len() == EVENTS || folders == FOLDERS {
            folders = 0;
            let next = (batch.0, Vec::with_capacity(EVENTS));
            if ready.send(std::mem::replace(&mut batch, next)).is_err() {
                return;
            }
            // Sending may have taken long.
            batch.0 = settle::now();
        }
    }
    // If the receiver is gone, the result is not needed.
    let _ = ready.send(batch);
}

fn take_all(
    events: &Receiver<Batch>,
    cancel: &CancelToken,
    take: &mut impl FnMut(WalkEvent, Moment) -> Result<(), Stop>,
) -> Result<(), Stop> {
    loop {
        let batch = waiting(Doing::Starved, || {
            select! {
                recv(events) -> batch => Ok(batch.ok()),
                recv(cancel.signal()) -> _ => Err(Stop::Cancelled),
            }
        })?;
        let Some((seen, batch)) = batch else { return Ok(()) };
        for event in batch {
            take(event, seen)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_batches_keep_within_the_limit_of_open_files() {
        for readers in [1, 4, 16, 256] {
            for limit in [64, 256, 1024, 4096, u64::MAX] {
                let tuning = Tuning {
                    readers,
                    ..Tuning::default()
                };
                let batches = tuning.capacity + readers + 1;
                let held = folders_in_batch(&tuning, limit).saturating_mul(batches);
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                let most = if limit < 2 * OTHER_HANDLES {
                    limit / 2
                } else {
                    limit - OTHER_HANDLES
                };
                // Each batch has at least one folder.
                assert!(held <= most.max(batches), "{readers} {limit} {held}");
            }
        }
    }
}
