//! Recovery points can be listed, browsed, compared, deleted and undeleted.

use std::fs;

use serde_json::Value;

use crate::support::lab::Lab;
use crate::support::tree::{self, assert_same, file};

fn paths<'a>(value: &'a Value, member: &str) -> Vec<&'a str> {
    value[member]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["path"].as_str().unwrap())
        .collect()
}

#[test]
fn a_list_says_what_scripts_need() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let first = lab.backup();
    lab.backup_with(&["--label", "second", "--retain-until", "2099-12-31T00:00:00Z"])
        .exits(0);
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    let points = points["points"].as_array().unwrap();
    assert_eq!(points.len(), 2);
    assert_eq!(points[0]["id"], first["point"]);
    for name in [
        "id",
        "time",
        "server",
        "sources",
        "files",
        "bytes",
        "stored_bytes",
        "status",
        "consistency",
        "tags",
    ] {
        assert!(!points[0][name].is_null(), "{name} in {}", points[0]);
    }
    assert_eq!(points[0]["server"], "server");
    assert_eq!(points[0]["sources"][0].as_str(), lab.source().to_str());
    assert_eq!(points[0]["files"], 56);
    assert!(points[0]["expires"].is_null() && points[0]["deleted"].is_null());
    assert_eq!(points[1]["expires"], "2099-12-31T00:00:00Z");
    assert_eq!(points[1]["label"], "second");
    let only = lab
        .run(["points", "list", "--server", "server", "--json"])
        .exits(0)
        .json();
    assert_eq!(only["points"].as_array().unwrap().len(), 2);
    // A name that is mistyped is not a server without points.
    let none = lab
        .run(["points", "list", "--server", "other", "--json"])
        .exits(1)
        .json();
    assert_eq!(none["error"]["code"], "no-such-server");
}

#[test]
fn a_point_is_named_by_its_id_a_prefix_or_latest() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let first = lab.backup();
    let id = first["point"].as_str().unwrap();
    for name in [id, &id[..6], &id[..6].to_uppercase(), "latest"] {
        lab.run(["points", "ls", name]).exits(0);
    }
    for bad in [&id[..5], "zzzzzz"] {
        let ran = lab.run(["points", "ls", bad]);
        assert!(matches!(ran.code, Some(1 | 2)), "{bad}: {:?}", ran.code);
    }
}

#[test]
fn a_point_can_be_looked_into() {
    let lab = Lab::new();
    tree::odd(&lab.source());
    lab.backup();
    let source = lab.source();
    let source = source.to_str().unwrap();
    let here = lab.run(["points", "ls", "latest", source, "--json"]).exits(0).json();
    let names = paths(&here, "entries");
    assert!(names.contains(&format!("{source}/a.txt").as_str()), "{names:?}");
    assert!(!names.contains(&format!("{source}/docs/readme.md").as_str()));
    let entry = |name: &str| {
        let wanted = format!("{source}/{name}");
        here["entries"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["path"] == wanted.as_str())
            .unwrap()
            .clone()
    };
    let text = entry("a.txt");
    assert_eq!((text["type"].as_str(), text["size"].as_u64()), (Some("file"), Some(15)));
    assert_eq!(text["mtime"], "2009-02-13T23:31:45.123456789Z");
    assert_eq!(entry("docs")["type"], "folder");
    assert_eq!(entry("link")["target"], "a.txt");
    assert_eq!(entry("fifo")["type"], "fifo");
    assert!(
        here["entries"]
            .as_array()
            .unwrap()
            .iter()
            .any(|entry| entry["path_bytes"].is_string())
    );

    let below = lab
        .run(["points", "ls", "latest", &format!("{source}/docs"), "-R", "--json"])
        .exits(0)
        .json();
    assert!(paths(&below, "entries").contains(&format!("{source}/docs/deep/er/note").as_str()));
    let one = lab
        .run(["points", "ls", "latest", "docs/readme.md", "--json"])
        .exits(0)
        .json();
    assert_eq!(paths(&one, "entries"), [format!("{source}/docs/readme.md")]);
    let all = lab.run(["points", "ls", "latest"]).exits(0);
    assert!(all.stdout.contains("a.txt") && all.stdout.contains("new\\nline") && !all.stdout.contains('\u{1b}'));
    lab.run(["points", "ls", "latest", "/not/there"])
        .exits(1)
        .says("/not/there");
}

#[test]
fn two_points_can_be_compared() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    tree::plain(&lab.source());
    let first = lab.backup()["point"].as_str().unwrap().to_owned();
    let source = lab.source();
    file(&source.join("docs/added"), b"added");
    fs::remove_file(source.join("many/file-007")).unwrap();
    fs::write(source.join("docs/readme.md"), "other content\n").unwrap();
    fs::set_permissions(source.join("a.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(source.join("link")).unwrap();
    fs::create_dir(source.join("link")).unwrap();
    let second = lab.backup()["point"].as_str().unwrap().to_owned();
    let diff = lab.run(["points", "diff", &first, &second, "--json"]).exits(0).json();
    let change = |name: &str| {
        let path = source.join(name);
        let all = diff["changes"].as_array().unwrap();
        all.iter()
            .find(|change| change["path"].as_str() == path.to_str())
            .map(|change| change["change"].clone())
    };
    assert_eq!(change("docs/added").unwrap(), "added");
    assert_eq!(change("many/file-007").unwrap(), "removed");
    assert_eq!(change("docs/readme.md").unwrap(), "modified");
    assert_eq!(change("a.txt").unwrap(), "metadata");
    assert_eq!(change("link").unwrap(), "modified");
    assert_eq!(change("many/file-008"), None);
    assert_eq!(change("large.bin"), None);
    let none = lab.run(["points", "diff", &second, "latest", "--json"]).exits(0).json();
    assert_eq!(none["changes"].as_array().unwrap().len(), 0);
}

#[test]
fn a_file_is_found_by_name_or_path() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    lab.backup();
    fs::remove_file(lab.source().join("docs/readme.md")).unwrap();
    let second = lab.backup();
    let found = lab.run(["points", "find", "*.md", "--json"]).exits(0).json();
    assert_eq!(paths(&found, "matches").len(), 1);
    let second = second["point"].as_str().unwrap();
    let found = lab
        .run(["points", "find", "*.md", "--point", second, "--json"])
        .exits(0)
        .json();
    assert_eq!(paths(&found, "matches").len(), 0);
    let found = lab
        .run(["points", "find", "/**/many/file-00?", "--point", "latest", "--json"])
        .exits(0)
        .json();
    assert_eq!(paths(&found, "matches").len(), 10);
    let found = lab
        .run(["points", "find", "A.TXT", "-i", "--point", "latest", "--json"])
        .exits(0)
        .json();
    assert_eq!(paths(&found, "matches").len(), 1);
    lab.run(["points", "find", "["]).exits(2);
}

#[test]
fn what_was_deleted_can_be_brought_back() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let first = lab.backup()["point"].as_str().unwrap().to_owned();
    file(&lab.source().join("more"), b"more");
    let second = lab.backup()["point"].as_str().unwrap().to_owned();
    lab.run(["points", "delete", &second]).exits(0);
    let points = lab.run(["points", "list", "--json"]).exits(0).json();
    assert!(points["points"][0]["deleted"].is_null());
    assert!(points["points"][1]["deleted"].is_string(), "{points}");
    let (restored, _) = lab.restore("latest", "first");
    assert!(!restored.join("more").exists());
    lab.run(["points", "undelete", &second[..8]]).exits(0);
    let (restored, _) = lab.restore("latest", "second");
    assert_same(&lab.source(), &restored);
    // Doing it twice has the same effect as once; and both points at a time.
    lab.run(["points", "undelete", &second]).exits(0);
    lab.run(["points", "delete", &first, &second, &first]).exits(0);
    lab.run(["restore", "latest", "--target", "none"]).exits(1);
    lab.run(["points", "undelete", &first, &second]).exits(0);
    lab.run(["points", "delete", "abcdef"]).exits(1);
    lab.check_clean();
}

#[test]
fn the_operator_sees_points_and_jobs_but_needs_no_passphrase() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    let report = lab.backup();
    let vault = lab.vault();
    let vault = vault.to_str().unwrap();
    // A state folder and a passphrase that have nothing to do with this vault.
    let see = |what: &str, more: &[&str]| {
        let mut command = lab.command("elsewhere");
        command
            .env_remove("LOCKSTONE_PASSPHRASE")
            .args(["vault", what, vault, "--json"])
            .args(more);
        crate::support::lab::finish(command).exits(0).json()
    };
    let points = see("points", &[]);
    assert_eq!(points["points"][0]["id"], report["point"]);
    assert!(
        points["points"][0].get("sources").is_none(),
        "no name leaves the server: {points}"
    );
    let jobs = see("jobs", &["--server", "server"]);
    assert_eq!(jobs["jobs"][0]["job"], report["job"]);
    assert_eq!(jobs["jobs"][0]["status"], "Completed");
    assert_eq!(jobs["jobs"][0]["point"], report["point"]);
    let servers = see("servers", &[]);
    assert_eq!(servers["servers"][0]["server"], "server");
    lab.run(["vault", "points", vault, "--server", "nobody"])
        .exits(1)
        .says("nobody");
}

#[test]
fn no_name_and_no_content_can_be_read_in_the_vault() {
    let lab = Lab::new();
    file(
        &lab.source().join("a telling name"),
        b"a telling content, long enough to be found",
    );
    lab.backup();
    for object in lab.objects() {
        let content = fs::read(&object).unwrap();
        for secret in ["telling name", "telling content", lab.source().to_str().unwrap()] {
            assert!(
                !content.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "{}",
                object.display()
            );
        }
    }
}
