//! What the user excludes is not in the recovery point.

use crate::support::lab::Lab;
use crate::support::tree::file;

#[test]
fn what_is_excluded_is_not_there() {
    let lab = Lab::new();
    let source = lab.source();
    for name in [
        "keep.txt",
        "drop.tmp",
        "a/node_modules/x",
        "a/keep",
        "b/c/node_modules/y",
        "cache/data",
        "listed",
    ] {
        file(&source.join(name), name.as_bytes());
    }
    file(
        &source.join("cache/CACHEDIR.TAG"),
        b"Signature: 8a477f597d28d172789f06886806bc55\n",
    );
    file(&lab.path("globs"), b"# a comment\nlisted\n");
    let globs = lab.path("globs");
    let more = [
        "--exclude",
        "*.tmp",
        "--exclude",
        "**/node_modules",
        "--exclude-from",
        globs.to_str().unwrap(),
    ];
    lab.backup_with(&more).exits(0);
    let (restored, _) = lab.restore("latest", "out");
    for name in ["keep.txt", "a/keep", "b/c", "cache/CACHEDIR.TAG"] {
        assert!(restored.join(name).exists(), "{name}");
    }
    for name in ["drop.tmp", "a/node_modules", "b/c/node_modules", "cache/data", "listed"] {
        assert!(!restored.join(name).exists(), "{name}");
    }
    lab.backup_with(&["--include-caches"]).exits(0);
    let (restored, _) = lab.restore("latest", "all");
    assert!(restored.join("cache/data").exists() && restored.join("drop.tmp").exists());
}
