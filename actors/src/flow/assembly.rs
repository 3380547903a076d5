//! How a pipeline puts its stages together. An [`Assembly`] makes the channels and collects the stages; for each stage,
//! a [`StageBuilder`] takes the inbox (whose gauge then belongs to the stage's figures), the outlets, and a function
//! that makes the body of one thread.
//!
//! The outlets are split into exactly one part for each thread. Every sender therefore belongs to a thread that will
//! finish it, and none is left over that would keep the next stage waiting.

use std::sync::Arc;

use super::channel::{Gauge, Receiver, Sender, channel};
use super::stage::{BoxedBody, StageFigures, StageSpec};
use super::{CancelToken, StageName, Stop};

/// What one thread of a stage does, from its start to its end.
pub(crate) trait Body: Send + 'static {
    /// Works until the inbox has ended or a [`Stop`] is met. Finishes every sender before it returns `Ok`.
    fn run(self) -> Result<(), Stop>;
}

/// The senders of a stage, or of one of its threads.
pub(crate) trait Outlets: Sized {
    /// Splits them into exactly `parts` parts. With none, they are finished at once.
    fn split(self, parts: usize) -> Vec<Self>;
}

impl Outlets for () {
    fn split(self, parts: usize) -> Vec<Self> {
        vec![(); parts]
    }
}

impl<T> Outlets for Sender<T> {
    fn split(self, parts: usize) -> Vec<Self> {
        Self::split(self, parts)
    }
}

impl<A: Outlets, B: Outlets> Outlets for (A, B) {
    fn split(self, parts: usize) -> Vec<Self> {
        self.0.split(parts).into_iter().zip(self.1.split(parts)).collect()
    }
}

/// The inbox of a stage; a stage that begins a pipeline has none (`()`).
pub(crate) trait Inbox: Clone {
    /// The figures of the channel.
    fn gauge(&self) -> Option<Arc<Gauge>>;
}

impl Inbox for () {
    fn gauge(&self) -> Option<Arc<Gauge>> {
        None
    }
}

impl<T> Inbox for Receiver<T> {
    fn gauge(&self) -> Option<Arc<Gauge>> {
        Some(Self::gauge(self))
    }
}

/// The stages of one generation while they are put together. Nothing runs yet.
pub(crate) struct Assembly {
    cancel: CancelToken,
    stages: Vec<StageSpec>,
}

impl Assembly {
    /// An assembly without stages; all its channels wait for `cancel`, too.
    #[must_use]
    pub(crate) fn new(cancel: &CancelToken) -> Self {
        Self {
            cancel: cancel.clone(),
            stages: Vec::new(),
        }
    }

    /// A channel named for its messages, of `capacity` messages.
    pub(crate) fn channel<T>(&self, name: &'static str, capacity: usize) -> (Sender<T>, Receiver<T>) {
        channel(name, capacity, &self.cancel)
    }

    /// Begins a stage.
    pub(crate) fn stage(&mut self, name: StageName) -> StageBuilder<'_, (), ()> {
        StageBuilder {
            assembly: self,
            name,
            inbox: (),
            outlets: (),
        }
    }

    /// The stages, in the order in which they were added.
    #[must_use]
    pub(crate) fn into_stages(self) -> Vec<StageSpec> {
        self.stages
    }
}

/// One stage while it is put together.
#[must_use]
pub(crate) struct StageBuilder<'a, I, O> {
    assembly: &'a mut Assembly,
    name: StageName,
    inbox: I,
    outlets: O,
}

impl<'a, O> StageBuilder<'a, (), O> {
    /// What the stage's threads receive from; they share the work.
    pub(crate) fn inbox<T>(self, inbox: Receiver<T>) -> StageBuilder<'a, Receiver<T>, O> {
        StageBuilder {
            assembly: self.assembly,
            name: self.name,
            inbox,
            outlets: self.outlets,
        }
    }
}

impl<'a, I> StageBuilder<'a, I, ()> {
    /// What the stage's threads send to: a sender, or a pair of them.
    pub(crate) fn outlets<O: Outlets>(self, outlets: O) -> StageBuilder<'a, I, O> {
        StageBuilder {
            assembly: self.assembly,
            name: self.name,
            inbox: self.inbox,
            outlets,
        }
    }
}

impl<I: Inbox, O: Outlets> StageBuilder<'_, I, O> {
    /// Adds the stage, with `threads` threads whose bodies `make` makes.
    pub(crate) fn threads<B: Body>(self, threads: usize, make: impl Fn(I, O) -> B) {
        let figures = StageFigures {
            stage: self.name,
            inbox: self.inbox.gauge(),
            clocks: Arc::default(),
        };
        let parts = self.outlets.split(threads);
        let bodies = parts.into_iter().map(|outlets| {
            let body = make(self.inbox.clone(), outlets);
            Box::new(move || body.run()) as BoxedBody
        });
        let bodies = bodies.collect();
        self.assembly.stages.push(StageSpec { figures, bodies });
    }

    /// Adds the stage, with one thread.
    pub(crate) fn thread<B: Body>(self, make: impl Fn(I, O) -> B) {
        self.threads(1, make);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::flow::Weigh;

    struct Number(u32);

    impl Weigh for Number {}

    struct Source {
        next: Sender<Number>,
    }

    impl Body for Source {
        fn run(self) -> Result<(), Stop> {
            self.next.send(Number(1))?;
            self.next.finish();
            Ok(())
        }
    }

    struct Sum {
        inbox: Receiver<Number>,
        sums: Sender<Number>,
    }

    impl Body for Sum {
        fn run(self) -> Result<(), Stop> {
            let mut sum = 0;
            while let Some(Number(n)) = self.inbox.recv()? {
                sum += n;
            }
            self.sums.send(Number(sum))?;
            self.sums.finish();
            Ok(())
        }
    }

    #[test]
    fn every_sender_belongs_to_a_thread_and_every_inbox_to_the_figures_of_its_stage() {
        let mut assembly = Assembly::new(&CancelToken::new());
        let (to_sum, numbers) = assembly.channel("numbers", 8);
        let (to_end, sums) = assembly.channel("sums", 8);
        assembly
            .stage(StageName::Fetcher)
            .outlets(to_sum)
            .threads(3, |(), next| Source { next });
        assembly
            .stage(StageName::Opener)
            .inbox(numbers)
            .outlets(to_end)
            .threads(2, |inbox, sums| Sum { inbox, sums });
        let stages = assembly.into_stages();
        let counts: Vec<usize> = stages.iter().map(|stage| stage.bodies.len()).collect();
        assert_eq!(counts, [3, 2]);
        assert!(stages[0].figures.inbox.is_none());
        assert_eq!(stages[1].figures.inbox.as_ref().unwrap().capacity, 8);
        for stage in stages {
            for body in stage.bodies {
                body().unwrap();
            }
        }
        let mut total = 0;
        // Both ends come: no sender is left over that has not finished.
        while let Some(Number(n)) = sums.recv().unwrap() {
            total += n;
        }
        assert_eq!(total, 3);
    }

    #[test]
    fn senders_for_no_thread_are_finished() {
        let assembly = Assembly::new(&CancelToken::new());
        let (unused, numbers) = assembly.channel::<Number>("numbers", 1);
        assert!(unused.split(0).is_empty());
        assert!(numbers.recv().unwrap().is_none());
    }
}
