//! A stage: an actor's two planes. Its *address* is a small actix actor ([`Stage`]) that takes `Start` and `Report`; its
//! *inbox* is whatever bounded channel its bodies read. The bodies are plain threads. However they end (done, stopped,
//! faulted, panicked), the stage sends exactly one [`StageExited`], after the last of them has let go of its channels.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, Message, MessageResult, Recipient};
use lockstone_proto::ids::JobId;
use parking_lot::Mutex;

use super::{CancelToken, Clocks, Fault, Gauge, Stop};

/// What one thread of a stage does.
pub(crate) type Body = Box<dyn FnOnce() -> Result<(), Stop> + Send>;

/// A thread's work, as a body.
pub(crate) fn body(run: impl FnOnce() -> Result<(), Stop> + Send + 'static) -> Body {
    Box::new(run)
}

/// A stage of a pipeline being wired.
pub(crate) fn stage(name: &'static str, bodies: Vec<Body>, inbox: Option<Arc<Gauge>>) -> StageSpec {
    StageSpec {
        name,
        bodies,
        inbox,
        clocks: Arc::default(),
    }
}

/// A stage as a pipeline wires it: nothing runs yet.
pub(crate) struct StageSpec {
    /// The word used in metrics and messages.
    pub(crate) name: &'static str,
    /// One thread each.
    pub(crate) bodies: Vec<Body>,
    /// Its inbox's figures.
    pub(crate) inbox: Option<Arc<Gauge>>,
    /// Its threads' time.
    pub(crate) clocks: Arc<Clocks>,
}

impl StageSpec {
    /// Where its figures can be read while it runs, and after.
    pub(crate) fn figures(&self) -> StageFigures {
        StageFigures {
            stage: self.name,
            inbox: self.inbox.clone(),
            clocks: Arc::clone(&self.clocks),
        }
    }
}

/// A stage's figures, which go on changing while it runs.
#[derive(Debug, Clone)]
pub(crate) struct StageFigures {
    /// Which stage.
    pub(crate) stage: &'static str,
    /// Its inbox, if it has one.
    pub(crate) inbox: Option<Arc<Gauge>>,
    /// Its threads' time.
    pub(crate) clocks: Arc<Clocks>,
}

/// How a stage ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// All of its work is done.
    Done,
    /// It stopped because something else did.
    Echo,
    /// It met a fault.
    Faulted(Fault),
    /// It panicked.
    Panicked(Fault),
}

/// Start the threads.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Start;

/// Ask for the figures.
#[derive(Message)]
#[rtype(result = "StageReport")]
pub(crate) struct Report;

/// How the others wait for a stage.
#[derive(Debug, Clone)]
pub(crate) struct StageReport {
    /// Which stage.
    pub(crate) stage: &'static str,
    /// How long senders waited for room in its inbox, summed over the generation.
    pub(crate) awaited: Duration,
}

/// The one event of a stage's end.
#[derive(Message, Debug, Clone)]
#[rtype(result = "()")]
pub(crate) struct StageExited {
    /// Whose.
    pub(crate) job: JobId,
    /// Which attempt.
    pub(crate) generation: u32,
    /// Which stage.
    pub(crate) stage: &'static str,
    /// How.
    pub(crate) outcome: Outcome,
}

/// The address of a running stage.
pub(crate) struct Stage {
    name: &'static str,
    bodies: Vec<Body>,
    inbox: Option<Arc<Gauge>>,
    clocks: Arc<Clocks>,
    exit: Arc<Exit>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
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
            // At once, and not through the supervisor: the neighbours stop wasting work.
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
            // Unbounded by capacity, bounded in count: one event a stage.
            self.supervisor.do_send(StageExited {
                outcome,
                ..self.event.clone()
            });
        }
    }
}

impl Stage {
    /// An actor for the stage; `threads` gets the handles of its threads once it was started.
    #[must_use]
    pub(crate) fn new(
        spec: StageSpec,
        job: JobId,
        generation: u32,
        cancel: CancelToken,
        supervisor: Recipient<StageExited>,
        threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    ) -> Self {
        let event = StageExited {
            job,
            generation,
            stage: spec.name,
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
            name: spec.name,
            bodies: spec.bodies,
            inbox: spec.inbox,
            clocks: spec.clocks,
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
            let (exit, clocks) = (Arc::clone(&self.exit), Arc::clone(&self.clocks));
            let name = self.name;
            // On every line that this thread logs, however little is logged: so of the highest level.
            let span = tracing::error_span!(target: crate::SPANS, "stage", job = %exit.event.job, stage = name);
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

impl Handler<Report> for Stage {
    type Result = MessageResult<Report>;

    fn handle(&mut self, _: Report, _: &mut Self::Context) -> Self::Result {
        let awaited = |inbox: &Arc<Gauge>| Duration::from_nanos(inbox.blocked_ns.load(Ordering::Relaxed));
        MessageResult(StageReport {
            stage: self.name,
            awaited: self.inbox.as_ref().map(awaited).unwrap_or_default(),
        })
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
