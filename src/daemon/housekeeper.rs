//! The housekeeper: once a day, what a backup does at its end is done without one, too, and then the space is freed
//! that no recovery point needs.

use std::time::Duration;

use actix::prelude::{Actor, Addr, AsyncContext, Context};

use super::orders::Order;
use super::queue::{Queue, Submit};

/// How often.
const A_DAY: Duration = Duration::from_secs(86_400);

/// The first time, after the daemon has started: late enough that a machine that boots is not disturbed.
const FIRST: Duration = Duration::from_secs(900);

/// The housekeeper.
pub(super) struct Housekeeper {
    queue: Addr<Queue>,
}

impl Housekeeper {
    pub(super) fn new(queue: Addr<Queue>) -> Housekeeper {
        Housekeeper { queue }
    }

    fn keep_house(&mut self, ctx: &mut Context<Self>) {
        self.queue.do_send(Submit(Order::Housekeeping));
        self.queue.do_send(Submit(Order::Collect));
        ctx.run_later(A_DAY, Housekeeper::keep_house);
    }
}

impl Actor for Housekeeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(FIRST, Housekeeper::keep_house);
    }
}
