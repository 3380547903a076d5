//! A wrong clock is noticed by that of the vault's store, and costs no data.

use jiff::{SignedDuration, Timestamp};
use lockstone_proto::access::Region;
use lockstone_vault::access::credentials::{Issue, OperatorKey};
use lockstone_vault::vault::{CreateOptions, Vault};
use serde_json::Value;

use crate::support::fault_proxy::{Fault, Proxy};
use crate::support::lab::Lab;
use crate::support::servers::{self, Server, block_on};
use crate::support::tree::file;

const HOUR: i64 = 3600;

/// A vault that was made `ago` hours before what this machine's clock shows, behind a proxy, and credentials of then.
/// The machine is not registered yet.
fn made(server: &Server, prefix: &str, ago: i64) -> (Lab, Proxy) {
    let proxy = Proxy::new(&server.endpoint);
    let lab = Lab::elsewhere(&server.url(prefix), &server.env_at(&proxy.endpoint));
    let then = Timestamp::now() - SignedDuration::from_hours(ago);
    let operator = OperatorKey::generate().unwrap();
    let options = CreateOptions {
        secondary_url: None,
        tenant: None,
        soft_delete_days: 14,
        now: then,
    };
    block_on(Vault::create(crate::stores::open(server, prefix), &operator, &options)).unwrap();
    let credentials = operator.issue(&Issue {
        region: Region::Primary,
        url: server.url(prefix),
        secondary_url: None,
        tenant: None,
        now: then,
        valid_days: 10,
    });
    std::fs::write(lab.credentials(), credentials.unwrap().to_text().as_bytes()).unwrap();
    file(&lab.source().join("file"), b"content");
    (lab, proxy)
}

/// How many hours ago something was, by this machine's clock.
fn hours_ago(time: &Value) -> i64 {
    let time: Timestamp = time.as_str().unwrap().parse().unwrap();
    Timestamp::now().duration_since(time).as_hours()
}

#[test]
fn a_clock_that_is_ahead_of_the_stores_is_said_and_dates_nothing() {
    let Some(server) = servers::moto() else { return };
    let (lab, proxy) = made(&server, "ahead", 100);
    proxy.set(Fault::Clock(-5 * HOUR - 60));
    lab.register("home", "server", &[])
        .exits(0)
        .says("this server's clock is 5 h ahead of that of the vault's store: the registration has the store's time");
    let url = server.url("ahead");
    let servers = lab.run(["vault", "servers", &url, "--json"]).exits(0).json();
    assert_eq!(hours_ago(&servers["servers"][0]["registered"]), 5, "{servers}");
    lab.backup_with(&[])
        .exits(3)
        .says("this server's clock is 5 h ahead of that of the vault's store: the recovery point has the store's time");
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(hours_ago(&points["points"][0]["time"]), 5, "{points}");
    let status = lab.run(["status", "--json"]).exits(3).json();
    assert!(status["warnings"].to_string().contains("5 h ahead"), "{status}");
    // Once the clocks agree, nothing is said, and the newest point is the newest.
    proxy.set(Fault::None);
    let second = lab.backup();
    assert_eq!(second["status"], "Completed", "{second}");
    lab.run(["status"]).exits(0);
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(points["points"][1]["id"], second["point"], "{points}");
    lab.check_clean();
}

#[test]
fn a_clock_that_is_behind_makes_no_expired_credentials_valid() {
    let Some(server) = servers::moto() else { return };
    let (lab, proxy) = made(&server, "behind", 100);
    proxy.set(Fault::Clock(20 * 24 * HOUR));
    lab.register("home", "server", &[])
        .exits(5)
        .says("expired")
        .says("find out which clock is wrong");
    proxy.set(Fault::Clock(5 * HOUR));
    lab.register("home", "server", &[]).exits(0);
    let point = lab.backup();
    assert_eq!(point["status"], "Completed", "{point}");
    lab.run(["status"]).exits(0);
}
