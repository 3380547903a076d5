//! The vault knows the policy of each server, and a server that has another one says so.

use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::support::lab::Lab;
use crate::support::tree::{self, file};

fn set(lab: &Lab, comment: &str) -> Value {
    let text = format!(
        "# {comment}\n[[item]]\npath = \"{}\"\n[schedule]\ntimes = [\"02:00\"]\n[retention]\ndaily = {{ days = 7 }}\n",
        lab.source().display()
    );
    let path = lab.path("policy.toml");
    file(&path, text.as_bytes());
    let args = [
        "policy".as_ref(),
        "set".as_ref(),
        "--json".as_ref(),
        "--file".as_ref(),
        path.as_os_str(),
    ];
    lab.run(args).exits(0).json()
}

/// The policies in the vault, oldest first.
fn policies(lab: &Lab) -> Vec<Vec<u8>> {
    let objects = lab.objects();
    let policies = objects
        .iter()
        .filter(|path| path.to_string_lossy().contains("/policy/"));
    policies.map(|path| fs::read(path).unwrap()).collect()
}

const OUT_OF_STEP: &str = "backups are not configured for this server as the vault knows it";

#[test]
fn a_lost_policy_is_missed_until_it_is_set_again() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    set(&lab, "first");
    lab.run(["backup"]).exits(0);
    lab.run(["status"]).exits(0);
    let known = policies(&lab);
    assert_eq!(known.len(), 1);
    let holds = |text: &str| known[0].windows(text.len()).any(|part| part == text.as_bytes());
    // The operator reads when, and not what.
    assert!(holds("02:00") && holds("time_zone"));
    assert!(!holds(lab.source().to_str().unwrap()) && !holds("first"));

    fs::remove_file(lab.path("home/policy.json")).unwrap();
    lab.run(["status"]).exits(3);
    assert!(lab.run(["status"]).stdout.contains(OUT_OF_STEP));
    lab.run(["backup"]).exits(8).says(OUT_OF_STEP).says("policy set --file");
    lab.backup_with(&[]).exits(3).says(OUT_OF_STEP);
    assert_eq!(set(&lab, "again")["generation"], 2);
    lab.run(["backup"]).exits(0);
    lab.run(["status"]).exits(0);
    assert_eq!(policies(&lab).len(), 2);
}

#[test]
fn a_state_folder_that_was_set_back_is_out_of_step() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    set(&lab, "first");
    let old = fs::read(lab.path("home/policy.json")).unwrap();
    set(&lab, "second");
    fs::write(lab.path("home/policy.json"), old).unwrap();
    lab.run(["backup"]).exits(3).says(OUT_OF_STEP);
    // A pause of the old policy would take the number of the other one.
    lab.run(["policy", "pause"]).exits(0).says(OUT_OF_STEP);
    assert_eq!(set(&lab, "third")["generation"], 3);
    lab.run(["policy", "resume"]).exits(0);
    lab.run(["backup"]).exits(0);
    lab.run(["status"]).exits(0);
}

#[test]
fn a_policy_that_was_set_while_the_vault_was_away_comes_there_with_the_next_backup() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    fs::rename(lab.vault(), lab.path("away")).unwrap();
    set(&lab, "first");
    fs::rename(lab.path("away"), lab.vault()).unwrap();
    assert_eq!(policies(&lab).len(), 0);
    lab.run(["status"]).exits(3);
    lab.run(["backup"]).exits(0);
    assert_eq!(policies(&lab).len(), 1);
    lab.run(["status"]).exits(0);
}

#[test]
fn a_damaged_policy_in_the_vault_costs_nothing_else() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    set(&lab, "first");
    let object = lab
        .objects()
        .into_iter()
        .find(|path| path.to_string_lossy().contains("/policy/"))
        .unwrap();
    fs::remove_file(&object).unwrap();
    fs::write(&object, b"rot").unwrap();
    // The name is taken, so this policy stays unknown to the vault until it is set again.
    let ran = lab.run(["backup"]);
    assert!(matches!(ran.code, Some(0 | 3)), "{:?}\n{}", ran.code, ran.stderr);
    ran.says("the vault is damaged");
    set(&lab, "second");
    lab.run(["backup"]).exits(0);
}

/// A second server in the domain of the first: with a policy, a point that is not over and one that soon is. Returns
/// the id of that one, and when it is over.
fn neighbour(lab: &Lab, name: &str) -> (String, Timestamp) {
    lab.register(name, name, &["--join-domain", "server"]).exits(0);
    let run = |args: &[&str]| lab.run_in(name, args).exits(0);
    run(&["policy", "set", "--file", lab.path("policy.toml").to_str().unwrap()]);
    run(&["backup"]);
    let (source, soon) = (lab.source(), Timestamp::now() + Duration::from_secs(5));
    let until = soon.to_string();
    let short = run(&["backup", "--json", "--retain-until", &until, source.to_str().unwrap()]).json();
    (short["point"].as_str().unwrap().to_owned(), soon)
}

#[test]
fn points_of_an_unregistered_server_age_by_its_last_policy() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    set(&lab, "all");
    let (over, _) = neighbour(&lab, "gone");
    neighbour(&lab, "revoked");
    neighbour(&lab, "paused");
    let (_, soon) = neighbour(&lab, "live");
    lab.run_in("paused", ["policy", "pause"]).exits(0);
    for name in ["gone", "revoked", "paused"] {
        let ran = lab.run_in(name, ["unregister"]).exits(0);
        assert!(
            ran.stdout
                .contains("delete its recovery points when their time is over")
        );
    }
    let url = lab.vault();
    let url = url.to_str().unwrap();
    lab.run(["vault", "revoke", url, "--server", "revoked", "--reason", "stolen"])
        .exits(0);
    while Timestamp::now() <= soon {
        std::thread::sleep(Duration::from_millis(100));
    }
    let expired = || {
        let listed = lab.run(["vault", "servers", url, "--json"]).exits(0).json();
        let expired = |server: &Value| server["expired_points"].as_u64().filter(|expired| *expired > 0);
        let servers = listed["servers"].as_array().unwrap().iter();
        servers
            .filter_map(|server| Some((server["server"].as_str()?.to_owned(), expired(server)?)))
            .collect::<Vec<_>>()
    };
    assert_eq!(expired(), [("gone".to_owned(), 1)]);
    let done = lab.run(["backup", "--json"]).exits(0).json();
    assert_eq!(done["points_forgotten"], serde_json::json!([over]));
    assert_eq!(expired(), []);
    // What was deleted comes back when the server is registered again.
    lab.register("gone", "gone", &[]).exits(0);
    lab.run_in("gone", ["points", "undelete", &over]).exits(0);
}

#[test]
fn the_last_server_of_a_domain_says_that_its_points_stay() {
    let lab = Lab::new();
    let ran = lab.run(["unregister"]).exits(0);
    assert!(
        ran.stdout.contains("none deletes its recovery points"),
        "{}",
        ran.stdout
    );
}
