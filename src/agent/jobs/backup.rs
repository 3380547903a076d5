//! A backup: from the paths a person named to a recovery point.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lockstone_actors::{BackupReport, BackupRequest, JobContext, Tuning, Warning};
use lockstone_host::snapshot::{SnapshotMode, cleanup_leftovers};
use lockstone_host::walk::{Pattern, Rules};
use lockstone_proto::ids::JobId;
use lockstone_proto::job::{JobKind, JobState};
use serde_json::{Map, Value};

use super::ending::{Ending, Figures, value_of};
use super::perform::Job;
use crate::agent::access::right::registered;
use crate::agent::access::session::Session;
use crate::agent::environment::Environment;
use crate::agent::sources::{self, Sources};
use crate::agent::state::folder::StateFolder;
use crate::agent::state::job_records::request_for;
use crate::agent::state::registration::Registration;
use crate::documents::backup::BackupDocument;
use crate::failure::Failure;

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
    pub(crate) tags: Vec<String>,
    /// Read every file, also those that look unchanged.
    pub(crate) full: bool,
    pub(crate) snapshot: SnapshotMode,
    pub(crate) tuning: Tuning,
}

/// A backup that is ready to run.
pub(crate) struct Backup {
    order: BackupOrder,
    state: StateFolder,
    registration: Registration,
    sources: Sources,
    rules: Rules,
}

impl Backup {
    /// Checks everything that can be wrong with the order, before anything is written.
    pub(crate) fn prepare(environment: &Environment, order: BackupOrder) -> Result<Backup, Failure> {
        let (state, registration) = registered()?;
        if order.label.len() > MAX_LABEL_LEN || order.label.chars().any(char::is_control) {
            let message = format!("a label is one line of up to {MAX_LABEL_LEN} bytes");
            return Err(Failure::usage(message, ""));
        }
        let sources = sources::resolve(&order.paths)?;
        let rules = rules(environment, &order, &state, &registration, &sources)?;
        Ok(Backup {
            order,
            state,
            registration,
            sources,
            rules,
        })
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

    async fn open(&mut self, environment: &Environment, job: JobId) -> Result<(Session, BackupRequest), Failure> {
        for note in cleanup_leftovers(self.state.root()) {
            environment.notices.note(note);
        }
        let session = Session::open(environment, &self.state, &self.registration).await?;
        let request = BackupRequest {
            job,
            sources: self.sources.paths.clone(),
            rules: self.rules.clone(),
            snapshot: self.order.snapshot,
            state_dir: self.state.root().to_owned(),
            full: self.order.full,
            label: self.order.label.clone(),
            tags: self.order.tags.clone(),
            expires_s: self.order.expires_s,
            warnings: self.sources.warnings.iter().map(warning).collect(),
        };
        Ok((session, request))
    }

    fn work(request: BackupRequest, context: JobContext) -> Result<BackupReport, Failure> {
        Ok(lockstone_actors::backup(context, request))
    }

    fn ending(&self, job: JobId, report: &mut BackupReport) -> Ending {
        let state: JobState = report.status.into();
        let failure = report.error.clone().map(Failure::from);
        let error = failure.as_ref().map(Into::into);
        Ending {
            state,
            point: report.point,
            document: value_of(&BackupDocument::new(job, report, state, error)),
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
