//! The records of a job that the operator sees: when it starts, again and again while it runs, and when it ends. Each
//! is a new object with the next number, signed, and without any path or name.
//!
//! A machine that works by credentials writes them, too. They name the server whose points it reads.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use lockstone_actors::Progress;
use lockstone_proto::job::{self, JobState};
use lockstone_proto::limits::FORMAT_VERSION;
use lockstone_vault::access::job_records::{Author, write_job, write_last_job};
use lockstone_vault::store::Store;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::ending::Ending;
use crate::agent::access::session::Session;
use crate::agent::access::signs::Signs;
use crate::agent::state::job_records::JobRecord;
use crate::failure::Failure;

/// How often the record is written while the job runs. The operator is promised one every 5 minutes.
const EVERY: Duration = Duration::from_secs(240);

/// The records of one job.
pub(super) struct OperatorsRecord {
    store: Store,
    signs: Signs,
    /// The record as it was when the job started.
    first: job::JobRecord,
    /// The number of the next record.
    next: AtomicU32,
    follows: Mutex<Option<JoinHandle<()>>>,
}

impl OperatorsRecord {
    pub(super) fn new(session: &Session, local: &JobRecord) -> Arc<OperatorsRecord> {
        Arc::new(OperatorsRecord {
            store: session.vault.store().clone(),
            signs: session.signs().clone(),
            first: first(session, local),
            next: AtomicU32::new(0),
            follows: Mutex::new(None),
        })
    }

    /// Writes that the job has started.
    pub(super) async fn start(&self) -> Result<(), Failure> {
        self.write(self.first.clone()).await
    }

    /// Writes the job's figures every few minutes, until it ends or is dropped. What cannot be written is only logged:
    /// the next record says more.
    pub(super) fn follow(self: &Arc<Self>, runtime: &Handle, progress: &Arc<Progress>) {
        // Of a job that is gone nothing more is said, even if this process goes on for months.
        let (own, progress) = (Arc::downgrade(self), Arc::clone(progress));
        let follows = runtime.spawn(async move {
            loop {
                tokio::time::sleep(every()).await;
                let Some(own) = own.upgrade() else { return };
                let view = progress.view();
                let record = job::JobRecord {
                    files: view.files_done,
                    bytes: view.bytes_done,
                    stored_bytes: view.bytes_stored,
                    restarts: u32::try_from(view.restarts).unwrap_or(u32::MAX),
                    ..own.first.clone()
                };
                if let Err(error) = own.write(record).await {
                    tracing::warn!(%error, "the job's progress was not written for the operator");
                }
            }
        });
        *self.follows.lock().unwrap_or_else(PoisonError::into_inner) = Some(follows);
    }

    /// Writes how the job ended. No record follows.
    pub(super) async fn end(&self, ending: &Ending) -> Result<(), Failure> {
        let follows = self.follows.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(follows) = follows {
            follows.abort();
            let _ = follows.await;
        }
        self.write(ended(self.first.clone(), ending)).await
    }

    async fn write(&self, mut record: job::JobRecord) -> Result<(), Failure> {
        record.number = self.next.fetch_add(1, Ordering::Relaxed);
        write_job(&self.store, &record, self.signs.author()).await?;
        Ok(())
    }
}

/// Tells the operator of a job of this server that was interrupted and could not say so.
pub(super) async fn close(session: &Session, local: &JobRecord, ending: &Ending) -> Result<(), Failure> {
    if let Author::Server(key) = session.signs().author() {
        write_last_job(session.vault.store(), ended(first(session, local), ending), key).await?;
    }
    Ok(())
}

fn every() -> Duration {
    fail::fail_point!("operators-record", |seconds| seconds
        .and_then(|seconds| seconds.parse().ok())
        .map_or(EVERY, Duration::from_secs_f64));
    EVERY
}

fn first(session: &Session, local: &JobRecord) -> job::JobRecord {
    let credentials = session.signs().credentials();
    job::JobRecord {
        version: FORMAT_VERSION,
        vault_id: session.vault.id().as_bytes().to_vec().into(),
        server_id: session.server.as_bytes().to_vec().into(),
        job_id: local.job.as_bytes().to_vec().into(),
        kind: local.kind.into(),
        state: JobState::Running.into(),
        started_s: local.started.parse::<Timestamp>().map_or(0, Timestamp::as_second),
        credential_id: credentials
            .map(|credentials| credentials.id().as_bytes().to_vec().into())
            .unwrap_or_default(),
        ..job::JobRecord::default()
    }
}

fn ended(mut record: job::JobRecord, ending: &Ending) -> job::JobRecord {
    record.set_state(ending.state);
    record.ended_s = Timestamp::now().as_second();
    record.files = ending.figures.files;
    record.bytes = ending.figures.bytes;
    record.stored_bytes = ending.figures.stored_bytes;
    record.warnings = ending.figures.warnings;
    record.restarts = ending.restarts;
    let point = ending.point.map(|point| point.as_bytes().to_vec().into());
    record.point_id = point.unwrap_or_default();
    let failure = ending.failure.as_ref();
    record.error_code = failure.map(|failure| failure.code.to_owned()).unwrap_or_default();
    record
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    #[test]
    fn of_a_job_that_is_gone_nothing_more_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let record = Arc::new(OperatorsRecord {
            store: Store::open(folder.path().to_str().unwrap()).unwrap(),
            signs: Signs::Server(Box::new(SigningKey::from_bytes(&[1; 32]))),
            first: job::JobRecord::default(),
            next: AtomicU32::new(0),
            follows: Mutex::new(None),
        });
        record.follow(runtime.handle(), &Arc::new(Progress::new()));
        let seen = Arc::downgrade(&record);
        drop(record);
        assert!(seen.upgrade().is_none());
    }
}
