//! `throttle.json` in the state folder: how fast the agent may send and fetch, and when. `throttle set` writes it.
//! Every process of the agent reads it, and reads it again when it changes, so a change acts on a running job.
//!
//! The file keeps rates as they were typed. While a window is open, its rates replace the others; of several open
//! windows, the first that names a direction decides for it. Options of a job (`--upload-limit`) come before all of
//! that.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lockstone_actors::throttle::Limits;
use serde::{Deserialize, Serialize};

use super::reload::ReloadRequests;
use super::window::Window;
use crate::agent::state::files::{remove_if_there, write_atomically};
use crate::agent::state::folder::StateFolder;
use crate::failure::Failure;
use crate::policy::Bandwidth;
use crate::text::units::{self, Rate};

/// Windows repeat after a week.
const MINUTES_A_WEEK: i64 = 7 * 24 * 60;

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ThrottleSettings {
    /// Outside of windows, to the vault: `20Mbps`, `8MiB/s`, `unlimited`, `0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upload: Option<String>,
    /// Outside of windows, from the vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) download: Option<String>,
    /// Requests a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests: Option<u32>,
    /// `mon-fri 08:00-18:00 2Mbps`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) windows: Vec<String>,
    /// An IANA name; without one, the machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time_zone: Option<String>,
}

impl ThrottleSettings {
    /// Reads the file. If there is no file, nothing is limited. The error says what cannot be read or understood.
    pub(crate) fn load(path: &Path) -> Result<ThrottleSettings, String> {
        match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(ThrottleSettings::default()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Writes the file, or removes it if nothing is set.
    pub(crate) fn save(&self, state: &StateFolder) -> anyhow::Result<()> {
        state.prepare()?;
        let path = state.throttle_settings();
        if *self == ThrottleSettings::default() {
            return remove_if_there(&path);
        }
        let text = serde_json::to_string_pretty(self)? + "\n";
        write_atomically(&path, text.as_bytes(), 0o600)
    }

    /// The settings that a policy asks for.
    pub(crate) fn of(bandwidth: &Bandwidth, zone: Option<&str>) -> ThrottleSettings {
        ThrottleSettings {
            upload: bandwidth.upload.clone(),
            download: bandwidth.download.clone(),
            requests: None,
            windows: bandwidth.windows.clone(),
            time_zone: zone.map(str::to_owned),
        }
    }

    /// The limits by time that these settings mean. The error says which setting is not understood.
    pub(crate) fn plan(&self) -> Result<Plan, String> {
        let limit = |text: &Option<String>| text.as_deref().map_or(Ok(Rate(None)), units::rate);
        let zone = match self.time_zone.as_deref() {
            Some(name) => TimeZone::get(name)
                .map_err(|_| format!("there is no time zone {name:?}; names are such as Europe/Berlin or UTC"))?,
            None => TimeZone::system(),
        };
        Ok(Plan {
            up: limit(&self.upload)?.0,
            down: limit(&self.download)?.0,
            requests: self.requests.map(u64::from),
            windows: self.windows.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
            zone,
        })
    }
}

/// The limits at any time.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    up: Option<u64>,
    down: Option<u64>,
    requests: Option<u64>,
    windows: Vec<Window>,
    zone: TimeZone,
}

impl Plan {
    /// The limits at a moment.
    pub(crate) fn at(&self, now: Timestamp) -> Limits {
        let here = now.to_zoned(self.zone.clone()).datetime();
        let open = || self.windows.iter().filter(|window| window.is_open(here));
        Limits {
            up: open().find_map(|window| window.up).map_or(self.up, |Rate(limit)| limit),
            down: open()
                .find_map(|window| window.down)
                .map_or(self.down, |Rate(limit)| limit),
            requests: self.requests,
        }
    }

    /// When a pause of a direction ends that is in force at a moment, by the clock of the windows' time zone:
    /// `18:00`, or `Mon 18:00` on another day. `None` if windows alone do not end it.
    fn pause_ends(&self, now: Timestamp) -> Option<String> {
        let here = now.to_zoned(self.zone.clone());
        let is_paused = |limits: Limits| limits.up == Some(0) || limits.down == Some(0);
        let minute = now.as_second().div_euclid(60);
        let end = (minute + 1..=minute + MINUTES_A_WEEK)
            .filter_map(|minute| Timestamp::from_second(minute * 60).ok())
            .find(|at| !is_paused(self.at(*at)))?
            .to_zoned(self.zone.clone());
        let form = if end.date() == here.date() { "%H:%M" } else { "%a %H:%M" };
        Some(end.strftime(form).to_string())
    }

    /// The places in the list of windows of those that are open at a moment.
    pub(crate) fn open_at(&self, now: Timestamp) -> Vec<usize> {
        let here = now.to_zoned(self.zone.clone()).datetime();
        let is_open = |place: &usize| self.windows.get(*place).is_some_and(|window| window.is_open(here));
        (0..self.windows.len()).filter(is_open).collect()
    }

    /// The name of the time zone.
    pub(crate) fn zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("the machine's")
    }
}

/// What a job's own options say. They come before the settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    /// `--upload-limit`.
    pub(crate) up: Option<Rate>,
    /// `--download-limit`.
    pub(crate) down: Option<Rate>,
}

/// Knows the limits of now. Reads the file again when it has changed or when a reload was asked for.
#[derive(Debug)]
pub(crate) struct LimitSource {
    path: Option<PathBuf>,
    overrides: Overrides,
    reload: ReloadRequests,
    seen: Option<Stamp>,
    plan: Plan,
    pause: Arc<Pause>,
}

/// When the pause that is in force ends, in words. Shared with a display.
#[derive(Debug, Default)]
pub(crate) struct Pause(Mutex<Option<(i64, Option<String>)>>);

impl Pause {
    /// `None` if it is not known when the pause ends.
    pub(crate) fn end(&self) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().and_then(|(_, end)| end.clone())
    }

    /// Notes the pause of now. The end is looked for once a minute.
    fn note(&self, limits: Limits, now: Timestamp, find: impl FnOnce() -> Option<String>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.as_second() / 60;
        if limits.up != Some(0) && limits.down != Some(0) {
            *known = None;
        } else if known.as_ref().is_none_or(|(found, _)| *found != minute) {
            *known = Some((minute, find()));
        }
    }
}

/// Changes when the file changes or a reload is asked for: inode, modification time and length of the file, and the
/// number of reloads asked for so far.
type Stamp = (Option<(u64, i64, i64, u64)>, u64);

impl LimitSource {
    /// Reads the file for the first time. Fails with `usage` if it is not understood.
    pub(crate) fn open(overrides: Overrides, reload: ReloadRequests) -> Result<LimitSource, Failure> {
        let path = StateFolder::locate().ok().map(|state| state.throttle_settings());
        let (settings, seen) = match &path {
            Some(path) => (ThrottleSettings::load(path), Some(stamp(path, &reload))),
            None => (Ok(ThrottleSettings::default()), None),
        };
        let plan = settings.and_then(|settings| settings.plan()).map_err(|why| {
            let shown = path.as_deref().unwrap_or(Path::new("throttle.json")).display();
            let hint = "`lockstone throttle clear` removes all limits";
            Failure::usage(format!("{shown}: {why}"), hint)
        })?;
        Ok(LimitSource {
            path,
            overrides,
            reload,
            seen,
            plan,
            pause: Arc::default(),
        })
    }

    /// When the pause that is in force ends.
    pub(crate) fn pause(&self) -> Arc<Pause> {
        Arc::clone(&self.pause)
    }

    /// The limits of now.
    pub(crate) fn now(&mut self) -> Limits {
        let before = self.seen;
        self.read_again_if_changed();
        let now = Timestamp::now();
        let limits = self.plan.at(now);
        if before != self.seen {
            self.pause.note(Limits::default(), now, || None);
        }
        self.pause.note(limits, now, || self.plan.pause_ends(now));
        Limits {
            up: self.overrides.up.map_or(limits.up, |Rate(limit)| limit),
            down: self.overrides.down.map_or(limits.down, |Rate(limit)| limit),
            ..limits
        }
    }

    fn read_again_if_changed(&mut self) {
        let Some(path) = &self.path else { return };
        let stamp = Some(stamp(path, &self.reload));
        if self.seen == stamp {
            return;
        }
        self.seen = stamp;
        match ThrottleSettings::load(path).and_then(|settings| settings.plan()) {
            Ok(plan) => self.plan = plan,
            Err(why) => {
                tracing::warn!(file = %path.display(), %why, "the throttle's settings mean nothing; those before are kept");
            }
        }
    }
}

fn stamp(path: &Path, reload: &ReloadRequests) -> Stamp {
    let file = fs::metadata(path).ok();
    let file = file.map(|file| (file.ino(), file.mtime(), file.mtime_nsec(), file.len()));
    (file, reload.count())
}

#[cfg(test)]
mod tests;
