//! `lockstone status`: whether this server is registered, and whether its backups are as they should be.

use jiff::{SignedDuration, Timestamp};
use lockstone_proto::access::Region;
use lockstone_proto::ids::ServerId;
use lockstone_proto::job::{JobKind, JobState};
use lockstone_vault::VaultError;
use lockstone_vault::access::credentials::region_name;
use lockstone_vault::log::Point;

use crate::agent::access::right::Access;
use crate::agent::access::session::Session;
use crate::agent::care;
use crate::agent::guard::Alarm;
use crate::agent::held_policy::{HeldPolicy, InForce, Protection};
use crate::agent::known_damage::KnownDamage;
use crate::agent::state::clones;
use crate::agent::state::folder::StateFolder;
use crate::agent::state::host::renamed;
use crate::agent::state::job_records::{self, JobRecord};
use crate::agent::state::registration::Registration;
use crate::agent::vault_policy;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::daemon::control::client::Client;
use crate::documents::status::{CheckStanding, LastPoint, RegistrationIds, StatusDocument};
use crate::failure::{Exit, Failure};
use crate::text::point::short;
use crate::text::render;

/// A server that is not registered is an answer, not a failure.
pub(crate) fn run(context: &Context) -> Outcome {
    let state = StateFolder::locate()?;
    match Registration::load(&state)? {
        Some(registration) => show(context, &state, registration),
        None => {
            show_unregistered(context, &state);
            Ok(Exit::Done)
        }
    }
}

fn show_unregistered(context: &Context, state: &StateFolder) {
    let out = &context.out;
    out.document(&StatusDocument::default());
    out.line(format!("Not registered (state folder {})", state.root().display()));
    out.line("Register with `lockstone register --credentials FILE`.");
}

fn show(context: &Context, state: &StateFolder, registration: Registration) -> Outcome {
    let now = Timestamp::now().as_second();
    let jobs = job_records::all(state)?;
    let (mut warnings, mut is_open, mut tenant) = (Vec::new(), true, None);
    warnings.extend(renamed(&registration.host, &registration.server_name));
    let last_point = match context.block_on(newest_point(context, &jobs)) {
        Ok(Seen {
            point,
            damage,
            tenant: known,
        }) => {
            tenant = known;
            if point.is_none() {
                warnings.push("no recovery point yet: run `lockstone backup PATH`".to_owned());
            }
            warnings.extend(damage);
            point
        }
        Err(failure) => {
            warnings.push(format!("the vault cannot be opened: {}", failure.message));
            is_open = false;
            None
        }
    };
    warnings.extend(last_backup_failed(&jobs));
    let policy = InForce::load(state, registration.server_id)?;
    let agent_runs = context.block_on(Client::find(state)).is_some();
    let next_run = policy.as_ref().and_then(InForce::next_run);
    warnings.extend(missed_run(policy.as_ref(), &jobs, agent_runs));
    warnings.extend(stopped_or_strange(state, registration.server_id));
    let reading = policy.as_ref().and_then(|policy| reading(policy, &jobs));
    warnings.extend(reading.as_ref().and_then(|reading| reading.warning.clone()));
    let running = jobs.iter().find(|job| job.runs());
    let last_line = match &last_point {
        Some(point) => {
            let started = point.summary.started_s;
            warnings.extend(age_warning(started, now));
            format!(
                "{}  {}{}",
                short(&point.id),
                render::local_time(started),
                age(started, now)
            )
        }
        None if is_open => "none yet".to_owned(),
        None => as_last_seen(&jobs),
    };

    let out = &context.out;
    out.line(format!(
        "Server      {} ({})",
        registration.server_name, registration.server_id
    ));
    out.line(format!(
        "Vault       {} ({})",
        registration.vault_url, registration.vault_id
    ));
    if let Some(tenant) = &tenant {
        out.line(format!("Tenant      {}", render::name(tenant.as_bytes())));
    }
    out.line(format!("Cache       {}", registration.cache_folder(state).display()));
    out.line(format!("Last point  {last_line}"));
    out.line(format!("Policy      {}", policy_line(policy.as_ref(), next_run)));
    if let Some(reading) = &reading {
        out.line(format!("Reading     {}", reading.line));
    }
    if let Some(job) = running {
        out.line(format!("Running     {} {}", job.kind, job.job));
    }
    for warning in &warnings {
        out.line(format!("Warning     {}", render::name(warning.as_bytes())));
    }
    let exit = if warnings.is_empty() {
        Exit::Done
    } else {
        Exit::Warnings
    };
    out.document(&StatusDocument {
        registered: true,
        server: Some(registration.server_name),
        domain: Some(registration.domain_id),
        vault: Some(registration.vault_url),
        region: Some(region_name(Region::Primary)),
        tenant,
        registration: Some(RegistrationIds {
            server_id: registration.server_id,
            vault_id: registration.vault_id,
            domain_id: registration.domain_id,
            running_job: running.map(|job| job.job),
        }),
        warnings,
        last_point: last_point.as_ref().map(LastPoint::from),
        paused: policy.is_some_and(|policy| policy.held.paused),
        next_run,
        agent_runs,
        check: reading.map(|reading| reading.document),
    });
    Ok(exit)
}

/// How far the policy's reading of the vault is.
struct ReadingShown {
    document: CheckStanding,
    line: String,
    warning: Option<String>,
}

/// How far the policy's reading of the vault is; `None` if the policy does not ask for it.
fn reading(policy: &InForce, jobs: &[JobRecord]) -> Option<ReadingShown> {
    let every = policy.policy.check?;
    let known = jobs.iter().find_map(|job| job.seen.as_ref()?.reading);
    let days = every.as_secs() / 86_400;
    let mut shown = ReadingShown {
        document: CheckStanding {
            every_seconds: every.as_secs(),
            unread_since: None,
            never_read_bytes: None,
            all_read_by: None,
        },
        line: format!("every byte within {days} days; nothing was read yet"),
        warning: None,
    };
    let Some(known) = known else { return Some(shown) };
    let standing = care::standing(every, known, Timestamp::now());
    let since = render::local_time(standing.unread_since.as_second());
    let by = standing.all_read_by.map(|by| render::local_time(by.as_second()));
    shown.line = format!(
        "every byte within {days} days; the oldest unread since {since}, all read by {}",
        by.as_deref().unwrap_or("an unknown time")
    );
    shown.warning = standing.is_late.then(|| {
        format!("some of the vault was not read since {since}, though the policy says every {days} days: does the agent run?")
    });
    shown.document.unread_since = Some(standing.unread_since);
    shown.document.never_read_bytes = Some(standing.bytes_never_read);
    shown.document.all_read_by = standing.all_read_by;
    Some(shown)
}

/// The policy, for people.
fn policy_line(policy: Option<&InForce>, next_run: Option<Timestamp>) -> String {
    let Some(policy) = policy else {
        return "none: see `lockstone policy init`".to_owned();
    };
    let generation = policy.held.generation;
    match next_run {
        Some(at) => format!("{generation}, next backup {}", render::local_time(at.as_second())),
        None if policy.held.paused => format!("{generation}, paused"),
        None if !policy.held.is_scheduled() => format!("{generation}, protection is stopped"),
        None => format!("{generation}, on demand only"),
    }
}

/// A warning if the newest run of the schedule that was due an hour ago was not done.
fn missed_run(policy: Option<&InForce>, jobs: &[JobRecord], agent_runs: bool) -> Option<String> {
    let policy = policy.filter(|policy| policy.held.is_scheduled())?;
    let now = Timestamp::now();
    let an_hour_ago = now.checked_sub(SignedDuration::from_hours(1)).ok()?;
    let run = policy.policy.schedule.latest(policy.held.counts_from(), an_hour_ago)?;
    let mut tried = jobs.iter().filter_map(|job| job.scheduled);
    if tried.any(|at| at >= run.at && at <= now) {
        return None;
    }
    let at = render::local_time(run.at.as_second());
    Some(if agent_runs {
        format!("the backup that was due at {at} has not begun")
    } else {
        format!("the backup that was due at {at} was not made: the agent does not run, see `lockstone agent --help`")
    })
}

/// What the vault says.
struct Seen {
    /// The newest point.
    point: Option<Point>,
    /// A warning for each kind of damage that is known, and whatever else is wrong.
    damage: Vec<String>,
    tenant: Option<String>,
}

/// The newest point, what is damaged or out of step, and the tenant.
async fn newest_point(context: &Context, jobs: &[JobRecord]) -> Result<Seen, Failure> {
    let session = Session::to_read(&context.environment, &Access::Own).await?;
    let view = session.view(&context.environment).await?;
    let mut damage: Vec<String> = view
        .damage
        .first()
        .map(|first| format!("the vault is damaged: {}", first.line()))
        .into_iter()
        .collect();
    let open = session.domain.index().still_bad().map_err(VaultError::from)?;
    if let [(first, reason), ..] = open.as_slice() {
        damage.push(format!(
            "{} packs of the vault are damaged or missing, the first is {first} ({reason}): a backup stores again what \
             the files still have, and `lockstone check` names what is lost",
            open.len()
        ));
    }
    let known = KnownDamage::load(&StateFolder::locate()?, session.server)?;
    damage.extend(known.and_then(|known| known.sentence(&view.damage)));
    if let Some(hours) = session.vault.hours_ahead_of_store() {
        damage.push(format!(
            "this server's clock is {hours} h ahead of that of the vault's store: set the clock that is wrong"
        ));
    }
    damage.extend(clones::warning(&view.points, session.server, jobs));
    let held = HeldPolicy::load(&StateFolder::locate()?, session.server)?;
    let stands = vault_policy::step(&context.environment, &session, held.as_ref()).await?;
    damage.extend(stands.warning());
    Ok(Seen {
        point: session.latest(&view).cloned(),
        damage,
        tenant: session.tenant().map(str::to_owned),
    })
}

/// Warnings if protection is stopped, and if a backup looked strange and nobody has looked yet.
fn stopped_or_strange(state: &StateFolder, server_id: ServerId) -> Vec<String> {
    let alarm = match Alarm::load(state, server_id) {
        Ok(alarm) => alarm.map(|alarm| alarm.sentence()),
        Err(error) => Some(format!(
            "{error:#}; nothing is deleted by the policy until `lockstone guard clear`"
        )),
    };
    let held = HeldPolicy::load(state, server_id).ok().flatten();
    let stopped = held.filter(|held| held.protection != Protection::Active);
    let stopped = stopped.map(|held| held.protection.sentence().to_owned());
    stopped.into_iter().chain(alarm).collect()
}

/// How long ago something was, for people, in brackets; nothing if it lies in the future.
fn age(then: i64, now: i64) -> String {
    let seconds = match u64::try_from(now - then) {
        Ok(seconds) => seconds,
        Err(_) => return String::new(),
    };
    let ago = match seconds {
        0..60 => "just now".to_owned(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", render::count(seconds / 86_400)),
    };
    format!("  ({ago})")
}

/// A warning if the newest point is old, or if its time cannot be right.
fn age_warning(started: i64, now: i64) -> Option<String> {
    const OLD: i64 = 31 * 86_400;
    const CLOCKS_DIFFER: i64 = 3600;
    if now - started > OLD {
        let days = (now - started) / 86_400;
        return Some(format!("the last recovery point is {days} days old"));
    }
    (started - now > CLOCKS_DIFFER).then(|| {
        "the last recovery point is from the future: this machine's clock is wrong, or was wrong then".to_owned()
    })
}

/// What the last job that read the vault knew of the newest point.
fn as_last_seen(jobs: &[JobRecord]) -> String {
    let seen = jobs
        .iter()
        .find_map(|job| Some((job, job.seen.as_ref()?.newest_point?)));
    match seen {
        Some((job, newest)) => {
            let newest = render::local_time(newest.as_second());
            let at = job.started.parse::<Timestamp>().map_or(0, Timestamp::as_second);
            format!("{newest}, as the {} of {} saw it", job.kind, render::local_time(at))
        }
        None => "not known while the vault cannot be opened".to_owned(),
    }
}

/// A warning if the last backup that ended did not succeed.
fn last_backup_failed(jobs: &[JobRecord]) -> Option<String> {
    let job = jobs.iter().find(|job| job.kind == JobKind::Backup && !job.runs())?;
    if !matches!(job.state, JobState::Failed | JobState::Cancelled) {
        return None;
    }
    let how = if job.state == JobState::Cancelled {
        "was cancelled".to_owned()
    } else {
        let why = job.error.as_ref().map(|error| format!(": {}", error.message));
        format!("failed{}", why.unwrap_or_default())
    };
    let at = job.started.parse::<Timestamp>().map_or(0, Timestamp::as_second);
    let (id, at) = (&job.job.hex()[..8], render::local_time(at));
    Some(format!("the last backup ({id}, {at}) {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_said_in_one_unit() {
        assert_eq!(age(100, 130), "  (just now)");
        assert_eq!(age(0, 7300), "  (2 h ago)");
        assert_eq!(age(0, 90 * 86_400), "  (90 days ago)");
        assert_eq!(age(100, 0), "");
    }

    #[test]
    fn old_points_and_points_from_the_future_are_warned_about() {
        assert_eq!(age_warning(0, 86_400), None);
        assert!(age_warning(0, 60 * 86_400).is_some_and(|text| text.contains("60 days")));
        assert!(age_warning(86_400, 0).is_some_and(|text| text.contains("future")));
        assert_eq!(age_warning(60, 0), None);
    }
}
