//! The options by which a job's metrics leave the process: over HTTP while it runs, and in a file when it has ended.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use lockstone_actors::Progress;
use lockstone_proto::ids::JobId;
use lockstone_proto::job::JobKind;

use super::context::Context;
use crate::failure::Failure;
use crate::serve::http::{self, Served};
use crate::serve::metrics::{Page, write_textfile};

/// Where a job's metrics go.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Metrics")]
pub(crate) struct MetricsArgs {
    /// Serve the job's metrics here while it runs, as the agent does: 127.0.0.1:9470
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Write the job's metrics to this file when it ends, in Prometheus text format
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics_textfile: Option<PathBuf>,
}

/// An address to listen on: `127.0.0.1:9469`, `[::1]:9469`, `localhost:9469`. Port 0 picks a free port. The error is
/// for clap.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let form = || "an address is a host and a port, such as 127.0.0.1:9469, [::1]:9469 or localhost:9469".to_owned();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(form)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(form());
    }
    let found = text.to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
    // `localhost` is often both. Scrapers ask for 127.0.0.1 first.
    let found: Vec<SocketAddr> = found.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(form)
}

/// The metrics of a job that runs.
#[derive(Debug)]
pub(crate) struct MetricsExport {
    page: Arc<Page>,
    served: Option<Served>,
    textfile: Option<PathBuf>,
}

impl MetricsExport {
    /// Begins to serve. If the program cannot listen at the address, it warns: a job is more than its metrics.
    pub(crate) fn begin(context: &Context, args: &MetricsArgs, kind: JobKind, job: JobId) -> MetricsExport {
        let environment = &context.environment;
        let page = Arc::new(Page::of_job(&environment.metrics, kind, job));
        let serve = |address| -> Result<Served, Failure> {
            let listener = http::bind(address)?;
            Ok(http::serve(&environment.runtime, listener, Arc::clone(&page))?)
        };
        let served = match args.metrics_listen.map(serve) {
            Some(Ok(served)) => Some(served),
            Some(Err(failure)) => {
                let (why, hint) = (failure.message, failure.hint);
                context
                    .out
                    .warn(format!("the metrics of this job are not served: {why}; {hint}"));
                None
            }
            None => None,
        };
        if let Some(served) = &served {
            context
                .out
                .note(format!("metrics at http://{}/metrics", served.address));
        }
        MetricsExport {
            page,
            served,
            textfile: args.metrics_textfile.clone(),
        }
    }

    /// The vault is open, and the pipeline is about to run.
    pub(crate) fn runs(&self, cache: &Path, progress: &Arc<Progress>) {
        self.page.runs(cache, progress);
    }

    /// The job has ended, and its metrics say so. If the file cannot be written, warns and returns false.
    pub(crate) fn end(self, context: &Context) -> bool {
        let mut written = true;
        if let Some(Err(error)) = self.textfile.map(|file| write_textfile(&self.page, &file)) {
            context.out.warn(format!("{error:#}"));
            written = false;
        }
        if let Some(served) = self.served {
            context.block_on(served.stop());
        }
        written
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_name() {
        assert!(address("localhost:9469").unwrap().ip().is_loopback());
        assert_eq!(address("[::1]:0").unwrap().to_string(), "[::1]:0");
        for bad in ["here", "localhost", ":9469", "localhost:99999", "localhost:port"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
