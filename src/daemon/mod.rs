//! The long run: `lockstone agent`. It starts the backups that the schedule names, one job at a time, keeps house once
//! a day, shows metrics, and answers on a control socket.
//!
//! ```text
//! Scheduler ──run is due──▶ Queue ──one at a time──▶ agent::jobs (a job, its pipeline, its record)
//! control ───on demand────▶   │
//! Housekeeper ─each hour──▶   └── events ──▶ control, systemd
//! ```
//!
//! These are actix actors that handle a handful of messages a minute. What they decide is computed by pure functions
//! (`agenda`). Nothing that matters is only in memory: what was done and what waits is in the records of the jobs. So
//! a daemon that is killed at any instant goes on where it was when it starts again.

mod agenda;
pub(crate) mod control;
mod events;
mod housekeeper;
mod instance;
mod orders;
mod queue;
mod scheduler;
mod systemd;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, Addr};

use self::events::Events;
use self::housekeeper::Housekeeper;
use self::instance::Instance;
use self::queue::{Queue, Stop};
use self::scheduler::Scheduler;
use crate::agent::access::right::registered;
use crate::agent::environment::Environment;
use crate::agent::jobs::live::Live;
use crate::agent::state::folder::StateFolder;
use crate::failure::Failure;
use crate::serve::http;
use crate::serve::metrics::Page;

/// How long a running job has to come to its next checkpoint when the daemon is stopped.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// What the caller decides.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Where metrics and jobs are served.
    pub(crate) metrics_listen: SocketAddr,
}

/// What was started.
#[derive(Debug, Clone)]
pub(crate) struct Started {
    /// The name of this server.
    pub(crate) server: String,
    /// Where metrics and jobs are served.
    pub(crate) metrics: SocketAddr,
    /// The control socket.
    pub(crate) control: std::path::PathBuf,
}

/// What the actors share.
#[derive(Debug)]
struct Daemon {
    environment: Arc<Environment>,
    state: StateFolder,
    /// The job that runs.
    live: Live,
    events: Events,
}

/// Runs until `environment.cancel` is cancelled. `started` is called when everything is served.
pub(crate) fn run(
    environment: &Arc<Environment>,
    options: &Options,
    started: impl FnOnce(&Started),
) -> Result<(), Failure> {
    let (state, registration) = registered()?;
    let instance = Instance::only(&state)?;
    let live = Live::default();
    let page = Page::of_agent(&environment.metrics, &state, &live);
    let listener = http::bind(options.metrics_listen)?;
    let pages = http::serve(&environment.runtime, listener, Arc::new(page))?;
    let daemon = Arc::new(Daemon {
        environment: Arc::clone(environment),
        state,
        live,
        events: Events::default(),
    });
    let socket = instance.listen(&environment.runtime)?;
    let metrics = pages.address;
    let outcome = actix::System::new().block_on(async {
        let actors = Actors::start(&daemon)?;
        let control = control::server::serve(&daemon, &actors.queue, socket);
        started(&Started {
            server: registration.server_name.clone(),
            metrics,
            control: daemon.state.control_socket(),
        });
        systemd::ready();
        environment.cancel.cancelled().await;
        systemd::stopping();
        actors.stop().await;
        control.stop().await;
        Ok(())
    });
    environment.runtime.block_on(pages.stop());
    drop(instance);
    outcome
}

/// The actors of the daemon.
struct Actors {
    queue: Addr<Queue>,
    #[expect(dead_code, reason = "an actor lives as long as it has an address")]
    scheduler: Addr<Scheduler>,
    #[expect(dead_code, reason = "an actor lives as long as it has an address")]
    housekeeper: Addr<Housekeeper>,
}

impl Actors {
    fn start(daemon: &Arc<Daemon>) -> Result<Actors, Failure> {
        let queue = Queue::new(Arc::clone(daemon))?.start();
        let scheduler = Scheduler::new(Arc::clone(daemon), queue.clone()).start();
        let housekeeper = Housekeeper::new(Arc::clone(daemon), queue.clone()).start();
        Ok(Actors {
            queue,
            scheduler,
            housekeeper,
        })
    }

    /// Ends the job that runs at its next checkpoint. What it has not done is done after the next start.
    async fn stop(&self) {
        if tokio::time::timeout(STOP_WITHIN, self.queue.send(Stop)).await.is_err() {
            tracing::warn!("the job did not end in time; its record is closed at the next start");
        }
    }
}
