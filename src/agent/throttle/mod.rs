//! `throttle.json` in the state folder: how fast the agent may send and fetch, and when. Written by `throttle set`, read by
//! every process of the agent, again whenever it changes, so that a change acts on a job that runs.
//!
//! Rates are kept as they were written. A window that is open decides for the ways it names; of several, the first. Options of
//! a job (`--upload-limit`) decide before all of that.

mod window;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lockstone_actors::throttle::Limits;
use serde::{Deserialize, Serialize};

use super::home::{Home, remove_if_there, write_atomically};
use super::signals;
use crate::failure::Failure;
use crate::text::units::{self, Rate};
pub use window::Window;

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ThrottleSettings {
    /// Outside of windows, to the vault: `20Mbps`, `8MiB/s`, `unlimited`, `0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    /// Outside of windows, from the vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download: Option<String>,
    /// Requests a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// `mon-fri 08:00-18:00 2Mbps`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<String>,
    /// An IANA name; without one, the machine's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

impl ThrottleSettings {
    /// Reads the file; without one nothing is limited.
    ///
    /// # Errors
    /// It cannot be read, or says what means nothing, in words.
    pub fn load(path: &Path) -> Result<ThrottleSettings, String> {
        match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(ThrottleSettings::default()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Writes the file, or removes it where nothing is set.
    ///
    /// # Errors
    /// It could not be written.
    pub fn save(&self, home: &Home) -> anyhow::Result<()> {
        home.prepare()?;
        let path = home.throttle();
        if *self == ThrottleSettings::default() {
            return remove_if_there(&path);
        }
        let text = serde_json::to_string_pretty(self)? + "\n";
        write_atomically(&path, text.as_bytes(), 0o600)
    }

    /// What it means.
    ///
    /// # Errors
    /// What means nothing, in words.
    pub fn plan(&self) -> Result<Plan, String> {
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

/// Limits by time.
#[derive(Debug, Clone)]
pub struct Plan {
    up: Option<u64>,
    down: Option<u64>,
    requests: Option<u64>,
    windows: Vec<Window>,
    zone: TimeZone,
}

impl Plan {
    /// The limits at a moment.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Limits {
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

    /// Which of the windows are open at a moment, by their place.
    #[must_use]
    pub fn open_at(&self, now: Timestamp) -> Vec<usize> {
        let here = now.to_zoned(self.zone.clone()).datetime();
        let is_open = |place: &usize| self.windows.get(*place).is_some_and(|window| window.is_open(here));
        (0..self.windows.len()).filter(is_open).collect()
    }

    /// The name of the time zone.
    #[must_use]
    pub fn zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("the machine's")
    }
}

/// What a job's own options say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--upload-limit`.
    pub up: Option<Rate>,
    /// `--download-limit`.
    pub down: Option<Rate>,
}

/// Knows the limits of now: reads the file again where it has changed or SIGHUP came, and looks at the clock.
#[derive(Debug)]
pub struct Source {
    path: Option<PathBuf>,
    overrides: Overrides,
    seen: Option<Stamp>,
    plan: Plan,
}

/// What shows that the file has changed, and how often SIGHUP came.
type Stamp = (Option<(u64, i64, i64, u64)>, u64);

impl Source {
    /// A source that has read the file.
    ///
    /// # Errors
    /// `usage` where the file means nothing.
    pub fn open(overrides: Overrides) -> Result<Source, Failure> {
        let path = Home::locate().ok().map(|home| home.throttle());
        let (settings, seen) = match &path {
            Some(path) => (ThrottleSettings::load(path), Some(stamp(path))),
            None => (Ok(ThrottleSettings::default()), None),
        };
        let plan = settings.and_then(|settings| settings.plan()).map_err(|why| {
            let shown = path.as_deref().unwrap_or(Path::new("throttle.json")).display();
            Failure::usage(
                format!("{shown}: {why}"),
                "`lockstone throttle clear` removes all limits",
            )
        })?;
        Ok(Source {
            path,
            overrides,
            seen,
            plan,
        })
    }

    /// The limits of now.
    pub fn now(&mut self) -> Limits {
        self.reread();
        let limits = self.plan.at(Timestamp::now());
        Limits {
            up: self.overrides.up.map_or(limits.up, |Rate(limit)| limit),
            down: self.overrides.down.map_or(limits.down, |Rate(limit)| limit),
            ..limits
        }
    }

    fn reread(&mut self) {
        let Some(path) = &self.path else { return };
        let stamp = Some(stamp(path));
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

fn stamp(path: &Path) -> Stamp {
    let file = fs::metadata(path).ok();
    let file = file.map(|file| (file.ino(), file.mtime(), file.mtime_nsec(), file.len()));
    (file, signals::hangups())
}

#[cfg(test)]
#[path = "throttle_tests.rs"]
mod tests;
