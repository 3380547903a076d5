//! The policy file: TOML, checked as a whole. What is wrong is said with line and column; a key that is not known is an
//! error, so that a typing mistake never switches something off.
//!
//! The text itself is kept as it is, with its comments. This module only reads it.

mod care;
mod notify;
mod raw;
mod tiers;

use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::Deserialize;

pub(crate) use self::care::TestRestore;
pub(crate) use self::notify::{Mail, Notify, Occasion};
use self::raw::{At, RawItem, RawPolicy, RawSchedule};
use super::calendar::{self, Weekdays};
use super::retention::Retention;
use super::schedule::Schedule;

/// A policy that has been checked.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// Exclude patterns for every item.
    pub(crate) exclude: Vec<String>,
    /// Whether the system state is protected, too.
    pub(crate) system_state: bool,
    /// Whether the files of all packages are checked for it.
    pub(crate) package_check: bool,
    /// Mount points of volumes that are backed up although they are not eligible.
    pub(crate) allow_volume: Vec<PathBuf>,
    /// The limits of the line, as typed.
    pub(crate) bandwidth: Option<Bandwidth>,
    /// What is backed up.
    pub(crate) items: Vec<Item>,
    /// When. Without times: only on demand.
    pub(crate) schedule: Schedule,
    /// For how long recovery points are kept.
    pub(crate) retention: Retention,
    /// Programs around a backup.
    pub(crate) hooks: Hooks,
    /// Who hears of what.
    pub(crate) notify: Notify,
    /// Within which time every byte of the vault is read once. `None`: the agent reads nothing by itself.
    pub(crate) check: Option<Duration>,
    /// How often some files are restored on trial. `None`: never.
    pub(crate) test_restore: Option<TestRestore>,
    /// What is odd without being wrong.
    pub(crate) warnings: Vec<String>,
}

impl Policy {
    /// Whether the runs of another policy, and the tiers that they belong to, are the same. Spans may differ.
    pub(crate) fn has_same_slots(&self, other: &Policy) -> bool {
        fn runs(schedule: &Schedule) -> impl PartialEq + '_ {
            (&schedule.zone, &schedule.times, schedule.days, schedule.every_weeks)
        }
        fn tiers(retention: &Retention) -> Vec<impl PartialEq + '_> {
            retention
                .tiers
                .iter()
                .map(|rule| (rule.tier, &rule.days, &rule.at))
                .collect()
        }
        runs(&self.schedule) == runs(&other.schedule) && tiers(&self.retention) == tiers(&other.retention)
    }
}

/// One thing that is backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Where its content comes from.
    pub(crate) source: Source,
    /// Exclude patterns of this item.
    pub(crate) exclude: Vec<String>,
    /// Whether other file systems below it are left out.
    pub(crate) one_file_system: bool,
    /// `auto`, `off` or `require`; `None` if nothing is said.
    pub(crate) snapshot: Option<String>,
    /// Whether folders with a valid cache tag are backed up, too.
    pub(crate) include_caches: bool,
}

/// Where the content of an item comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file or folder, by its absolute path.
    Path(PathBuf),
    /// What a program prints, as one file with this name.
    Command {
        /// The file's name.
        name: String,
        /// The program and its arguments.
        command: Vec<String>,
        /// Whether the backup fails if the program does.
        required: bool,
    },
}

/// The limits of the line, as `throttle set` takes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Bandwidth {
    /// A rate to the vault.
    pub(crate) upload: Option<String>,
    /// A rate from the vault.
    pub(crate) download: Option<String>,
    /// Windows with rates of their own.
    pub(crate) windows: Vec<String>,
}

/// Programs around a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hooks {
    /// Runs before the backup. Empty: none.
    pub(crate) before: Vec<String>,
    /// Runs after it, whatever became of it. Empty: none.
    pub(crate) after: Vec<String>,
    /// Whether the backup fails if `before` does.
    pub(crate) before_required: bool,
    /// For how long each of them may run.
    pub(crate) timeout: Duration,
}

/// One thing that is wrong with a policy file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub(crate) struct PolicyError {
    /// The line, from 1.
    pub(crate) line: usize,
    /// The column in characters, from 1.
    pub(crate) column: usize,
    /// What is wrong.
    pub(crate) message: String,
}

/// A policy with everything that can be said, with comments. What is not switched on is commented out.
pub(crate) const EXAMPLE: &str = include_str!("example.toml");

/// Reads a policy. `machine` is the zone of a policy that names none.
///
/// # Errors
/// Everything that is wrong with it, at least one thing, in the order of the text.
pub(crate) fn parse(text: &str, machine: &TimeZone) -> Result<Policy, Vec<PolicyError>> {
    let raw: RawPolicy = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        vec![place(text, at, error.message().to_owned())]
    })?;
    let mut check = Check {
        text,
        errors: Vec::new(),
    };
    let policy = check.policy(&raw, machine);
    if check.errors.is_empty() {
        return Ok(policy);
    }
    check.errors.sort_by_key(|error| (error.line, error.column));
    Err(check.errors)
}

fn place(text: &str, at: usize, message: String) -> PolicyError {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    PolicyError {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message,
    }
}

/// For how long a hook may run if the policy does not say it: a database may take a while to stop.
const HOOK_TIMEOUT: Duration = Duration::from_secs(60 * 60);

const NO_WEEKDAY: &str = "a day of the week is one of mon, tue, wed, thu, fri, sat, sun";

/// A check under way: the text, and what was found wrong so far.
struct Check<'t> {
    text: &'t str,
    errors: Vec<PolicyError>,
}

impl Check<'_> {
    fn wrong<T>(&mut self, at: &At<T>, message: impl Into<String>) {
        self.errors.push(place(self.text, at.span().start, message.into()));
    }

    fn policy(&mut self, raw: &RawPolicy, machine: &TimeZone) -> Policy {
        let items = raw.item.iter().filter_map(|item| self.item(item)).collect();
        if raw.item.is_empty() && !raw.system_state {
            let message = "nothing is protected: name at least one [[item]], or set system_state = true";
            self.errors.push(place(self.text, 0, message.to_owned()));
        }
        let schedule = self.schedule(raw.schedule.as_ref(), machine);
        let mut warnings = Vec::new();
        let retention = match &raw.retention {
            Some(retention) => self.retention(retention, raw.short_retention, &schedule, &mut warnings),
            None => {
                let message = "there is no [retention]: say for how long recovery points are kept";
                self.errors.push(place(self.text, self.text.len(), message.to_owned()));
                Retention { tiers: Vec::new() }
            }
        };
        let timeout = self.hook_timeout(raw.hooks.as_ref().and_then(|hooks| hooks.timeout.as_ref()));
        let mut command = |command: &Option<At<Vec<String>>>| {
            let command = command.as_ref()?;
            if command.get_ref().first().is_none_or(String::is_empty) {
                self.wrong(command, "the command is empty");
            }
            Some(command.get_ref().clone())
        };
        let hooks = raw.hooks.as_ref();
        let hooks = Hooks {
            before: hooks.and_then(|hooks| command(&hooks.before)).unwrap_or_default(),
            after: hooks.and_then(|hooks| command(&hooks.after)).unwrap_or_default(),
            before_required: hooks.is_none_or(|hooks| hooks.before_required),
            timeout,
        };
        let notify = raw.notify.as_ref();
        let notify = Notify {
            command: notify.and_then(|notify| command(&notify.command)).unwrap_or_default(),
            webhook: notify.and_then(|notify| self.webhook(notify.webhook.as_ref())),
            mail: notify.and_then(|notify| self.mail(notify.mail.as_ref())),
            on: self.occasions(notify.and_then(|notify| notify.on.as_deref())),
        };
        Policy {
            exclude: raw.exclude.clone(),
            system_state: raw.system_state,
            package_check: raw.package_check,
            allow_volume: raw.allow_volume.iter().map(|mount| self.absolute(mount)).collect(),
            bandwidth: raw.bandwidth.as_ref().map(|bandwidth| bandwidth.get_ref().clone()),
            items,
            schedule,
            retention,
            hooks,
            notify,
            check: self.check(raw.check.as_ref()),
            test_restore: self.test_restore(raw.test_restore.as_ref()),
            warnings,
        }
    }

    fn item(&mut self, raw: &At<RawItem>) -> Option<Item> {
        let item = raw.get_ref();
        let source = match (&item.path, &item.name, &item.command) {
            (Some(path), None, None) => Source::Path(self.absolute(path)),
            (None, Some(name), Some(command)) => {
                let bad = |name: &str| name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']);
                if bad(name.get_ref()) {
                    self.wrong(name, "this cannot be the name of a file");
                }
                if command.get_ref().first().is_none_or(String::is_empty) {
                    self.wrong(command, "the command is empty");
                }
                Source::Command {
                    name: name.get_ref().clone(),
                    command: command.get_ref().clone(),
                    required: item.required.as_ref().is_none_or(|required| *required.get_ref()),
                }
            }
            _ => {
                self.wrong(raw, "an item has either a path, or a name and a command");
                return None;
            }
        };
        if let (Source::Path(_), Some(required)) = (&source, &item.required) {
            self.wrong(required, "required is for items with a command");
        }
        if let Some(snapshot) = &item.snapshot
            && !["auto", "off", "require"].contains(&snapshot.get_ref().as_str())
        {
            self.wrong(snapshot, "snapshot is \"auto\", \"off\" or \"require\"");
        }
        Some(Item {
            source,
            exclude: item.exclude.clone(),
            one_file_system: item.one_file_system,
            snapshot: item.snapshot.as_ref().map(|snapshot| snapshot.get_ref().clone()),
            include_caches: item.include_caches,
        })
    }

    fn absolute(&mut self, path: &At<String>) -> PathBuf {
        if !path.get_ref().starts_with('/') {
            self.wrong(path, "the path is not absolute: it must begin with /");
        }
        PathBuf::from(path.get_ref())
    }

    fn hook_timeout(&mut self, raw: Option<&At<String>>) -> Duration {
        let Some(raw) = raw else { return HOOK_TIMEOUT };
        let parsed = raw.get_ref().parse::<SignedDuration>().ok();
        match parsed.and_then(|timeout| Duration::try_from(timeout).ok()) {
            Some(timeout) if timeout > Duration::ZERO => timeout,
            _ => {
                self.wrong(raw, "timeout is a time such as \"90s\" or \"1h\"");
                HOOK_TIMEOUT
            }
        }
    }

    fn schedule(&mut self, raw: Option<&RawSchedule>, machine: &TimeZone) -> Schedule {
        let mut schedule = Schedule {
            zone: machine.clone(),
            times: Vec::new(),
            days: Weekdays::ALL,
            every_weeks: 1,
            random_delay: Duration::ZERO,
            catch_up: true,
        };
        let Some(raw) = raw else { return schedule };
        if let Some(name) = &raw.time_zone {
            match TimeZone::get(name.get_ref()) {
                Ok(zone) => schedule.zone = zone,
                Err(_) => self.wrong(
                    name,
                    "there is no such time zone; names are such as Europe/Berlin or UTC",
                ),
            }
        }
        for text in raw.times.get_ref() {
            let added = add_time(&mut schedule.times, text.get_ref());
            added.unwrap_or_else(|message| self.wrong(text, message));
        }
        schedule.times.sort_unstable();
        if raw.times.get_ref().is_empty() || raw.times.get_ref().len() > 3 {
            self.wrong(&raw.times, "a schedule has 1 to 3 times a day");
        }
        if let Some(days) = &raw.days {
            if days.get_ref().is_empty() {
                self.wrong(days, "no day is named");
            }
            let named = days.get_ref().iter().filter_map(|day| {
                let found = calendar::weekday(day.get_ref());
                if found.is_none() {
                    self.wrong(day, NO_WEEKDAY);
                }
                found
            });
            schedule.days = named.collect();
        }
        if let Some(weeks) = &raw.every_weeks {
            match i32::try_from(*weeks.get_ref()) {
                Ok(count @ 1..=4) => schedule.every_weeks = count,
                _ => self.wrong(weeks, "every_weeks is 1 to 4"),
            }
        }
        if let Some(delay) = &raw.random_delay {
            let parsed = delay.get_ref().parse::<SignedDuration>().ok();
            match parsed.and_then(|delay| Duration::try_from(delay).ok()) {
                Some(delay) if delay <= Duration::from_secs(24 * 60 * 60) => schedule.random_delay = delay,
                _ => self.wrong(delay, "random_delay is a time such as \"15m\", at most 24h"),
            }
        }
        schedule.catch_up = raw.catch_up;
        schedule
    }
}

/// Adds a time of the day to a list, which has no time twice.
fn add_time(times: &mut Vec<Time>, text: &str) -> Result<(), &'static str> {
    let time = time(text).ok_or("a time is hours and minutes, such as \"02:00\"")?;
    if times.contains(&time) {
        return Err("this time is there twice");
    }
    times.push(time);
    Ok(())
}

/// `02:00` or `2:00`, without seconds.
fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |part: &str, least: usize| {
        let right = (least..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        right.then(|| part.parse::<i8>().ok()).flatten()
    };
    Time::new(digits(hour, 1)?, digits(minute, 2)?, 0, 0).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
mod tests;
