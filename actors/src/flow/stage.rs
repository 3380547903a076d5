//! A stage as it runs. Its *address* is a small actix actor ([`Stage`]) that takes `Start`; its *inbox* is the bounded
//! channel that its bodies read. The bodies run on plain threads. However they end (done, stopped, faulted, panicked),
//! the stage sends exactly one [`StageExited`], after its last body has let go of its channels.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, Message, Recipient};
use lockstone_proto::ids::JobId;
use parking_lot::Mutex;

use super::{CancelToken, Clocks, Fault, Gauge, StageName, Stop};

/// The work of one thread of a stage.
pub(crate) type BoxedBody = Box<dyn FnOnce() -> Result<(), Stop> + Send>;

/// A stage that was put together and does not run yet.
pub(crate) struct StageSpec {
    pub(crate) figures: StageFigures,
    /// One for each thread.
    pub(crate) bodies: Vec<BoxedBody>,
}

/// A stage's figures. They change while it runs and can still be read when it has ended.
#[derive(Debug, Clone)]
pub(crate) struct StageFigures {
    pub(crate) stage: StageName,
    /// The figures of its inbox, if it has one.
    pub(crate) inbox: Option<Arc<Gauge>>,
    /// What its threads did with their time.
    pub(crate) clocks: Arc<Clocks>,
}

impl StageFigures {
    /// How long senders have waited for room in the stage's inbox, summed over the generation.
    pub(crate) fn awaited(&self) -> Duration {
        let blocked = |inbox: &Arc<Gauge>| Duration::from_nanos(inbox.blocked_ns.load(Ordering::Relaxed));
        self.inbox.as_ref().map(blocked).unwrap_or_default()
    }
}

/// How a stage ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// All of its work is done.
    Done,
    /// It stopped because something else did.
    Echo,
    Faulted(Fault),
    Panicked(Fault),
}

/// Start the threads.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Start;

/// The one event of a stage's end.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
pub(crate) struct StageExited {
    pub(crate) job: JobId,
    pub(crate) generation: u32,
    pub(crate) stage: StageName,
    pub(crate) outcome: Outcome,
}

/// The threads of a generation's stages; each stage adds its own when it is started.
pub(crate) type Threads = Arc<Mutex<Vec<JoinHandle<()>>>>;

/// The actor of a running stage.
pub(crate) struct Stage {
    figures: StageFigures,
    bodies: Vec<BoxedBody>,
    exit: Arc<Exit>,
    threads: Threads,
}

/// What the threads of a stage share to end as one.
struct Exit {
    running: AtomicUsize,
    outcome: Mutex<Outcome>,
    cancel: CancelToken,
    event: StageExited,
    supervisor: Recipient<StageExited>,
}

impl Exit {
    fn body_ended(&self, outcome: Outcome) {
        if let Outcome::Faulted(fault) | Outcome::Panicked(fault) = &outcome {
            tracing::debug!(%fault, "stage faulted");
            // Cancelled here and not by the supervisor, so that the other stages stop at once.
            self.cancel.cancel();
        }
        {
            let mut so_far = self.outcome.lock();
            let worse = match (&*so_far, &outcome) {
                (Outcome::Faulted(_) | Outcome::Panicked(_), _) | (Outcome::Echo, Outcome::Done) => false,
                (Outcome::Done | Outcome::Echo, _) => true,
            };
            if worse {
                *so_far = outcome;
            }
        }
        if self.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            let outcome = self.outcome.lock().clone();
            // The mailbox has no bound, but each stage sends one event only.
            self.supervisor.do_send(StageExited {
                outcome,
                ..self.event.clone()
            });
        }
    }
}

impl Stage {
    /// An actor for the stage, which belongs to this generation of the job.
    #[must_use]
    pub(crate) fn new(
        spec: StageSpec,
        (job, generation): (JobId, u32),
        cancel: CancelToken,
        supervisor: Recipient<StageExited>,
        threads: Threads,
    ) -> Self {
        let event = StageExited {
            job,
            generation,
            stage: spec.figures.stage,
            outcome: Outcome::Done,
        };
        let exit = Exit {
            running: AtomicUsize::new(spec.bodies.len()),
            outcome: Mutex::new(Outcome::Done),
            cancel,
            event,
            supervisor,
        };
        Self {
            figures: spec.figures,
            bodies: spec.bodies,
            exit: Arc::new(exit),
            threads,
        }
    }
}

impl Actor for Stage {
    type Context = Context<Self>;
}

impl Handler<Start> for Stage {
    type Result = ();

    fn handle(&mut self, _: Start, _: &mut Self::Context) {
        for body in self.bodies.drain(..) {
            let (exit, clocks) = (Arc::clone(&self.exit), Arc::clone(&self.figures.clocks));
            let name = self.figures.stage;
            // At the highest level, so that every line of this thread has the span, whatever the log level is.
            let span = tracing::error_span!(target: crate::SPANS, "stage", job = %exit.event.job, stage = name.word());
            let run = move || {
                let _span = span.entered();
                let on_duty = clocks.begin();
                let outcome = match catch_unwind(AssertUnwindSafe(body)) {
                    Ok(Ok(())) => Outcome::Done,
                    Ok(Err(Stop::Fault(fault))) => Outcome::Faulted(fault),
                    Ok(Err(Stop::Cancelled)) => Outcome::Echo,
                    Ok(Err(Stop::Broken(channel))) => {
                        tracing::debug!(channel, "the other end went away");
                        Outcome::Echo
                    }
                    Err(panic) => Outcome::Panicked(Fault::transient(format!(
                        "the {name} panicked: {}",
                        panic_text(panic.as_ref())
                    ))),
                };
                drop(on_duty);
                exit.body_ended(outcome);
            };
            match std::thread::Builder::new().name(format!("ls-{name}")).spawn(run) {
                Ok(thread) => self.threads.lock().push(thread),
                Err(error) => self.exit.body_ended(Outcome::Faulted(Fault::transient(format!(
                    "no thread could be started for the {name}: {error}"
                )))),
            }
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
