//! The options by which a job's metrics leave the process: over HTTP while it runs, and in a file when it has ended.

use std::net::SocketAddr;
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

/// An address to listen on: `127.0.0.1:9469`, `[::1]:9469`. Port 0 picks a free port. The error is for clap.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "an address is an IP address and a port, such as 127.0.0.1:9469 or [::1]:9469".to_owned())
}

/// The metrics of a job that runs.
#[derive(Debug)]
pub(crate) struct MetricsExport {
    page: Arc<Page>,
    served: Option<Served>,
    textfile: Option<PathBuf>,
}

impl MetricsExport {
    /// Begins to serve. Fails if the program cannot listen at the address.
    pub(crate) fn begin(
        context: &Context,
        args: &MetricsArgs,
        kind: JobKind,
        job: JobId,
    ) -> Result<MetricsExport, Failure> {
        let environment = &context.environment;
        let page = Arc::new(Page::of_job(&environment.metrics, kind, job));
        let served = match args.metrics_listen {
            Some(address) => {
                let listener = http::bind(address)?;
                Some(http::serve(&environment.runtime, listener, Arc::clone(&page))?)
            }
            None => None,
        };
        if let Some(served) = &served {
            context
                .out
                .note(format!("metrics at http://{}/metrics", served.address));
        }
        Ok(MetricsExport {
            page,
            served,
            textfile: args.metrics_textfile.clone(),
        })
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
