use std::fmt::Write as _;

use jiff::civil::Weekday;

use super::*;
use crate::policy::retention::Days;
use crate::policy::tag::Tier;

fn read(text: &str) -> Result<Policy, Vec<PolicyError>> {
    parse(text, &TimeZone::UTC)
}

/// What is wrong with a text, a line each.
fn wrong(text: &str) -> String {
    let errors = read(text).expect_err(text);
    errors.iter().fold(String::new(), |mut all, error| {
        let _ = writeln!(all, "{error}");
        all
    })
}

const LEAST: &str = "[[item]]\npath = \"/srv\"\n[retention]\ndaily = { days = 7 }\n";

#[test]
fn the_example_is_a_policy_also_with_all_that_it_comments_out() {
    let policy = read(EXAMPLE).unwrap();
    assert_eq!(
        (policy.items.len(), policy.retention.tiers.len(), policy.warnings.len()),
        (2, 4, 0)
    );
    let switched_on: String = EXAMPLE.lines().fold(String::new(), |mut all, line| {
        let inner = line.strip_prefix("# ").unwrap_or(line);
        let is_setting = inner.starts_with('[')
            || inner
                .split_once(" =")
                .is_some_and(|(key, _)| key.trim_end().chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        let _ = writeln!(all, "{}", if is_setting { inner } else { line });
        all
    });
    let policy = read(&switched_on).unwrap_or_else(|errors| panic!("{errors:?}\n{switched_on}"));
    assert_eq!(policy.items.len(), 3);
    assert_eq!(policy.schedule.zone.iana_name(), Some("Europe/Berlin"));
    assert!(!policy.hooks.before.is_empty() && policy.notify.mail.is_some() && policy.bandwidth.is_some());
    assert!(policy.system_state);
}

#[test]
fn the_least_policy_has_the_defaults() {
    let policy = read(LEAST).unwrap();
    let item = &policy.items[0];
    assert_eq!(item.source, Source::Path("/srv".into()));
    assert!(!item.one_file_system && !item.include_caches && item.snapshot.is_none());
    assert!(policy.schedule.times.is_empty() && policy.hooks.before_required);
    assert!(!policy.notify.on.contains(&Occasion::Success) && policy.notify.on.contains(&Occasion::Missed));
}

#[test]
fn everything_is_read() {
    let text = r#"
        exclude = ["*.tmp"]
        [[item]]
        name = "db.sql"
        command = ["pg_dump", "shop"]
        [schedule]
        time_zone = "Europe/Berlin"
        times = ["14:00", "2:00"]
        days = ["mon", "Friday"]
        every_weeks = 2
        random_delay = "15m"
        catch_up = false
        [retention]
        weekly = { weeks = 4, on = "fri", at = ["14:00"] }
        yearly = { years = 10, months = ["jan", "jul"], on = [1, "last monday"] }
        [notify]
        on = ["success"]
    "#;
    let policy = read(text).unwrap();
    let schedule = &policy.schedule;
    let times: Vec<String> = schedule
        .times
        .iter()
        .map(|time| time.strftime("%H:%M").to_string())
        .collect();
    assert_eq!(times, ["02:00", "14:00"]);
    assert!(schedule.days.contains(Weekday::Friday) && !schedule.days.contains(Weekday::Sunday));
    assert_eq!(
        (schedule.every_weeks, schedule.random_delay.as_secs(), schedule.catch_up),
        (2, 900, false)
    );
    let [weekly, yearly] = &policy.retention.tiers[..] else {
        panic!()
    };
    assert_eq!(
        (weekly.tier, weekly.at.len(), yearly.tier),
        (Tier::Weekly, 1, Tier::Yearly)
    );
    assert!(matches!(&yearly.days, Days::Month { rules, months } if rules.len() == 2 && *months == [1, 7]));
    assert_eq!(
        policy.notify.on,
        [
            Occasion::Failure,
            Occasion::Deletion,
            Occasion::Guard,
            Occasion::Damage,
            Occasion::Test,
            Occasion::Success
        ]
    );
    let command = vec!["pg_dump".to_owned(), "shop".to_owned()];
    assert_eq!(
        policy.items[0].source,
        Source::Command {
            name: "db.sql".to_owned(),
            command,
            required: true,
        }
    );
}

#[test]
fn what_is_wrong_is_said_with_line_and_column() {
    let text = "[[item]]\npath = \"srv\"\n[schedule]\ntimes = [\"25:00\", \"02:00\", \"2:00\"]\n[retention]\ndaily = { days = 6 }\n";
    assert_eq!(
        wrong(text),
        "line 2, column 8: the path is not absolute: it must begin with /\n\
         line 4, column 10: a time is hours and minutes, such as \"02:00\"\n\
         line 4, column 28: this time is there twice\n\
         line 6, column 18: days is 7 to 9999; short_retention = true allows less\n"
    );
    assert!(wrong(&format!("excludes = []\n{LEAST}")).starts_with("line 1, column 1: unknown field `excludes`"));
    assert!(wrong("[[item]]\npath = \n").starts_with("line 2, column 8: "));
    assert!(wrong("é = 1\n").starts_with("line 1, column 1: "));
    assert!(wrong("").contains("line 1, column 1: nothing is protected"));
    assert!(wrong("[[item]]\npath = \"/srv\"\n").contains("line 3, column 1: there is no [retention]"));
}

#[test]
fn each_rule_is_kept() {
    let with = |rest: &str| wrong(&format!("{LEAST}{rest}"));
    for (rest, said) in [
        ("[schedule]\ntimes = []", "1 to 3 times a day"),
        (
            "[schedule]\ntimes = [\"1:00\", \"2:00\", \"3:00\", \"4:00\"]",
            "1 to 3 times a day",
        ),
        ("[check]\nevery = \"30\"", "is not a number of days"),
        ("[test_restore]\nevery = \"0d\"", "is not a number of days"),
        ("[test_restore]\nevery = \"7d\"\nfiles = 0", "1 to 10000"),
        ("[test_restore]\nevery = \"7d\"\nfolder = \"tmp\"", "not absolute"),
        ("[schedule]\ntimes = [\"02:00:30\"]", "hours and minutes"),
        ("[schedule]\ntimes = [\"02:00\"]\ndays = []", "no day"),
        ("[schedule]\ntimes = [\"02:00\"]\ndays = [\"mo\"]", "one of mon"),
        ("[schedule]\ntimes = [\"02:00\"]\nevery_weeks = 5", "1 to 4"),
        (
            "[schedule]\ntimes = [\"02:00\"]\ntime_zone = \"Europe/Bonn\"",
            "no such time zone",
        ),
        (
            "[schedule]\ntimes = [\"02:00\"]\nrandom_delay = \"-1m\"",
            "random_delay",
        ),
        (
            "[schedule]\ntimes = [\"02:00\"]\nrandom_delay = \"25h\"",
            "random_delay",
        ),
        ("[hooks]\nbefore = []", "the command is empty"),
        ("[hooks]\nbefor = [\"x\"]", "unknown field"),
        ("[hooks]\ntimeout = \"0s\"", "timeout is a time"),
        ("[[item]]\npath = \"/x\"\nrequired = true", "for items with a command"),
        ("[notify]\nwebhook = \"ftp://x\"", "https://"),
        ("[notify]\non = [\"failures\"]", "list of failure"),
        (
            "[notify]\nmail = { to = \"x\", from = \"a@b\", smtp = \"smtp://x\" }",
            "addresses",
        ),
        (
            "[notify]\nmail = { to = \"x@y\\nBcc: z@y\", from = \"a@b\", smtp = \"smtp://x\" }",
            "addresses",
        ),
        ("[[item]]\nname = \"a/b\"\ncommand = [\"x\"]", "name of a file"),
        ("[[item]]\nname = \"ab\"", "either a path"),
        ("[[item]]\npath = \"/x\"\nsnapshot = \"yes\"", "snapshot is"),
    ] {
        let found = with(rest);
        assert!(found.contains(said), "{rest}: {found}");
    }
    let tiers = |tiers: &str| {
        wrong(&format!(
            "[[item]]\npath = \"/srv\"\n[schedule]\ntimes = [\"02:00\", \"3:00\"]\n[retention]\n{tiers}"
        ))
    };
    for (rest, said) in [
        ("", "at least one of daily"),
        ("daily = { days = 10000 }", "7 to 9999"),
        ("daily = { days = 9999 }", "9999 at most"),
        ("weekly = { weeks = 3, on = [\"sat\"] }", "4 to 5163"),
        ("weekly = { weeks = 4, on = [] }", "nothing is named"),
        ("weekly = { weeks = 4 }", "missing field `on`"),
        ("monthly = { months = 1189, on = 1 }", "3 to 1188"),
        ("monthly = { months = 12, on = 32 }", "a day of the month"),
        ("monthly = { months = 12, on = \"fifth monday\" }", "a day of the month"),
        ("yearly = { years = 100, months = \"jan\", on = 1 }", "1 to 99"),
        (
            "yearly = { years = 1, months = [\"janu\"], on = 1 }",
            "a month is one of",
        ),
    ] {
        let found = tiers(rest);
        assert!(found.contains(said), "{rest}: {found}");
    }
}

#[test]
fn what_never_runs_is_a_warning() {
    let warnings = |days: &str, tiers: &str| {
        let text =
            format!("[[item]]\npath = \"/srv\"\n[schedule]\ntimes = [\"02:00\"]\ndays = {days}\n[retention]\n{tiers}");
        read(&text).unwrap().warnings
    };
    assert_eq!(
        warnings("[\"mon\"]", "weekly = { weeks = 4, on = [\"mon\", \"sat\"] }"),
        ["weekly: no backup runs on a Saturday"]
    );
    assert_eq!(
        warnings("[\"mon\"]", "weekly = { weeks = 4, on = \"mon\", at = \"14:00\" }"),
        ["weekly: no backup runs at 14:00"]
    );
    assert_eq!(
        warnings("[\"mon\"]", "monthly = { months = 4, on = \"first sunday\" }"),
        ["monthly: no backup runs on its days"]
    );
    assert_eq!(warnings("[\"mon\"]", "monthly = { months = 4, on = 31 }"), [""; 0]);
    let short = read(&format!("short_retention = true\n{LEAST}").replace("days = 7", "days = 1")).unwrap();
    assert!(short.warnings[0].contains("short_retention"));
}
