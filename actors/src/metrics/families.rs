//! The metric families of the [`list`], registered, and the only ways to change them. A label's value that is in no set
//! becomes `other`, so that the number of series never grows with the data.

use std::collections::HashMap;

use prometheus::{CounterVec, Encoder, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry, TextEncoder};

use super::list::{self, Kind, Label, Metric, OTHER};

/// The upper bounds of histograms, seconds. A local disk answers within a millisecond; a request that is tried again
/// takes a minute or more.
const BUCKETS: [f64; 11] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];

/// All families, by the name of the metric.
pub(super) struct Families {
    pub(super) registry: Registry,
    counters: HashMap<&'static str, CounterVec>,
    gauges: HashMap<&'static str, GaugeVec>,
    histograms: HashMap<&'static str, HistogramVec>,
}

impl Families {
    /// Registers everything that is in the list.
    #[allow(
        clippy::expect_used,
        reason = "the names are constants; a test of the metrics registers them all"
    )]
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let (mut counters, mut gauges, mut histograms) = (HashMap::new(), HashMap::new(), HashMap::new());
        for metric in list::ALL {
            let labels: Vec<&str> = metric.labels.iter().map(|label| label.name).collect();
            let opts = Opts::new(metric.name, metric.help);
            let registered = match metric.kind {
                Kind::Counter => {
                    let family = CounterVec::new(opts, &labels).expect("a constant name");
                    counters.insert(metric.name, family.clone());
                    registry.register(Box::new(family))
                }
                Kind::Gauge => {
                    let family = GaugeVec::new(opts, &labels).expect("a constant name");
                    gauges.insert(metric.name, family.clone());
                    registry.register(Box::new(family))
                }
                Kind::Histogram => {
                    let opts = HistogramOpts::new(metric.name, metric.help).buckets(BUCKETS.to_vec());
                    let family = HistogramVec::new(opts, &labels).expect("a constant name");
                    histograms.insert(metric.name, family.clone());
                    registry.register(Box::new(family))
                }
            };
            registered.expect("a name used once");
        }
        Self {
            registry,
            counters,
            gauges,
            histograms,
        }
    }

    /// Adds to a counter. A negative number adds nothing.
    pub(super) fn add(&self, metric: &Metric, labels: &[&str], n: f64) {
        if let Some(family) = self.counters.get(metric.name) {
            family.with_label_values(&bounded(metric, labels)).inc_by(n.max(0.0));
        }
    }

    /// Sets a gauge.
    pub(super) fn set(&self, metric: &Metric, labels: &[&str], value: f64) {
        if let Some(family) = self.gauges.get(metric.name) {
            family.with_label_values(&bounded(metric, labels)).set(value);
        }
    }

    /// Sets a gauge to 0 for every value of its last label; `labels` are the values of the labels before it.
    pub(super) fn zero(&self, metric: &Metric, labels: &[&str]) {
        for value in metric.labels.last().map_or(&[][..], |label| label.values) {
            self.set(metric, &[labels, &[value]].concat(), 0.0);
        }
    }

    /// Adds an observation to a histogram.
    pub(super) fn observe(&self, metric: &Metric, labels: &[&str], value: f64) {
        if let Some(family) = self.histograms.get(metric.name) {
            family.with_label_values(&bounded(metric, labels)).observe(value);
        }
    }

    /// All families in Prometheus's text format.
    pub(super) fn render(&self) -> String {
        let mut text = Vec::new();
        // Writing to memory does not fail, and the encoder writes UTF-8 only.
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be encoded");
        }
        // The text format spells infinity `+Inf`; the encoder does not.
        String::from_utf8(text).unwrap_or_default().replace(" inf\n", " +Inf\n")
    }
}

/// The values of the labels if they are in the sets of those labels, else `other`.
pub(super) fn bounded<'l>(metric: &Metric, values: &[&'l str]) -> Vec<&'l str> {
    let known = |(label, value): (&Label, &&'l str)| {
        if label.values.contains(value) { *value } else { OTHER }
    };
    metric.labels.iter().zip(values).map(known).collect()
}

/// A count as Prometheus takes it.
#[allow(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
pub(super) fn float(n: u64) -> f64 {
    n as f64
}
