//! A check: whether what is in the vault can be restored, and exactly what cannot.

use std::time::Duration;

use lockstone_actors::{CheckReport, CheckRequest, JobContext, Tuning};
use lockstone_proto::ids::JobId;
use lockstone_proto::job::{JobKind, JobState};
use lockstone_vault::check::CheckReport as Findings;
use serde_json::{Map, Value};

use super::ending::{Ending, Figures, value_of};
use super::perform::Job;
use crate::agent::access::right::{Access, Right};
use crate::agent::access::session::Session;
use crate::agent::environment::Environment;
use crate::agent::known_damage;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::registration::Registration;
use crate::documents::check::CheckDocument;
use crate::failure::{Exit, Failure};
use crate::text::render;

/// The member of a record's request that says that a check was the share of a day.
pub(crate) const ROUND: &str = "round_seconds";

/// What to check.
#[derive(Debug, Clone)]
pub(crate) struct CheckOrder {
    /// The percentage of the packs whose every byte is read; `None`: structure only.
    pub(crate) read_data: Option<u8>,
    /// Every byte is to be read within this time: reads the share of a day. Instead of `read_data`.
    pub(crate) round: Option<Duration>,
    /// What is damaged is repaired, as far as that is possible here.
    pub(crate) repair: bool,
    pub(crate) tuning: Tuning,
}

/// A check that is ready to run.
pub(crate) struct Check {
    order: CheckOrder,
    state: StateFolder,
    right: Right,
}

impl Check {
    /// Fails with `not-registered` (exit 8) if this server's own backups are meant and it has no registration, and with
    /// `read-only` (exit 5) if something is to be repaired by a right that can only read.
    pub(crate) fn prepare(access: &Access, order: CheckOrder) -> Result<Check, Failure> {
        if order.repair && *access != Access::Own {
            let message = "credentials let this machine read, and not repair";
            let hint = "run `lockstone check --repair` on a registered server of that domain";
            return Err(Failure::new(Exit::Refused, "read-only", message, hint));
        }
        let (state, right) = access.right()?;
        Ok(Check { order, state, right })
    }
}

impl Job for Check {
    const KIND: JobKind = JobKind::Check;
    type Request = CheckRequest;
    type Report = CheckReport;

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
        let mut request = Map::from_iter([("read_data".to_owned(), self.order.read_data.into())]);
        if let Some(round) = self.order.round {
            request.insert(ROUND.to_owned(), round.as_secs().into());
        }
        if self.order.repair {
            request.insert("repair".to_owned(), true.into());
        }
        request
    }

    async fn open(&mut self, environment: &Environment, job: JobId) -> Result<(Session, CheckRequest), Failure> {
        let session = Session::open_by(environment, &self.state, &self.right).await?;
        if let Right::Own(registration) = &self.right {
            known_damage::remind(&self.state, registration.server_id, &session)?;
        }
        let request = CheckRequest {
            job,
            read_data: self.order.read_data.map(f64::from),
            round: self.order.round,
            repair: self.order.repair,
        };
        Ok((session, request))
    }

    fn work(request: CheckRequest, context: JobContext) -> Result<CheckReport, Failure> {
        let report = lockstone_actors::check(context, request);
        match report.error {
            Some(error) => Err(error.into()),
            None => Ok(report),
        }
    }

    /// What the check found is remembered, until a check finds it healed.
    async fn follow_up(&mut self, environment: &Environment, _session: &Session, report: &CheckReport) {
        if let Right::Own(registration) = &self.right
            && !report.found.cancelled
        {
            known_damage::remember(environment, &self.state, registration.server_id, report).await;
        }
    }

    /// Damage is the result of a check, and ends it as failed (exit 6).
    fn ending(&self, _job: JobId, report: &mut CheckReport) -> Ending {
        let failure = damage(&report.found, self.order.repair);
        let state = match (&failure, report.found.cancelled, &report.found.not_repaired) {
            (Some(_), ..) => JobState::Failed,
            (None, true, _) => JobState::Cancelled,
            (None, false, Some(_)) => JobState::CompletedWithWarnings,
            (None, false, None) => JobState::Completed,
        };
        Ending {
            state,
            failure,
            point: None,
            document: value_of(&CheckDocument::new(&report.found, report.duration)),
            figures: Figures::default(),
            restarts: report.restarts,
        }
    }
}

fn damage(found: &Findings, repair: bool) -> Option<Failure> {
    let objects = render::counted(found.damaged.len() as u64, "object", "objects");
    let message = format!("the vault is damaged: {objects}");
    let hint = if repair {
        "what is not named above still restores; the next `lockstone backup` stores again what its sources still have; \
         put the objects back from a copy of the vault if there is one"
    } else {
        "what is not named above still restores; `lockstone check --repair` heals what is whole elsewhere, and the next \
         `lockstone backup` stores again what its sources still have"
    };
    (!found.damaged.is_empty()).then(|| Failure::new(Exit::Damaged, "damaged", message, hint))
}
