//! The cache folder: its rules, the two records of its place, and moving it. What is in it can be rebuilt from the
//! vault (`lockstone_vault::index`).

pub(crate) mod folder;
mod known;
pub(crate) mod limits;
pub(crate) mod moving;
pub(crate) mod rules;
pub(crate) mod stamp;

use std::path::Path;

use self::limits::Limits;
use self::rules::{Finding, Rule, State, judge};
use self::stamp::{Standing, compare};
use super::environment::Environment;
use super::held_policy::InForce;
use super::state::folder::StateFolder;
use super::state::job_records::JobRecord;
use super::state::registration::Registration;
use crate::failure::Failure;

/// The bytes of the newest recovery point, by the newest of these records that knows them. Newest record first.
pub(crate) fn protected_bytes(records: &[JobRecord]) -> Option<u64> {
    records.iter().find_map(|job| job.seen.as_ref()?.protected_bytes)
}

/// What the rules say of this server's cache folder.
pub(crate) fn look(
    state: &StateFolder,
    registration: &Registration,
    protected_bytes: Option<u64>,
) -> Result<Vec<Finding>, Failure> {
    let folder = registration.cache_folder(state);
    let misplaced = match compare(&folder, registration) {
        Standing::Differs(why) => Some(why),
        Standing::Agrees | Standing::Missing => None,
    };
    judge_place(state, registration, &folder, protected_bytes, misplaced)
}

fn judge_place(
    state: &StateFolder,
    registration: &Registration,
    folder: &Path,
    protected_bytes: Option<u64>,
    misplaced: Option<String>,
) -> Result<Vec<Finding>, Failure> {
    let limits = Limits::load(state).map_err(|error| {
        let hint = "`lockstone cache rules --refuse-percent 5` writes it anew";
        Failure::failed("bad-settings", format!("{error:#}"), hint)
    })?;
    // A policy that cannot be read fails elsewhere.
    let in_force = InForce::load(state, registration.server_id).ok().flatten();
    let system_state = in_force.is_some_and(|in_force| in_force.policy.system_state);
    let known = known::look(folder, protected_bytes, system_state, misplaced);
    Ok(judge(&known, &limits))
}

/// The failure of a job that the cache folder does not allow; `None` if it does.
pub(crate) fn refusal(folder: &Path, findings: &[Finding]) -> Option<Failure> {
    let finding = findings.iter().find(|finding| finding.state == State::Refuse)?;
    let message = sentence(folder, finding);
    let (code, hint) = match finding.rule {
        Rule::Space => (
            "cache-space",
            "free space there, put the cache elsewhere with `lockstone cache move DIR`, or ask for less with `lockstone \
             cache rules`",
        ),
        Rule::Place => (
            "cache-place",
            "`lockstone cache rebuild` makes a new one there; put the folder back first if it was moved by hand, and \
             move it with `lockstone cache move DIR`",
        ),
        _ => (
            "cache-folder",
            "put the cache elsewhere with `lockstone cache move DIR`",
        ),
    };
    Some(Failure::failed(code, message, hint))
}

/// A finding as a sentence that names the folder.
pub(crate) fn sentence(folder: &Path, finding: &Finding) -> String {
    let folder = folder.display();
    match finding.rule {
        Rule::Space => format!("the cache folder {folder} is short of space: {}", finding.reason),
        _ => format!("the cache folder {folder} cannot be relied on: {}", finding.reason),
    }
}

/// What a job has to say of the cache folder before the vault is opened.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// In words, for the job.
    pub(crate) warnings: Vec<String>,
    /// Those of them that are about space, for an alert.
    pub(crate) space: Option<String>,
}

/// Looks at the cache folder before a job. One that `must` have a good one, a backup, is refused if it is not, and
/// writes what is missing of its records. Others only warn.
///
/// A place that is merely temporary is not told here: it costs nothing but time, and a warning each night hides others.
pub(crate) fn before_job(
    state: &StateFolder,
    registration: &mut Registration,
    protected_bytes: Option<u64>,
    must: bool,
) -> Result<Before, Failure> {
    let found = look(state, registration, protected_bytes);
    let findings = match found {
        Err(failure) if !must => {
            return Ok(Before {
                warnings: vec![failure.message],
                space: None,
            });
        }
        other => other?,
    };
    let folder = registration.cache_folder(state);
    if must {
        if let Some(refusal) = refusal(&folder, &findings) {
            return Err(refusal);
        }
        stamp::settle(state, registration)?;
    }
    let is_told = |finding: &&Finding| {
        finding.state == State::Refuse || (finding.state == State::Warn && finding.rule == Rule::Space)
    };
    let told: Vec<&Finding> = findings.iter().filter(is_told).collect();
    let space = told.iter().find(|finding| finding.rule == Rule::Space);
    Ok(Before {
        warnings: told.iter().map(|finding| sentence(&folder, finding)).collect(),
        space: space.map(|finding| sentence(&folder, finding)),
    })
}

/// Removes what a move left behind, once a good backup was made with the new folder. The caller holds the job lock.
pub(crate) fn remove_old(environment: &Environment, state: &StateFolder) {
    let removed = Registration::load(state).and_then(|registration| match registration {
        Some(registration) if registration.old_cache.is_some() => moving::remove_old(state, registration),
        _ => Ok(()),
    });
    if let Err(error) = removed {
        let notices = &environment.notices;
        notices.warn(format!(
            "the cache folder of before the move was not removed: {error:#}"
        ));
    }
}
