//! `policy.json` in the state folder: the policy that is in force on this server, with its text as it was given.
//!
//! The file is replaced whole, so text, generation and pause always belong together. The policy belongs to a server: a
//! machine that registers as another one begins without a policy.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use lockstone_proto::ids::ServerId;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::agent::state::files::write_atomically;
use crate::agent::state::folder::StateFolder;
use crate::failure::{Exit, Failure};
use crate::policy::{Policy, PolicyError, parse};

/// The code of the failure of a server without a policy.
pub(crate) const NO_POLICY: &str = "no-policy";

/// The layout of `policy.json`.
const VERSION: u32 = 1;

/// The policy in force, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldPolicy {
    /// The layout of this file.
    version: u32,
    pub(crate) server_id: ServerId,
    /// Grows with each change, from 1.
    pub(crate) generation: u64,
    pub(crate) set_at: Timestamp,
    /// From when on the slots of its tiers count. Stays when the schedule and the tiers stay the same.
    pub(crate) since: Timestamp,
    /// No scheduled backups, and nothing is forgotten.
    pub(crate) paused: bool,
    /// When it last went on after a pause. Runs before are not missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resumed: Option<Timestamp>,
    /// Whether the server is protected by it.
    #[serde(default)]
    pub(crate) protection: Protection,
    /// The policy file as it was given.
    pub(crate) text: String,
}

/// Whether the policy makes backups, and what becomes of the points if it does not (`protection stop`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protection {
    #[default]
    Active,
    /// No backups; points are kept as long as the policy says.
    StoppedKeepAgeing,
    /// No backups; points are kept until they are deleted by hand.
    StoppedKeepForEver,
    /// No backups; the points were deleted.
    StoppedDeleted,
}

impl Protection {
    /// As `--json` says it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Protection::Active => "active",
            Protection::StoppedKeepAgeing => "stopped-keep",
            Protection::StoppedKeepForEver => "stopped-keep-for-ever",
            Protection::StoppedDeleted => "stopped-deleted",
        }
    }

    /// For people.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Protection::Active => "this server is protected by its policy",
            Protection::StoppedKeepAgeing => {
                "protection is stopped; recovery points are kept as long as the policy says"
            }
            Protection::StoppedKeepForEver => {
                "protection is stopped; recovery points are kept until they are deleted by hand"
            }
            Protection::StoppedDeleted => "protection is stopped, and its recovery points are deleted",
        }
    }
}

/// The policy in force, and what it says.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    pub(crate) held: HeldPolicy,
    pub(crate) policy: Policy,
}

impl InForce {
    /// The policy of this server; `None` if it has none.
    pub(crate) fn load(state: &StateFolder, server_id: ServerId) -> Result<Option<InForce>, Failure> {
        HeldPolicy::load(state, server_id)?.map(InForce::of).transpose()
    }

    /// The policy; the failure [`NO_POLICY`] if there is none.
    pub(crate) fn required(state: &StateFolder, server_id: ServerId) -> Result<InForce, Failure> {
        InForce::load(state, server_id)?.ok_or_else(|| {
            let hint = "write one with `lockstone policy init --file policy.toml`, then `lockstone policy set --file \
                        policy.toml`";
            Failure::new(Exit::Failed, NO_POLICY, "this server has no policy", hint)
        })
    }

    /// When the next backup of the schedule is due. `None` without a schedule, or if the policy is paused.
    pub(crate) fn next_run(&self) -> Option<Timestamp> {
        let next = self
            .policy
            .schedule
            .next(Timestamp::now())
            .filter(|_| self.held.is_scheduled());
        next.map(|run| run.at)
    }

    /// Reads what the policy says. It was right when it was set. It is not now if a time zone is gone from this
    /// machine, or if somebody has changed the file.
    pub(crate) fn of(held: HeldPolicy) -> Result<InForce, Failure> {
        let policy = held.read().map_err(|errors| {
            let errors: Vec<String> = errors
                .iter()
                .map(|error| format!("the policy in force: {error}"))
                .collect();
            let hint = "correct it and put it in force again: `lockstone policy set --file policy.toml`";
            Failure::failed("bad-policy", errors.join("\n"), hint)
        })?;
        Ok(InForce { held, policy })
    }
}

impl HeldPolicy {
    /// The policy of this server; `None` if it has none.
    pub(crate) fn load(state: &StateFolder, server_id: ServerId) -> anyhow::Result<Option<HeldPolicy>> {
        let path = state.policy();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let held: HeldPolicy =
            serde_json::from_slice(&text).with_context(|| format!("{} is not a policy", path.display()))?;
        if held.version != VERSION {
            bail!(
                "{} is of version {}, this program knows {VERSION}",
                path.display(),
                held.version
            );
        }
        Ok((held.server_id == server_id).then_some(held))
    }

    /// The policy of this server that a new one replaces. If its file is damaged: none, and why. A file of a newer
    /// version of this program is an error, as in `load`.
    pub(crate) fn load_to_replace(
        state: &StateFolder,
        server_id: ServerId,
    ) -> anyhow::Result<(Option<HeldPolicy>, Option<anyhow::Error>)> {
        match HeldPolicy::load(state, server_id) {
            Ok(held) => Ok((held, None)),
            Err(error) if error.downcast_ref::<serde_json::Error>().is_some() => Ok((None, Some(error))),
            Err(error) => Err(error),
        }
    }

    /// Held while a policy is changed, so that two changes at once come one after the other, each with a generation of
    /// its own.
    pub(crate) fn lock(state: &StateFolder) -> anyhow::Result<File> {
        let path = state.policy().with_extension("lock");
        let failed = || format!("cannot lock {}", path.display());
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.with_context(failed)?;
        flock(&file, FlockOperation::LockExclusive).with_context(failed)?;
        Ok(file)
    }

    /// The policy that follows `before`, not yet saved. Its generation comes after `known`, too: the newest that the
    /// vault has.
    pub(crate) fn next(
        server_id: ServerId,
        before: Option<&HeldPolicy>,
        known: u64,
        text: String,
        now: Timestamp,
    ) -> HeldPolicy {
        let same_slots = |before: &&HeldPolicy| match (before.read(), parse(&text, &TimeZone::system())) {
            (Ok(old), Ok(new)) => old.has_same_slots(&new),
            _ => false,
        };
        let since = before.filter(same_slots).map_or(now, |before| before.since);
        HeldPolicy {
            version: VERSION,
            server_id,
            generation: before.map_or(0, |before| before.generation).max(known) + 1,
            set_at: now,
            since,
            paused: before.is_some_and(|before| before.paused),
            resumed: before.and_then(|before| before.resumed),
            protection: before.map_or(Protection::Active, |before| before.protection),
            text,
        }
    }

    /// Since when runs of the schedule can be missed.
    pub(crate) fn counts_from(&self) -> Timestamp {
        self.since.max(self.resumed.unwrap_or(Timestamp::MIN))
    }

    /// Pauses it, or goes on.
    pub(crate) fn pause(&mut self, paused: bool, now: Timestamp) {
        if self.paused && !paused {
            self.resumed = Some(now);
        }
        self.paused = paused;
        self.generation += 1;
    }

    /// Stops the protection, or begins it again.
    pub(crate) fn protect(&mut self, protection: Protection, now: Timestamp) {
        if protection == Protection::Active {
            self.resumed = Some(now);
        }
        self.protection = protection;
        self.generation += 1;
    }

    /// Whether runs of its schedule are made.
    pub(crate) fn is_scheduled(&self) -> bool {
        !self.paused && self.protection == Protection::Active
    }

    /// Whether points whose time is over are forgotten.
    pub(crate) fn forgets(&self) -> bool {
        !self.paused && matches!(self.protection, Protection::Active | Protection::StoppedKeepAgeing)
    }

    /// Fails if the policy makes no backups now. `scheduled`: for a run of the schedule.
    pub(crate) fn must_make_backups(&self, scheduled: bool) -> Result<(), Failure> {
        if self.protection != Protection::Active {
            let hint = "`lockstone protection resume` begins again; `lockstone backup PATH` backs up by hand";
            return Err(Failure::failed("protection-stopped", self.protection.sentence(), hint));
        }
        if scheduled && self.paused {
            let message = "the policy is paused, so runs of its schedule are not made";
            return Err(Failure::failed("paused", message, "`lockstone policy resume` goes on"));
        }
        Ok(())
    }

    fn read(&self) -> Result<Policy, Vec<PolicyError>> {
        parse(&self.text, &TimeZone::system())
    }

    pub(crate) fn save(&self, state: &StateFolder) -> anyhow::Result<()> {
        write_atomically(&state.policy(), &serde_json::to_vec_pretty(self)?, 0o600)
    }
}
