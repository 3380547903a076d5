//! The part of a policy that the operator of the vault may read: when backups run, and for how long they are kept.
//! Nothing in it says what is backed up.

use jiff::tz::TimeZone;

use super::retention::Retention;
use super::{Schedule, parse};

/// The members of a policy that are open.
const OPEN: [&str; 3] = ["short_retention", "schedule", "retention"];

/// The open part of a policy, as TOML without comments. It names the time zone also where the policy leaves it to the
/// machine, whose zone is `machine`.
pub(crate) fn open_part(text: &str, machine: &TimeZone) -> String {
    let Ok(mut table) = toml::from_str::<toml::Table>(text) else {
        return String::new();
    };
    table.retain(|name, _| OPEN.contains(&name));
    if let (Some(toml::Value::Table(schedule)), Some(zone)) = (table.get_mut("schedule"), machine.iana_name()) {
        schedule.entry("time_zone").or_insert_with(|| zone.into());
    }
    toml::to_string(&table).unwrap_or_default()
}

/// The schedule in the open part of a policy. `None` if this program does not understand it.
pub(crate) fn schedule_of(open: &str) -> Option<Schedule> {
    Some(parts_of(open)?.0)
}

/// The schedule and the retention in the open part of a policy. `None` if this program does not understand it.
pub(crate) fn parts_of(open: &str) -> Option<(Schedule, Retention)> {
    // A policy has to protect something.
    let policy = parse(&format!("system_state = true\n{open}"), &TimeZone::UTC).ok()?;
    Some((policy.schedule, policy.retention))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::policy::EXAMPLE;

    #[test]
    fn the_open_part_has_the_schedule_and_names_no_path() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let open = open_part(EXAMPLE, &berlin);
        assert!(!open.contains("/etc") && !open.contains("/home"), "{open}");
        let schedule = schedule_of(&open).unwrap();
        let whole = parse(EXAMPLE, &berlin).unwrap().schedule;
        assert_eq!((&schedule.zone, &schedule.times), (&whole.zone, &whole.times));
        // Members before the tables stay there.
        let short = "short_retention = true\nsystem_state = true\n[retention]\ndaily = { days = 1 }\n";
        let open = open_part(short, &berlin);
        assert!(open.starts_with("short_retention = true"), "{open}");
        assert!(schedule_of(&open).unwrap().times.is_empty());
        assert!(schedule_of("nonsense").is_none());
        assert_eq!(open_part("nonsense", &berlin), "");
    }
}
