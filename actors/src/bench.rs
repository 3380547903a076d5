//! What the micro-benches in `benches/` need from the inside of this crate. It is not part of the crate's interface.

use std::thread;
use std::time::{Duration, Instant};

use crate::CancelToken;
use crate::flow::{Stop, Weigh, channel};

/// A message that weighs nothing.
struct Message(u64);

impl Weigh for Message {
    fn weight(&self) -> u64 {
        0
    }
}

/// How long it takes to send `messages` from one thread to another through a channel of `capacity` messages: one hop of
/// the flow.
#[must_use]
pub fn hops(messages: u64, capacity: usize) -> Duration {
    let (sender, receiver) = channel("bench", capacity, &CancelToken::new());
    thread::scope(|scope| {
        let begun = Instant::now();
        scope.spawn(move || {
            for message in 0..messages {
                sender.send(Message(message))?;
            }
            sender.finish();
            Ok::<(), Stop>(())
        });
        while let Ok(Some(message)) = receiver.recv() {
            std::hint::black_box(message.0);
        }
        begun.elapsed()
    })
}
