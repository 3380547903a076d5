//! What is known to be damaged in the vault: what the last check that ran to its end found. `damage.json` in the state
//! folder has it, so that it outlives the cache. It ends when a check finds it healed.

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use lockstone_actors::CheckReport;
use lockstone_proto::ids::{JobId, PackId, ServerId};
use lockstone_vault::VaultError;
use lockstone_vault::damage::{Damage, DamageKind};
use serde::{Deserialize, Serialize};

use super::access::session::Session;
use super::alerts;
use super::environment::Environment;
use super::state::files::{remove_if_there, write_atomically};
use super::state::folder::StateFolder;
use crate::failure::Failure;
use crate::policy::Occasion;
use crate::text::render;

/// The layout of `damage.json`.
const VERSION: u32 = 1;
/// So many objects are kept at most. The vault has lost more than they say.
const MAX_KEPT: usize = 10_000;

/// What is known to be damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownDamage {
    version: u32,
    server_id: ServerId,
    /// The check that found it.
    pub(crate) job: JobId,
    pub(crate) checked: Timestamp,
    pub(crate) objects: Vec<KnownObject>,
}

/// A damaged object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownObject {
    pub(crate) object: String,
    /// The word for its kind.
    pub(crate) kind: String,
    pub(crate) reason: String,
    /// Since when it is known.
    pub(crate) since: Timestamp,
}

impl KnownDamage {
    /// What is known; `None` if nothing is.
    pub(crate) fn load(state: &StateFolder, server_id: ServerId) -> anyhow::Result<Option<KnownDamage>> {
        let path = state.damage();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let known: KnownDamage = serde_json::from_slice(&text)
            .with_context(|| format!("{} does not say what is damaged", path.display()))?;
        if known.version != VERSION {
            bail!("{} is of version {}", path.display(), known.version);
        }
        Ok((known.server_id == server_id).then_some(known))
    }

    /// A sentence about what is damaged beside packs, which the index knows, and what the log shows by itself.
    pub(crate) fn sentence(&self, shown: &[Damage]) -> Option<String> {
        let pack = DamageKind::Pack.name();
        let is_new = |known: &&KnownObject| !shown.iter().any(|shown| shown.object == known.object);
        let mut others = self.objects.iter().filter(|known| known.kind != pack).filter(is_new);
        let first = others.next()?;
        let more = others.count();
        let and = if more > 0 {
            format!(" and {more} more objects")
        } else {
            String::new()
        };
        Some(format!(
            "the check of {} found {} {} damaged ({}){and}: `lockstone check --repair` heals what it can",
            render::local_time(self.checked.as_second()),
            first.kind,
            first.object,
            first.reason
        ))
    }
}

/// How many objects are known to be damaged. What cannot be read says nothing.
pub(crate) fn count(state: &StateFolder, server_id: ServerId) -> Option<u64> {
    let known = KnownDamage::load(state, server_id).ok()?;
    Some(known.map_or(0, |known| known.objects.len() as u64))
}

/// Tells the index of the packs that are known to be damaged, in case it was built anew since. So no backup relies on
/// them, and a check reads them.
pub(crate) fn remind(state: &StateFolder, server_id: ServerId, session: &Session) -> Result<(), Failure> {
    let known = match KnownDamage::load(state, server_id) {
        Ok(known) => known,
        Err(error) => {
            tracing::warn!("{error:#}");
            None
        }
    };
    for known in known.iter().flat_map(|known| &known.objects) {
        let id = known.object.rsplit('/').next().and_then(|id| id.parse::<PackId>().ok());
        if let Some(id) = id.filter(|_| known.kind == DamageKind::Pack.name()) {
            let index = session.domain.index();
            index.distrust_new(&[id], &known.reason).map_err(VaultError::from)?;
        }
    }
    Ok(())
}

/// Remembers what a check found that ran to its end, and raises or ends the alert.
pub(crate) async fn remember(
    environment: &Environment,
    state: &StateFolder,
    server_id: ServerId,
    report: &CheckReport,
) {
    let now = Timestamp::now();
    let before = KnownDamage::load(state, server_id).unwrap_or_else(|error| {
        tracing::warn!("{error:#}");
        None
    });
    let known = known(before.as_ref(), server_id, report, now);
    let written = if known.objects.is_empty() {
        remove_if_there(&state.damage())
    } else {
        let text = serde_json::to_vec_pretty(&known).map_err(anyhow::Error::from);
        text.and_then(|text| write_atomically(&state.damage(), &text, 0o600))
    };
    if let Err(error) = written {
        environment
            .notices
            .warn(format!("what is damaged could not be written down: {error:#}"));
    }
    let is_new = |object: &&KnownObject| object.since == now;
    if let Some(first) = known.objects.iter().find(is_new) {
        let new = known.objects.iter().filter(is_new).count() as u64;
        let message = format!(
            "a check found damage in the vault: {}, the first is {} {} ({})",
            render::counted(new, "object", "objects"),
            first.kind,
            first.object,
            first.reason
        );
        alerts::raise(environment, state, Occasion::Damage, message, Some(report.job)).await;
    }
    if known.objects.is_empty() && alerts::end(state, Occasion::Damage, now) {
        environment
            .notices
            .note("what was damaged in the vault is healed".to_owned());
    }
}

/// What is known after a check.
fn known(before: Option<&KnownDamage>, server_id: ServerId, report: &CheckReport, now: Timestamp) -> KnownDamage {
    let since = |object: &str| {
        let known = before.iter().flat_map(|before| &before.objects);
        let mut known = known.filter(|known| known.object == object);
        known.next().map_or(now, |known| known.since)
    };
    let damaged = report.found.damaged.iter().take(MAX_KEPT);
    KnownDamage {
        version: VERSION,
        server_id,
        job: report.job,
        checked: now,
        objects: damaged
            .map(|damage| KnownObject {
                object: damage.object.clone(),
                kind: damage.kind.name().to_owned(),
                reason: damage.reason.clone(),
                since: since(&damage.object),
            })
            .collect(),
    }
}
