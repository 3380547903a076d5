//! The policy as the vault knows it. Each change of this server's policy is written to the vault, signed, under the next
//! generation. A server whose state folder was lost, set back or copied has another policy than the vault, and says so
//! at each backup until the policy is set again.

use jiff::tz::TimeZone;
use lockstone_vault::access::policy_records::{NewPolicy, ServerPolicy, newest_policy, write_policy};

use super::access::session::Session;
use super::environment::Environment;
use super::held_policy::HeldPolicy;
use crate::failure::{Exit, Failure};
use crate::policy;

/// How this server's policy stands to the one in the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// They are the same, or there is none.
    Same,
    /// The vault does not have this server's newest one.
    ToWrite,
    /// The vault has one that this server does not have.
    Out { vault: u64 },
}

impl Step {
    fn of(held: Option<&HeldPolicy>, known: Option<&ServerPolicy>, same_text: bool) -> Step {
        match (held, known) {
            (None, None) => Step::Same,
            (Some(_), None) => Step::ToWrite,
            (Some(held), Some(known)) if held.generation > known.generation() => Step::ToWrite,
            (Some(held), Some(known)) if held.generation == known.generation() && same_text => Step::Same,
            (_, Some(known)) => Step::Out {
                vault: known.generation(),
            },
        }
    }

    /// What is to be said of it; nothing if they are in step, or will soon be.
    pub(crate) fn warning(self) -> Option<String> {
        let Step::Out { vault } = self else { return None };
        Some(format!(
            "backups are not configured for this server as the vault knows it: the vault has policy {vault}, which this \
             server does not have; set the policy again with `lockstone policy set --file FILE`, and make a backup"
        ))
    }
}

/// The newest policy of this server in the vault. Warns about damaged ones.
async fn known(environment: &Environment, session: &Session) -> Result<Option<ServerPolicy>, Failure> {
    // Without its registration the server's signature cannot be checked. That damage is said elsewhere.
    let Some(server) = session.registered() else {
        return Ok(None);
    };
    let (known, damage) = newest_policy(session.vault.store(), session.vault.id(), server).await?;
    for damage in &damage {
        environment.notices.damaged(damage);
    }
    Ok(known)
}

/// The generation of the newest policy that the vault has of this server; 0 if it has none.
pub(crate) async fn generation(environment: &Environment, session: &Session) -> Result<u64, Failure> {
    let known = known(environment, session).await?;
    Ok(known.as_ref().map_or(0, ServerPolicy::generation))
}

/// How this server's policy stands to the one in the vault.
pub(crate) async fn step(
    environment: &Environment,
    session: &Session,
    held: Option<&HeldPolicy>,
) -> Result<Step, Failure> {
    let known = known(environment, session).await?;
    let same_text = match (held, &known) {
        (Some(held), Some(known)) => {
            let text = known.text(session.domain.keys());
            text.as_deref() == Some(held.text.as_str()) && held.paused == known.paused()
        }
        _ => false,
    };
    Ok(Step::of(held, known.as_ref(), same_text))
}

/// Writes this server's policy to the vault if the vault does not have it. Returns how they stand then.
pub(crate) async fn bring(
    environment: &Environment,
    session: &Session,
    held: Option<&HeldPolicy>,
) -> Result<Step, Failure> {
    let stands = step(environment, session, held).await?;
    let (Step::ToWrite, Some(held), Some(key)) = (stands, held, session.key()) else {
        return Ok(stands);
    };
    let new = NewPolicy {
        vault: session.vault.id(),
        server: session.server,
        generation: held.generation,
        set: held.set_at,
        paused: held.paused,
        open: &policy::open_part(&held.text, &TimeZone::system()),
        text: &held.text,
    };
    write_policy(session.vault.store(), session.domain.keys(), key, &new).await?;
    // If another copy of this server was faster, the two are out of step now.
    step(environment, session, Some(held)).await
}

/// The failure of a backup of the policy's items on a server that has no policy although the vault has one.
pub(crate) fn lost(vault: u64) -> Failure {
    let message = format!(
        "backups are not configured for this server as the vault knows it: the vault has policy {vault}, this server has \
         none"
    );
    let hint = "set the policy again with `lockstone policy set --file FILE`, and make a backup";
    Failure::new(Exit::NotRegistered, "out-of-step", message, hint)
}
