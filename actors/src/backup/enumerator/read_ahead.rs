//! The walk, on a thread of its own, a little ahead of the Enumerator. So the file system is asked for the next entries
//! while the last ones are compared with the last recovery point. How far the walk may be ahead is bounded in events,
//! and in folders because each folder is an open handle.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use lockstone_host::settle::{self, Moment};
use lockstone_host::walk::{WalkEvent, Walker};

use crate::flow::{CancelToken, Doing, Fault, Stop, waiting};

/// Events in one batch.
const EVENTS: usize = 256;
/// Folders entered in one batch, at most.
const FOLDERS: usize = 16;
/// Batches that may be ready, at most.
const READY: usize = 4;

/// How long a cancelled backup waits for the walk to end. A walk that hangs in a dead file system is left behind.
const PATIENCE: Duration = Duration::from_secs(2);

/// Events, and the time before the first of them was seen.
type Batch = (Moment, Vec<WalkEvent>);

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
