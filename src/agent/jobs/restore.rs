//! A restore: files of a recovery point, back to where they were or to another place.

use std::path::PathBuf;

use lockstone_actors::{Conflict, JobContext, RestoreReport, RestoreRequest, RestoreTo, Tuning};
use lockstone_proto::ids::{JobId, PointId};
use lockstone_proto::job::{JobKind, JobState};
use lockstone_vault::log::Point;
use serde_json::{Map, Value};

use super::ending::{Ending, Figures, value_of};
use super::perform::Job;
use crate::agent::access::paths::find_path;
use crate::agent::access::right::{Access, Right};
use crate::agent::access::session::Session;
use crate::agent::environment::Environment;
use crate::agent::sources::keep_target_out;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::job_records::request_for;
use crate::documents::restore::RestoreDocument;
use crate::failure::{Exit, Failure};
use crate::text::point::short;
use crate::text::render;

/// What to restore, where to, and how.
#[derive(Debug, Clone)]
pub(crate) struct RestoreOrder {
    /// The recovery point: an id, a unique prefix of it, or `latest`.
    pub(crate) point: String,
    /// Files and folders, as a person names them; everything if there are none.
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) to: RestoreTo,
    /// What to do with a file that is in the way.
    pub(crate) conflict: Conflict,
    pub(crate) skip_acls: bool,
    /// Read back and compare what was written.
    pub(crate) verify: bool,
    /// Write everything to the disk before the restore is called complete.
    pub(crate) sync: bool,
    /// Only find out what would be written.
    pub(crate) dry_run: bool,
    pub(crate) tuning: Tuning,
}

/// A restore that is ready to run.
pub(crate) struct Restore {
    order: RestoreOrder,
    state: StateFolder,
    right: Right,
    /// The recovery point, once it is found.
    point: Option<PointId>,
}

impl Restore {
    /// Fails with `not-registered` (exit 8) if this server's own backups are meant and it has no registration.
    /// Fails with `usage` (exit 2) if another server's files are to go to where they were: here, other files are there.
    pub(crate) fn prepare(access: &Access, order: RestoreOrder) -> Result<Restore, Failure> {
        if let (Access::Borrowed { server, .. }, RestoreTo::Original) = (access, &order.to) {
            let message = format!("the files of {server} do not go to their original place on another machine");
            let hint = "name a folder with `--target DIR`; `--target /` means the original place";
            return Err(Failure::usage(message, hint));
        }
        let (state, right) = access.right()?;
        Ok(Restore {
            order,
            state,
            right,
            point: None,
        })
    }

    /// The recovery point and the paths in it that the order means, and the target folder, which is made.
    async fn find(&self, environment: &Environment, session: &Session) -> Result<(Point, Vec<Vec<u8>>), Failure> {
        let view = session.view(environment).await?;
        let point = session.point(&view, &self.order.point)?.clone();
        let mut paths = Vec::new();
        for path in &self.order.paths {
            // All paths are found before anything is written.
            paths.push(find_path(session, &point, path).await?.0);
        }
        if let RestoreTo::Folder(folder) = &self.order.to {
            let mut own = vec![("the state folder", self.state.root())];
            own.extend(session.vault.store().local_root().map(|vault| ("the vault", vault)));
            keep_target_out(folder, &own)?;
        }
        if let (RestoreTo::Folder(folder), false) = (&self.order.to, self.order.dry_run) {
            std::fs::create_dir_all(folder).map_err(|error| {
                let message = format!("cannot make {}: {error}", folder.display());
                Failure::failed("target", message, "name another --target")
            })?;
        }
        Ok((point, paths))
    }
}

impl Job for Restore {
    const KIND: JobKind = JobKind::Restore;
    type Request = RestoreRequest;
    type Report = RestoreReport;

    fn state(&self) -> &StateFolder {
        &self.state
    }

    fn tuning(&self) -> Tuning {
        self.order.tuning.clone()
    }

    fn request_for_record(&self) -> Map<String, Value> {
        let mut request = request_for(&self.order.paths);
        request.insert("point".to_owned(), self.order.point.clone().into());
        request.insert("target".to_owned(), place(&self.order.to).into());
        request
    }

    async fn open(&mut self, environment: &Environment, job: JobId) -> Result<(Session, RestoreRequest), Failure> {
        let session = Session::open_by(environment, &self.state, &self.right).await?;
        let (point, paths) = self.find(environment, &session).await?;
        if point.forgotten.is_some() {
            environment.notices.note(format!(
                "recovery point {} is deleted; what is left of it is restored",
                short(&point.id)
            ));
        }
        self.point = Some(point.id);
        let copy_stamp = render::name_stamp(point.summary.started_s);
        let request = RestoreRequest {
            job,
            point,
            paths,
            to: self.order.to.clone(),
            conflict: self.order.conflict,
            skip_acls: self.order.skip_acls,
            verify: self.order.verify,
            sync: self.order.sync,
            dry_run: self.order.dry_run,
            copy_stamp,
        };
        Ok((session, request))
    }

    fn work(request: RestoreRequest, context: JobContext) -> Result<RestoreReport, Failure> {
        Ok(lockstone_actors::restore(context, request))
    }

    fn ending(&self, job: JobId, report: &mut RestoreReport) -> Ending {
        let state: JobState = report.status.into();
        let failure = report.error.clone().map(Failure::from).or_else(|| damage(report));
        let error = failure.as_ref().map(Into::into);
        Ending {
            state,
            point: self.point,
            document: value_of(&RestoreDocument::new(job, report, self.order.dry_run, state, error)),
            figures: Figures {
                files: report.files,
                bytes: report.bytes,
                stored_bytes: 0,
                warnings: report.warnings_total,
            },
            restarts: report.restarts,
            failure,
        }
    }
}

/// Where a restore puts the files, for people.
pub(crate) fn place(to: &RestoreTo) -> String {
    match to {
        RestoreTo::Folder(folder) => folder.display().to_string(),
        RestoreTo::Original => "the original place".to_owned(),
    }
}

/// The failure of a restore that damage in the vault kept from being complete.
fn damage(report: &RestoreReport) -> Option<Failure> {
    let what = render::counted(report.damaged, "file or folder", "files and folders");
    let message = format!("{what} could not be restored: the vault is damaged");
    let hint = "the rest was restored; `lockstone check --read-data` names all damage, and another point may be whole";
    (report.damaged > 0).then(|| Failure::new(Exit::Damaged, "damaged", message, hint))
}
