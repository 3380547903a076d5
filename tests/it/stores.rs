//! Each object store keeps the promises of a store, and a vault there works like a vault in a folder.

use std::collections::BTreeMap;

use lockstone_vault::store::{RetryRule, Store, StoreOptions};
use lockstone_vault::testing::store_suite::suite;

use crate::support::lab::{Lab, noise};
use crate::support::servers::{self, Server, block_on};
use crate::support::tree::{self, assert_same, file};

/// The store of a server, opened as the program does it, but with settings instead of environment variables.
pub(crate) fn open(server: &Server, prefix: &str) -> Store {
    let settings: BTreeMap<String, String> = server
        .env()
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    let options = StoreOptions {
        settings,
        ..StoreOptions::default()
    };
    Store::open_with(&server.url(prefix), &options)
        .unwrap()
        .retried(RetryRule::default(), None)
}

pub(crate) fn conforms(server: &Server) {
    for prefix in ["", "some/where"] {
        block_on(suite(&open(server, prefix))).unwrap_or_else(|broken| panic!("{prefix:?}: {broken}"));
        // The suite leaves objects behind, which the next one must not find.
        block_on(async {
            let store = open(server, "");
            for object in store.list_all("").await.unwrap() {
                store.delete(&object.path).await.unwrap();
            }
        });
    }
}

/// Files of all sizes, enough for more than one pack.
pub(crate) fn source(lab: &Lab) {
    tree::plain(&lab.source());
    for number in 0..12 {
        file(&lab.source().join(format!("large/{number}")), &noise(number, 4 << 20));
    }
}

/// Creates a vault, uses it and checks it.
pub(crate) fn round_trip(server: &Server) {
    let url = server.url("round/trip");
    let lab = Lab::elsewhere(&url, &server.env());
    lab.create_vault();
    lab.register("home", "server", &[]).exits(0);
    source(&lab);
    let first = lab.backup();
    assert_eq!(first["status"], "Completed", "{first}");
    file(&lab.source().join("new"), b"new");
    let second = lab.backup();
    assert_eq!(second["files_new"], 1, "{second}");
    lab.check_clean();
    let (restored, _) = lab.restore("latest", "out");
    assert_same(&lab.source(), &restored);
    let listed = lab.run(["vault", "points", &url, "--json"]).exits(0).json();
    assert_eq!(listed["points"].as_array().unwrap().len(), 2, "{listed}");
    let jobs = lab.run(["vault", "jobs", &url, "--json"]).exits(0).json();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 4, "{jobs}");
    lab.run(["jobs", "list"]).exits(0);
    lab.run(["vault", "create", &url]).exits(1).says("already");
    // From another machine, with credentials and passphrase.
    let target = lab.path("elsewhere");
    let credentials = lab.credentials();
    let args = [
        "restore",
        "latest",
        "--target",
        target.to_str().unwrap(),
        "--credentials",
        credentials.to_str().unwrap(),
    ];
    lab.run_in("other", args.into_iter().chain(["--source-server", "server"]))
        .exits(0);
    assert_same(&lab.source(), &lab.restored("elsewhere"));
}

#[test]
fn moto_keeps_the_promises_of_a_store() {
    if let Some(server) = servers::moto() {
        conforms(&server);
    }
}

#[test]
fn azurite_keeps_the_promises_of_a_store() {
    if let Some(server) = servers::azurite() {
        conforms(&server);
    }
}

#[test]
fn a_vault_on_moto_is_a_vault() {
    if let Some(server) = servers::moto() {
        round_trip(&server);
    }
}

#[test]
fn a_vault_on_azurite_is_a_vault() {
    if let Some(server) = servers::azurite() {
        round_trip(&server);
    }
}
