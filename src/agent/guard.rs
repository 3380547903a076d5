//! The guard: after each backup its figures are compared with those of the backups before (`policy::guard` decides). If
//! it is strange, an alarm is raised: the backup stands, and nothing more is deleted by the policy until somebody has
//! looked and cleared it. `guard.json` in the state folder holds the alarm.

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use lockstone_actors::BackupReport;
use lockstone_proto::ids::{JobId, PointId, ServerId};
use lockstone_proto::job::JobKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::agent::state::files::{remove_if_there, write_atomically};
use crate::agent::state::folder::StateFolder;
use crate::agent::state::job_records::JobRecord;
use crate::policy::{Figures, Strange, strange};
use crate::text::render;

/// The layout of `guard.json`.
const VERSION: u32 = 1;
/// So many earlier backups are looked at.
const HISTORY: usize = 20;
/// So many records are read to find them. There are restores, and backups of other sources.
pub(crate) const RECORDS: usize = 100;

/// An alarm that somebody has to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alarm {
    version: u32,
    server_id: ServerId,
    pub(crate) at: Timestamp,
    pub(crate) job: JobId,
    /// The recovery point that looks strange.
    pub(crate) point: Option<PointId>,
    /// What is strange about it, in words.
    pub(crate) reasons: Vec<String>,
}

impl Alarm {
    /// The alarm of this server that was not cleared; `None` if there is none.
    pub(crate) fn load(state: &StateFolder, server_id: ServerId) -> anyhow::Result<Option<Alarm>> {
        let path = state.guard();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let alarm: Alarm =
            serde_json::from_slice(&text).with_context(|| format!("{} is not an alarm", path.display()))?;
        if alarm.version != VERSION {
            bail!("{} is of version {}", path.display(), alarm.version);
        }
        Ok((alarm.server_id == server_id).then_some(alarm))
    }

    /// Somebody has looked.
    pub(crate) fn clear(state: &StateFolder) -> anyhow::Result<()> {
        remove_if_there(&state.guard())
    }

    /// One sentence for people.
    pub(crate) fn sentence(&self) -> String {
        format!(
            "the backup of {} looks strange: {}; nothing is deleted by the policy until `lockstone guard clear`",
            render::local_time(self.at.as_second()),
            self.reasons.join("; ")
        )
    }
}

/// Whether an alarm of this server waits for somebody to look. One that cannot be read is one.
pub(crate) fn is_raised(server_id: ServerId) -> anyhow::Result<bool> {
    let state = StateFolder::locate()?;
    Ok(Alarm::load(&state, server_id).map_or(true, |alarm| alarm.is_some()))
}

/// Looks at a backup that has made a recovery point. `sources`: what was backed up; `earlier`: records, newest first.
/// Raises the alarm if the backup is strange, and returns it.
pub(crate) fn look(
    state: &StateFolder,
    server_id: ServerId,
    report: &BackupReport,
    sources: &Value,
    earlier: &[JobRecord],
    now: Timestamp,
) -> anyhow::Result<Option<Alarm>> {
    let is_alike = |job: &&JobRecord| {
        job.kind == JobKind::Backup
            && job.state.is_success()
            && job.job != report.job
            && job.request.get("sources") == Some(sources)
    };
    let before = earlier.iter().filter(is_alike).take(HISTORY);
    let before: Vec<Figures> = before.map(|job| figures_of(&job.report)).collect();
    let found = strange(&figures(report), &before);
    if found.is_empty() {
        return Ok(None);
    }
    let alarm = Alarm {
        version: VERSION,
        server_id,
        at: now,
        job: report.job,
        point: report.point,
        reasons: found.iter().map(words).collect(),
    };
    write_atomically(&state.guard(), &serde_json::to_vec_pretty(&alarm)?, 0o600)?;
    Ok(Some(alarm))
}

fn figures(report: &BackupReport) -> Figures {
    Figures {
        files_new: report.files_new,
        files_changed: report.files_changed,
        files_unchanged: report.files_unchanged,
        bytes_new: report.bytes_new,
        bytes_stored: report.bytes_stored,
        suffixes: report.suffixes.clone(),
    }
}

/// The figures that the record of a job kept.
fn figures_of(report: &Map<String, Value>) -> Figures {
    let number = |name: &str| report.get(name).and_then(Value::as_u64).unwrap_or(0);
    let suffixes = report.get("suffixes").and_then(Value::as_array);
    let suffix = |one: &Value| Some((one.get("suffix")?.as_str()?.to_owned(), one.get("files")?.as_u64()?));
    Figures {
        files_new: number("files_new"),
        files_changed: number("files_changed"),
        files_unchanged: number("files_unchanged"),
        bytes_new: number("bytes_new"),
        bytes_stored: number("bytes_stored"),
        suffixes: suffixes.into_iter().flatten().filter_map(suffix).collect(),
    }
}

fn words(strange: &Strange) -> String {
    match strange {
        Strange::Changed { files, of } => format!(
            "{} of {} files changed or are gone",
            render::count(*files),
            render::count(*of)
        ),
        Strange::Incompressible { now, before } => {
            format!("new data hardly compresses ({now} % of it was stored, {before} % before)")
        }
        Strange::Suffix { suffix, files, of } => format!(
            "{} of {} new and changed files end in .{}, which is new",
            render::count(*files),
            render::count(*of),
            render::name(suffix.as_bytes())
        ),
    }
}
