//! A backup: from an order to a recovery point.

mod order;
mod plan;
mod produced;

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use jiff::Timestamp;
use lockstone_actors::{BackupReport, BackupRequest, JobContext, Tuning, Warning};
use lockstone_host::snapshot::cleanup_leftovers;
use lockstone_proto::ids::{JobId, PointId};
use lockstone_proto::job::{JobKind, JobState};
use serde_json::{Map, Value};

pub(crate) use self::order::{BackupOrder, PolicyBackup, What, run_due};
use self::plan::{Plan, plan};
use super::ending::{Ending, Figures, value_of};
use super::perform::Job;
use crate::agent::access::right::registered;
use crate::agent::access::session::Session;
use crate::agent::alerts;
use crate::agent::cache;
use crate::agent::environment::Environment;
use crate::agent::guard;
use crate::agent::held_policy::HeldPolicy;
use crate::agent::hooks;
use crate::agent::ids::random;
use crate::agent::known_damage;
use crate::agent::retention;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::host::must_be_the_same;
use crate::agent::state::job_records::{self, JobRecord, request_for};
use crate::agent::state::registration::Registration;
use crate::agent::system_state;
use crate::agent::vault_policy;
use crate::documents::backup::BackupDocument;
use crate::failure::Failure;
use crate::policy::{Hooks, Occasion, Tag};

/// The maximum length of a label in bytes, so that the operator's lists stay readable.
const MAX_LABEL_LEN: usize = 256;

/// A backup that is ready to run.
pub(crate) struct Backup {
    order: BackupOrder,
    /// The recovery point that it makes.
    point: PointId,
    /// The points that the policy forgot after it.
    forgotten: Vec<PointId>,
    /// What is strange about it.
    strange: Vec<String>,
    state: StateFolder,
    registration: Registration,
    plan: Plan,
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
        if let Some(by) = &order.policy {
            by.in_force.held.must_make_backups(by.run.is_some())?;
        }
        order.check_tags()?;
        let plan = plan(environment, &order, &state, &registration)?;
        for note in &plan.notes {
            environment.notices.warn(note.clone());
        }
        Ok(Backup {
            order,
            point: PointId(random()?),
            forgotten: Vec::new(),
            strange: Vec::new(),
            state,
            registration,
            plan,
        })
    }

    /// Asks the guard about the backup that was made.
    fn look(&mut self, environment: &Environment, report: &BackupReport) {
        let request = request_for(&self.sources());
        let sources = request.get("sources").cloned().unwrap_or_default();
        let (server, now) = (self.registration.server_id, Timestamp::now());
        let looked = job_records::written_last(&self.state, guard::RECORDS)
            .and_then(|earlier| guard::look(&self.state, server, report, &sources, &earlier, now));
        match looked {
            Ok(Some(alarm)) => {
                environment.notices.warn(alarm.sentence());
                self.strange = alarm.reasons;
            }
            Ok(None) => {}
            Err(error) => environment
                .notices
                .warn(format!("the guard could not look at this backup: {error:#}")),
        }
    }

    /// The programs around it. A dry run has none.
    fn hooks(&self) -> Option<&Hooks> {
        let policy = self.order.policy.as_ref().filter(|_| !self.order.dry_run);
        policy.map(|by| &by.in_force.policy.hooks)
    }

    /// The tags of the recovery point that begins now: those of the retention, and the user's own.
    async fn tags(&self, environment: &Environment, session: &Session) -> Result<Vec<String>, Failure> {
        let mut tags = self.retention_tags(environment, session).await?;
        for tag in &self.order.tags {
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        Ok(tags)
    }

    async fn retention_tags(&self, environment: &Environment, session: &Session) -> Result<Vec<String>, Failure> {
        let Some(by @ PolicyBackup { is_whole: true, .. }) = &self.order.policy else {
            return Ok(vec![Tag::OnDemand.to_string()]);
        };
        let view = session.view(environment).await?;
        let keeps_itself = self.order.expires_s != 0;
        let now = Timestamp::now();
        Ok(retention::tags(
            session,
            &view,
            &by.in_force,
            now,
            by.run.as_ref(),
            keeps_itself,
        ))
    }

    /// Writes the policy to the vault if the vault does not have it. Returns a warning if the vault has another one.
    async fn out_of_step(&self, environment: &Environment, session: &Session) -> Option<Warning> {
        if self.order.dry_run {
            return None;
        }
        let held = HeldPolicy::load(&self.state, self.registration.server_id).map_err(Failure::from);
        let stands = match held {
            Ok(held) => vault_policy::bring(environment, session, held.as_ref()).await,
            Err(failure) => Err(failure),
        };
        match stands {
            Ok(step) => step.warning().map(|message| Warning {
                path: Vec::new(),
                message,
            }),
            Err(failure) => {
                let why = failure.message;
                let message = format!("it is not known whether the vault has this server's policy: {why}");
                environment.notices.warn(message);
                None
            }
        }
    }

    /// What is backed up: absolute paths, none within another.
    pub(crate) fn sources(&self) -> Vec<PathBuf> {
        self.plan.sources.iter().map(|source| source.path.clone()).collect()
    }

    /// Writes what describes the system into the state folder, if it is to be backed up.
    async fn write_system_state(&self, environment: &Environment) -> Result<(), Failure> {
        let package_check = self.order.sources.iter().find_map(|source| match source.what {
            What::SystemState { package_check } => Some(package_check),
            _ => None,
        });
        let Some(package_check) = package_check.filter(|_| !self.order.dry_run) else {
            return Ok(());
        };
        let (root, cancel) = (self.state.root().to_owned(), environment.cancel.clone());
        let written = tokio::task::spawn_blocking(move || system_state::write(&root, package_check, &cancel)).await;
        let note = written.map_err(|error| Failure::failed("internal", error.to_string(), ""))??;
        if let Some(note) = note {
            environment.notices.note(note);
        }
        Ok(())
    }
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

    fn is_dry_run(&self) -> bool {
        self.order.dry_run
    }

    fn request_for_record(&self) -> Map<String, Value> {
        request_for(&self.sources())
    }

    fn note_in(&self, record: &mut JobRecord) {
        record.makes = Some(self.point);
        let run = self.order.policy.as_ref().and_then(|by| by.run.as_ref());
        record.scheduled = run.map(|run| run.at);
    }

    fn own_registration(&mut self) -> Option<&mut Registration> {
        Some(&mut self.registration)
    }

    fn needs_good_cache(&self) -> bool {
        !self.order.dry_run
    }

    fn take_warnings(&mut self, _environment: &Environment, warnings: Vec<String>) {
        let of_job = warnings.into_iter().map(|message| (PathBuf::new(), message));
        self.plan.warnings.extend(of_job);
    }

    async fn before(&mut self, environment: &Environment, job: JobId) -> Result<(), Failure> {
        if let Some(hooks) = self.hooks()
            && let Some(warning) = hooks::before(hooks, job, &environment.cancel).await?
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
        self.write_system_state(environment).await?;
        let session = Session::open(environment, &self.state, &self.registration).await?;
        session.must_write()?;
        known_damage::remind(&self.state, self.registration.server_id, &session)?;
        let mut warnings: Vec<Warning> = self.plan.warnings.iter().map(warning).collect();
        warnings.extend(self.out_of_step(environment, &session).await);
        let request = BackupRequest {
            job,
            point: self.point,
            sources: self.plan.sources.clone(),
            rules: self.plan.rules.clone(),
            dry_run: self.order.dry_run,
            on_file: self.order.on_file.clone(),
            allowed_volumes: self.plan.allowed_volumes.clone(),
            state_dir: self.state.root().to_owned(),
            full: self.order.full,
            label: self.order.label.clone(),
            tags: self.tags(environment, &session).await?,
            expires_s: self.order.expires_s,
            warnings,
        };
        Ok((session, request))
    }

    fn work(request: BackupRequest, context: JobContext) -> Result<BackupReport, Failure> {
        Ok(lockstone_actors::backup(context, request))
    }

    async fn follow_up(&mut self, environment: &Environment, session: &Session, report: &BackupReport) {
        if report.point.is_none() {
            return;
        }
        cache::remove_old(environment, &self.state);
        self.look(environment, report);
        if !self.strange.is_empty() {
            let message = format!("a backup looks strange: {}", self.strange.join("; "));
            alerts::raise(environment, &self.state, Occasion::Guard, message, Some(report.job)).await;
        }
        let Some(PolicyBackup { in_force, .. }) = &self.order.policy else {
            return;
        };
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
            document: value_of(
                &BackupDocument::new(job, report, state, error, &self.forgotten, self.order.dry_run)
                    .with_guard(&self.strange),
            ),
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
