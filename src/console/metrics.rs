//! Metrics of a one-off job as a file for node_exporter's textfile collector (`--metrics-textfile FILE`).
//!
//! Called once when a backup or restore has ended. The file is there whole or not at all: the collector may read it at
//! any time.

use std::path::Path;

use anyhow::Context;
use lockstone_actors::Metrics;

use crate::agent::home::write_atomically;

/// Writes the job's metrics in Prometheus text format to `path`, readable by everybody: no name or path is in them.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_textfile(metrics: &Metrics, path: &Path) -> anyhow::Result<()> {
    write_atomically(path, metrics.render().as_bytes(), 0o644)
        .with_context(|| format!("cannot write the metrics to {}", path.display()))
}
