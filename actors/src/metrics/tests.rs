//! Tests of the metrics: what is on a page, and what never is.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use lockstone_vault::store::observe::{Outcome, StoreObserver, Verb};
use lockstone_vault::store::pace::Direction;

use super::list::{Kind, Metric, OTHER};
use super::*;

fn ended(kind: JobKind, status: JobState, at: f64) -> EndedJob {
    EndedJob {
        kind,
        status,
        ended_s: at,
        duration: Duration::from_secs(7),
        bytes: vec![("scanned", 1000), ("read", 400), ("new", 100), ("stored", 50)],
        files: vec![("new", 3)],
        warnings: 2,
        restarts: 1,
    }
}

/// A page with every family on it.
fn full() -> Metrics {
    let metrics = Metrics::new();
    for metric in list::ALL {
        let labels: Vec<&str> = metric.labels.iter().map(|label| label.values[0]).collect();
        match metric.kind {
            Kind::Counter => metrics.families.add(metric, &labels, 1.0),
            Kind::Gauge => metrics.families.set(metric, &labels, 1.0),
            Kind::Histogram => metrics.families.observe(metric, &labels, 1.0),
        }
    }
    metrics
}

#[test]
fn every_metric_is_on_the_page_with_help_and_type_and_a_name_by_the_rule() {
    let text = full().render();
    for metric in list::ALL {
        assert!(
            text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)),
            "{}",
            metric.name
        );
        let kind = metric.kind.word();
        assert!(
            text.contains(&format!("# TYPE {} {kind}\n", metric.name)),
            "{}",
            metric.name
        );
        assert!(metric.name.starts_with("lockstone_"), "{}", metric.name);
        assert_eq!(
            metric.name.ends_with("_total"),
            metric.kind == Kind::Counter,
            "{}",
            metric.name
        );
        assert!(
            metric.help.ends_with('.') && !metric.help.contains('\n'),
            "{}",
            metric.name
        );
    }
    assert_eq!(text.matches("# TYPE ").count(), list::ALL.len());
}

#[test]
fn a_label_has_no_value_but_those_of_its_set() {
    let metrics = full();
    metrics.families.add(&list::FILES, &["/etc/passwd"], 1.0);
    let tags: BTreeMap<String, u64> = (0..1000).map(|n| (format!("tag {n}"), 1)).collect();
    metrics.points(&tags);
    metrics.recorded(&ended(JobKind::Unspecified, JobState::Queued, 1.0));
    let mut series = 0;
    let mut most = 0;
    for family in metrics.families.registry.gather() {
        let metric = list::ALL.iter().find(|metric| metric.name == family.name()).unwrap();
        for sample in family.get_metric() {
            series += 1;
            for pair in sample.get_label() {
                let label = metric.labels.iter().find(|label| label.name == pair.name()).unwrap();
                let bounded = label.values.contains(&pair.value()) || pair.value() == OTHER;
                assert!(bounded, "{}: {} = {}", metric.name, pair.name(), pair.value());
            }
        }
        most += metric
            .labels
            .iter()
            .map(|label| label.values.len() + 1)
            .product::<usize>();
    }
    assert!(series <= most, "{series} of at most {most}");
    assert!(most < 500, "{most} series are too many for one process");
    assert!(metrics.render().contains("lockstone_points{tag=\"other\"} 1000\n"));
}

#[test]
fn the_sets_hold_all_that_the_store_says() {
    let values = |metric: &Metric, place: usize| BTreeSet::from_iter(metric.labels[place].values.iter().copied());
    let verbs = [Verb::Put, Verb::Get, Verb::Head, Verb::List, Verb::Delete, Verb::Copy];
    let outcomes = [Outcome::Done, Outcome::Exists, Outcome::NotFound, Outcome::Failed];
    assert_eq!(values(&list::REQUESTS, 0), BTreeSet::from(verbs.map(Verb::name)));
    assert_eq!(values(&list::REQUESTS, 1), BTreeSet::from(outcomes.map(Outcome::name)));
}

#[test]
fn the_last_job_of_a_kind_is_the_one_that_ended_last() {
    let metrics = Metrics::new();
    metrics.recorded(&ended(JobKind::Backup, JobState::Completed, 100.0));
    metrics.recorded(&ended(JobKind::Backup, JobState::Failed, 200.0));
    let mut old = ended(JobKind::Backup, JobState::Cancelled, 50.0);
    old.warnings = 99;
    metrics.recorded(&old);
    // The clock was ahead during this job.
    let mut ahead = ended(JobKind::Backup, JobState::Completed, now_s() + 1e6);
    ahead.warnings = 98;
    metrics.recorded(&ahead);
    // Records come in any order.
    metrics.recorded(&ended(JobKind::Restore, JobState::Failed, 200.0));
    metrics.recorded(&ended(JobKind::Restore, JobState::Completed, 100.0));
    let text = metrics.render();
    for line in [
        "lockstone_last_success_timestamp_seconds{kind=\"restore\"} 100",
        "lockstone_last_end_timestamp_seconds{kind=\"restore\",status=\"Completed\"} 100",
        "lockstone_last_end_timestamp_seconds{kind=\"backup\",status=\"Cancelled\"} 50",
        "lockstone_jobs_total{kind=\"backup\",status=\"Cancelled\"} 1",
        "lockstone_last_success_timestamp_seconds{kind=\"backup\"} 100",
        "lockstone_last_end_timestamp_seconds{kind=\"backup\",status=\"Failed\"} 200",
        "lockstone_job_warnings{kind=\"backup\"} 2",
        "lockstone_job_dedup_ratio 0.9",
        "lockstone_job_compression_ratio 0.5",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line}: {text}");
    }
}

#[test]
fn a_store_is_counted_by_verb_outcome_and_direction() {
    let metrics = Metrics::new();
    assert!(
        !metrics.render().contains("lockstone_store_"),
        "nothing was asked of a store yet"
    );
    metrics.finished(Verb::Put, Outcome::Done, 0.02, 1000);
    metrics.finished(Verb::Get, Outcome::Done, 0.5, 70);
    metrics.finished(Verb::Put, Outcome::Failed, 0.5, 0);
    metrics.retrying(Verb::Put);
    let text = metrics.render();
    for line in [
        "lockstone_store_requests_total{outcome=\"done\",verb=\"put\"} 1",
        "lockstone_store_requests_total{outcome=\"failed\",verb=\"put\"} 1",
        "lockstone_store_requests_total{outcome=\"failed\",verb=\"delete\"} 0",
        "lockstone_store_request_duration_seconds_count{verb=\"put\"} 2",
        "lockstone_store_bytes_total{direction=\"up\"} 1000",
        "lockstone_store_bytes_total{direction=\"down\"} 70",
        "lockstone_store_retries_total{verb=\"put\"} 1",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line}: {text}");
    }
}

#[test]
fn limits_and_ages_are_said_as_they_are() {
    let metrics = Metrics::new();
    metrics.throttle_limit(Direction::Up, Some(1000));
    metrics.throttle_limit(Direction::Down, None);
    metrics.throttle_waited(Direction::Up, Duration::from_millis(1500));
    metrics.age_newest_point(500.0);
    assert!(!metrics.render().contains("age_seconds"), "there is no point yet");
    metrics.newest_point(400.0);
    metrics.age_newest_point(500.0);
    let text = metrics.render();
    for line in [
        "lockstone_throttle_limit_bytes_per_second{direction=\"up\"} 1000",
        "lockstone_throttle_limit_bytes_per_second{direction=\"down\"} +Inf",
        "lockstone_throttle_waited_seconds_total{direction=\"up\"} 1.5",
        "lockstone_newest_point_age_seconds 100",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line}: {text}");
    }
}
