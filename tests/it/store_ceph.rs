//! Ceph, the distributed store, keeps the promises of a store and holds a vault. A disk that dies in the middle of a
//! backup or a restore does no harm. This is one test, so that Ceph starts only once.

use std::ffi::OsStr;

use serde_json::Value;

use crate::stores::{conforms, open, round_trip};
use crate::support::lab::{Lab, finish, noise};
use crate::support::servers::{self, Server, block_on};
use crate::support::tree::{assert_same, file};

/// Runs a job of the program and stops an OSD once `begun` returns that the job is under way.
fn with_a_death(lab: &Lab, server: &mut Server, args: &[&OsStr], osd: u8, begun: impl Fn() -> bool) -> Value {
    let mut command = lab.command("home");
    command.args(args).arg("--json");
    let running = std::thread::spawn(move || finish(command));
    while !begun() && !running.is_finished() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    server.tell(&format!("stop {osd}"));
    assert!(!running.is_finished(), "the job was over before OSD {osd} died");
    running.join().unwrap().exits(0).json()
}

#[test]
fn ceph_keeps_the_promises_of_a_store_and_a_disk_may_die() {
    let Some(mut server) = servers::ceph() else { return };
    conforms(&server);
    round_trip(&server);

    let lab = Lab::elsewhere(&server.url("deaths"), &server.env());
    lab.create_vault();
    lab.register("home", "server", &[]).exits(0);
    for number in 0..60 {
        file(&lab.source().join(format!("{number}")), &noise(number, 4 << 20));
    }
    let store = open(&server, "deaths");
    let source = lab.source();
    let packs = || {
        block_on(store.list_all("domains"))
            .unwrap()
            .iter()
            .any(|object| object.path.contains("/packs/"))
    };
    let args = [
        "backup".as_ref(),
        source.as_os_str(),
        "--upload-limit".as_ref(),
        "60MiB/s".as_ref(),
    ];
    let report = with_a_death(&lab, &mut server, &args, 0, packs);
    assert_eq!(report["status"], "Completed", "{report}");
    server.tell("start 0");

    let target = lab.path("out");
    let restored = lab.restored("out");
    let args = [
        "restore".as_ref(),
        "latest".as_ref(),
        "--target".as_ref(),
        target.as_os_str(),
        "--download-limit".as_ref(),
        "60MiB/s".as_ref(),
    ];
    let report = with_a_death(&lab, &mut server, &args, 1, || restored.exists());
    assert_eq!(report["status"], "Completed", "{report}");
    assert_same(&source, &restored);
    lab.check_clean();
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"].as_array().unwrap().len(), 1, "{points}");
}
