//! The options by which a one-off job can be watched: its metrics while it runs, and in a file when it has ended.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use lockstone_actors::Progress;
use lockstone_proto::ids::JobId;

use super::Context;
use crate::failure::Failure;
use crate::serve::http::{self, Served};
use crate::serve::metrics::{Page, write_textfile};

/// Who may watch a job.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Metrics")]
pub struct WatchArgs {
    /// Serve the job's metrics here while it runs, as the agent does: 127.0.0.1:9470
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub metrics_listen: Option<SocketAddr>,
    /// Write the job's metrics to this file when it ends, in Prometheus text format
    #[arg(long, value_name = "FILE")]
    pub metrics_textfile: Option<PathBuf>,
}

/// An address to listen on: `127.0.0.1:9469`, `[::1]:9469`; port 0 is any that is free.
///
/// # Errors
/// Where it is none, in words for clap.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "an address is an IP address and a port, such as 127.0.0.1:9469 or [::1]:9469".to_owned())
}

/// A job being watched.
#[derive(Debug)]
pub struct Watch {
    page: Arc<Page>,
    served: Option<Served>,
    textfile: Option<PathBuf>,
}

impl WatchArgs {
    /// Begins to serve, before the job begins.
    ///
    /// # Errors
    /// Where the address cannot be had.
    pub fn begin(&self, context: &Context, kind: &'static str, id: JobId) -> Result<Watch, Failure> {
        let page = Arc::new(Page::of_job(&context.numbers, kind, id));
        let served = match self.metrics_listen {
            Some(address) => Some(http::serve(
                context.runtime.handle(),
                http::bind(address)?,
                Arc::clone(&page),
            )?),
            None => None,
        };
        if let Some(served) = &served {
            context
                .out
                .note(format!("metrics at http://{}/metrics", served.address));
        }
        Ok(Watch {
            page,
            served,
            textfile: self.metrics_textfile.clone(),
        })
    }
}

impl Watch {
    /// The vault is open, and the job runs.
    pub fn runs(&self, cache: &Path, progress: &Arc<Progress>) {
        self.page.runs(cache, progress);
    }

    /// The job has ended, and its metrics say so. Only a warning where the file cannot be written.
    pub fn end(self, context: &Context) {
        if let Some(Err(error)) = self.textfile.map(|file| write_textfile(&self.page, &file)) {
            context.out.warn(format!("{error:#}"));
        }
        if let Some(served) = self.served {
            context.runtime.block_on(served.stop());
        }
    }
}
