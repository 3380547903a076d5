//! `bench throttle` measures what it is asked to, leaves nothing behind, and reports what it cannot do.

use std::fs;

use rustix::process::Signal;

use crate::support::lab::{Lab, Ran};
use crate::support::servers;
use crate::support::web::Started;

/// One short run of each kind.
const SHORT: [&str; 14] = [
    "bench",
    "throttle",
    "--json",
    "--seconds",
    "1",
    "--parallel",
    "2",
    "--limits",
    "2MiB/s,unlimited",
    "--pieces",
    "auto,4KiB",
    "--pack",
    "256KiB",
    "-q",
];

fn short(lab: &Lab, more: &[&str]) -> Ran {
    lab.run(SHORT.iter().chain(more))
}

#[test]
fn every_combination_is_measured_and_written_down() {
    let lab = Lab::empty();
    let ran = short(
        &lab,
        &[
            "--changes",
            "2MiB/s:0",
            "--cost-rounds",
            "1",
            "--csv",
            "runs.csv",
            "--svg",
            "runs.svg",
        ],
    );
    let said = ran.exits(0).json();
    assert_eq!(said["counted_by"], "sink");
    let runs = said["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2 * 2 + 1, "{said}");
    for run in runs {
        assert!(run["bytes"].as_u64().unwrap() > 0, "{run}");
        assert!(run["wall_seconds"].as_f64().unwrap() >= 1.0, "{run}");
        assert!(run["peak_bytes"].as_u64().unwrap() > 1 << 20, "{run}");
        let limited = !run["limit_bytes_per_second"].is_null();
        assert_eq!(run["piece_bytes"].is_u64(), limited, "{run}");
    }
    assert_eq!(runs[1]["piece_bytes"], 4096);
    assert!(runs[0]["achieved"].as_f64().unwrap() > 0.0);
    assert!(runs[0]["put_p99_seconds"].as_f64().unwrap() >= runs[0]["put_p50_seconds"].as_f64().unwrap());
    assert_eq!(said["cost"]["rounds"].as_array().unwrap().len(), 1);
    let csv = fs::read_to_string(lab.path("runs.csv")).unwrap();
    // One line of headings, one for each run, and two about the cost.
    assert_eq!(csv.lines().count(), 1 + 5 + 2, "{csv}");
    let svg = fs::read_to_string(lab.path("runs.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert!(!lab.path("home").exists());
}

#[test]
fn the_built_in_sink_needs_no_settings_and_heeds_none() {
    let mut lab = Lab::empty();
    // The bytes for the sink go neither to another endpoint nor to a proxy.
    lab.set("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    lab.set("HTTP_PROXY", "http://127.0.0.1:1");
    short(&lab, &["--changes", "none", "--cost-rounds", "0"]).exits(0);
}

#[test]
fn real_files_go_to_a_folder_that_is_empty_again_afterwards() {
    let lab = Lab::empty();
    crate::support::tree::plain(&lab.source());
    fs::create_dir(lab.vault()).unwrap();
    let (vault, source) = (lab.vault(), lab.source());
    let to = [
        "--vault",
        vault.to_str().unwrap(),
        "--changes",
        "none",
        "--cost-rounds",
        "0",
    ];
    let said = short(&lab, &[&to[..], &[source.to_str().unwrap()]].concat())
        .exits(0)
        .json();
    assert_eq!(said["counted_by"], "sender");
    assert!(said["runs"][0]["bytes"].as_u64().unwrap() > 0, "{said}");
    assert_eq!(fs::read_dir(&vault).unwrap().count(), 0);
}

#[test]
fn a_store_of_plain_http_is_looked_into() {
    let Some(server) = servers::moto() else { return };
    let lab = Lab::elsewhere(&server.url("bench"), &server.env());
    let url = server.url("bench");
    let to = ["--vault", url.as_str(), "--changes", "none", "--cost-rounds", "0"];
    let said = short(&lab, &to).exits(0).json();
    assert_eq!(said["counted_by"], "relay");
    for run in said["runs"].as_array().unwrap() {
        assert!(run["puts"].as_u64().unwrap() > 0, "{run}");
        assert_eq!(run["failed"], 0, "{run}");
    }
    let left = servers::block_on(crate::stores::open(&server, "bench").list_all("")).unwrap();
    assert_eq!(left, Vec::new());
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_measured() {
    let lab = Lab::empty();
    for (option, value) in [
        ("--limits", "fast"),
        ("--limits", "0"),
        ("--pieces", "0"),
        ("--parallel", "0"),
        ("--budgets", "1MiB"),
        ("--changes", "20Mbps"),
        ("--changes", "unlimited:1Mbps"),
        ("--seconds", "0"),
        ("--pack", "0"),
    ] {
        lab.run(["bench", "throttle", option, value]).exits(2).says(option);
    }
    let missing = lab.path("missing");
    let missing = missing.to_str().unwrap();
    short(&lab, &["--vault", missing]).exits(1).says("missing");
    assert!(!lab.path("missing").exists());
    short(&lab, &["--vault", "gopher://x"]).exits(1).says("gopher");
    short(&lab, &["--vault", "s3://bucket", missing])
        .exits(1)
        .says("missing");
    short(&lab, &["--csv", "missing/a.csv"]).exits(1).says("missing/a.csv");
    let empty = lab.source();
    short(&lab, &[empty.to_str().unwrap()]).exits(1).says("no file");
}

#[test]
fn a_signal_ends_it_and_nothing_is_left_in_the_vault() {
    let lab = Lab::empty();
    fs::create_dir(lab.vault()).unwrap();
    let vault = lab.vault();
    let args = [
        "bench",
        "throttle",
        "--seconds",
        "3600",
        "--limits",
        "8MiB/s",
        "--pack",
        "64KiB",
    ];
    let args = args.into_iter().chain(["--vault", vault.to_str().unwrap()]);
    let mut bench = Started(lab.spawn(args));
    // The run is under way when an object was stored.
    let _first = crate::support::web::until("the first put", || {
        let runs = fs::read_dir(vault.join("bench")).ok()?.next()?.ok()?.path();
        fs::read_dir(runs.join("0")).ok()?.next()?.ok()
    });
    assert_eq!(bench.end_by(Signal::INT), Some(4));
    assert_eq!(fs::read_dir(&vault).unwrap().count(), 0);
}
