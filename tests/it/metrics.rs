//! Metrics of a running job, of a job that has ended, and of the agent; and what metrics never contain.

use std::fs;

use lockstone_actors::metrics::list;
use lockstone_proto::limits;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::lab::{Lab, finish};
use crate::support::running::{agent, slow_backup};
use crate::support::tree;
use crate::support::web::{ask, assert_in_catalogue, page, until, value};

#[test]
fn a_job_shows_its_metrics_while_it_runs() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let (mut backup, address) = slow_backup(&lab);
    let text = until("a pack is stored", || {
        let text = page(&address, "/metrics");
        value(&text, "lockstone_bytes_total{what=\"stored\"}")
            .is_some_and(|stored| stored > 0.0)
            .then_some(text)
    });
    assert_in_catalogue(&text);
    assert_eq!(
        value(&text, "lockstone_jobs_running{kind=\"backup\",state=\"Running\"}"),
        Some(1.0)
    );
    for series in [
        "lockstone_stage_items_total{stage=\"hasher\"}",
        "lockstone_stage_bytes_total{stage=\"dedup\"}",
        "lockstone_stage_busy_seconds_total{stage=\"sealer\"}",
        "lockstone_stage_starved_seconds_total{stage=\"bookkeeper\"}",
        "lockstone_stage_queue_capacity_messages{stage=\"uploader\"}",
        "lockstone_stage_threads{stage=\"uploader\"}",
        "lockstone_budget_used_bytes{lane=\"data\"}",
        "lockstone_budget_limit_bytes{lane=\"tree\"}",
        "lockstone_index_lookups_total{outcome=\"miss\"}",
        "lockstone_store_requests_total{outcome=\"done\",verb=\"put\"}",
        "lockstone_store_request_duration_seconds_count{verb=\"put\"}",
        "lockstone_store_bytes_total{direction=\"up\"}",
        "lockstone_cache_free_bytes",
    ] {
        let found = value(&text, series).unwrap_or_else(|| panic!("{series}: {text}"));
        assert!(found > 0.0, "{series} {found}");
    }
    let limit = value(&text, "lockstone_throttle_limit_bytes_per_second{direction=\"up\"}");
    assert_eq!(limit, Some(2.0 * 1024.0 * 1024.0));
    let used = value(&text, "lockstone_budget_used_bytes{lane=\"data\"}").unwrap();
    let budget = value(&text, "lockstone_budget_limit_bytes{lane=\"data\"}").unwrap();
    // A frame that is being sealed when the whole budget is taken goes beyond the budget.
    assert!(
        used <= budget + 1.1 * limits::FRAME_MAX_RAW as f64,
        "{used} of {budget}"
    );

    let jobs: Value = serde_json::from_str(&page(&address, "/jobs")).unwrap();
    assert_eq!(jobs["jobs"][0]["kind"], "backup");
    assert_eq!(jobs["jobs"][0]["status"], "Running");
    assert!(
        jobs["jobs"][0]["progress"]["seen_bytes"].as_u64().unwrap() > 0,
        "{jobs}"
    );
    assert_eq!(ask(&address, "/nothing").unwrap().0, 404);

    // Time and counters only grow, and every thread's time is accounted for.
    let later = page(&address, "/metrics");
    for line in text.lines().filter(|line| line.contains("_total")) {
        if let Some((series, before)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) {
            let after = value(&later, series).unwrap_or_else(|| panic!("{series} is gone"));
            assert!(after >= before.parse().unwrap(), "{series}: {before}, then {after}");
        }
    }
    assert_eq!(backup.end_by(Signal::TERM), Some(4));
    assert!(ask(&address, "/metrics").is_none(), "nobody is left");
}

#[test]
fn a_textfile_says_how_the_job_ended_and_nothing_that_grows_old() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let place = lab.path("lockstone.prom");
    lab.backup_with(&["--metrics-textfile", place.to_str().unwrap()])
        .exits(0);
    let text = fs::read_to_string(&place).unwrap();
    assert_in_catalogue(&text);
    assert!(!text.contains(lab.source().to_str().unwrap()));
    for (series, want) in [
        ("lockstone_jobs_total{kind=\"backup\",status=\"Completed\"}", 1.0),
        ("lockstone_points{tag=\"on-demand\"}", 1.0),
        ("lockstone_stage_threads{stage=\"hasher\"}", 0.0),
        ("lockstone_budget_used_bytes{lane=\"data\"}", 0.0),
        ("lockstone_jobs_running{kind=\"backup\",state=\"Running\"}", 0.0),
    ] {
        assert_eq!(value(&text, series), Some(want), "{series}: {text}");
    }
    let new = value(&text, "lockstone_files_total{outcome=\"new\"}").unwrap();
    assert_eq!(
        value(&text, "lockstone_job_files{kind=\"backup\",outcome=\"new\"}"),
        Some(new)
    );
    assert!(value(&text, "lockstone_newest_point_timestamp_seconds").unwrap() > 1e9);
    assert_eq!(value(&text, "lockstone_newest_point_age_seconds"), None);

    // A job that ends before it begins its work counts as failed.
    fs::rename(lab.vault(), lab.path("away")).unwrap();
    fs::create_dir(lab.vault()).unwrap();
    lab.backup_with(&["--metrics-textfile", place.to_str().unwrap()])
        .exits(1);
    let text = fs::read_to_string(&place).unwrap();
    assert_eq!(
        value(&text, "lockstone_jobs_total{kind=\"backup\",status=\"Failed\"}"),
        Some(1.0),
        "{text}"
    );
}

#[test]
fn the_agent_knows_the_jobs_from_their_records() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    let (mut agent, address) = agent(&lab);
    let text = page(&address, "/metrics");
    assert_in_catalogue(&text);
    assert_eq!(
        value(&text, "lockstone_jobs_total{kind=\"backup\",status=\"Completed\"}"),
        Some(1.0)
    );
    assert!(value(&text, "lockstone_newest_point_age_seconds").unwrap() < 3600.0);

    // The next scrape shows later jobs, each of them once, including one that was killed.
    lab.restore("latest", "out");
    lab.run(["check"]).exits(0);
    let (mut backup, job) = slow_backup(&lab);
    until("the job is there", || ask(&job, "/metrics"));
    let running = "lockstone_jobs_running{kind=\"backup\",state=\"Running\"}";
    until("the agent sees it, too", || {
        (value(&page(&address, "/metrics"), running) == Some(1.0)).then_some(())
    });
    backup.end_by(Signal::KILL);
    for _ in 0..2 {
        let text = page(&address, "/metrics");
        assert_in_catalogue(&text);
        for (series, want) in [
            (running, 0.0),
            ("lockstone_jobs_total{kind=\"backup\",status=\"Completed\"}", 1.0),
            ("lockstone_jobs_total{kind=\"backup\",status=\"Failed\"}", 1.0),
            ("lockstone_jobs_total{kind=\"restore\",status=\"Completed\"}", 1.0),
            ("lockstone_jobs_total{kind=\"check\",status=\"Completed\"}", 1.0),
            ("lockstone_points{tag=\"on-demand\"}", 1.0),
        ] {
            assert_eq!(value(&text, series), Some(want), "{series}: {text}");
        }
        assert!(value(&text, "lockstone_index_chunks").unwrap() > 0.0);
        assert!(value(&text, "lockstone_job_files{kind=\"restore\",outcome=\"restored\"}").unwrap() > 0.0);
    }
    let jobs = page(&address, "/jobs");
    assert!(
        !jobs.contains(lab.source().to_str().unwrap()),
        "no path is told: {jobs}"
    );
    let jobs: Value = serde_json::from_str(&jobs).unwrap();
    let kinds: Vec<&str> = jobs["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["backup", "check", "restore", "backup"], "newest first");
    assert_eq!(jobs["jobs"][0]["error"], "interrupted");
    assert_eq!(agent.end_by(Signal::TERM), Some(0), "told to stop, and stopped");
}

#[test]
fn an_address_that_cannot_be_had_is_said_and_keeps_no_job_from_running() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let (mut agent, taken) = agent(&lab);
    // This address is reserved for documentation, so no machine has it.
    for address in [taken.as_str(), "192.0.2.1:9469"] {
        lab.backup_with(&["--metrics-listen", address])
            .exits(0)
            .says("the metrics of this job are not served: cannot listen on")
            .says("--metrics-listen");
    }
    lab.register("other", "other", &[]).exits(0);
    lab.run_in("other", ["agent", "--metrics-listen", &taken])
        .exits(1)
        .says("cannot listen on");
    lab.backup_with(&["--metrics-listen", "here"])
        .exits(2)
        .says("127.0.0.1:9469");
    let jobs = lab.run(["jobs", "list", "--json"]).exits(0).json();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 2, "{jobs}");
    assert_eq!(agent.end_by(Signal::INT), Some(0));
    lab.run_in("elsewhere", ["agent"]).exits(8).says("not registered");
}

#[test]
fn clients_that_send_nothing_do_not_keep_others_from_the_metrics() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let (mut agent, address) = agent(&lab);
    let silent: Vec<_> = (0..100)
        .map(|_| std::net::TcpStream::connect(&address).unwrap())
        .collect();
    assert!(page(&address, "/metrics").contains("lockstone_build_info"));
    drop(silent);
    assert_eq!(agent.end_by(Signal::INT), Some(0));
}

#[test]
fn the_page_about_metrics_is_what_the_code_says() {
    let page = list::page();
    assert_eq!(
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap(),
        page,
        "docs/metrics.md is out of date: lockstone metrics-page >docs/metrics.md"
    );
    let lab = Lab::empty();
    let mut command = lab.command("home");
    command.arg("metrics-page");
    assert_eq!(finish(command).exits(0).stdout, page);
}
