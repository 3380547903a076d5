//! `lockstone agent`: the daemon. It runs the policy's schedule, and serves metrics, jobs and the control socket until
//! it is told to stop.

use std::net::SocketAddr;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::metrics_export::address;
use crate::cli::output::Outcome;
use crate::daemon::{self, Options, Started};
use crate::documents::agent::AgentDocument;
use crate::failure::Exit;
use crate::serve::http;

/// Options of `agent`.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// Where metrics (/metrics) and jobs (/jobs) are served; there is no password, so keep to the loopback
    #[arg(long, value_name = "ADDR", default_value = http::DEFAULT_ADDRESS, value_parser = address)]
    pub(crate) metrics_listen: SocketAddr,
}

/// Runs the command until SIGTERM or SIGINT, the normal end of a daemon (exit 0).
pub(crate) fn run(context: &Context, args: &AgentArgs) -> Outcome {
    // From here on a signal ends the daemon in order.
    let _signals = context.signals.job_runs();
    let options = Options {
        metrics_listen: args.metrics_listen,
    };
    daemon::run(&context.environment, &options, |started| show(context, started))?;
    tracing::info!("stopped");
    Ok(Exit::Done)
}

fn show(context: &Context, started: &Started) {
    let (metrics, jobs) = (
        format!("http://{}/metrics", started.metrics),
        format!("http://{}/jobs", started.metrics),
    );
    let control = started.control.display().to_string();
    context.out.document(&AgentDocument {
        server: &started.server,
        metrics: &metrics,
        jobs: &jobs,
        control: &control,
    });
    context.out.line(format!("Metrics  {metrics}"));
    context.out.line(format!("Jobs     {jobs}"));
    context.out.line(format!("Control  {control}"));
}
