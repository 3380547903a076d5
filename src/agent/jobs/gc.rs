//! A collection: recovery points whose time is over are forgotten, and the space that no point needs is freed.

use jiff::{SignedDuration, Timestamp};
use lockstone_actors::{CollectReport, CollectRequest, JobContext, Tuning};
use lockstone_proto::ids::JobId;
use lockstone_proto::job::{JobKind, JobState};
use lockstone_vault::collect::CollectOptions;
use serde_json::{Map, Value};

use super::ending::{Ending, Figures, value_of};
use super::perform::Job;
use crate::agent::access::right::registered;
use crate::agent::access::session::Session;
use crate::agent::environment::Environment;
use crate::agent::held_policy::InForce;
use crate::agent::retention;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::registration::Registration;
use crate::documents::gc::GcDocument;
use crate::failure::Failure;
use crate::text::render;

/// How to collect.
#[derive(Debug, Clone)]
pub(crate) struct GcOrder {
    pub(crate) dry_run: bool,
    /// How long condemned packs stay for those who may be reading them.
    pub(crate) grace: SignedDuration,
    /// How long what an interrupted backup stored stays.
    pub(crate) unfinished: SignedDuration,
    /// Packs of which less than this share is needed are repacked, percent.
    pub(crate) repack_below: u8,
    /// Nobody asked for it. That the store's keys do not allow to delete is no warning then.
    pub(crate) is_in_background: bool,
    pub(crate) tuning: Tuning,
}

impl GcOrder {
    /// As the daemon does it: with one thread, so that the server has the others.
    pub(crate) fn in_background() -> GcOrder {
        let usual = CollectOptions::usual(Timestamp::now());
        GcOrder {
            dry_run: false,
            grace: usual.grace,
            unfinished: usual.unfinished,
            repack_below: usual.repack_below,
            is_in_background: true,
            tuning: Tuning {
                threads: 1,
                ..Tuning::default()
            },
        }
    }
}

/// A collection that is ready to run.
pub(crate) struct Gc {
    order: GcOrder,
    state: StateFolder,
    registration: Registration,
    /// How many points the policy gave up.
    forgotten: u64,
}

impl Gc {
    /// Fails with `not-registered` (exit 8) if this server has no registration.
    pub(crate) fn prepare(order: GcOrder) -> Result<Gc, Failure> {
        let (state, registration) = registered()?;
        Ok(Gc {
            order,
            state,
            registration,
            forgotten: 0,
        })
    }

    /// Forgets what the policy gives up, as after each backup. Returns how many points that are.
    async fn forget(&self, environment: &Environment, session: &Session) -> Result<u64, Failure> {
        let Some(in_force) = InForce::load(&self.state, self.registration.server_id)? else {
            return Ok(0);
        };
        let points = if self.order.dry_run {
            let view = session.view(environment).await?;
            retention::would_forget(session, &view, &in_force)?
        } else {
            retention::forget(environment, session, &in_force).await?
        };
        Ok(points.len() as u64)
    }
}

impl Job for Gc {
    const KIND: JobKind = JobKind::Collect;
    type Request = CollectRequest;
    type Report = CollectReport;

    fn state(&self) -> &StateFolder {
        &self.state
    }

    fn tuning(&self) -> Tuning {
        self.order.tuning.clone()
    }

    fn is_dry_run(&self) -> bool {
        self.order.dry_run
    }

    fn own_registration(&mut self) -> Option<&mut Registration> {
        Some(&mut self.registration)
    }

    fn request_for_record(&self) -> Map<String, Value> {
        Map::from_iter([
            ("grace_seconds".to_owned(), self.order.grace.as_secs().into()),
            ("repack_below".to_owned(), self.order.repack_below.into()),
        ])
    }

    async fn open(&mut self, environment: &Environment, job: JobId) -> Result<(Session, CollectRequest), Failure> {
        let session = Session::open(environment, &self.state, &self.registration).await?;
        self.forgotten = self.forget(environment, &session).await?;
        let request = CollectRequest {
            job,
            dry_run: self.order.dry_run,
            grace: self.order.grace,
            unfinished: self.order.unfinished,
            repack_below: self.order.repack_below,
        };
        Ok((session, request))
    }

    fn work(request: CollectRequest, context: JobContext) -> Result<CollectReport, Failure> {
        let report = lockstone_actors::collect(context, request);
        match report.error {
            Some(error) => Err(error.into()),
            None => Ok(report),
        }
    }

    fn ending(&self, job: JobId, report: &mut CollectReport) -> Ending {
        let collected = &mut report.collected;
        if collected.delete_refused && !self.order.is_in_background {
            collected.warnings.push(format!(
                "the keys of the vault's store do not allow to delete: {} in {} wait for `lockstone gc` with keys that do",
                render::bytes(collected.bytes_reclaimable),
                render::counted(collected.packs_waiting, "pack", "packs")
            ));
        }
        let state = match (collected.cancelled, collected.warnings.is_empty()) {
            (true, _) => JobState::Cancelled,
            (false, true) => JobState::Completed,
            (false, false) => JobState::CompletedWithWarnings,
        };
        let figures = Figures {
            stored_bytes: collected.bytes_written,
            warnings: collected.warnings.len() as u64,
            ..Figures::default()
        };
        let document = GcDocument::new(job, state, self.order.dry_run, self.forgotten, report);
        Ending {
            state,
            failure: None,
            point: None,
            document: value_of(&document),
            figures,
            restarts: report.restarts,
        }
    }
}
