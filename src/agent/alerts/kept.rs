//! The alerts of this server, one JSON file each in `<state folder>/alerts`. A file's name begins with its time, so the
//! order of names is the order of time.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;

use super::Alert;
use crate::agent::ids::random;
use crate::agent::state::files::{private_folder, remove_if_there, write_atomically};
use crate::agent::state::folder::StateFolder;
use crate::failure::Failure;

/// How many alerts are kept.
const MAX_KEPT: usize = 1000;

/// Keeps an alert, and removes the oldest if there are too many. Returns its file.
pub(super) fn keep(state: &StateFolder, alert: &Alert) -> Result<PathBuf, Failure> {
    let folder = state.alerts();
    private_folder(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let number = u32::from_le_bytes(random()?);
    let place = folder.join(format!("{:020}-{number:08x}.json", alert.time.as_millisecond()));
    replace(&place, alert)?;
    let files = files(&folder)?;
    for old in files.iter().rev().skip(MAX_KEPT) {
        remove_if_there(old)?;
    }
    Ok(place)
}

/// Writes an alert again.
pub(super) fn replace(place: &Path, alert: &Alert) -> Result<(), Failure> {
    let text = serde_json::to_vec_pretty(alert).map_err(anyhow::Error::from)?;
    Ok(write_atomically(place, &text, 0o600)?)
}

/// All alerts, newest first. A file that is no alert is left out, with a line in the log.
pub(crate) fn all(state: &StateFolder) -> Result<Vec<Alert>, Failure> {
    let mut alerts = Vec::new();
    for path in files(&state.alerts())?.into_iter().rev() {
        let read = std::fs::read(&path).map_err(anyhow::Error::from);
        match read.and_then(|text| Ok(serde_json::from_slice(&text)?)) {
            Ok(alert) => alerts.push(alert),
            Err(error) => tracing::warn!(path = %path.display(), %error, "not an alert"),
        }
    }
    Ok(alerts)
}

/// Writes down that the alerts of a kind are over. Returns whether there were any that were not.
pub(super) fn end(state: &StateFolder, kind: &str, now: Timestamp) -> Result<bool, Failure> {
    let mut any = false;
    for path in files(&state.alerts())? {
        let text = std::fs::read(&path).map_err(anyhow::Error::from)?;
        let Ok(mut alert) = serde_json::from_slice::<Alert>(&text) else {
            continue;
        };
        if alert.kind == kind && alert.ended.is_none() {
            alert.ended = Some(now);
            replace(&path, &alert)?;
            any = true;
        }
    }
    Ok(any)
}

/// The files of the alerts, oldest first.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
