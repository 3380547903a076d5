//! Bounded channels between stages. They add two things to crossbeam's. Every wait also waits for the cancel token. And
//! a receiver can tell a sender that *finished* from one that went away, for example by a panic: the stream ends
//! cleanly only if every sender called [`Sender::finish`]; otherwise the receiver stops with [`Stop::Broken`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, TryRecvError, TrySendError, select};

use super::clock::{Doing, waiting};
use super::{CancelToken, Stop};

/// How many bytes of content a message brings, for the figures of the stage that receives it.
pub(crate) trait Weigh {
    /// In bytes. 0 for a message without content.
    fn weight(&self) -> u64 {
        0
    }
}

/// A channel's figures, for the display and the metrics.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// Nanoseconds that senders waited for room.
    pub(crate) blocked_ns: AtomicU64,
    /// Messages sent so far.
    pub(crate) items: AtomicU64,
    /// Bytes of content in them.
    pub(crate) bytes: AtomicU64,
    depth: AtomicUsize,
    /// The most messages that the channel holds.
    pub(crate) capacity: usize,
}

impl Gauge {
    /// How many messages wait. Approximate, as it is updated without a lock.
    #[must_use]
    pub(crate) fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }
}

struct Shared {
    name: &'static str,
    cancel: CancelToken,
    gauge: Arc<Gauge>,
    /// Senders that have not finished.
    unfinished: AtomicUsize,
}

/// A channel named for its messages, of `capacity` messages. Each caller gives the reason for the capacity at the call.
#[must_use]
pub(crate) fn channel<T>(name: &'static str, capacity: usize, cancel: &CancelToken) -> (Sender<T>, Receiver<T>) {
    let (tx, rx) = crossbeam_channel::bounded(capacity);
    let gauge = Arc::new(Gauge {
        capacity,
        ..Gauge::default()
    });
    let shared = Arc::new(Shared {
        name,
        cancel: cancel.clone(),
        gauge,
        unfinished: AtomicUsize::new(1),
    });
    (
        Sender {
            tx,
            shared: Arc::clone(&shared),
        },
        Receiver { rx, shared },
    )
}

/// The sending side. It can't be cloned, only split, so that no sender is left over that nothing finishes.
pub(crate) struct Sender<T> {
    tx: crossbeam_channel::Sender<T>,
    shared: Arc<Shared>,
}

impl<T: Weigh> Sender<T> {
    /// Sends a message; waits until there is room for it.
    ///
    /// # Errors
    /// [`Stop::Cancelled`], or [`Stop::Broken`] when all receivers are gone.
    pub(crate) fn send(&self, item: T) -> Result<(), Stop> {
        let weight = item.weight();
        let item = match self.tx.try_send(item) {
            Ok(()) => return self.sent(weight),
            Err(TrySendError::Disconnected(_)) => return Err(self.gone()),
            Err(TrySendError::Full(item)) => item,
        };
        let since = Instant::now();
        let result = waiting(Doing::Blocked, || {
            select! {
                send(self.tx, item) -> sent => if sent.is_ok() { self.sent(weight) } else { Err(self.gone()) },
                recv(self.shared.cancel.signal()) -> _ => Err(Stop::Cancelled),
            }
        });
        self.shared
            .gauge
            .blocked_ns
            .fetch_add(nanoseconds(since.elapsed()), Ordering::Relaxed);
        result
    }

    fn sent(&self, weight: u64) -> Result<(), Stop> {
        self.shared.gauge.items.fetch_add(1, Ordering::Relaxed);
        if weight > 0 {
            self.shared.gauge.bytes.fetch_add(weight, Ordering::Relaxed);
        }
        self.shared.gauge.depth.store(self.tx.len(), Ordering::Relaxed);
        if self.shared.cancel.is_cancelled() {
            Err(Stop::Cancelled)
        } else {
            Ok(())
        }
    }

    fn gone(&self) -> Stop {
        if self.shared.cancel.is_cancelled() {
            Stop::Cancelled
        } else {
            Stop::Broken(self.shared.name)
        }
    }
}

impl<T> Sender<T> {
    /// Splits this sender into `parts` senders, each of which must be finished. With no parts, it is finished at once.
    pub(crate) fn split(self, parts: usize) -> Vec<Self> {
        let Some(more) = parts.checked_sub(1) else {
            self.finish();
            return Vec::new();
        };
        let mut senders: Vec<Self> = (0..more).map(|_| self.another()).collect();
        senders.push(self);
        senders
    }

    /// Splits this sender into two, for two stages that send to the same channel.
    pub(crate) fn split_in_two(self) -> [Self; 2] {
        [self.another(), self]
    }

    fn another(&self) -> Self {
        self.shared.unfinished.fetch_add(1, Ordering::SeqCst);
        Self {
            tx: self.tx.clone(),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Says that this sender has sent all that it had to send.
    pub(crate) fn finish(self) {
        self.shared.unfinished.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The receiving side. Each message goes to one of the clones.
pub(crate) struct Receiver<T> {
    rx: crossbeam_channel::Receiver<T>,
    shared: Arc<Shared>,
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self {
            rx: self.rx.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

/// The result of [`Receiver::recv_within`].
pub(crate) enum Received<T> {
    /// The next message.
    Item(T),
    /// No message came in time.
    Nothing,
    /// Every sender finished, and no message is left.
    End,
}

impl<T> Receiver<T> {
    /// The next message, or `None` once every sender has finished and no message is left.
    ///
    /// # Errors
    /// [`Stop::Cancelled`], or [`Stop::Broken`] when a sender went away without finishing.
    pub(crate) fn recv(&self) -> Result<Option<T>, Stop> {
        match self.recv_until(None)? {
            Received::Item(item) => Ok(Some(item)),
            Received::Nothing | Received::End => Ok(None),
        }
    }

    /// Like [`recv`](Self::recv), but gives up after `wait`.
    pub(crate) fn recv_within(&self, wait: Duration) -> Result<Received<T>, Stop> {
        self.recv_until(Some(wait))
    }

    fn recv_until(&self, wait: Option<Duration>) -> Result<Received<T>, Stop> {
        if self.shared.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        match self.rx.try_recv() {
            Ok(item) => return Ok(self.received(item)),
            Err(TryRecvError::Disconnected) => return self.ended(),
            Err(TryRecvError::Empty) => {}
        }
        let signal = self.shared.cancel.signal();
        let received = waiting(Doing::Starved, || match wait {
            None => select! {
                recv(self.rx) -> item => Ok(item.map_err(|_| RecvTimeoutError::Disconnected)),
                recv(signal) -> _ => Err(Stop::Cancelled),
            },
            Some(wait) => select! {
                recv(self.rx) -> item => Ok(item.map_err(|_| RecvTimeoutError::Disconnected)),
                recv(signal) -> _ => Err(Stop::Cancelled),
                default(wait) => Ok(Err(RecvTimeoutError::Timeout)),
            },
        })?;
        match received {
            Ok(item) => Ok(self.received(item)),
            Err(RecvTimeoutError::Timeout) => Ok(Received::Nothing),
            Err(RecvTimeoutError::Disconnected) => self.ended(),
        }
    }

    fn received(&self, item: T) -> Received<T> {
        self.shared.gauge.depth.store(self.rx.len(), Ordering::Relaxed);
        Received::Item(item)
    }

    fn ended(&self) -> Result<Received<T>, Stop> {
        if self.shared.cancel.is_cancelled() {
            Err(Stop::Cancelled)
        } else if self.shared.unfinished.load(Ordering::SeqCst) == 0 {
            Ok(Received::End)
        } else {
            Err(Stop::Broken(self.shared.name))
        }
    }

    /// The channel's figures.
    #[must_use]
    pub(crate) fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.shared.gauge)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    impl Weigh for u8 {
        fn weight(&self) -> u64 {
            (*self).into()
        }
    }

    #[test]
    fn what_goes_in_is_counted_and_weighed() {
        let (tx, rx) = channel("test", 4, &CancelToken::new());
        tx.send(5_u8).unwrap();
        tx.send(7_u8).unwrap();
        let gauge = rx.gauge();
        assert_eq!(gauge.depth(), 2);
        assert_eq!(gauge.items.load(Ordering::Relaxed), 2);
        assert_eq!(gauge.bytes.load(Ordering::Relaxed), 12);
    }

    #[test]
    fn a_stream_ends_cleanly_only_when_every_sender_finished() {
        let cancel = CancelToken::new();
        let (tx, rx) = channel("test", 4, &cancel);
        let [tx, second] = tx.split_in_two();
        tx.send(1_u8).unwrap();
        tx.finish();
        second.finish();
        assert_eq!(rx.recv().unwrap(), Some(1));
        assert_eq!(rx.recv().unwrap(), None);

        let (tx, rx) = channel::<u8>("test", 4, &cancel);
        let [tx, second] = tx.split_in_two();
        tx.finish();
        drop(second);
        assert!(matches!(rx.recv(), Err(Stop::Broken("test"))));
    }

    #[test]
    fn a_cancel_wakes_a_blocked_sender_and_a_starved_receiver() {
        let cancel = CancelToken::new();
        let (full, _keep) = channel("full", 1, &cancel);
        full.send(1_u8).unwrap();
        let (_tx, empty) = channel::<u8>("empty", 1, &cancel);
        std::thread::scope(|scope| {
            let blocked = scope.spawn(|| full.send(2));
            let starved = scope.spawn(|| empty.recv());
            std::thread::sleep(Duration::from_millis(20));
            cancel.cancel();
            assert!(matches!(blocked.join().unwrap(), Err(Stop::Cancelled)));
            assert!(matches!(starved.join().unwrap(), Err(Stop::Cancelled)));
        });
    }
}
