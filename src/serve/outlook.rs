//! What the agent's page says beside the jobs: when the next backup is due, and which alerts there were.

use std::collections::BTreeMap;
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};
use lockstone_actors::Metrics;

use crate::agent::alerts::{self, Alert};
use crate::agent::held_policy::InForce;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::registration::Registration;

/// What counts as lately.
const A_DAY: SignedDuration = SignedDuration::from_hours(24);

/// The alerts as they were last read.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    /// When the folder of the alerts was last written.
    written: Option<SystemTime>,
    /// The times of all alerts, by kind.
    alerts: BTreeMap<String, Vec<Timestamp>>,
}

impl Outlook {
    /// Brings the metrics up to date. Reads the alerts only if there is a new one.
    pub(super) fn show(&mut self, metrics: &Metrics, state: &StateFolder, registration: &Registration) {
        match InForce::load(state, registration.server_id) {
            Ok(policy) => metrics.next_run(policy.and_then(|policy| policy.next_run()).map(seconds)),
            Err(failure) => tracing::debug!("{failure}"),
        }
        let written = std::fs::metadata(state.alerts())
            .and_then(|found| found.modified())
            .ok();
        if written != self.written {
            match alerts::all(state) {
                Ok(alerts) => (self.written, self.alerts) = (written, by_kind(alerts)),
                Err(failure) => tracing::debug!("{failure}"),
            }
        }
        let now = Timestamp::now();
        for (kind, times) in &self.alerts {
            let lately = times.iter().filter(|time| now.duration_since(**time) <= A_DAY).count();
            if let Some(last) = times.iter().max() {
                metrics.alerts(kind, lately as u64, seconds(*last));
            }
        }
    }
}

fn by_kind(alerts: Vec<Alert>) -> BTreeMap<String, Vec<Timestamp>> {
    let mut kinds: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
    for alert in alerts {
        kinds.entry(alert.kind).or_default().push(alert.time);
    }
    kinds
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
fn seconds(time: Timestamp) -> f64 {
    time.as_second() as f64
}
