//! A backup: from the paths a person named to a recovery point.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lockstone_actors::{BackupReport, BackupRequest, JobContext, Tuning, Warning};
use lockstone_host::snapshot::{SnapshotMode, cleanup_leftovers};
use lockstone_host::walk::{Pattern, Rules};
use lockstone_proto::ids::{JobId, PointId};
use lockstone_proto::job::{JobKind, JobState};
use serde_json::{Map, Value};

use super::ending::{Ending, Figures, value_of};
use super::perform::Job;
use crate::agent::access::right::registered;
use crate::agent::access::session::Session;
use crate::agent::environment::Environment;
use crate::agent::held_policy::InForce;
use crate::agent::hooks;
use crate::agent::retention;
use crate::agent::sources::{self, Sources};
use crate::agent::state::folder::StateFolder;
use crate::agent::state::host::must_be_the_same;
use crate::agent::state::job_records::request_for;
use crate::agent::state::registration::Registration;
use crate::documents::backup::BackupDocument;
use crate::failure::Failure;
use crate::policy::{Hooks, Run, Tag};

/// The maximum length of a label in bytes, so that the operator's lists stay readable.
const MAX_LABEL_LEN: usize = 256;

/// What to back up, and how.
#[derive(Debug, Clone)]
pub(crate) struct BackupOrder {
    /// Files and folders, as a person names them.
    pub(crate) paths: Vec<PathBuf>,
    /// Globs of what to leave out, as in a .gitignore.
    pub(crate) exclude: Vec<Pattern>,
    /// Back up the content of folders marked by a CACHEDIR.TAG, too.
    pub(crate) include_caches: bool,
    pub(crate) one_file_system: bool,
    /// When the recovery point expires, seconds since the epoch; 0: never.
    pub(crate) expires_s: i64,
    pub(crate) label: String,
    /// The policy whose items these are; `None` if a person named the paths.
    pub(crate) policy: Option<PolicyBackup>,
    /// Read every file, also those that look unchanged.
    pub(crate) full: bool,
    pub(crate) snapshot: SnapshotMode,
    pub(crate) tuning: Tuning,
}

/// A backup of all items of the policy.
#[derive(Debug, Clone)]
pub(crate) struct PolicyBackup {
    pub(crate) in_force: InForce,
    /// The scheduled run that it does; `None` on demand.
    pub(crate) run: Option<Run>,
}

/// A backup that is ready to run.
pub(crate) struct Backup {
    order: BackupOrder,
    /// The points that the policy forgot after it.
    forgotten: Vec<PointId>,
    state: StateFolder,
    registration: Registration,
    sources: Sources,
    rules: Rules,
}

impl Backup {
    /// Checks everything that can be wrong with the order, before anything is written.
    pub(crate) fn prepare(environment: &Environment, order: BackupOrder) -> Result<Backup, Failure> {
        let (state, registration) = registered()?;
        must_be_the_same(&registration.host, &registration.server_name)?;
        if order.label.len() > MAX_LABEL_LEN || order.label.chars().any(char::is_control) {
            let message = format!("a label is one line of up to {MAX_LABEL_LEN} bytes");
            return Err(Failure::usage(message, ""));
        }
        let sources = sources::resolve(&order.paths)?;
        let rules = rules(environment, &order, &state, &registration, &sources)?;
        Ok(Backup {
            order,
            forgotten: Vec::new(),
            state,
            registration,
            sources,
            rules,
        })
    }

    fn hooks(&self) -> Option<&Hooks> {
        self.order.policy.as_ref().map(|by| &by.in_force.policy.hooks)
    }

    /// The retention tags of the recovery point that begins now.
    async fn tags(&self, environment: &Environment, session: &Session) -> Result<Vec<String>, Failure> {
        let Some(PolicyBackup { in_force, run }) = &self.order.policy else {
            return Ok(vec![Tag::OnDemand.to_string()]);
        };
        let view = session.view(environment).await?;
        let keeps_itself = self.order.expires_s != 0;
        let now = Timestamp::now();
        Ok(retention::tags(
            session,
            &view,
            in_force,
            now,
            run.as_ref(),
            keeps_itself,
        ))
    }

    /// What is backed up: absolute paths, none within another.
    pub(crate) fn sources(&self) -> &[PathBuf] {
        &self.sources.paths
    }
}

/// What is left out: what the order says, and this program's own folders.
fn rules(
    environment: &Environment,
    order: &BackupOrder,
    state: &StateFolder,
    registration: &Registration,
    sources: &Sources,
) -> Result<Rules, Failure> {
    let mut rules = Rules::new(&order.exclude).map_err(|error| {
        let hint = "globs are written as in a .gitignore, such as '*.tmp' or '**/node_modules'";
        Failure::usage(error.to_string(), hint)
    })?;
    rules.one_file_system = order.one_file_system;
    rules.honour_cachedir_tag = !order.include_caches;
    let cache = registration.cache_folder(state);
    let vault = environment.store(&registration.vault_url)?;
    let mut own: Vec<(&str, &Path)> = vec![("the state folder", state.root()), ("the cache folder", &cache)];
    if let Some(vault) = vault.local_root() {
        own.insert(0, ("the vault", vault));
    }
    // The walk warns about each of these folders when it comes to it.
    for folder in sources::keep_out(&sources.paths, &own)? {
        rules.exclude_folder(folder);
    }
    Ok(rules)
}

impl Job for Backup {
    const KIND: JobKind = JobKind::Backup;
    type Request = BackupRequest;
    type Report = BackupReport;

    fn state(&self) -> &StateFolder {
        &self.state
    }

    fn tuning(&self) -> Tuning {
        self.order.tuning.clone()
    }

    fn request_for_record(&self) -> Map<String, Value> {
        request_for(&self.sources.paths)
    }

    async fn before(&mut self, environment: &Environment, job: JobId) -> Result<(), Failure> {
        if let Some(hooks) = self.hooks()
            && let Some(warning) = hooks::before(hooks, job).await?
        {
            environment.notices.warn(warning);
        }
        Ok(())
    }

    async fn after(&mut self, environment: &Environment, job: JobId, ending: Option<&Ending>) {
        let state = ending.map_or(JobState::Failed, |ending| ending.state);
        let point = ending.and_then(|ending| ending.point);
        if let Some(hooks) = self.hooks()
            && let Some(warning) = hooks::after(hooks, job, state, point).await
        {
            environment.notices.warn(warning);
        }
    }

    async fn open(&mut self, environment: &Environment, job: JobId) -> Result<(Session, BackupRequest), Failure> {
        for note in cleanup_leftovers(self.state.root()) {
            environment.notices.note(note);
        }
        let session = Session::open(environment, &self.state, &self.registration).await?;
        session.must_write()?;
        let request = BackupRequest {
            job,
            sources: self.sources.paths.clone(),
            rules: self.rules.clone(),
            snapshot: self.order.snapshot,
            state_dir: self.state.root().to_owned(),
            full: self.order.full,
            label: self.order.label.clone(),
            tags: self.tags(environment, &session).await?,
            expires_s: self.order.expires_s,
            warnings: self.sources.warnings.iter().map(warning).collect(),
        };
        Ok((session, request))
    }

    fn work(request: BackupRequest, context: JobContext) -> Result<BackupReport, Failure> {
        Ok(lockstone_actors::backup(context, request))
    }

    async fn follow_up(&mut self, environment: &Environment, session: &Session, report: &BackupReport) {
        let Some(PolicyBackup { in_force, .. }) = &self.order.policy else {
            return;
        };
        if report.point.is_none() {
            return;
        }
        match retention::forget(environment, session, in_force).await {
            Ok(forgotten) => self.forgotten = forgotten,
            Err(failure) => {
                let why = failure.message;
                environment
                    .notices
                    .warn(format!("expired recovery points were not deleted: {why}"));
            }
        }
    }

    fn ending(&self, job: JobId, report: &mut BackupReport) -> Ending {
        let state: JobState = report.status.into();
        let failure = report.error.clone().map(Failure::from);
        let error = failure.as_ref().map(Into::into);
        Ending {
            state,
            point: report.point,
            document: value_of(&BackupDocument::new(job, report, state, error, &self.forgotten)),
            figures: Figures {
                files: report.files_new + report.files_changed + report.files_unchanged,
                bytes: report.bytes_scanned,
                stored_bytes: report.bytes_stored,
                warnings: report.warnings_total,
            },
            restarts: report.restarts,
            failure,
        }
    }
}

fn warning((path, message): &(PathBuf, String)) -> Warning {
    Warning {
        path: path.as_os_str().as_bytes().to_vec(),
        message: message.clone(),
    }
}
