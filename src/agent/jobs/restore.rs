//! A restore: files of a recovery point, back to where they were or to another place.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lockstone_actors::{Conflict, JobContext, RestoreReport, RestoreRequest, RestoreTo, Tuning};
use lockstone_host::walk::{Pattern, Rules};
use lockstone_proto::ids::{JobId, PointId};
use lockstone_proto::job::{JobKind, JobState};
use lockstone_proto::vault::EntryKind;
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
use crate::agent::state::registration::Registration;
use crate::agent::volumes::is_temporary;
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
    /// Globs of what to restore; everything if there are none.
    pub(crate) include: Vec<Pattern>,
    /// Globs of what to leave out.
    pub(crate) exclude: Vec<Pattern>,
    /// Remove from the target what the recovery point does not have.
    pub(crate) delete: bool,
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
    include: Option<Rules>,
    exclude: Option<Rules>,
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
        if order.delete && order.conflict != Conflict::Overwrite {
            let message = "`--delete` makes the target like the recovery point, so files that differ must be replaced";
            return Err(Failure::usage(
                message,
                "add `--on-conflict overwrite`, or leave `--delete` out",
            ));
        }
        if order.delete && order.to == RestoreTo::Original && order.paths.is_empty() {
            let message = "`--delete` with `--original` needs the folders that it may delete in";
            return Err(Failure::usage(
                message,
                "name them behind the recovery point, or use `--target DIR`",
            ));
        }
        let (include, exclude) = (rules(&order.include)?, rules(&order.exclude)?);
        let (state, right) = access.right()?;
        Ok(Restore {
            include,
            exclude,
            order,
            state,
            right,
            point: None,
        })
    }

    /// The recovery point and the paths in it that the order means, and the target folder, which is made.
    async fn find(&mut self, environment: &Environment, session: &Session) -> Result<(Point, Vec<Vec<u8>>), Failure> {
        let view = session.view(environment).await?;
        let point = session.point(&view, &self.order.point)?.clone();
        let (mut paths, mut files) = (Vec::new(), 0);
        for path in &self.order.paths {
            // All paths are found before anything is written.
            let (path, entry) = find_path(session, &point, path).await?;
            files += usize::from(entry.is_some_and(|entry| entry.kind() != EntryKind::Folder));
            paths.push(path);
        }
        if self.order.skip_acls && files > 0 {
            self.keep_acls(environment, files)?;
        }
        if self.order.to == RestoreTo::Original {
            paths = with_original_place(environment, &point, paths)?;
        }
        self.warn_of_temporary_target(environment, &point);
        if let RestoreTo::Folder(folder) = &self.order.to {
            let mut own = vec![("the state folder", self.state.root())];
            own.extend(session.vault.store().local_root().map(|vault| ("the vault", vault)));
            keep_target_out(folder, &own)?;
        }
        if let (RestoreTo::Folder(folder), false) = (&self.order.to, self.order.dry_run) {
            std::fs::create_dir_all(folder).map_err(|error| {
                let message = format!("cannot make {}: {error}", folder.display());
                Failure::failed("target", message, "name another `--target`")
            })?;
        }
        Ok((point, paths))
    }

    /// Access control lists can be left out of folders. Single files always get theirs.
    fn keep_acls(&mut self, environment: &Environment, files: usize) -> Result<(), Failure> {
        if files < self.order.paths.len() {
            let message = "`--skip-acls` is for folders: single files always get their access control lists";
            return Err(Failure::usage(message, "restore the files in a run of their own"));
        }
        let note = "`--skip-acls` is for folders: single files always get their access control lists";
        environment.notices.note(note.to_owned());
        self.order.skip_acls = false;
        Ok(())
    }

    /// The folders of this program, by their real paths.
    fn own_folders(&self, session: &Session) -> Vec<PathBuf> {
        let cache = match &self.right {
            Right::Own(registration) => registration.cache_folder(&self.state),
            Right::Borrowed { .. } => self.state.cache(),
        };
        let vault = session.vault.store().local_root().map(Path::to_owned);
        let all = [self.state.root().to_owned(), cache].into_iter().chain(vault);
        all.filter_map(|folder| folder.canonicalize().ok()).collect()
    }
}

/// The patterns; `None` if there are none.
fn rules(patterns: &[Pattern]) -> Result<Option<Rules>, Failure> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let rules = Rules::new(patterns).map_err(|error| {
        let hint = "globs are written as in a .gitignore, such as '*.conf' or '**/node_modules'";
        Failure::usage(error.to_string(), hint)
    })?;
    Ok(Some(rules))
}

impl Restore {
    /// Warns if data from temporary storage is restored to temporary storage: it would be lost again.
    fn warn_of_temporary_target(&self, environment: &Environment, point: &Point) {
        let is_lost = |source: &[u8]| match &self.order.to {
            RestoreTo::Folder(folder) => is_temporary(folder),
            RestoreTo::Original => is_temporary(Path::new(OsStr::from_bytes(source))),
        };
        if let Some(source) = point.body.temporary.iter().find(|source| is_lost(source)) {
            environment.notices.warn(format!(
                "{} was on temporary storage, and is restored to temporary storage: it is gone after a restart",
                render::name(source)
            ));
        }
    }
}

/// The paths of a restore to the original place, which what was made for the backup does not have: what programs
/// printed, and the system state.
fn with_original_place(environment: &Environment, point: &Point, paths: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Failure> {
    let as_path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    let made: Vec<PathBuf> = point.body.made.iter().map(|path| as_path(path)).collect();
    if made.is_empty() {
        return Ok(paths);
    }
    let is_made = |path: &[u8]| made.iter().any(|made| *made == as_path(path));
    let is_whole = paths.is_empty();
    let paths: Vec<Vec<u8>> = if is_whole {
        let sources = point.body.sources.iter().filter(|source| !is_made(source));
        sources.map(|source| source.to_vec()).collect()
    } else {
        paths
    };
    let touches = |path: &Vec<u8>| {
        let path = as_path(path);
        made.iter()
            .find(|made| made.starts_with(&path) || path.starts_with(made))
    };
    if let Some(made) = paths
        .iter()
        .find_map(touches)
        .or(made.first().filter(|_| paths.is_empty()))
    {
        let message = format!("{} was made for the backup, and has no original place", made.display());
        let hint = "`--target DIR` restores it below a folder; name other paths to restore them to their place";
        return Err(Failure::failed("target", message, hint));
    }
    if is_whole {
        environment.notices.warn(format!(
            "{} has no original place and is not restored; `--target DIR` restores it below a folder",
            render::name(made[0].as_os_str().as_bytes())
        ));
    }
    Ok(paths)
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

    fn own_registration(&mut self) -> Option<&mut Registration> {
        match &mut self.right {
            Right::Own(registration) => Some(registration),
            Right::Borrowed { .. } => None,
        }
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
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            delete: self.order.delete,
            spare: self.own_folders(&session),
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
