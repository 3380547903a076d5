//! The scheduler: looks at the clock, and gives the queue the run of the schedule that is due.
//!
//! It looks once a second, which costs next to nothing. The records of jobs are read only when the answer can have
//! changed: when a run is due, when a job has ended, when the policy was replaced, when the clock was set.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix::prelude::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use jiff::{SignedDuration, Timestamp};

use super::Daemon;
use super::agenda::{self, Due, Tried, Watch};
use super::events::Event;
use super::orders::Order;
use super::queue::{JobEnded, Listen, Queue, Submit};
use super::systemd;
use crate::agent::alerts;
use crate::agent::held_policy::InForce;
use crate::agent::state::job_records;
use crate::agent::state::registration::Registration;
use crate::failure::Failure;
use crate::policy::Occasion;
use crate::text::render;

/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(1);

/// If the clock and the time that has passed differ by more than this from one look to the next, the clock was set, or
/// the machine slept.
const CLOCK_STEP: Duration = Duration::from_secs(5);

/// The answer is worked out again at least so often.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A run that begins later than this has been missed. The longest random delay comes on top.
const LATE: SignedDuration = SignedDuration::from_hours(2);

/// After this time a run that the queue could not take is given to it again, and what could not be read is read again.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// The scheduler.
pub(super) struct Scheduler {
    daemon: Arc<Daemon>,
    queue: Addr<Queue>,
    /// Since when it watches without a break.
    watches_from: Timestamp,
    /// The last look at the clock.
    looked: (Instant, Timestamp),
    /// When the answer has to be worked out again.
    next_look: Timestamp,
    /// When the policy was last written.
    policy_written: Option<SystemTime>,
    /// How often the settings were to be read again.
    reloads: u64,
    /// When systemd was last told that the daemon is alive.
    alive: Instant,
    /// The missed run that was last said.
    missed: Option<Timestamp>,
}

impl Scheduler {
    pub(super) fn new(daemon: Arc<Daemon>, queue: Addr<Queue>) -> Scheduler {
        let now = Timestamp::now();
        Scheduler {
            daemon,
            queue,
            watches_from: now,
            looked: (Instant::now(), now),
            next_look: now,
            policy_written: None,
            reloads: 0,
            alive: Instant::now(),
            missed: None,
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.tell_systemd();
        let now = Timestamp::now();
        let clock_was_set = self.clock_was_set(now);
        let policy = self.daemon.state.policy();
        let written = std::fs::metadata(policy).and_then(|found| found.modified()).ok();
        let reloads = self.daemon.environment.reload.count();
        let changed = written != self.policy_written || reloads != self.reloads;
        if reloads != self.reloads {
            tracing::info!("the settings are read again");
            self.daemon.events.tell(Event::Reloaded { at: now });
        }
        (self.policy_written, self.reloads) = (written, reloads);
        if changed || clock_was_set || now >= self.next_look {
            self.look(now, ctx);
        }
    }

    /// Whether the clock was set since the last look, or the machine slept.
    fn clock_was_set(&mut self, now: Timestamp) -> bool {
        let (at, then) = std::mem::replace(&mut self.looked, (Instant::now(), now));
        let passed = i128::try_from(at.elapsed().as_millis()).unwrap_or(i128::MAX);
        let shown = i128::from(now.as_millisecond()) - i128::from(then.as_millisecond());
        passed.abs_diff(shown) > CLOCK_STEP.as_millis()
    }

    /// Works out what has to be done now.
    fn look(&mut self, now: Timestamp, ctx: &mut Context<Self>) {
        let latest = now.checked_add(LONGEST_WAIT).unwrap_or(Timestamp::MAX);
        self.next_look = latest;
        match self.due(now) {
            Ok(Some(Due::Run(run))) => {
                tracing::info!(at = %run.at, "a backup is due");
                if now.duration_since(run.at) > LATE && self.missed.replace(run.at) != Some(run.at) {
                    let at = render::local_time(run.at.as_second());
                    self.alert(format!(
                        "the backup that was due at {at} is late: it is made up for now"
                    ));
                }
                self.submit(run.at, ctx);
            }
            Ok(Some(Due::Wait(until))) => {
                self.next_look = until.unwrap_or(latest).min(latest);
                let next = until.map(|at| render::local_time(at.as_second()));
                systemd::status(&format!("next backup {}", next.as_deref().unwrap_or("on demand")));
            }
            Ok(Some(Due::Missed(run))) => {
                if self.missed.replace(run.at) != Some(run.at) {
                    let at = render::local_time(run.at.as_second());
                    self.alert(format!(
                        "the backup that was due at {at} was missed: the agent did not run"
                    ));
                }
                let next = self.next(now).ok().flatten();
                self.next_look = next.unwrap_or(latest).min(latest);
            }
            Ok(None) => systemd::status("no scheduled backups"),
            Err(failure) => {
                // The state folder may be readable again soon, and a run may be due.
                tracing::error!("{failure}");
                self.next_look = now.checked_add(TRY_AGAIN).unwrap_or(latest);
            }
        }
    }

    /// Raises an alert about a missed run.
    fn alert(&self, message: String) {
        tracing::warn!("{message}");
        let daemon = Arc::clone(&self.daemon);
        self.daemon.environment.runtime.spawn(async move {
            alerts::raise(&daemon.environment, &daemon.state, Occasion::Missed, message, None).await;
        });
    }

    /// Gives a run to the queue. If that fails, such as on a full disk, it is tried again soon.
    fn submit(&mut self, at: Timestamp, ctx: &mut Context<Self>) {
        let sent = self.queue.send(Submit(Order::Scheduled { at })).into_actor(self);
        let answered = sent.map(|answer, scheduler, _| {
            if let Ok(Err(failure)) = answer {
                tracing::error!("{failure}");
                let soon = Timestamp::now().checked_add(TRY_AGAIN);
                scheduler.next_look = soon.unwrap_or(scheduler.next_look).min(scheduler.next_look);
            }
        });
        ctx.spawn(answered);
    }

    /// What has to be done now. `None` if there is no policy, or if it makes no backups now.
    fn due(&self, now: Timestamp) -> Result<Option<Due>, Failure> {
        let Some(in_force) = self.in_force()? else {
            return Ok(None);
        };
        let schedule = &in_force.policy.schedule;
        let records = job_records::all(&self.daemon.state)?;
        let tried: Vec<Tried> = records
            .iter()
            .filter_map(|record| {
                Some(Tried {
                    at: record.scheduled.filter(|_| !record.waits())?,
                    settled: !record.was_interrupted(),
                })
            })
            .collect();
        let watch = Watch {
            since: in_force.held.counts_from(),
            from: self.watches_from,
        };
        let server = *in_force.held.server_id.as_bytes();
        let delay = |run| agenda::delay(schedule.random_delay, &server, run);
        Ok(Some(agenda::due(schedule, watch, &tried, now, delay)))
    }

    /// When the next run begins.
    fn next(&self, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
        let in_force = self.in_force()?;
        Ok(in_force.and_then(|in_force| in_force.policy.schedule.next(now).map(|run| run.at)))
    }

    fn in_force(&self) -> Result<Option<InForce>, Failure> {
        let Some(registration) = Registration::load(&self.daemon.state)? else {
            return Ok(None);
        };
        let in_force = InForce::load(&self.daemon.state, registration.server_id)?;
        Ok(in_force.filter(|in_force| in_force.held.is_scheduled()))
    }

    fn tell_systemd(&mut self) {
        if let Some(every) = systemd::watchdog()
            && self.alive.elapsed() + TICK >= every
        {
            systemd::alive();
            self.alive = Instant::now();
        }
    }
}

impl Actor for Scheduler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.queue.do_send(Listen(ctx.address().recipient()));
        ctx.run_interval(TICK, Scheduler::tick);
        self.tick(ctx);
    }
}

impl Handler<JobEnded> for Scheduler {
    type Result = ();

    fn handle(&mut self, _: JobEnded, ctx: &mut Self::Context) {
        self.look(Timestamp::now(), ctx);
    }
}
