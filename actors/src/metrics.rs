//! What Prometheus sees of the jobs of this process. Names are `lockstone_<noun>_<unit>[_total]`, base units; the label
//! `stage` names a stage, and no path, file name or chunk id is ever in a label.

use std::time::Duration;

use lockstone_vault::store::decorate::{Outcome, StoreObserver, Verb};
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder, exponential_buckets,
};

use crate::flow::StageReport;

/// The metrics of this process.
pub struct Metrics {
    registry: Registry,
    jobs: IntCounterVec,
    job_seconds: GaugeVec,
    last_success: GaugeVec,
    files: IntCounterVec,
    bytes: IntCounterVec,
    chunks: IntCounterVec,
    restarts: IntCounter,
    faults: IntCounterVec,
    threads: IntGaugeVec,
    depth: IntGaugeVec,
    capacity: IntGaugeVec,
    blocked: GaugeVec,
    starved: GaugeVec,
    budget: IntGaugeVec,
    throttled: prometheus::Counter,
    requests: HistogramVec,
    request_bytes: IntCounterVec,
}

impl Metrics {
    /// All zero.
    ///
    /// # Panics
    /// Never: the names and labels are constants, and a test makes every one of them.
    #[must_use]
    #[allow(
        clippy::expect_used,
        reason = "the names are constants; the test below registers them all"
    )]
    pub fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels).expect("a constant name");
            registry.register(Box::new(metric.clone())).expect("a name used once");
            metric
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels).expect("a constant name");
            registry.register(Box::new(metric.clone())).expect("a name used once");
            metric
        };
        let seconds = |name: &str, help: &str, labels: &[&str]| {
            let metric = GaugeVec::new(Opts::new(name, help), labels).expect("a constant name");
            registry.register(Box::new(metric.clone())).expect("a name used once");
            metric
        };
        let restarts =
            IntCounter::new("lockstone_restarts_total", "Generations started after a fault.").expect("a constant name");
        registry.register(Box::new(restarts.clone())).expect("a name used once");
        let throttled = prometheus::Counter::new(
            "lockstone_throttled_seconds_total",
            "Time spent waiting for the throttle.",
        )
        .expect("a constant name");
        registry
            .register(Box::new(throttled.clone()))
            .expect("a name used once");
        let requests = HistogramVec::new(
            HistogramOpts::new(
                "lockstone_store_request_seconds",
                "Requests to the vault's store, by verb and outcome.",
            )
            .buckets(exponential_buckets(0.001, 4.0, 9).expect("constant buckets")),
            &["verb", "outcome"],
        )
        .expect("a constant name");
        registry.register(Box::new(requests.clone())).expect("a name used once");
        Self {
            jobs: counter(
                "lockstone_jobs_total",
                "Jobs ended, by kind and status.",
                &["kind", "status"],
            ),
            job_seconds: seconds(
                "lockstone_job_duration_seconds",
                "How long the last job took, by kind.",
                &["kind"],
            ),
            last_success: seconds(
                "lockstone_last_success_timestamp_seconds",
                "When a job of the kind last completed, seconds since the epoch.",
                &["kind"],
            ),
            files: counter("lockstone_files_total", "Files of jobs, by outcome.", &["outcome"]),
            bytes: counter(
                "lockstone_bytes_total",
                "Bytes of jobs: scanned, read, new, stored, fetched.",
                &["what"],
            ),
            chunks: counter(
                "lockstone_chunks_total",
                "Chunks looked up in the index, by outcome.",
                &["outcome"],
            ),
            restarts,
            faults: counter(
                "lockstone_stage_faults_total",
                "Faults and panics of stages.",
                &["stage"],
            ),
            threads: gauge("lockstone_stage_threads", "Threads of a stage that run.", &["stage"]),
            depth: gauge(
                "lockstone_stage_queue_messages",
                "Messages waiting in a stage's inbox.",
                &["stage"],
            ),
            capacity: gauge(
                "lockstone_stage_queue_capacity_messages",
                "Messages a stage's inbox holds.",
                &["stage"],
            ),
            blocked: seconds(
                "lockstone_stage_blocked_seconds",
                "Time that senders waited for room in the stage's inbox.",
                &["stage"],
            ),
            starved: seconds(
                "lockstone_stage_starved_seconds",
                "Time that the stage waited for work.",
                &["stage"],
            ),
            budget: gauge(
                "lockstone_budget_bytes",
                "The byte budget: used and total, by lane.",
                &["lane", "what"],
            ),
            throttled,
            requests,
            request_bytes: counter(
                "lockstone_store_bytes_total",
                "Bytes of requests to the vault's store.",
                &["verb"],
            ),
            registry,
        }
    }

    /// The text that Prometheus scrapes.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Writing to memory does not fail, and the encoder writes UTF-8 only.
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be encoded");
        }
        String::from_utf8(text).unwrap_or_default()
    }

    pub(crate) fn stage_reported(&self, report: &StageReport) {
        let label = [report.stage];
        self.threads
            .with_label_values(&label)
            .set(i64::try_from(report.running).unwrap_or(i64::MAX));
        self.depth
            .with_label_values(&label)
            .set(i64::try_from(report.depth.0).unwrap_or(i64::MAX));
        self.capacity
            .with_label_values(&label)
            .set(i64::try_from(report.depth.1).unwrap_or(i64::MAX));
        self.blocked.with_label_values(&label).set(report.blocked.as_secs_f64());
        self.starved.with_label_values(&label).set(report.starved.as_secs_f64());
    }

    pub(crate) fn restarted(&self) {
        self.restarts.inc();
    }

    pub(crate) fn faulted(&self, stage: &str) {
        self.faults.with_label_values(&[stage]).inc();
    }

    pub(crate) fn budget_used(&self, lane: &str, used: u64, total: u64) {
        self.budget
            .with_label_values(&[lane, "used"])
            .set(i64::try_from(used).unwrap_or(i64::MAX));
        self.budget
            .with_label_values(&[lane, "total"])
            .set(i64::try_from(total).unwrap_or(i64::MAX));
    }

    pub(crate) fn job_ended(&self, kind: &str, status: &str, took: Duration, now_s: Option<f64>) {
        self.jobs.with_label_values(&[kind, status]).inc();
        self.job_seconds.with_label_values(&[kind]).set(took.as_secs_f64());
        if let Some(now) = now_s {
            self.last_success.with_label_values(&[kind]).set(now);
        }
    }

    pub(crate) fn files(&self, outcome: &str, n: u64) {
        self.files.with_label_values(&[outcome]).inc_by(n);
    }

    pub(crate) fn bytes(&self, what: &str, n: u64) {
        self.bytes.with_label_values(&[what]).inc_by(n);
    }

    pub(crate) fn chunks(&self, outcome: &str, n: u64) {
        self.chunks.with_label_values(&[outcome]).inc_by(n);
    }

    pub(crate) fn throttled(&self, waited: Duration) {
        self.throttled.inc_by(waited.as_secs_f64());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl StoreObserver for Metrics {
    fn finished(&self, verb: Verb, outcome: Outcome, seconds: f64, bytes: u64) {
        self.requests
            .with_label_values(&[verb.name(), outcome.name()])
            .observe(seconds);
        self.request_bytes.with_label_values(&[verb.name()]).inc_by(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_registered_and_rendered() {
        let metrics = Metrics::new();
        metrics.job_ended("backup", "Completed", Duration::from_secs(1), Some(1.0));
        metrics.files("new", 3);
        let text = metrics.render();
        assert!(
            text.contains("lockstone_jobs_total{kind=\"backup\",status=\"Completed\"} 1"),
            "{text}"
        );
        assert!(text.contains("# HELP lockstone_files_total"), "{text}");
    }
}
