#![allow(clippy::unwrap_used, reason = "tests")]

use jiff::civil::DateTime;

use super::*;

fn open(window: &str, at: &str) -> bool {
    window
        .parse::<Window>()
        .unwrap()
        .is_open(at.parse::<DateTime>().unwrap())
}

#[test]
fn a_window_is_open_on_its_days_between_its_times() {
    let work = "mon-fri 08:00-18:00 2Mbps";
    // 2026-11-23 is a Monday.
    for (at, want) in [
        ("2026-11-23T08:00", true),
        ("2026-11-23T07:59:59", false),
        ("2026-11-23T17:59:59", true),
        ("2026-11-23T18:00", false),
        ("2026-11-27T12:00", true),
        ("2026-11-28T12:00", false),
        ("2026-11-29T12:00", false),
    ] {
        assert_eq!(open(work, at), want, "{at}");
    }
    let night = "fri 22:00-06:00 unlimited";
    for (at, want) in [
        ("2026-11-27T21:59", false),
        ("2026-11-27T22:00", true),
        ("2026-11-28T05:59", true),
        ("2026-11-28T06:00", false),
        ("2026-11-28T22:00", false),
        ("2026-11-27T03:00", false),
    ] {
        assert_eq!(open(night, at), want, "{at}");
    }
    assert!(open("daily 00:00-24:00 0", "2026-11-23T23:59:59"));
    assert!(open("sun-tue 1:00-2:00 0", "2026-11-24T01:30"));
    assert!(!open("sun-tue 1:00-2:00 0", "2026-11-25T01:30"));
    assert!(open("Sat,SUN 00:00-12:00 0", "2026-11-29T00:00"));
}

#[test]
fn the_end_of_a_pause_is_known_if_windows_end_it() {
    let ends = |settings: ThrottleSettings| {
        // A Monday.
        let at = "2026-11-23T17:10:20Z".parse().unwrap();
        settings.plan().unwrap().pause_ends(at)
    };
    let settings = |windows: &[&str], upload: Option<&str>| ThrottleSettings {
        upload: upload.map(str::to_owned),
        windows: windows.iter().map(|&text| text.to_owned()).collect(),
        time_zone: Some("UTC".to_owned()),
        ..ThrottleSettings::default()
    };
    assert_eq!(
        ends(settings(&["mon-fri 08:00-18:00 0"], None)).as_deref(),
        Some("18:00")
    );
    let night = settings(&["daily 08:00-24:00 0", "daily 00:00-06:30 0"], None);
    assert_eq!(ends(night).as_deref(), Some("Tue 06:30"));
    assert_eq!(ends(settings(&[], Some("0"))), None);
}

#[test]
fn windows_that_mean_nothing_are_refused() {
    for bad in [
        "",
        "mon",
        "mon 08:00-18:00",
        "mom 08:00-18:00 1Mbps",
        "mon- 08:00-18:00 1Mbps",
        "mon 8-18 1Mbps",
        "mon 08:00-25:00 1Mbps",
        "mon 08:60-09:00 1Mbps",
        "mon 08:00-08:00 1Mbps",
        "mon 24:00-08:00 1Mbps",
        "mon 08:00-18:00 fast",
        "mon 08:00-18:00 1Mbps 2Mbps",
        "mon 08:00-18:00 1Mbps up=2Mbps",
        "mon 08:00-18:00 sideways=2Mbps",
        "mon +8:00-18:00 1Mbps",
    ] {
        let said = bad.parse::<Window>().unwrap_err();
        assert!(said.contains("mon-fri 08:00-18:00 2Mbps"), "{said}");
    }
}

fn plan(json: &str) -> Result<Plan, String> {
    let settings: ThrottleSettings = serde_json::from_str(json).map_err(|error| error.to_string())?;
    settings.plan()
}

fn at(plan: &Plan, moment: &str) -> (Option<u64>, Option<u64>) {
    let limits = plan.at(moment.parse().unwrap());
    (limits.up, limits.down)
}

#[test]
fn the_first_open_window_that_names_a_direction_decides_for_it() {
    let plan = plan(
        r#"{"upload": "80Mbps", "download": "unlimited", "time_zone": "Europe/Berlin", "requests": 5,
            "windows": ["mon-fri 08:00-18:00 up=8Mbps", "daily 12:00-13:00 0"]}"#,
    )
    .unwrap();
    // Berlin is an hour ahead of UTC in November.
    assert_eq!(at(&plan, "2026-11-23T06:59:59Z"), (Some(10_000_000), None));
    assert_eq!(at(&plan, "2026-11-23T07:00:00Z"), (Some(1_000_000), None));
    assert_eq!(at(&plan, "2026-11-23T11:30:00Z"), (Some(1_000_000), Some(0)));
    assert_eq!(at(&plan, "2026-11-22T11:30:00Z"), (Some(0), Some(0)));
    assert_eq!(plan.at("2026-11-22T11:30:00Z".parse().unwrap()).requests, Some(5));
    assert_eq!(plan.open_at("2026-11-23T11:30:00Z".parse().unwrap()), [0, 1]);
}

#[test]
fn windows_go_by_the_wall_clock_when_it_is_put_forward_and_back() {
    let plan = plan(r#"{"time_zone": "Europe/Berlin", "windows": ["daily 02:00-03:00 0", "daily 08:00-09:00 8Mbps"]}"#)
        .unwrap();
    // 2027-03-28: 02:00 to 03:00 does not exist there. 08:00 is 06:00 UTC from then on.
    assert_eq!(at(&plan, "2027-03-28T00:59:59Z").0, None);
    assert_eq!(at(&plan, "2027-03-28T01:00:00Z").0, None);
    assert_eq!(at(&plan, "2027-03-27T07:30:00Z").0, Some(1_000_000));
    assert_eq!(at(&plan, "2027-03-28T06:30:00Z").0, Some(1_000_000));
    // 2026-10-25: it comes twice.
    assert_eq!(at(&plan, "2026-10-25T00:30:00Z").0, Some(0));
    assert_eq!(at(&plan, "2026-10-25T01:30:00Z").0, Some(0));
    assert_eq!(at(&plan, "2026-10-25T02:00:00Z").0, None);
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    for bad in [
        "\"x\"",
        r#"{"uplaod": "1Mbps"}"#,
        r#"{"upload": "1"}"#,
        r#"{"upload": "7bps"}"#,
        r#"{"time_zone": "Mars/Olympus"}"#,
        r#"{"windows": ["x"]}"#,
        r#"{"requests": -1}"#,
    ] {
        assert!(plan(bad).is_err(), "{bad}");
    }
}
