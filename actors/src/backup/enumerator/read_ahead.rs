//! The walk, on a thread of its own, a little ahead of the Enumerator. So the file system is asked for the next entries
//! while the last ones are compared with the last recovery point. How far the walk may be ahead is bounded in events,
//! and in folders because each folder is an open handle.

use crossbeam_channel::bounded;
use lockstone_host::walk::{WalkEvent, Walker};

use crate::flow::{Fault, Stop};

/// Events in one batch.
const EVENTS: usize = 256;
/// Folders entered in one batch, at most.
const FOLDERS: usize = 16;
/// Batches that may be ready, at most.
const READY: usize = 4;

/// Calls `take` with every event of the walk, in order. The first error ends this and the walk.
pub(super) fn each(walker: Walker, mut take: impl FnMut(WalkEvent) -> Result<(), Stop>) -> Result<(), Stop> {
    std::thread::scope(|scope| {
        // The side that ends first drops its end, which ends the other side.
        let (ready, events) = bounded::<Vec<WalkEvent>>(READY);
        let walk = move || {
            let mut batch = Vec::with_capacity(EVENTS);
            let mut folders = 0;
            for event in walker {
                folders += usize::from(matches!(event, WalkEvent::Enter { .. }));
                batch.push(event);
                if batch.len() == EVENTS || folders == FOLDERS {
                    folders = 0;
                    if ready
                        .send(std::mem::replace(&mut batch, Vec::with_capacity(EVENTS)))
                        .is_err()
                    {
                        return;
                    }
                }
            }
            // If the receiver is gone, the result is not needed.
            let _ = ready.send(batch);
        };
        std::thread::Builder::new()
            .name("ls-walk".to_owned())
            .spawn_scoped(scope, walk)
            .map_err(|error| Fault::transient(format!("no thread could be started for the walk: {error}")))?;
        for batch in events {
            for event in batch {
                take(event)?;
            }
        }
        Ok(())
    })
}
