//! The walk, a little ahead of whoever follows it: on a thread of its own, so that asking the file system for the next
//! entries and comparing the last ones with the last point go on side by side. How far ahead is bounded, in events and in
//! folders, as each folder is an open handle.

use crossbeam_channel::bounded;
use lockstone_host::walk::{WalkEvent, Walker};

use crate::flow::Stop;

/// Events that are handed over together.
const EVENTS: usize = 256;
/// No more folders are entered in one hand-over.
const FOLDERS: usize = 16;
/// Hand-overs that may lie ready.
const READY: usize = 4;

/// Calls `take` with every event of the walk, in its order. Ends early with the first error, and the walk with it.
pub(super) fn each(walker: Walker, mut take: impl FnMut(WalkEvent) -> Result<(), Stop>) -> Result<(), Stop> {
    std::thread::scope(|scope| {
        // Dropped by whichever side ends first: that ends the other one.
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
            // Nobody to hear the last of it is no loss.
            let _ = ready.send(batch);
        };
        std::thread::Builder::new()
            .name("ls-walk".to_owned())
            .spawn_scoped(scope, walk)
            .map_err(|error| {
                crate::flow::Fault::transient(format!("no thread could be started for the walk: {error}"))
            })?;
        for batch in events {
            for event in batch {
                take(event)?;
            }
        }
        Ok(())
    })
}
