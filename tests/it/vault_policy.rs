//! The vault knows the policy of each server, and a server that has another one says so.

use std::fs;

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
