//! `lockstone agent`: the daemon, in its first form. It gives the metrics and the jobs of this server, from the records in
//! its state folder, until it is told to stop. Schedule and console come with a later version.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use crate::agent::session::Session;
use crate::agent::signals::JobRuns;
use crate::cli::output::Outcome;
use crate::cli::{Context, watch};
use crate::failure::Exit;
use crate::serve::http;
use crate::serve::metrics::Page;

/// Options of `agent`.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// Where metrics (/metrics) and jobs (/jobs) are served; there is no password, so keep to the loopback
    #[arg(long, value_name = "ADDR", default_value = http::DEFAULT_ADDRESS, value_parser = watch::address)]
    pub metrics_listen: SocketAddr,
}

/// Runs the command until SIGTERM or SIGINT, which is how a daemon is done (exit 0).
///
/// # Errors
/// What failed, in words, with its exit code.
pub fn run(context: &Context, args: &AgentArgs) -> Outcome {
    let (home, agent) = Session::registered()?;
    // From here on a signal ends the daemon in order.
    let _signals = JobRuns::begin();
    let page = Page::of_agent(&context.numbers, &home);
    let served = http::serve(
        context.runtime.handle(),
        http::bind(args.metrics_listen)?,
        Arc::new(page),
    )?;
    context.out.document(&json!({
        "server": agent.server_name,
        "metrics": format!("http://{}/metrics", served.address),
        "jobs": format!("http://{}/jobs", served.address),
    }));
    context.out.line(format!("Metrics  http://{}/metrics", served.address));
    context.out.line(format!("Jobs     http://{}/jobs", served.address));
    context.runtime.block_on(context.cancel.cancelled());
    context.runtime.block_on(served.stop());
    tracing::info!("stopped");
    Ok(Exit::Done)
}
