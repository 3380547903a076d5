//! Which recovery point a source is compared with.

use std::path::Path;

use lockstone_host::snapshot::FrozenSource;
use lockstone_proto::ids::PointId;
use lockstone_proto::vault::Consistency;
use lockstone_vault::log::{LogView, Point};

use super::Enumerator;
use super::file_systems::FileSystems;
use super::place::{OldSource, Source, components, os_bytes, os_path};
use super::previous_point::{OldPoint, resolve};
use crate::backup::job::Base;
use crate::flow::Stop;

/// How many points are tried for a source. A point may lack a folder that one of its sources had.
const TRIES: usize = 16;

impl Enumerator {
    /// Chooses the recovery point with which each source is compared, and notes what the commit will state.
    pub(super) fn prepare(
        &self,
        frozen: Vec<FrozenSource>,
        view: &LogView,
        file_systems: &mut FileSystems,
    ) -> Result<Vec<Source>, Stop> {
        let job = &self.context.job;
        let mut parents: Vec<PointId> = Vec::new();
        let requested = &job.request.sources;
        let of_server = requested.iter().zip(&frozen).filter(|(asked, _)| !asked.from.is_made());
        let mut of_server = of_server.map(|(_, frozen)| frozen.consistency).peekable();
        let is_frozen = of_server.peek().is_some() && of_server.all(|how| how == Consistency::Snapshot);
        let weakest = if is_frozen {
            Consistency::Snapshot
        } else {
            Consistency::Live
        };
        let mut sources: Vec<Source> = requested
            .iter()
            .zip(frozen)
            .map(|(asked, frozen)| {
                let path = os_bytes(&frozen.source);
                let old = if job.request.full {
                    None
                } else {
                    self.parent(&path, view)
                };
                let old = old.map(|(point, source)| {
                    if !parents.contains(&point) {
                        parents.push(point);
                    }
                    source
                });
                Source {
                    asked: asked.clone(),
                    frozen,
                    path,
                    old,
                }
            })
            .collect();
        sources.sort_by(|a, b| components(&a.path).cmp(components(&b.path)));
        *job.consistency.lock() = weakest;
        let old = sources.iter().find_map(|source| source.old.as_ref());
        let old = old.and_then(|old| old.point.root_folder.clone());
        let base = Base {
            index_position: view.head.n,
            parents,
            sources: sources.iter().map(|source| source.path.clone()).collect(),
            temporary: paths_of(&sources, |source| source.asked.temporary),
            made: paths_of(&sources, |source| source.asked.from.is_made()),
            consistency: weakest,
            root_folder: self.above(Path::new("/"), old.as_ref(), file_systems)?,
        };
        self.context.generation.set_base(base);
        Ok(sources)
    }

    /// The last recovery point of this server that has all of this source, or else the last one that has parts of it.
    fn parent(&self, path: &[u8], view: &LogView) -> Option<(PointId, OldSource)> {
        let job = &self.context.job;
        let whole = self.points_with(path, view).take(TRIES);
        let parts = self.points(view).filter(|point| has_part(point, path)).take(TRIES);
        whole.chain(parts).find_map(|point| {
            let old = OldPoint::of(point);
            let entry = resolve(job, &old, path)?;
            let above = os_path(path).parent();
            let above = above.and_then(|above| resolve(job, &old, &os_bytes(above)));
            let source = OldSource {
                entry,
                point: old,
                device_above: above.map_or(0, |above| above.device),
            };
            Some((point.id, source))
        })
    }

    /// The recovery points of this server with a source that holds this one, the last one first.
    pub(super) fn points_with<'a>(&'a self, path: &'a [u8], view: &'a LogView) -> impl Iterator<Item = &'a Point> + 'a {
        self.points(view).filter(move |point| {
            let mut sources = point.body.sources.iter();
            sources.any(|source| os_path(path).starts_with(os_path(source)))
        })
    }

    /// The recovery points of this server that are not forgotten, the last one first.
    fn points<'a>(&self, view: &'a LogView) -> impl Iterator<Item = &'a Point> + 'a {
        let server = self.context.job.domain.server();
        view.alive().rev().filter(move |point| Some(point.server) == server)
    }
}

/// The paths of the sources of which this holds.
fn paths_of(sources: &[Source], holds: impl Fn(&Source) -> bool) -> Vec<Vec<u8>> {
    let those = sources.iter().filter(|source| holds(source));
    those.map(|source| source.path.clone()).collect()
}

/// Whether a source of the point lies in this one.
fn has_part(point: &Point, path: &[u8]) -> bool {
    let mut sources = point.body.sources.iter();
    sources.any(|source| os_path(source).starts_with(os_path(path)))
}
