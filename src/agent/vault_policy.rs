//! The policy as the vault knows it. Each change of this server's policy is written to the vault, signed, under the
//! next generation. A server whose state folder was lost, set back or copied has another policy than the vault, and
//! says so at each backup until the policy is set again.

use jiff::tz::TimeZone;
use lockstone_vault::access::policy_records::{FoundPolicies, NewPolicy, ServerPolicy, newest_policy, write_policy};

use super::access::right::Access;
use super::access::session::Session;
use super::environment::Environment;
use super::held_policy::{HeldPolicy, InForce, NO_POLICY};
use super::state::folder::StateFolder;
use super::state::registration::Registration;
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

/// What the vault has of this server's policies. Warns about damaged ones.
async fn known(environment: &Environment, session: &Session) -> Result<FoundPolicies, Failure> {
    // Without its registration the server's signature cannot be checked. That damage is said elsewhere.
    let Some(server) = session.registered() else {
        return Ok(FoundPolicies::default());
    };
    let found = newest_policy(session.vault.store(), session.vault.id(), server).await?;
    for damage in &found.damage {
        environment.notices.damaged(damage);
    }
    Ok(found)
}

/// The highest generation that is taken in the vault; 0 if none is.
pub(crate) async fn generation(environment: &Environment, session: &Session) -> Result<u64, Failure> {
    Ok(known(environment, session).await?.highest)
}

/// How this server's policy stands to the one in the vault.
pub(crate) async fn step(
    environment: &Environment,
    session: &Session,
    held: Option<&HeldPolicy>,
) -> Result<Step, Failure> {
    let known = known(environment, session).await?.newest;
    let same_text = match (held, &known) {
        (Some(held), Some(known)) => {
            let text = known.text(session.domain.keys());
            text.as_deref() == Some(held.text.as_str()) && held.is_scheduled() != known.paused()
        }
        _ => false,
    };
    Ok(Step::of(held, known.as_ref(), same_text))
}

/// Writes this server's policy to the vault if the vault does not have it. Returns how they stand then. Fails with
/// `revoked` (exit 5) if the operator ended this server's right to write.
pub(crate) async fn bring(
    environment: &Environment,
    session: &Session,
    held: Option<&HeldPolicy>,
) -> Result<Step, Failure> {
    let stands = step(environment, session, held).await?;
    let (Step::ToWrite, Some(held), Some(key)) = (stands, held, session.signs().key()) else {
        return Ok(stands);
    };
    session.must_write()?;
    let new = NewPolicy {
        vault: session.vault.id(),
        server: session.server,
        generation: held.generation,
        set: held.set_at,
        paused: !held.is_scheduled(),
        open: &policy::open_part(&held.text, &TimeZone::system()),
        text: &held.text,
    };
    write_policy(session.vault.store(), session.domain.keys(), key, &new).await?;
    // If another copy of this server was faster, the two are out of step now.
    step(environment, session, Some(held)).await
}

/// Tells the vault of a change of the policy. If that is not possible now, the next backup does it.
pub(crate) async fn announce(environment: &Environment, held: &HeldPolicy) {
    let session = Session::to_read(environment, &Access::Own).await;
    announce_in(environment, session, held).await;
}

/// The same by a session that the caller has opened, or why there is none.
pub(crate) async fn announce_in(environment: &Environment, session: Result<Session, Failure>, held: &HeldPolicy) {
    let written = match session {
        Ok(session) => bring(environment, &session, Some(held)).await,
        Err(failure) => Err(failure),
    };
    let warning = match written {
        Ok(step) => step.warning(),
        Err(failure) => {
            let why = failure.message;
            Some(format!(
                "the vault does not have this policy yet, the next backup writes it there: {why}"
            ))
        }
    };
    if let Some(warning) = warning {
        environment.notices.warn(warning);
    }
}

/// The policy in force, for a backup of its items. If there is none, the vault is asked whether it knows of one.
pub(crate) async fn required(
    environment: &Environment,
    state: &StateFolder,
    registration: &Registration,
) -> Result<InForce, Failure> {
    let failure = match InForce::required(state, registration.server_id) {
        Ok(in_force) => return Ok(in_force),
        Err(failure) => failure,
    };
    if failure.code != NO_POLICY {
        return Err(failure);
    }
    let session = Session::to_read(environment, &Access::Own).await;
    let known = match session {
        Ok(session) => generation(environment, &session).await,
        Err(failure) => Err(failure),
    };
    Err(match known {
        Ok(known @ 1..) => lost(known),
        // That the vault cannot be asked is not what keeps this backup from being made.
        Ok(_) | Err(_) => failure,
    })
}

/// The failure of a backup of the policy's items on a server that has no policy although the vault has one.
fn lost(vault: u64) -> Failure {
    let message = format!(
        "backups are not configured for this server as the vault knows it: the vault has policy {vault}, this server has \
         none"
    );
    let hint = "set the policy again with `lockstone policy set --file FILE`, and make a backup";
    Failure::new(Exit::NotRegistered, "out-of-step", message, hint)
}
