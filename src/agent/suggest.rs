//! Recovery points and jobs to choose from while a command is typed. A shell asks at each press of a key, so the answer
//! is quick or short: nothing is asked, and what is slow is given up.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::access::session::Session;
use super::environment::Environment;
use super::ids::new_job_id;
use super::state::folder::StateFolder;
use super::state::job_records::{self, JobRecord};
use super::state::lock::{JobLock, ToRead};
use super::state::registration::Registration;
use crate::failure::Failure;
use crate::text::render;

/// Somebody who types does not wait longer.
const WITHIN: Duration = Duration::from_secs(2);
/// More than these nobody reads.
const MOST: usize = 50;

/// One thing to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suggestion {
    /// Its id, hex digits.
    pub(crate) id: String,
    /// What it is, in a line.
    pub(crate) about: String,
}

/// This server's recovery points, newest first. If the vault cannot be read now or quickly, those that the records of
/// the jobs know.
pub(crate) async fn points(environment: &Environment) -> Vec<Suggestion> {
    let asked = tokio::time::timeout(WITHIN, of_vault(environment)).await;
    match asked {
        Ok(Ok(Some(points))) => points,
        _ => StateFolder::locate().map_or_else(|_| Vec::new(), |state| of_records(&records(&state))),
    }
}

/// This server's jobs, newest first.
pub(crate) fn jobs() -> Vec<Suggestion> {
    let Ok(state) = StateFolder::locate() else {
        return Vec::new();
    };
    let about = |job: &JobRecord| format!("{} {} {}", time(&job.started), job.kind, job.state);
    let jobs = records(&state).into_iter().take(MOST).map(|job| Suggestion {
        about: about(&job),
        id: job.job.hex(),
    });
    jobs.collect()
}

/// `None` if the cache folder is in use. To read without it takes long.
async fn of_vault(environment: &Environment) -> Result<Option<Vec<Suggestion>>, Failure> {
    let state = StateFolder::locate()?;
    let Some(registration) = Registration::load(&state)? else {
        return Ok(Some(Vec::new()));
    };
    let ToRead::Free(lock) = JobLock::take_to_read(&state, new_job_id()?)? else {
        return Ok(None);
    };
    let session = Session::open(environment, &state, &registration).await?;
    let view = session.view(environment).await?;
    let own = view.alive().filter(|point| session.is_own(point.server));
    let suggestions = own.map(|point| {
        let sources: Vec<String> = point.body.sources.iter().map(|source| render::name(source)).collect();
        Suggestion {
            id: point.id.hex(),
            about: format!("{} {}", render::local_time(point.summary.started_s), sources.join(" ")),
        }
    });
    let mut suggestions: Vec<Suggestion> = suggestions.collect();
    drop(lock);
    suggestions.reverse();
    suggestions.truncate(MOST);
    Ok(Some(suggestions))
}

fn records(state: &StateFolder) -> Vec<JobRecord> {
    job_records::all(state).unwrap_or_default()
}

/// The points that these jobs, newest first, made and that none of them deleted.
fn of_records(jobs: &[JobRecord]) -> Vec<Suggestion> {
    let texts = |value: Option<&Value>| -> Vec<String> {
        let texts = value.and_then(Value::as_array).into_iter().flatten();
        texts.filter_map(|text| Some(text.as_str()?.to_owned())).collect()
    };
    let deleted = jobs.iter().flat_map(|job| texts(job.report.get("points_forgotten")));
    let deleted: BTreeSet<String> = deleted.collect();
    let made = jobs.iter().filter_map(|job| {
        let point = job.makes.or(job.point).filter(|_| job.state.is_success())?;
        Some(Suggestion {
            id: job
                .report
                .get("point")?
                .as_str()
                .filter(|id| *id == point.hex())?
                .to_owned(),
            about: format!("{} {}", time(&job.started), texts(job.request.get("sources")).join(" ")),
        })
    });
    made.filter(|point| !deleted.contains(&point.id)).take(MOST).collect()
}

/// The local form of a time in a record.
fn time(text: &str) -> String {
    text.parse::<Timestamp>()
        .map_or_else(|_| text.to_owned(), |time| render::local_time(time.as_second()))
}
