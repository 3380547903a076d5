//! One run of a job, from the lock to the last record.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lockstone_actors::Progress;
use lockstone_proto::ids::JobId;
use lockstone_proto::job::JobKind;
use serde_json::{Map, Value};

use super::ending::Ending;
use super::metrics;
use super::observer::JobObserver;
use super::operators_record::{OperatorsRecord, close};
use crate::agent::access::session::Session;
use crate::agent::cache;
use crate::agent::environment::Environment;
use crate::agent::known_damage;
use crate::agent::state::clones;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::job_records::{self, JobRecord, Reading, Seen};
use crate::agent::state::lock::{JobLock, Purpose};
use crate::agent::state::seen_time;
use crate::failure::Failure;
use crate::policy::Tag;

/// How long a cancelled job waits for the store to take the operator's record.
const LAST_RECORD_WITHIN: Duration = Duration::from_secs(1);

/// A job that runs. It holds the lock, and keeps the records here and in the vault.
pub(super) struct JobRun<'e> {
    environment: &'e Environment,
    observer: &'e dyn JobObserver,
    state: StateFolder,
    record: JobRecord,
    /// No record is written.
    is_dry: bool,
    /// The records of the jobs before it, without their reports.
    earlier: Vec<JobRecord>,
    /// Those of them that were found to be interrupted. The operator still sees them run.
    interrupted: Vec<JobId>,
    /// What the operator sees of it, once the vault is open. A dry run tells nobody.
    told: Option<Arc<OperatorsRecord>>,
    lock: Arc<JobLock>,
}

impl<'e> JobRun<'e> {
    /// Takes the lock, and writes down that the job runs. Fails with `busy` (exit 7) if another job runs.
    pub(super) async fn begin(
        environment: &'e Environment,
        observer: &'e dyn JobObserver,
        state: &StateFolder,
        record: JobRecord,
        is_dry: bool,
    ) -> Result<JobRun<'e>, Failure> {
        let lock = JobLock::take(state, record.job, Purpose::Job(record.kind)).await?;
        observer.begins(record.kind, record.job);
        let (earlier, interrupted) = job_records::clean_up(state)?;
        if let Some(seen) = earlier.iter().find_map(|job| job.seen.as_ref()) {
            // The metrics show what the last job knew, until this job knows more.
            metrics::show_seen(&environment.metrics, seen);
        }
        // Batches of files that wait to be read hold their folders open.
        if let Err(error) = lockstone_host::process::raise_open_files() {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
        if !is_dry {
            record.save(state)?;
        }
        Ok(JobRun {
            environment,
            observer,
            state: state.clone(),
            record,
            is_dry,
            earlier,
            interrupted,
            told: None,
            lock: Arc::new(lock),
        })
    }

    /// The bytes of the newest recovery point, as far as an earlier job knew.
    pub(super) fn protected_bytes(&self) -> Option<u64> {
        cache::protected_bytes(&self.earlier)
    }

    /// The lock. Who has it held until the session is closed lets no other job come to the cache folder before.
    pub(super) fn lock(&self) -> Arc<JobLock> {
        Arc::clone(&self.lock)
    }

    /// The vault is open: tells the operator and the observer. If the operator's record cannot be written, warns.
    pub(super) async fn announce(&mut self, session: &Session, progress: &Arc<Progress>) {
        if !self.is_dry {
            let told = OperatorsRecord::new(session, &self.record);
            self.tell_operator(told.start()).await;
            told.follow(&self.environment.runtime, progress);
            self.told = Some(told);
            self.close_interrupted(session).await;
        }
        let cache = session.domain.index().folder();
        self.observer.runs(self.record.kind, cache, progress);
    }

    /// Writes down how the job ended, here and for the operator. If a record cannot be written, warns: the job is done.
    pub(super) async fn end(mut self, session: Option<&Session>, ending: &Ending) {
        if self.is_dry {
            return;
        }
        self.record.end(ending.state, ending.failure.as_ref());
        self.record.point = ending.point;
        if let Value::Object(members) = &ending.document {
            self.record.report.clone_from(members);
        }
        self.record.seen = session.and_then(seen);
        if let (Some(session), Some(seen)) = (session, &mut self.record.seen) {
            seen.damaged_objects = known_damage::count(&self.state, session.server);
            let earlier = self.earlier.iter().filter_map(|job| job.seen.as_ref());
            // Only a check changes it, and only a check looks at every pack.
            seen.reading = match self.record.kind {
                JobKind::Check => reading(session),
                _ => earlier.filter_map(|seen| seen.reading).next(),
            };
        }
        let notices = &self.environment.notices;
        if let Err(error) = self.record.save(&self.state) {
            notices.warn(format!("the job's record was not written: {error:#}"));
        }
        if let Some(session) = session {
            self.warn_of_clones(session);
        }
        if let Some(told) = self.told.take() {
            self.tell_operator(told.end(ending)).await;
        }
        if let Some(session) = session {
            let now = Timestamp::now();
            seen_time::remember(&self.state, now, session.vault.clock_of_store(now));
        }
        let counted = &self.environment.metrics;
        if !self.environment.counts_records {
            counted.recorded(&metrics::ended(&self.record, SystemTime::now()));
        }
        if let Some(seen) = &self.record.seen {
            metrics::show_seen(counted, seen);
        }
    }

    /// Tells the operator of the jobs that were interrupted and could not say so.
    async fn close_interrupted(&self, session: &Session) {
        let ending = Ending::not_run(&job_records::interruption());
        let is_interrupted = |job: &&JobRecord| self.interrupted.contains(&job.job);
        for job in self.earlier.iter().filter(is_interrupted) {
            if let Err(error) = close(session, job, &ending).await {
                tracing::warn!(job = %job.job, "the operator was not told that it was interrupted: {error}");
            }
        }
    }

    /// Warns if another copy of this state folder makes backups.
    fn warn_of_clones(&self, session: &Session) {
        let mut records = self.earlier.clone();
        records.push(JobRecord {
            report: Map::new(),
            ..self.record.clone()
        });
        let view = session.domain.view();
        if let (JobKind::Backup, Some(warning)) = (
            self.record.kind,
            clones::warning(&view.points, session.server, &records),
        ) {
            self.environment.notices.warn(warning);
        }
    }

    /// Ends a job that failed before its pipeline ran, and returns its failure.
    pub(super) async fn fail(self, failure: Failure) -> Failure {
        self.end(None, &Ending::not_run(&failure)).await;
        failure
    }

    async fn tell_operator(&self, writing: impl Future<Output = Result<(), Failure>>) {
        let cancel = &self.environment.cancel;
        let given_up = async {
            cancel.cancelled().await;
            tokio::time::sleep(LAST_RECORD_WITHIN).await;
        };
        let written = tokio::select! {
            written = writing => written,
            () = given_up => {
                let hint = "check the store and the network, then run the same command again";
                Err(Failure::failed("unreachable", "the store did not answer in time", hint))
            }
        };
        if let Err(error) = written {
            let warning = format!("the job's record for the operator was not written: {error}");
            self.environment.notices.warn(warning);
        }
    }
}

/// When packs were read; `None` without packs.
fn reading(session: &Session) -> Option<Reading> {
    let found = session.domain.index().reading(Timestamp::now()).ok()?;
    Some(Reading {
        unread_since: Timestamp::from_second(found.unread_since_s?).ok()?,
        bytes: found.bytes,
        bytes_never_read: found.bytes_never_read,
    })
}

/// What the job knows of the vault. `None` if it did not read the log, or if the vault is another machine's.
fn seen(session: &Session) -> Option<Seen> {
    let view = session.domain.view();
    if view.head.n == 0 || session.domain.server().is_none() {
        return None;
    }
    let mut seen = Seen {
        protected_bytes: session.latest(&view).map(|point| point.summary.bytes),
        ..Seen::default()
    };
    for point in view.alive().filter(|point| session.is_own(point.server)) {
        // Tags of the users are not counted: a label of a metric must not have any number of values.
        let tags: Vec<&String> = point
            .summary
            .tags
            .iter()
            .filter(|tag| Tag::from_name(tag).is_some())
            .collect();
        for tag in &tags {
            *seen.points.entry((*tag).clone()).or_default() += 1;
        }
        // A point from the future says nothing about how old the backups are.
        let started = Timestamp::from_second(point.summary.started_s).ok();
        let started = started.filter(|started| *started <= Timestamp::now());
        seen.newest_point = seen.newest_point.max(started);
        for (tag, started) in tags.into_iter().zip(started.into_iter().cycle()) {
            let newest = seen.newest_by_tag.entry(tag.clone()).or_insert(started);
            *newest = started.max(*newest);
        }
    }
    let index = session.domain.index();
    (seen.index_chunks, seen.index_bytes) = index.size();
    seen.distrusted_packs = index.still_bad().ok().map(|packs| packs.len() as u64);
    Some(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_can_move_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<JobRun<'static>>();
    }
}
