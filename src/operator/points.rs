//! The recovery points of a vault's servers, as the operator sees them.

use lockstone_vault::damage::Damage;
use lockstone_vault::log::PointOverview;

use super::open;
use super::selection::Selection;
use crate::agent::environment::Environment;
use crate::failure::Failure;

/// A recovery point of a server.
#[derive(Debug)]
pub(crate) struct ServerPoint {
    /// The server's name.
    pub(crate) server: String,
    pub(crate) point: PointOverview,
}

/// The points of all servers, or of the server with this name or id, oldest first, and what could not be read.
pub(crate) async fn list(
    environment: &Environment,
    url: &str,
    server: Option<&str>,
) -> Result<(Vec<ServerPoint>, Vec<Damage>), Failure> {
    let vault = open(environment, url).await?;
    let (servers, mut damaged) = vault.servers().await?;
    let selection = Selection::new(&servers, server)?;
    let mut found = Vec::new();
    for domain in vault.domains().await? {
        let view = vault.overview(domain, &servers).await?;
        damaged.extend(view.damage);
        found.extend(view.points.into_iter().filter(|point| selection.contains(point.server)));
    }
    found.sort_by_key(|point| (point.summary.started_s, point.summary.started_ns, point.n));
    let named = |point: PointOverview| ServerPoint {
        server: selection.name(point.server),
        point,
    };
    Ok((found.into_iter().map(named).collect(), damaged))
}
