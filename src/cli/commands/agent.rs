//! `lockstone agent`: the daemon, in its first form. It serves the metrics and the jobs of this server, from the
//! records in its state folder, until it is told to stop. Schedule and console come with a later version.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;

use crate::agent::access::right::registered;
use crate::cli::context::Context;
use crate::cli::metrics_export::address;
use crate::cli::output::Outcome;
use crate::documents::agent::AgentDocument;
use crate::failure::Exit;
use crate::serve::http;
use crate::serve::metrics::Page;

/// Options of `agent`.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// Where metrics (/metrics) and jobs (/jobs) are served; there is no password, so keep to the loopback
    #[arg(long, value_name = "ADDR", default_value = http::DEFAULT_ADDRESS, value_parser = address)]
    pub(crate) metrics_listen: SocketAddr,
}

/// Runs the command until SIGTERM or SIGINT, the normal end of a daemon (exit 0).
pub(crate) fn run(context: &Context, args: &AgentArgs) -> Outcome {
    let (state, registration) = registered()?;
    // From here on a signal ends the daemon in order.
    let _signals = context.signals.job_runs();
    let environment = &context.environment;
    let page = Page::of_agent(&environment.metrics, &state);
    let served = http::serve(&environment.runtime, http::bind(args.metrics_listen)?, Arc::new(page))?;
    let (metrics, jobs) = (
        format!("http://{}/metrics", served.address),
        format!("http://{}/jobs", served.address),
    );
    context.out.document(&AgentDocument {
        server: &registration.server_name,
        metrics: &metrics,
        jobs: &jobs,
    });
    context.out.line(format!("Metrics  {metrics}"));
    context.out.line(format!("Jobs     {jobs}"));
    context.block_on(environment.cancel.cancelled());
    context.block_on(served.stop());
    tracing::info!("stopped");
    Ok(Exit::Done)
}
