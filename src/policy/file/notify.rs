//! The part of the policy file that says who hears of what.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use super::Check;
use super::raw::At;

/// Who hears of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notify {
    /// A program that gets the alert as JSON on its standard input. Empty: none.
    pub(crate) command: Vec<String>,
    /// An address that the alert is posted to as JSON.
    pub(crate) webhook: Option<String>,
    /// A mail.
    pub(crate) mail: Option<Mail>,
    /// Of what. Failures, deletions, the guard's alarms, damage and test restores are always told.
    pub(crate) on: Vec<Occasion>,
}

/// A mail with alerts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mail {
    /// To whom.
    pub(crate) to: String,
    /// From whom.
    pub(crate) from: String,
    /// The server that takes it: `smtps://host:port` (TLS), `smtp+starttls://host:port` (TLS after a greeting), or
    /// `smtp://host:port` (no TLS).
    pub(crate) smtp: String,
    /// The name by which the server knows this machine, if it wants one.
    pub(crate) user: Option<String>,
    /// The file with the password, which only its owner may read. The policy itself holds no secret.
    pub(crate) password_file: Option<PathBuf>,
}

/// What an alert can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Occasion {
    /// A job failed.
    Failure,
    /// A job completed with warnings.
    Warnings,
    /// Recovery points were deleted.
    Deletion,
    /// A scheduled run did not happen.
    Missed,
    /// The cache folder is short of space.
    Cache,
    /// A backup looks strange, and the guard holds what the policy would delete.
    Guard,
    /// A check found damage in the vault.
    Damage,
    /// A test restore failed, or is overdue.
    Test,
    /// A backup succeeded.
    Success,
}

impl Occasion {
    const NAMES: [(&str, Self); 9] = [
        ("failure", Self::Failure),
        ("warnings", Self::Warnings),
        ("deletion", Self::Deletion),
        ("missed", Self::Missed),
        ("cache", Self::Cache),
        ("guard", Self::Guard),
        ("damage", Self::Damage),
        ("test", Self::Test),
        ("success", Self::Success),
    ];

    /// These are told whatever the policy says.
    const ALWAYS: [Self; 5] = [Self::Failure, Self::Deletion, Self::Guard, Self::Damage, Self::Test];
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, on)| on == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

impl Check<'_> {
    pub(super) fn webhook(&mut self, raw: Option<&At<String>>) -> Option<String> {
        let raw = raw?;
        if !["http://", "https://"]
            .iter()
            .any(|scheme| raw.get_ref().starts_with(scheme))
        {
            self.wrong(raw, "a webhook begins with https:// or http://");
        }
        Some(raw.get_ref().clone())
    }

    pub(super) fn mail(&mut self, raw: Option<&At<Mail>>) -> Option<Mail> {
        let raw = raw?;
        let mail = raw.get_ref();
        let is_address =
            |text: &str| text.contains('@') && !text.contains(|c: char| c.is_control() || "<> ".contains(c));
        let scheme = ["smtp://", "smtps://", "smtp+starttls://"]
            .into_iter()
            .find(|scheme| mail.smtp.starts_with(scheme));
        match scheme {
            None => self.wrong(
                raw,
                "smtp is an address such as \"smtp://127.0.0.1:25\", \"smtps://mail.example.org\" or \
                 \"smtp+starttls://mail.example.org:587\"",
            ),
            Some("smtp://") if mail.user.is_some() => self.wrong(
                raw,
                "a password is only sent by TLS: smtp begins with smtps:// or smtp+starttls://",
            ),
            Some(_) => {}
        }
        if mail.user.is_some() != mail.password_file.is_some() {
            self.wrong(raw, "user and password_file go together");
        }
        if mail.password_file.as_ref().is_some_and(|file| !file.is_absolute()) {
            self.wrong(raw, "password_file is a whole path");
        }
        if !is_address(&mail.to) || !is_address(&mail.from) {
            self.wrong(raw, "to and from are addresses such as \"ops@example.org\"");
        }
        Some(mail.clone())
    }

    pub(super) fn occasions(&mut self, raw: Option<&[At<String>]>) -> Vec<Occasion> {
        let Some(raw) = raw else {
            let quiet = Occasion::Success;
            return Occasion::NAMES
                .iter()
                .map(|(_, on)| *on)
                .filter(|on| *on != quiet)
                .collect();
        };
        let mut on = Occasion::ALWAYS.to_vec();
        for name in raw {
            match Occasion::NAMES.iter().find(|(known, _)| known == name.get_ref()) {
                Some((_, occasion)) => on.push(*occasion),
                None => self.wrong(
                    name,
                    "on is a list of failure, warnings, deletion, missed, cache, guard, success",
                ),
            }
        }
        on.sort_unstable();
        on.dedup();
        on
    }
}
