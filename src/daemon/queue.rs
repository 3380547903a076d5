//! The queue: one job at a time. A job that another process of this server runs is waited for, too.
//!
//! What waits has a record in the state folder, so a daemon that starts again finds it.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, MessageResult, Recipient,
    ResponseFuture, WrapFuture,
};
use futures::FutureExt;
use lockstone_actors::CancelToken;
use lockstone_proto::ids::JobId;
use lockstone_proto::job::{JobKind, JobState};
use tokio::sync::oneshot;

use super::Daemon;
use super::events::Event;
use super::orders::{Order, Outcome, carry_out};
use super::systemd;
use crate::agent::ids::new_job_id;
use crate::agent::state::job_records::{self, JobRecord, interruption};
use crate::agent::state::lock;
use crate::failure::Failure;

/// How often a job that could not begin is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause between two tries, where the vault is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The queue.
pub(super) struct Queue {
    daemon: Arc<Daemon>,
    waiting: VecDeque<Waiting>,
    running: Option<Running>,
    /// The commands of other processes that wait for their turn.
    guests: HashMap<JobId, Guest>,
    /// Told when a job has ended.
    listeners: Vec<Recipient<JobEnded>>,
    /// The daemon stops: nothing more begins.
    is_stopping: bool,
    /// Told when nothing runs any more.
    stop: Option<oneshot::Sender<()>>,
}

#[derive(Debug, Clone)]
struct Waiting {
    job: JobId,
    order: Order,
    /// How often it could not begin.
    tries: u32,
    /// Not before this.
    next_try: Instant,
}

#[derive(Debug)]
struct Running {
    waiting: Waiting,
    cancel: CancelToken,
    /// It was ended because something else is to be done. It is done again after that.
    gave_way: bool,
}

/// A command of another process, which the queue gives a turn.
#[derive(Debug)]
struct Guest {
    granted: oneshot::Sender<()>,
    /// Its sender is dropped when the command has ended.
    ended: oneshot::Receiver<()>,
}

impl Guest {
    async fn stay(self) -> Outcome {
        if self.granted.send(()).is_err() {
            return Outcome::Needless("the command has not waited");
        }
        // Nothing is ever sent.
        let _ = self.ended.await;
        Outcome::Needless("a command had its turn")
    }
}

/// A job has ended.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(super) struct JobEnded;

/// Tell this actor when a job has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Listen(pub(super) Recipient<JobEnded>);

/// Do this when nothing else runs. Answers with the id of its job.
#[derive(Debug, Message)]
#[rtype(result = "Result<JobId, Failure>")]
pub(super) struct Submit(pub(super) Order);

/// A command of another process wants to run a job.
#[derive(Debug, Message)]
#[rtype(result = "Option<Ticket>")]
pub(super) struct TakeTurn;

/// A place in the queue. It is given up when this is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    /// Resolves when nothing else runs.
    pub(super) granted: oneshot::Receiver<()>,
    #[expect(dead_code, reason = "held until the command has ended")]
    ended: oneshot::Sender<()>,
}

/// Cancel this job. Answers whether it ran or waited.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub(super) struct Cancel(pub(super) JobId);

/// The jobs that run or wait, in their order.
#[derive(Debug, Message)]
#[rtype(result = "Vec<JobId>")]
pub(super) struct Jobs;

/// End what runs, and begin nothing more. Answers when nothing runs.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

impl Queue {
    /// A queue with what waited when the last daemon ended.
    pub(super) fn new(daemon: Arc<Daemon>) -> Result<Queue, Failure> {
        let mut waiting: Vec<Waiting> = Vec::new();
        // The records are newest first.
        for mut record in job_records::all(&daemon.state)?
            .into_iter()
            .rev()
            .filter(JobRecord::waits)
        {
            match record.order.clone().map(serde_json::from_value) {
                Some(Ok(order)) => waiting.push(Waiting::new(record.job, order)),
                _ => {
                    record.end(JobState::Failed, Some(&interruption()));
                    // A full disk is no reason not to start: metrics and alerts say what is wrong.
                    if let Err(error) = record.save(&daemon.state) {
                        tracing::warn!("the job's record was not written: {error:#}");
                    }
                }
            }
        }
        Ok(Queue {
            daemon,
            waiting: waiting.into(),
            running: None,
            guests: HashMap::new(),
            listeners: Vec::new(),
            is_stopping: false,
            stop: None,
        })
    }

    /// Begins the first job that can begin.
    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.running.is_some() || self.is_stopping {
            return;
        }
        let now = Instant::now();
        let Some(place) = self.waiting.iter().position(|waiting| waiting.next_try <= now) else {
            return;
        };
        // A command that only reads is soon done, and the job waits for it.
        if let Ok(Some(holder)) = lock::holder(&self.daemon.state)
            && holder.kind != lock::Purpose::Read
        {
            return;
        }
        let Some(waiting) = self.waiting.remove(place) else {
            return;
        };
        let cancel = CancelToken::new();
        let job = match self.guests.remove(&waiting.job) {
            Some(guest) => guest.stay().boxed(),
            None => carry_out(
                Arc::clone(&self.daemon),
                waiting.order.clone(),
                waiting.job,
                cancel.clone(),
            )
            .boxed(),
        };
        if let Some(kind) = waiting.order.kind() {
            self.daemon.events.tell(Event::Began { job: waiting.job, kind });
            systemd::status(&format!("{kind} {} runs", waiting.job));
        }
        self.running = Some(Running {
            waiting,
            cancel,
            gave_way: false,
        });
        let task = self
            .daemon
            .environment
            .runtime
            .spawn(AssertUnwindSafe(job).catch_unwind());
        let ended = task.into_actor(self).map(|ended, queue, ctx| {
            let outcome = ended.ok().and_then(Result::ok).unwrap_or_else(|| {
                let message = "the job stopped at a defect of the program";
                Outcome::Failed(Failure::failed("internal", message, "please report it with the log"))
            });
            queue.ended(outcome);
            queue.look(ctx);
        });
        ctx.spawn(ended);
    }

    fn ended(&mut self, outcome: Outcome) {
        let Some(running) = self.running.take() else {
            return;
        };
        let (mut waiting, cancel) = (running.waiting, running.cancel);
        if running.gave_way {
            self.again(waiting.order.clone());
        }
        self.daemon.live.end();
        lockstone_host::process::trim_memory();
        match outcome {
            Outcome::Later(failure) if !cancel.is_cancelled() && !self.is_stopping => {
                let pause = RETRY_PAUSE * 2_u32.saturating_pow(waiting.tries.min(16));
                tracing::info!(job = %waiting.job, "waits: {}", failure.message);
                waiting.tries += 1;
                waiting.next_try = Instant::now() + pause.min(LONGEST_PAUSE);
                self.waiting.push_front(waiting);
            }
            // It waits for the next start.
            Outcome::Later(_) if self.is_stopping => {}
            Outcome::Later(failure) => self.close(&waiting, JobState::Cancelled, Some(&failure)),
            Outcome::Failed(failure) => {
                tracing::error!(job = %waiting.job, "{failure}");
                self.close(&waiting, JobState::Failed, Some(&failure));
            }
            Outcome::Needless(why) => {
                tracing::info!(job = %waiting.job, "{why}");
                self.forget(&waiting);
            }
            Outcome::Done { state, point } => {
                tracing::info!(job = %waiting.job, %state, "ended");
                let (job, kind) = (waiting.job, waiting.order.kind().unwrap_or(JobKind::Unspecified));
                if self.is_stopping && state == JobState::Cancelled {
                    self.note_interruption(job);
                }
                self.daemon.events.tell(Event::Ended {
                    job,
                    kind,
                    status: state,
                    point,
                });
            }
        }
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if !self.is_stopping {
            for listener in &self.listeners {
                listener.do_send(JobEnded);
            }
        }
    }

    /// Ends what runs, if it gives way to everything else.
    fn make_way(&mut self) {
        let gives_way = |running: &&mut Running| running.waiting.order.gives_way() && !running.gave_way;
        if let Some(running) = self.running.as_mut().filter(gives_way) {
            tracing::info!(job = %running.waiting.job, "gives way, and goes on later");
            running.gave_way = true;
            running.cancel.cancel();
        }
    }

    /// Does an order that gave way after all that waits.
    fn again(&mut self, order: Order) {
        let waits = self.waiting.iter().any(|waiting| waiting.order == order);
        if !waits
            && !self.is_stopping
            && let Ok(job) = new_job_id()
        {
            self.write_down(job, &order);
            self.waiting.push_back(Waiting::new(job, order));
        }
    }

    /// Ends the record of a job that did not begin.
    fn close(&self, waiting: &Waiting, state: JobState, failure: Option<&Failure>) {
        let Some(kind) = waiting.order.kind() else { return };
        if let Some(mut record) = job_records::one(&self.daemon.state, waiting.job).filter(JobRecord::waits) {
            record.end(state, failure);
            self.save(&record);
        }
        self.daemon.events.tell(Event::Ended {
            job: waiting.job,
            kind,
            status: state,
            point: None,
        });
    }

    /// Removes the record of a job that is not needed any more.
    fn forget(&self, waiting: &Waiting) {
        let state = &self.daemon.state;
        if job_records::one(state, waiting.job).is_some_and(|record| record.waits())
            && let Err(error) = job_records::remove(state, waiting.job)
        {
            tracing::warn!("{error:#}");
        }
    }

    /// The daemon stopped this job; nobody cancelled it. So it goes on after the next start.
    fn note_interruption(&self, job: JobId) {
        if let Some(mut record) = job_records::one(&self.daemon.state, job) {
            record.interrupted();
            self.save(&record);
        }
    }

    /// Writes the record of a job that waits again.
    fn write_down(&self, job: JobId, order: &Order) {
        match record_of(job, order) {
            Ok(Some(record)) => self.save(&record),
            Ok(None) => {}
            Err(failure) => tracing::warn!("{failure}"),
        }
    }

    fn save(&self, record: &JobRecord) {
        if let Err(error) = record.save(&self.daemon.state) {
            tracing::warn!("the job's record was not written: {error:#}");
        }
    }

    /// The job of the same kind that waits or runs already. A run that is due while an older one waits takes its place.
    fn same(&mut self, order: &Order) -> Option<JobId> {
        if let Order::Scheduled { at } = order {
            let older = |waiting: &&mut Waiting| matches!(&waiting.order, Order::Scheduled { at: older } if older < at);
            if let Some(waiting) = self.waiting.iter_mut().find(older) {
                let job = waiting.job;
                waiting.order = order.clone();
                self.write_down(job, order);
                return Some(job);
            }
        }
        let is_same = |waiting: &&Waiting| std::mem::discriminant(&waiting.order) == std::mem::discriminant(order);
        match order {
            Order::Scheduled { .. } | Order::Check | Order::TestRestore | Order::Housekeeping | Order::Collect => {
                let running = self.running.as_ref().map(|running| &running.waiting);
                let same_run = running.filter(|waiting| waiting.order == *order);
                self.waiting
                    .iter()
                    .find(is_same)
                    .or(same_run)
                    .map(|waiting| waiting.job)
            }
            Order::OnDemand | Order::Turn => None,
        }
    }
}

/// The record of a job that waits; `None` if it needs none.
fn record_of(job: JobId, order: &Order) -> Result<Option<JobRecord>, Failure> {
    let Some(kind) = order.kind() else { return Ok(None) };
    let said = serde_json::to_value(order).map_err(anyhow::Error::from)?;
    let mut record = JobRecord::waiting(job, kind, said);
    if let Order::Scheduled { at } = order {
        record.scheduled = Some(*at);
    }
    Ok(Some(record))
}

impl Waiting {
    fn new(job: JobId, order: Order) -> Waiting {
        Waiting {
            job,
            order,
            tries: 0,
            next_try: Instant::now(),
        }
    }
}

impl Actor for Queue {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(Duration::from_secs(1), Queue::look);
        self.look(ctx);
    }
}

impl Handler<Listen> for Queue {
    type Result = ();

    fn handle(&mut self, Listen(listener): Listen, _ctx: &mut Self::Context) {
        self.listeners.push(listener);
    }
}

impl Handler<Submit> for Queue {
    type Result = Result<JobId, Failure>;

    fn handle(&mut self, Submit(order): Submit, ctx: &mut Self::Context) -> Self::Result {
        if self.is_stopping {
            return Err(Failure::failed("stopping", "the agent is stopping", ""));
        }
        if let Some(job) = self.same(&order) {
            return Ok(job);
        }
        let job = new_job_id()?;
        if let Some(record) = record_of(job, &order)? {
            record.save(&self.daemon.state)?;
            self.daemon.events.tell(Event::Queued { job });
        }
        if !order.gives_way() {
            self.make_way();
        }
        self.waiting.push_back(Waiting::new(job, order));
        self.look(ctx);
        Ok(job)
    }
}

impl Handler<TakeTurn> for Queue {
    type Result = Option<Ticket>;

    fn handle(&mut self, _: TakeTurn, ctx: &mut Self::Context) -> Option<Ticket> {
        let job = new_job_id().ok().filter(|_| !self.is_stopping)?;
        let ((grant, granted), (ended, has_ended)) = (oneshot::channel(), oneshot::channel());
        let guest = Guest {
            granted: grant,
            ended: has_ended,
        };
        self.guests.insert(job, guest);
        self.make_way();
        self.waiting.push_back(Waiting::new(job, Order::Turn));
        self.look(ctx);
        Some(Ticket { granted, ended })
    }
}

impl Handler<Cancel> for Queue {
    type Result = bool;

    fn handle(&mut self, Cancel(job): Cancel, _ctx: &mut Self::Context) -> bool {
        if let Some(running) = self.running.as_ref().filter(|running| running.waiting.job == job) {
            running.cancel.cancel();
            return true;
        }
        let Some(place) = self.waiting.iter().position(|waiting| waiting.job == job) else {
            return false;
        };
        if let Some(waiting) = self.waiting.remove(place) {
            self.close(&waiting, JobState::Cancelled, None);
        }
        true
    }
}

impl Handler<Jobs> for Queue {
    type Result = MessageResult<Jobs>;

    fn handle(&mut self, _: Jobs, _ctx: &mut Self::Context) -> Self::Result {
        let running = self.running.iter().map(|running| &running.waiting);
        let jobs = running
            .chain(&self.waiting)
            .filter(|waiting| waiting.order.kind().is_some());
        MessageResult(jobs.map(|waiting| waiting.job).collect())
    }
}

impl Handler<Stop> for Queue {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) -> Self::Result {
        let (stop, stopped) = oneshot::channel();
        self.is_stopping = true;
        match &self.running {
            // A command of another process ends by itself.
            Some(running) if running.waiting.order != Order::Turn => {
                running.cancel.cancel();
                self.stop = Some(stop);
            }
            _ => ctx.stop(),
        }
        Box::pin(async move {
            // An error means that nothing ran.
            let _ = stopped.await;
        })
    }
}
