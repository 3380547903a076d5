//! The housekeeper: once a day, what a backup does at its end is done without one, too, and then the space is freed
//! that no recovery point needs. Once an hour it looks whether the policy's care for the vault is due: reading a share
//! of it, and restoring some files on trial.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, Addr, AsyncContext, Context};
use jiff::Timestamp;

use super::Daemon;
use super::orders::Order;
use super::queue::{Queue, Submit};
use crate::agent::access::right::registered;
use crate::agent::alerts;
use crate::agent::care::{self, Due};
use crate::agent::held_policy::InForce;
use crate::agent::state::job_records;
use crate::failure::Failure;
use crate::policy::Occasion;
use crate::text::render;

/// How often house is kept.
const A_DAY: Duration = Duration::from_secs(86_400);

/// How often it is looked whether care is due.
const AN_HOUR: Duration = Duration::from_secs(3600);

/// The first time, after the daemon has started: late enough that a machine that boots is not disturbed.
const FIRST: Duration = Duration::from_secs(900);

/// The housekeeper.
pub(super) struct Housekeeper {
    daemon: Arc<Daemon>,
    queue: Addr<Queue>,
}

impl Housekeeper {
    pub(super) fn new(daemon: Arc<Daemon>, queue: Addr<Queue>) -> Housekeeper {
        Housekeeper { daemon, queue }
    }

    fn keep_house(&mut self, ctx: &mut Context<Self>) {
        self.queue.do_send(Submit(Order::Housekeeping));
        self.queue.do_send(Submit(Order::Collect));
        ctx.run_later(A_DAY, Housekeeper::keep_house);
    }

    fn care(&mut self, ctx: &mut Context<Self>) {
        match due() {
            Ok(due) => self.submit(&due),
            Err(failure) => tracing::warn!("{failure}"),
        }
        ctx.run_later(AN_HOUR, Housekeeper::care);
    }

    fn submit(&self, due: &Due) {
        if due.check.is_some() {
            self.queue.do_send(Submit(Order::Check));
        }
        if due.test.is_some() {
            self.queue.do_send(Submit(Order::TestRestore));
        }
        let Some(was_due) = due.overdue else { return };
        if alerts::is_open(&self.daemon.state, Occasion::Test) {
            return;
        }
        let at = render::local_time(was_due.as_second());
        let message = format!("the test restore that was due at {at} was not made, or did not succeed");
        let daemon = Arc::clone(&self.daemon);
        self.daemon.environment.runtime.spawn(async move {
            alerts::raise(&daemon.environment, &daemon.state, Occasion::Test, message, None).await;
        });
    }
}

/// What is due now by the policy.
fn due() -> Result<Due, Failure> {
    let (state, registration) = registered()?;
    let Some(in_force) = InForce::load(&state, registration.server_id)? else {
        return Ok(Due::default());
    };
    let jobs = job_records::all(&state)?;
    Ok(care::due(
        &in_force.policy,
        in_force.held.set_at,
        &jobs,
        Timestamp::now(),
    ))
}

impl Actor for Housekeeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(FIRST, Housekeeper::keep_house);
        ctx.run_later(FIRST, Housekeeper::care);
    }
}
