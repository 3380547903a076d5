//! A check: whether what is in the vault can be restored, and exactly what cannot.

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
use crate::agent::state::folder::StateFolder;
use crate::agent::state::registration::Registration;
use crate::documents::check::CheckDocument;
use crate::failure::{Exit, Failure};
use crate::text::render;

/// What to check.
#[derive(Debug, Clone)]
pub(crate) struct CheckOrder {
    /// The percentage of the packs whose every byte is read; `None`: structure only.
    pub(crate) read_data: Option<u8>,
    pub(crate) tuning: Tuning,
}

/// A check that is ready to run.
pub(crate) struct Check {
    order: CheckOrder,
    state: StateFolder,
    right: Right,
}

impl Check {
    /// Fails with `not-registered` (exit 8) if this server's own backups are meant and it has no registration.
    pub(crate) fn prepare(access: &Access, order: CheckOrder) -> Result<Check, Failure> {
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
        Map::from_iter([("read_data".to_owned(), self.order.read_data.into())])
    }

    async fn open(&mut self, environment: &Environment, job: JobId) -> Result<(Session, CheckRequest), Failure> {
        let session = Session::open_by(environment, &self.state, &self.right).await?;
        let request = CheckRequest {
            job,
            read_data: self.order.read_data.map(f64::from),
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

    /// Damage is the result of a check, and ends it as failed (exit 6).
    fn ending(&self, _job: JobId, report: &mut CheckReport) -> Ending {
        let failure = damage(&report.found);
        let state = match (&failure, report.found.cancelled) {
            (Some(_), _) => JobState::Failed,
            (None, true) => JobState::Cancelled,
            (None, false) => JobState::Completed,
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

fn damage(found: &Findings) -> Option<Failure> {
    let objects = render::counted(found.damaged.len() as u64, "object", "objects");
    let message = format!("the vault is damaged: {objects}");
    let hint = "what is not named above still restores; put the objects back from a copy of the vault if there is one";
    (!found.damaged.is_empty()).then(|| Failure::new(Exit::Damaged, "damaged", message, hint))
}
