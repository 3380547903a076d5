//! The page about the format is complete: a reader in another language, written from that page alone, reads what the
//! program wrote.

use std::path::{Path, PathBuf};
use std::process::Command;

use lockstone_host::chunk::Chunker;
use lockstone_proto::ids::DomainId;
use lockstone_vault::crypto::keys::{Keys, MasterKey};
use lockstone_vault::testing::vectors::cut_files;

use crate::support::lab::{Lab, PASSPHRASE};
use crate::support::tree::{self, look};

/// Python with the packages that the reader needs; `make test` installs it.
fn python() -> Option<PathBuf> {
    let set = std::env::var_os("LOCKSTONE_READER_PYTHON").map(PathBuf::from);
    let usual = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/lockstone/venv/bin/python"));
    let candidates = [set, usual, Some(PathBuf::from("python3"))];
    let works = |python: &PathBuf| {
        let needs = "import sys, cryptography, argon2, blake3, zstandard; assert sys.version_info >= (3, 11)";
        Command::new(python)
            .args(["-c", needs])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let found = candidates.into_iter().flatten().find(works);
    if found.is_none() {
        eprintln!("SKIPPED: no Python with the reader's packages (make test sets it up)");
    }
    found
}

fn reader() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader/reader.py")
}

#[test]
fn another_reader_reads_it_too() {
    let Some(python) = python() else { return };
    let lab = Lab::new();
    tree::odd(&lab.source());
    lab.backup();
    std::fs::write(lab.path("passphrase"), PASSPHRASE).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(&python);
        command
            .arg(reader())
            .arg(lab.vault())
            .arg("--passphrase-file")
            .arg(lab.path("passphrase"))
            .args(args);
        crate::support::lab::finish(command)
    };
    let points = run(&["points"]).exits(0).stdout;
    let ours = lab.run(["points", "list", "--json"]).exits(0).json();
    assert!(points.contains(ours["points"][0]["id"].as_str().unwrap()), "{points}");
    let note = lab.source().join("docs/readme.md");
    assert_eq!(
        run(&["cat", "latest", note.to_str().unwrap()]).exits(0).stdout,
        "# read me\n"
    );
    let target = lab.path("by-reader");
    run(&["restore", "latest", target.to_str().unwrap()]).exits(0);
    let (want, got) = (
        look(&lab.source()),
        look(&target.join(lab.source().strip_prefix("/").unwrap())),
    );
    for (name, seen) in &want {
        // The reader restores content, folders and links, and not the other metadata.
        if matches!(seen.kind, "file" | "folder" | "symlink") {
            let other = got.get(name).unwrap_or_else(|| panic!("{name:?} is missing"));
            assert_eq!(
                (seen.kind, seen.size, &seen.content, &seen.target),
                (other.kind, other.size, &other.content, &other.target)
            );
        }
    }
    // What came from standard input is a file like any other.
    let mut command = lab.command("home");
    std::fs::write(lab.path("dump"), "what a program printed\n").unwrap();
    command
        .args(["backup", "--stdin", "dump.sql"])
        .stdin(std::fs::File::open(lab.path("dump")).unwrap());
    crate::support::lab::finish(command).exits(0);
    assert_eq!(
        run(&["cat", "latest", "/stdin/dump.sql"]).exits(0).stdout,
        "what a program printed\n"
    );
    std::fs::write(lab.path("passphrase"), "not the passphrase at all").unwrap();
    run(&["points"]).exits(5);
}

/// Two domains share chunks, and a new version of the program shares them with an old one, only if both cut alike.
#[test]
fn files_are_cut_where_the_page_says() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cases.json");
    let cases: serde_json::Value = serde_json::from_slice(&std::fs::read(cases).unwrap()).unwrap();
    let (mut master, mut domain) = ([0; 32], [0; 16]);
    hex::decode_to_slice(cases["master_key"].as_str().unwrap(), &mut master).unwrap();
    hex::decode_to_slice(cases["domain_id"].as_str().unwrap(), &mut domain).unwrap();
    let keys = Keys::derive(&MasterKey::from_bytes(master), DomainId(domain));
    let chunker = Chunker::new(&keys.chunker_table());
    for (cut, (name, data)) in cases["chunk_cuts"].as_array().unwrap().iter().zip(cut_files()) {
        assert_eq!(
            (cut["data"].as_str(), cut["size"].as_u64()),
            (Some(name), Some(data.len() as u64))
        );
        let (mut lens, mut left) = (Vec::new(), &data[..]);
        while let Some(len) = chunker.cut(left, true) {
            lens.push(len);
            left = &left[len..];
        }
        assert_eq!(serde_json::json!(lens), cut["lens"], "{name}");
    }
}

#[test]
fn the_test_vectors_hold_for_another_reader() {
    let Some(python) = python() else { return };
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/vectors.json");
    let mut command = Command::new(python);
    command.arg(reader()).arg("--vectors").arg(vectors);
    crate::support::lab::finish(command).exits(0);
}

#[test]
fn another_reader_obeys_the_operators_orders() {
    let Some(python) = python() else { return };
    let lab = Lab::new();
    tree::plain(&lab.source());
    std::fs::write(lab.path("passphrase"), PASSPHRASE).unwrap();
    lab.register("second", "second", &["--join-domain", "server"]).exits(0);
    let source = lab.source();
    lab.run_in("second", ["backup", source.to_str().unwrap()]).exits(0);
    // What this server stores of it lies in the other one's packs.
    assert_eq!(lab.backup()["bytes_new"], 0);
    let vault = lab.vault();
    let vault = vault.to_str().unwrap();
    lab.run(["vault", "revoke", vault, "--server", "second", "--since", "2020-01-01"])
        .exits(0);
    let run = |args: &[&str]| {
        let mut command = Command::new(&python);
        command
            .arg(reader())
            .arg(vault)
            .arg("--passphrase-file")
            .arg(lab.path("passphrase"));
        command.args(args);
        crate::support::lab::finish(command)
    };
    let points = run(&["points"]).exits(0).stdout;
    assert_eq!(
        points.lines().filter(|line| line.contains("Completed")).count(),
        1,
        "{points}"
    );
    let restored = lab.path("restored");
    run(&["restore", "latest", restored.to_str().unwrap()]).exits(0);
    let large = |root: &Path| std::fs::read(root.join("large.bin")).unwrap();
    assert!(large(&source) == large(&restored.join(source.strip_prefix("/").unwrap())));
    let ours = lab.run(["points", "list", "--json"]).exits(0).json();
    assert_eq!(ours["points"].as_array().unwrap().len(), 1);
    lab.check_clean();
    let (ours, _) = lab.restore("latest", "ours");
    tree::assert_same(&source, &ours);
}
