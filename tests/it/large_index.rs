//! A measurement, not run by default: how an index of 10 million chunks (about 10 TB) changes a backup's time and
//! memory. `LOCKSTONE_TREE=/path cargo nextest run --release … --run-ignored all -E 'test(ten_million)' --no-capture`;
//! needs `/usr/bin/time`, and room for about 1 GB of index in the temporary folder.

use std::path::Path;
use std::process::Command;

use lockstone_proto::ids::{DomainId, VaultId};
use lockstone_proto::vault::PackEntry;
use lockstone_vault::index::Index;
use lockstone_vault::testing::large_index::Shape;

use crate::support::lab::Lab;

const CHUNKS: u64 = 10_000_000;
/// Packs of large files: 32 frames of one chunk of 1 MiB.
const SHAPE: Shape = Shape {
    frames: 32,
    chunks: 1,
    chunk_len: 1 << 20,
    pack_len: 33 << 20,
};
const PACKS: u64 = CHUNKS / 32;

fn fill(lab: &Lab) {
    let agent = std::fs::read_to_string(lab.path("home/agent.json")).unwrap();
    let agent: serde_json::Value = serde_json::from_str(&agent).unwrap();
    let vault: VaultId = agent["vault_id"].as_str().unwrap().parse().unwrap();
    let domain: DomainId = agent["domain_id"].as_str().unwrap().parse().unwrap();
    let (index, _) = Index::open(&lab.path("home/cache"), vault, domain).unwrap();
    for first in (0..PACKS).step_by(500) {
        let packs: Vec<PackEntry> = (first..(first + 500).min(PACKS)).map(|n| SHAPE.pack(n)).collect();
        index.add_packs(&packs, &[]).unwrap();
    }
    index.flush().unwrap();
    // A real index of this size has grown for days, in which RocksDB has compacted it. So wait until RocksDB neither
    // adds nor removes files.
    let files = || walk(&lab.path("home/cache"));
    let mut before = Vec::new();
    while before != files() {
        before = files();
        std::thread::sleep(std::time::Duration::from_secs(3));
    }
}

fn timed(lab: &Lab, tree: &Path, what: &str) {
    let program = lab.command("home");
    let mut command = Command::new("/usr/bin/time");
    command.env_clear();
    for (name, value) in program.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let ran = command
        .args(["-f", "%e s, %U+%S s of CPU, %M KB"])
        .arg(program.get_program())
        .args(["backup", "-q"])
        .arg(tree)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    println!("{what}: {}", String::from_utf8_lossy(&ran.stderr).trim());
}

#[test]
#[ignore = "a measurement"]
fn ten_million_chunks_in_the_index() {
    let tree = std::env::var_os("LOCKSTONE_TREE").unwrap();
    let from = Path::new(&tree);
    for full in [false, true] {
        let lab = Lab::new();
        let copy = lab.source().join("tree");
        assert!(
            Command::new("cp")
                .arg("-a")
                .args([from, &copy])
                .status()
                .unwrap()
                .success()
        );
        let what = if full { "10,000,000 chunks" } else { "an empty index" };
        // The points come first, because the filled-in chunks have no log entries and are kept beside those of the
        // points.
        std::thread::sleep(std::time::Duration::from_secs(2));
        timed(&lab, &copy, &format!("{what}: first"));
        if full {
            fill(&lab);
        }
        for _ in 0..3 {
            timed(&lab, &copy, &format!("{what}: unchanged"));
        }
        for turn in 0..2 {
            let mut number = 0;
            for entry in walk(&copy) {
                number += 1;
                if number % 100 == 0 {
                    let mut text = std::fs::read(&entry).unwrap();
                    text.extend_from_slice(format!("turn {turn}\n").as_bytes());
                    std::fs::write(&entry, text).unwrap();
                }
            }
            std::thread::sleep(std::time::Duration::from_secs(2));
            timed(&lab, &copy, &format!("{what}: 1 % changed"));
        }
    }
}

/// All regular files below a folder.
fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files.extend(walk(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}
