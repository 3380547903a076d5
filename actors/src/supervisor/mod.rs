//! The supervisor runs a job: generation after generation, until the job has ended.
//!
//! # Promises
//!
//! * A job has exactly one end ([`JobEnd`]), whatever its stages do, panics included.
//! * The cause of a failure is the generation's *first* fault. All later ones are its consequences.
//! * A generation only begins when nothing of the one before it runs or holds anything any more.
//!
//! # A generation
//!
//! The supervisor asks the job's [`Pipeline`] to assemble its stages, and starts them from the last to the first. Each
//! stage reports its end once. When *all* have ended, the supervisor joins the threads, lets the pipeline settle
//! (release its snapshot), and asks the [`machine`] what comes next. A failed generation is rebuilt from the pipeline
//! and the job's own record, never from what is left of it.
//!
//! # Cancelling
//!
//! A job's token is the parent of its generation's token, so all waits of the stages end. The first fault of a
//! generation cancels the generation's token only.
//!
//! # Load
//!
//! The supervisor is an actix actor that handles a handful of messages a second. No chunk, id or buffer passes through
//! it, and nothing in a handler blocks.

mod machine;

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix::prelude::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use lockstone_proto::ids::JobId;
use lockstone_proto::job::{JobKind, JobState};
use tokio::sync::oneshot;

use crate::flow::{
    CancelToken, Fault, Outcome, Stage, StageExited, StageFigures, StageName, StageSpec, Start, Threads,
};
use crate::job::JobContext;
use machine::{Machine, Next, RestartPolicy};

/// What a kind of job gives the supervisor: a way to assemble a generation, as often as necessary.
pub(crate) trait Pipeline: Send + 'static {
    /// Assembles generation `number`; none of its stages runs yet. When the last stage in the list has done its work,
    /// the job is complete. The stages are started from the last to the first.
    fn assemble(&mut self, number: u32, cancel: &CancelToken) -> Vec<StageSpec>;

    /// Releases what the generation held. Called when all of its stages have exited. May block, as it runs on a thread
    /// of its own.
    fn settle(&mut self) {}

    /// How much is durable, in any unit. Never becomes less.
    fn progress(&self) -> u64;
}

/// How a job ended.
#[derive(Debug, Clone)]
pub(crate) struct JobEnd {
    /// Completed, Failed or Cancelled.
    pub(crate) state: JobState,
    /// Why the job failed, if it did.
    pub(crate) fault: Option<Fault>,
    /// Generations after the first.
    pub(crate) restarts: u32,
}

/// Runs a job to its end; its figures are in the metrics meanwhile. Blocks, so call it from a plain thread.
#[must_use]
pub(crate) fn run(kind: JobKind, job: JobId, pipeline: Box<dyn Pipeline>, context: &JobContext) -> JobEnd {
    context
        .metrics
        .job_began(kind, &context.progress, context.domain.index());
    let end = supervise(job, pipeline, context.clone());
    context.metrics.job_ended();
    end
}

fn supervise(job: JobId, pipeline: Box<dyn Pipeline>, context: JobContext) -> JobEnd {
    // actix needs a system of its own, and the calling thread may have one already.
    let span = tracing::Span::current();
    let system = std::thread::Builder::new().name("ls-supervisor".into()).spawn(move || {
        let _span = span.entered();
        actix::System::new().block_on(async move {
            let (ended, end) = oneshot::channel();
            let cancel = context.cancel.clone();
            let supervisor = Supervisor {
                job,
                machine: Machine::new(RestartPolicy::for_jobs(&context.tuning)),
                pipeline: Some(pipeline),
                context,
                awaited: HashMap::new(),
                generation: None,
                number: 0,
                ended: Some(ended),
            }
            .start();
            supervisor.do_send(StartJob);
            let canceller = supervisor.clone();
            actix::spawn(async move {
                cancel.cancelled().await;
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

/// Begin the job.
#[derive(Message)]
#[rtype(result = "()")]
struct StartJob;

/// Cancel the job.
#[derive(Message)]
#[rtype(result = "()")]
struct Cancel;

/// The generation that runs.
struct Generation {
    cancel: CancelToken,
    /// Stages that have not exited.
    running: usize,
    /// The first fault. Later ones are its consequences.
    cause: Option<Fault>,
    /// The last stage has done its work, so the job is complete.
    complete: bool,
    last_stage: Option<StageName>,
    figures: Vec<StageFigures>,
    #[expect(dead_code, reason = "an actor lives as long as it has an address")]
    stages: Vec<Addr<Stage>>,
    threads: Threads,
}

struct Supervisor {
    job: JobId,
    machine: Machine,
    /// `None` while it settles on another thread.
    pipeline: Option<Box<dyn Pipeline>>,
    context: JobContext,
    /// How long senders had waited for each stage when it was last looked at.
    awaited: HashMap<StageName, Duration>,
    generation: Option<Generation>,
    number: u32,
    ended: Option<oneshot::Sender<JobEnd>>,
}

/// How often the slowest stage is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(LOOK_EVERY, |this, _| this.find_slowest());
    }
}

impl Supervisor {
    /// Shows the stage for which the others waited longest since the last look.
    fn find_slowest(&mut self) {
        let Some(generation) = &self.generation else { return };
        let mut slowest = (Duration::ZERO, None);
        for figures in &generation.figures {
            let now = figures.awaited();
            let before = self.awaited.insert(figures.stage, now).unwrap_or_default();
            // A new generation counts from 0 again.
            let more = now.saturating_sub(before);
            if more > slowest.0 {
                slowest = (more, Some(figures.stage));
            }
        }
        if let (_, Some(stage)) = slowest {
            self.context.progress.set_slowest(stage.word());
        }
    }

    fn begin(&mut self, context: &mut Context<Self>) {
        let Some(pipeline) = self.pipeline.as_mut() else { return };
        self.number += 1;
        let cancel = self.context.cancel.child();
        let specs = pipeline.assemble(self.number, &cancel);
        let figures: Vec<StageFigures> = specs.iter().map(|spec| spec.figures.clone()).collect();
        self.context.metrics.generation_began(figures.clone());
        let threads = Threads::default();
        let mut stages = Vec::with_capacity(specs.len());
        for spec in specs {
            let recipient = context.address().recipient();
            let generation = (self.job, self.number);
            let stage = Stage::new(spec, generation, cancel.clone(), recipient, Arc::clone(&threads));
            stages.push(stage.start());
        }
        // From the last to the first, so that each stage finds its receivers running.
        for stage in stages.iter().rev() {
            stage.do_send(Start);
        }
        tracing::debug!(job = %self.job, generation = self.number, stages = stages.len(), "generation started");
        self.generation = Some(Generation {
            cancel,
            running: stages.len(),
            cause: None,
            complete: false,
            last_stage: figures.last().map(|figures| figures.stage),
            figures,
            stages,
            threads,
        });
    }

    fn settle(&mut self, context: &mut Context<Self>) {
        let (Some(generation), Some(mut pipeline)) = (self.generation.take(), self.pipeline.take()) else {
            return;
        };
        self.context.metrics.generation_ended();
        let (cause, complete) = (generation.cause, generation.complete);
        let settling = tokio::task::spawn_blocking(move || {
            for thread in generation.threads.lock().drain(..) {
                // A panic was caught in the thread and is reported already.
                let _ = thread.join();
            }
            pipeline.settle();
            pipeline
        });
        let settled = settling
            .into_actor(self)
            .map(move |settled, this, context| match settled {
                Ok(pipeline) => {
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
        if self.context.cancel.is_cancelled() {
            // The message may still be on its way.
            self.machine.cancel();
        }
        match self.machine.generation_ended(cause.clone(), complete, progress) {
            Next::End(state, fault) => self.end(state, fault, context),
            Next::Restart(pause) => {
                self.context.metrics.restarted();
                let why = cause.map(|fault| fault.message).unwrap_or_default();
                tracing::warn!(job = %self.job, "{why}; trying again in {:.1} s", pause.as_secs_f64());
                let cancel = self.context.cancel.clone();
                let pausing = async move {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = cancel.cancelled() => {}
                    }
                };
                let paused = pausing.into_actor(self).map(|(), this, context| {
                    if this.context.cancel.is_cancelled() {
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
            // If the caller is gone, the end is not needed.
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
        self.context.metrics.cancelling();
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
        tracing::debug!(stage = event.stage.word(), outcome = ?event.outcome, "stage exited");
        match event.outcome {
            Outcome::Done if Some(event.stage) == generation.last_stage => generation.complete = true,
            Outcome::Done | Outcome::Echo => {}
            Outcome::Faulted(ref fault) | Outcome::Panicked(ref fault) => {
                let panicked = matches!(event.outcome, Outcome::Panicked(_));
                self.context.metrics.faulted(event.stage, panicked);
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
