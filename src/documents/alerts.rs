//! The document of `alerts list`. An alert is a document already (`agent::alerts::Alert`).

use serde::Serialize;

/// The answer of `alerts list`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AlertsDocument<'a, A> {
    /// Newest first.
    pub(crate) alerts: &'a [A],
}
