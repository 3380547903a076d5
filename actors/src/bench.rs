//! What the micro-benches in `benches/` need of the inside of this crate. No part of its interface.

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

/// How long it takes to send so many messages from one thread to another, by a channel of that capacity that can be
/// cancelled: one hop of the flow.
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
