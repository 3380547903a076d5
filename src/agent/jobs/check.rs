//! A check: whether what is in the vault can be restored, and exactly what cannot.

use std::time::{Duration, Instant};

use lockstone_actors::{CheckReport, CheckRequest, Tuning};
use lockstone_proto::ids::JobId;
use lockstone_proto::job::{JobKind, JobState};
use serde_json::{Map, Value};

use super::ending::{Ending, Figures, value_of};
use super::perform::{Job, PipelineContext};
use crate::agent::access::right::{Access, Right};
use crate::agent::access::session::Session;
use crate::agent::environment::Environment;
use crate::agent::state::folder::StateFolder;
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

/// What a check found, and how long it took.
pub(crate) struct Checked {
    pub(crate) report: CheckReport,
    pub(crate) duration: Duration,
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
    type Report = Checked;

    fn state(&self) -> &StateFolder {
        &self.state
    }

    fn tuning(&self) -> Tuning {
        self.order.tuning.clone()
    }

    fn request_for_record(&self) -> Map<String, Value> {
        Map::from_iter([("read_data".to_owned(), self.order.read_data.into())])
    }

    async fn open(&mut self, environment: &Environment, _job: JobId) -> Result<(Session, CheckRequest), Failure> {
        let session = Session::open_by(environment, &self.state, &self.right).await?;
        let request = CheckRequest {
            read_data: self.order.read_data.map(f64::from),
        };
        Ok((session, request))
    }

    fn work(request: CheckRequest, context: PipelineContext) -> Result<Checked, Failure> {
        let started = Instant::now();
        let report = lockstone_actors::check(
            &context.domain,
            request,
            context.tuning,
            &context.metrics,
            &context.progress,
            &context.cancel,
        )?;
        Ok(Checked {
            report,
            duration: started.elapsed(),
        })
    }

    /// Damage is the result of a check, and ends it as failed (exit 6).
    fn ending(&self, _job: JobId, checked: &mut Checked) -> Ending {
        let report = &checked.report;
        let failure = damage(report);
        let state = match (&failure, report.cancelled) {
            (Some(_), _) => JobState::Failed,
            (None, true) => JobState::Cancelled,
            (None, false) => JobState::Completed,
        };
        Ending {
            state,
            failure,
            point: None,
            document: value_of(&CheckDocument::new(report, checked.duration)),
            figures: Figures::default(),
            restarts: 0,
        }
    }
}

fn damage(report: &CheckReport) -> Option<Failure> {
    let objects = render::counted(report.damaged.len() as u64, "object", "objects");
    let message = format!("the vault is damaged: {objects}");
    let hint = "what is not named above still restores; put the objects back from a copy of the vault if there is one";
    (!report.damaged.is_empty()).then(|| Failure::new(Exit::Damaged, "damaged", message, hint))
}
