//! A real Prometheus scrapes an agent and a running backup, loads the rules, and finds data for every query of every
//! panel of every dashboard. Without `prometheus` and `promtool` these tests report that they are skipped.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::lab::{Lab, finish};
use crate::support::running::{agent, slow_backup};
use crate::support::tree;
use crate::support::web::{Started, ask, page, until};

fn dashboards() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

fn there(programs: &[&str]) -> bool {
    programs.iter().all(|program| {
        let found = Command::new(program)
            .arg("--version")
            .output()
            .is_ok_and(|ran| ran.status.success());
        if !found {
            eprintln!("SKIPPED: no {program} (make setup-tests installs it)");
        }
        found
    })
}

#[test]
fn the_dashboards_are_what_their_program_writes() {
    if there(&["python3"]) {
        let mut command = Command::new("python3");
        command.arg(dashboards().join("generate.py")).arg("--check");
        finish(command).exits(0);
    }
}

#[test]
fn the_rules_are_sound_and_each_alert_fires_when_it_should() {
    if there(&["promtool"]) {
        let run = |args: &[&str]| {
            let mut command = Command::new("promtool");
            command.args(args).current_dir(dashboards());
            finish(command).exits(0);
        };
        run(&["check", "rules", "rules.yml"]);
        run(&["test", "rules", "rules_test.yml"]);
    }
}

#[test]
fn every_query_of_every_panel_finds_data() {
    if !there(&["prometheus", "promtool"]) {
        return;
    }
    let lab = Lab::new();
    tree::plain(&lab.source());
    // One record of each kind of job.
    lab.backup();
    lab.restore("latest", "out");
    lab.run(["check"]).exits(0);
    let (mut agent, at_agent) = agent(&lab);
    let (mut backup, at_job) = slow_backup(&lab);
    let (_prometheus, address) = prometheus(&lab, &[("lockstone-agent", &at_agent), ("lockstone-job", &at_job)]);

    until("both targets are up", || {
        let up = query(&address, "sum(up)")?;
        (up == ["2"]).then_some(())
    });
    for target in [&at_agent, &at_job] {
        promtool_likes(&lab, &page(target, "/metrics"));
    }
    let mut asked = queries();
    assert!(asked.len() > 40, "{}", asked.len());
    let mut missing = String::new();
    until("every query finds data", || {
        asked.retain(|_, text| !finds_data(&address, text));
        missing = format!("{asked:#?}");
        // If the job has ended without the value, waiting does not help.
        assert!(
            asked.is_empty() || ask(&at_job, "/").is_some(),
            "without data: {missing}"
        );
        asked.is_empty().then_some(())
    });
    let rules: Value = serde_json::from_str(&page(&address, "/api/v1/rules")).unwrap();
    let groups = rules["data"]["groups"].as_array().unwrap();
    let rules: Vec<&Value> = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    assert!(rules.len() > 10);
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    assert_eq!(backup.end_by(Signal::TERM), Some(4));
    assert_eq!(agent.end_by(Signal::TERM), Some(0));
}

/// A Prometheus of this test alone. It scrapes the targets every second, under one instance name.
fn prometheus(lab: &Lab, targets: &[(&str, &str)]) -> (Started, String) {
    let mut config = String::from("global: {scrape_interval: 1s, evaluation_interval: 1s}\n");
    config.push_str(&format!(
        "rule_files: ['{}']\nscrape_configs:\n",
        dashboards().join("rules.yml").display()
    ));
    for (job, address) in targets {
        config.push_str(&format!(
            "  - job_name: {job}\n    static_configs: [{{targets: ['{address}'], labels: {{instance: server}}}}]\n"
        ));
    }
    let place = lab.path("prometheus.yml");
    fs::write(&place, config).unwrap();
    // The port is free now, but another program may take it before Prometheus does, so there is more than one try.
    for _ in 0..5 {
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", place.display()))
            .arg(format!("--storage.tsdb.path={}", lab.path("tsdb").display()))
            .arg(format!("--web.listen-address={free}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut started = Started(child.unwrap());
        let ready = until("Prometheus is ready, or has ended", || {
            if started.0.try_wait().unwrap().is_some() {
                return Some(false);
            }
            ask(&free, "/-/ready")
                .filter(|(status, _)| *status == 200)
                .map(|_| true)
        });
        if ready {
            return (started, free);
        }
    }
    panic!("Prometheus does not start");
}

fn promtool_likes(lab: &Lab, page: &str) {
    let place = lab.path("page.prom");
    fs::write(&place, page).unwrap();
    let mut command = Command::new("promtool");
    command
        .args(["check", "metrics"])
        .stdin(fs::File::open(&place).unwrap());
    let ran = finish(command).exits(0);
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("", ""),
        "promtool has something to say"
    );
}

/// All queries of all dashboards, by their places, with the variables set to all servers.
fn queries() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dashboards()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let dashboard: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let text = target["expr"].as_str().unwrap();
                let text = text.replace("$instance", ".+").replace("$__rate_interval", "30s");
                assert!(!text.contains('$'), "{text}");
                let name = path.file_stem().unwrap().to_string_lossy();
                found.insert(format!("{name}: {} {}", panel["title"], target["refId"]), text);
            }
        }
    }
    found
}

/// Whether at least one series has a number as its value.
fn finds_data(address: &str, text: &str) -> bool {
    query(address, text).is_some_and(|values| values.iter().any(|value| value != "NaN"))
}

/// The values that Prometheus returns now.
fn query(address: &str, text: &str) -> Option<Vec<String>> {
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let (status, body) = ask(address, &format!("/api/v1/query?query={encoded}"))?;
    assert_eq!(status, 200, "{text}: {body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let found = answer["data"]["result"].as_array()?;
    Some(
        found
            .iter()
            .map(|one| one["value"][1].as_str().unwrap_or("NaN").to_owned())
            .collect(),
    )
}
