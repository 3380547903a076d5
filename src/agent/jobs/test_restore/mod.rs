//! A restore on trial: some files of the newest recovery point, chosen at random, are restored to a folder of this
//! program, compared, and removed. A restore compares every chunk with its id, and what was written is read back. Where
//! the file is still as it was backed up, it is compared with the source, too.

mod compare;
mod sample;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lockstone_actors::{Conflict, JobContext, RestoreReport, RestoreRequest, RestoreTo, Tuning};
use lockstone_proto::ids::{JobId, PointId};
use lockstone_proto::job::{JobKind, JobState};
use serde_json::{Map, Value};

use self::compare::{Compared, compare};
use self::sample::{Chosen, sample};
use super::ending::{Ending, Figures, value_of};
use super::perform::Job;
use crate::agent::access::right::registered;
use crate::agent::access::session::Session;
use crate::agent::alerts;
use crate::agent::environment::Environment;
use crate::agent::state::files::private_folder;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::registration::Registration;
use crate::documents::restore::{RestoreDocument, TestDocument};
use crate::failure::{Exit, Failure};
use crate::policy::{Occasion, TestRestore};
use crate::text::point::short;
use crate::text::render;

/// The member of a record's request that says that a restore was a trial.
pub(crate) const TEST: &str = "test";

/// A trial that is ready to run.
pub(crate) struct Trial {
    order: TestRestore,
    state: StateFolder,
    registration: Registration,
    point: Option<PointId>,
}

/// What the pipeline is asked, and what is compared afterwards.
pub(crate) struct TrialRequest {
    restore: RestoreRequest,
    folder: PathBuf,
    chosen: Vec<Chosen>,
}

/// How the trial went.
pub(crate) struct TrialReport {
    pub(crate) restore: RestoreReport,
    pub(crate) compared: Compared,
}

impl Trial {
    /// Fails with `not-registered` (exit 8) if this server has no registration.
    pub(crate) fn prepare(order: TestRestore) -> Result<Trial, Failure> {
        let (state, registration) = registered()?;
        Ok(Trial {
            order,
            state,
            registration,
            point: None,
        })
    }

    /// Where the files are restored to. Nothing else is in there.
    fn folder(&self) -> PathBuf {
        match &self.order.folder {
            Some(folder) => folder.join(format!("lockstone-test-{}", self.registration.server_id)),
            None => self.state.test_restore(),
        }
    }
}

impl Job for Trial {
    const KIND: JobKind = JobKind::Restore;
    type Request = TrialRequest;
    type Report = TrialReport;

    fn state(&self) -> &StateFolder {
        &self.state
    }

    fn tuning(&self) -> Tuning {
        Tuning::default()
    }

    fn own_registration(&mut self) -> Option<&mut Registration> {
        Some(&mut self.registration)
    }

    fn request_for_record(&self) -> Map<String, Value> {
        Map::from_iter([
            (TEST.to_owned(), true.into()),
            ("files".to_owned(), self.order.files.into()),
        ])
    }

    async fn open(&mut self, environment: &Environment, job: JobId) -> Result<(Session, TrialRequest), Failure> {
        let session = Session::open(environment, &self.state, &self.registration).await?;
        let view = session.view(environment).await?;
        let Some(point) = session.latest(&view).cloned() else {
            let message = "there is no recovery point to restore from yet";
            return Err(Failure::failed(
                "no-such-point",
                message,
                "`lockstone backup` makes one",
            ));
        };
        self.point = Some(point.id);
        let chosen = sample(&session.domain, point.root(), self.order.files).await?;
        if chosen.is_empty() {
            let message = format!("recovery point {} has no file to restore on trial", short(&point.id));
            return Err(Failure::failed(
                "no-files",
                message,
                "a backup with files in it has some",
            ));
        }
        let folder = self.folder();
        remove(&folder)?;
        private_folder(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let restore = RestoreRequest {
            job,
            copy_stamp: render::name_stamp(point.summary.started_s),
            point,
            paths: chosen.iter().map(|chosen| chosen.path.clone()).collect(),
            include: None,
            exclude: None,
            delete: false,
            spare: Vec::new(),
            to: RestoreTo::Folder(folder.clone()),
            conflict: Conflict::Overwrite,
            skip_acls: false,
            verify: true,
            sync: false,
            dry_run: false,
        };
        let request = TrialRequest {
            restore,
            folder,
            chosen,
        };
        Ok((session, request))
    }

    fn work(request: TrialRequest, context: JobContext) -> Result<TrialReport, Failure> {
        let cancel = context.cancel.clone();
        let restore = lockstone_actors::restore(context, request.restore);
        let compared = match restore.error {
            None => compare(&request.folder, &request.chosen, || cancel.is_cancelled()),
            Some(_) => Compared::default(),
        };
        Ok(TrialReport { restore, compared })
    }

    async fn after(&mut self, environment: &Environment, job: JobId, ending: Option<&Ending>) {
        if let Err(failure) = remove(&self.folder()) {
            environment.notices.warn(failure.message);
        }
        match ending.map(|ending| (ending.state, &ending.failure)) {
            Some((JobState::Completed | JobState::CompletedWithWarnings, _)) => {
                alerts::end(&self.state, Occasion::Test, jiff::Timestamp::now());
            }
            Some((JobState::Failed, Some(failure))) => {
                let message = format!("a test restore failed: {}", failure.message);
                alerts::raise(environment, &self.state, Occasion::Test, message, Some(job)).await;
            }
            _ => {}
        }
    }

    fn ending(&self, job: JobId, report: &mut TrialReport) -> Ending {
        let restore = &report.restore;
        let failure = restore.error.clone().map(Failure::from).or_else(|| bad(report));
        let state = match &failure {
            Some(failure) if failure.exit != Exit::Cancelled => JobState::Failed,
            _ => restore.status.into(),
        };
        let error = failure.as_ref().map(Into::into);
        let document = TestDocument::new(
            RestoreDocument::new(job, restore, false, state, error),
            (report.compared.with_source, report.compared.by_ids),
            &report.compared.different,
        );
        Ending {
            state,
            point: self.point,
            document: value_of(&document),
            figures: Figures {
                files: restore.files,
                bytes: restore.bytes,
                stored_bytes: 0,
                warnings: restore.warnings_total,
            },
            restarts: restore.restarts,
            failure,
        }
    }
}

/// The failure of a trial whose files are damaged, missing, or not as the source is.
fn bad(report: &TrialReport) -> Option<Failure> {
    let compared = &report.compared;
    let (damaged, different, missing) = (
        report.restore.damaged,
        compared.different.len() as u64,
        compared.missing,
    );
    if damaged + different + missing == 0 {
        return None;
    }
    let mut what = Vec::new();
    for (count, words) in [
        (damaged, "could not be restored, because the vault is damaged"),
        (missing, "were not restored"),
        (different, "are not as the source is"),
    ] {
        if count > 0 {
            what.push(format!("{} {words}", render::counted(count, "file", "files")));
        }
    }
    let hint = "`lockstone check --read-data` names all damage; `lockstone jobs show` names the files";
    Some(Failure::new(Exit::Damaged, "damaged", what.join("; "), hint))
}

/// Removes the folder of a trial.
fn remove(folder: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            let message = format!("cannot remove {}: {error}", folder.display());
            Err(Failure::failed("target", message, "remove it by hand"))
        }
    }
}
