//! The document of the agent when it has begun to serve.

use serde::Serialize;

/// Where the agent serves its pages.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AgentDocument<'a> {
    /// The name of this server.
    pub(crate) server: &'a str,
    /// The URL of the metrics page.
    pub(crate) metrics: &'a str,
    /// The URL of the jobs page.
    pub(crate) jobs: &'a str,
    /// The path of the control socket.
    pub(crate) control: &'a str,
}
