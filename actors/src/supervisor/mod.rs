//! The supervisor: it starts the stages of a generation, bottom up, hears of each one's end, and when *all* have ended
//! lets the pipeline settle (release the snapshot, join the threads) and asks the [`machine`] what comes next. It is an
//! actix actor and handles a handful of messages a second; no chunk, id or buffer comes near it, and nothing in a
//! handler blocks.
//!
//! A failed generation is rebuilt from the pipeline's factory and the job's own record, never from what is left of it.

pub(crate) mod machine;

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix::prelude::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use lockstone_proto::ids::JobId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::flow::{CancelToken, Fault, Outcome, Report, Stage, StageExited, StageReport, StageSpec, Start};
use crate::metrics::Metrics;
use crate::progress::Progress;
use machine::{JobState, Machine, Next, RestartPolicy};

/// What a kind of job gives the supervisor: a way to wire a generation, as often as it takes.
pub(crate) trait Pipeline: Send + 'static {
    /// Wires generation `number`; nothing of it runs yet. The last stage in the list is the one whose end completes
    /// the job. The stages are started from the last to the first.
    fn wire(&mut self, number: u32, cancel: &CancelToken) -> Vec<StageSpec>;

    /// All stages of the generation have exited: release what it held. May block; runs on a thread of its own.
    fn settle(&mut self);

    /// How much is durable, in any unit that only grows.
    fn progress(&self) -> u64;
}

/// How a job ended.
#[derive(Debug, Clone)]
pub(crate) struct JobEnd {
    /// Completed, Failed or Cancelled.
    pub(crate) state: JobState,
    /// Why, if it failed.
    pub(crate) fault: Option<Fault>,
    /// Generations after the first.
    pub(crate) restarts: u32,
}

/// Runs a job to its end. Blocks; call it from a plain thread.
#[must_use]
pub(crate) fn run(
    job: JobId,
    pipeline: Box<dyn Pipeline>,
    policy: RestartPolicy,
    cancel: &CancelToken,
    metrics: &Arc<Metrics>,
    progress: &Arc<Progress>,
) -> JobEnd {
    let (cancel, metrics, progress) = (cancel.clone(), Arc::clone(metrics), Arc::clone(progress));
    // actix wants a system of its own, and the caller may be on a thread that has one.
    let span = tracing::Span::current();
    let system = std::thread::Builder::new().name("ls-supervisor".into()).spawn(move || {
        let _span = span.entered();
        actix::System::new().block_on(async move {
            let (ended, end) = oneshot::channel();
            let watched = cancel.clone();
            let supervisor = Supervisor {
                job,
                machine: Machine::new(policy),
                pipeline: Some(pipeline),
                cancel,
                metrics,
                progress,
                awaited: HashMap::new(),
                generation: None,
                number: 0,
                ended: Some(ended),
            }
            .start();
            supervisor.do_send(StartJob);
            let canceller = supervisor.clone();
            actix::spawn(async move {
                watched.cancelled().await;
                canceller.do_send(Cancel);
            });
            end.await.ok()
        })
    });
    let lost = || JobEnd {
        state: JobState::Failed,
        fault: Some(Fault::permanent("the supervisor itself failed")),
        restarts: 0,
    };
    match system.map(JoinHandle::join) {
        Ok(Ok(Some(end))) => end,
        Ok(_) | Err(_) => lost(),
    }
}

/// Let the job go.
#[derive(Message)]
#[rtype(result = "()")]
struct StartJob;

/// End the job before its time.
#[derive(Message)]
#[rtype(result = "()")]
struct Cancel;

/// Settled: the generation holds nothing any more.
struct Settled {
    pipeline: Box<dyn Pipeline>,
}

struct Generation {
    cancel: CancelToken,
    /// Stages that have not exited.
    running: usize,
    /// The first fault; later ones are its echoes.
    cause: Option<Fault>,
    /// The stage whose end completes the job has done its work.
    complete: bool,
    last_stage: &'static str,
    stages: Vec<Addr<Stage>>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

struct Supervisor {
    job: JobId,
    machine: Machine,
    /// `None` while it settles on another thread.
    pipeline: Option<Box<dyn Pipeline>>,
    cancel: CancelToken,
    metrics: Arc<Metrics>,
    progress: Arc<Progress>,
    /// How long senders had waited for each stage at the last report, and how much more it was than at the one before.
    awaited: HashMap<&'static str, (Duration, Duration)>,
    generation: Option<Generation>,
    number: u32,
    ended: Option<oneshot::Sender<JobEnd>>,
}

/// How often the stages are asked for their figures.
const REPORT_EVERY: Duration = Duration::from_millis(500);

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(REPORT_EVERY, |this, context| {
            for stage in this.generation.iter().flat_map(|generation| &generation.stages) {
                let asked = stage.send(Report).into_actor(this).map(|answer, this, _| {
                    if let Ok(report) = answer {
                        this.reported(&report);
                    }
                });
                context.spawn(asked);
            }
        });
    }
}

impl Supervisor {
    fn reported(&mut self, report: &StageReport) {
        let known = self.awaited.entry(report.stage).or_default();
        *known = (report.awaited, report.awaited.saturating_sub(known.0));
        // The stage that the others waited for most since the last report.
        let slowest = self.awaited.iter().max_by_key(|(_, (_, more))| *more);
        if let Some((stage, _)) = slowest.filter(|(_, (_, more))| !more.is_zero()) {
            self.progress.set_slowest(stage);
        }
    }

    fn begin(&mut self, context: &mut Context<Self>) {
        let Some(pipeline) = self.pipeline.as_mut() else { return };
        self.number += 1;
        let cancel = self.cancel.child();
        let specs = pipeline.wire(self.number, &cancel);
        self.metrics
            .generation_began(specs.iter().map(StageSpec::figures).collect());
        let threads = Arc::new(Mutex::new(Vec::new()));
        let last_stage = specs.last().map_or("", |spec| spec.name);
        let mut stages = Vec::with_capacity(specs.len());
        for spec in specs {
            let recipient = context.address().recipient();
            let stage = Stage::new(
                spec,
                self.job,
                self.number,
                cancel.clone(),
                recipient,
                Arc::clone(&threads),
            );
            stages.push(stage.start());
        }
        // Bottom up: whoever sends finds its receiver there.
        for stage in stages.iter().rev() {
            stage.do_send(Start);
        }
        tracing::debug!(job = %self.job, generation = self.number, stages = stages.len(), "generation started");
        self.generation = Some(Generation {
            cancel,
            running: stages.len(),
            cause: None,
            complete: false,
            last_stage,
            stages,
            threads,
        });
    }

    fn settle(&mut self, context: &mut Context<Self>) {
        let (Some(generation), Some(mut pipeline)) = (self.generation.take(), self.pipeline.take()) else {
            return;
        };
        self.metrics.generation_ended();
        let (cause, complete) = (generation.cause, generation.complete);
        let settling = tokio::task::spawn_blocking(move || {
            for thread in generation.threads.lock().drain(..) {
                // A panic was caught inside and reported already.
                let _ = thread.join();
            }
            pipeline.settle();
            Settled { pipeline }
        });
        let settled = settling
            .into_actor(self)
            .map(move |settled, this, context| match settled {
                Ok(Settled { pipeline }) => {
                    let progress = pipeline.progress();
                    this.pipeline = Some(pipeline);
                    this.decide(cause, complete, progress, context);
                }
                Err(error) => {
                    let fault = Fault::permanent(format!("releasing the generation failed: {error}"));
                    this.end(JobState::Failed, Some(fault), context);
                }
            });
        context.spawn(settled);
    }

    fn decide(&mut self, cause: Option<Fault>, complete: bool, progress: u64, context: &mut Context<Self>) {
        match self.machine.generation_ended(cause.clone(), complete, progress) {
            Next::End(state, fault) => self.end(state, fault, context),
            Next::Restart(pause) => {
                self.metrics.restarted();
                let why = cause.map(|fault| fault.message).unwrap_or_default();
                tracing::warn!(job = %self.job, "{why}; trying again in {:.1} s", pause.as_secs_f64());
                let cancel = self.cancel.clone();
                let pausing = async move {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = cancel.cancelled() => {}
                    }
                };
                let paused = pausing.into_actor(self).map(|(), this, context| {
                    if this.cancel.is_cancelled() {
                        this.machine.cancel();
                        this.end(JobState::Cancelled, None, context);
                    } else {
                        this.begin(context);
                    }
                });
                context.spawn(paused);
            }
        }
    }

    fn end(&mut self, state: JobState, fault: Option<Fault>, context: &mut Context<Self>) {
        if let Some(ended) = self.ended.take() {
            // The caller waits for it; if not, nobody wants to know.
            let _ = ended.send(JobEnd {
                state,
                fault,
                restarts: self.machine.restarts(),
            });
        }
        context.stop();
    }
}

impl Handler<StartJob> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: StartJob, context: &mut Self::Context) {
        self.machine.start();
        self.begin(context);
    }
}

impl Handler<Cancel> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: Cancel, _: &mut Self::Context) {
        self.machine.cancel();
        self.metrics.cancelling();
        if let Some(generation) = &self.generation {
            generation.cancel.cancel();
        }
    }
}

impl Handler<StageExited> for Supervisor {
    type Result = ();

    fn handle(&mut self, event: StageExited, context: &mut Self::Context) {
        if (event.job, event.generation) != (self.job, self.number) {
            return;
        }
        let Some(generation) = self.generation.as_mut() else {
            return;
        };
        tracing::debug!(stage = event.stage, outcome = ?event.outcome, "stage exited");
        match event.outcome {
            Outcome::Done if event.stage == generation.last_stage => generation.complete = true,
            Outcome::Done | Outcome::Echo => {}
            Outcome::Faulted(ref fault) | Outcome::Panicked(ref fault) => {
                let panicked = matches!(event.outcome, Outcome::Panicked(_));
                self.metrics.faulted(event.stage, panicked);
                if generation.cause.is_none() {
                    generation.cause = Some(fault.clone());
                }
                generation.cancel.cancel();
            }
        }
        generation.running -= 1;
        if generation.running == 0 {
            self.settle(context);
        }
    }
}
