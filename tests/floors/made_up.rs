//! The rules on made-up files: each rule finds what it forbids, and nothing else.

use crate::graph::{arrows, paths};
use crate::rules;
use crate::source::Source;

fn files(files: &[(&str, &str)]) -> Vec<Source> {
    files.iter().map(|(path, text)| Source::new(path, text)).collect()
}

fn written(text: &str) -> Vec<String> {
    let found = paths(&Source::new("src/agent/x.rs", text));
    found.iter().map(|(_, path)| path.join("::")).collect()
}

#[test]
fn groups_of_a_use_are_spread_out_and_inline_paths_are_found() {
    assert_eq!(
        written("use crate::a::{self, b::{C, D as E}, f};\nfn g() -> super::H { crate::i::j(&k.l::<M>()) }"),
        [
            "crate::a::self",
            "crate::a::b::C",
            "crate::a::b::D",
            "crate::a::f",
            "super::H",
            "crate::i::j"
        ]
    );
    assert_eq!(written("use super::*; use a as b;"), ["super", "a"]);
}

#[test]
fn comments_strings_and_tests_are_not_code() {
    let text = "// crate::a::A\n/* crate::b::B /* nested */ crate::c::C */\nconst X: &str = \"crate::d::D \\\" crate::e::E\";\n\
        const Y: &str = r#\"crate::f::F \" \"#; const Z: char = '\"'; fn f<'a>(x: &'a u8) {}\n\
        #[cfg(test)]\n#[allow(dead_code)]\nmod tests { use crate::g::G; }\n\
        #[cfg(any(test, feature = \"testing\"))]\nuse crate::{h::H, i::I};\nuse crate::k::K;";
    assert_eq!(written(text), ["crate::k::K"]);
}

#[test]
fn an_upward_arrow_is_found_with_its_line() {
    let sources = files(&[
        (
            "src/agent/session.rs",
            "//! Opens a vault.\nuse crate::{\n    text::units,\n    cli::Context,\n};",
        ),
        ("src/cli/mod.rs", "pub struct Context; use crate::agent::session;"),
        ("src/text/units.rs", ""),
    ]);
    let arrows = arrows(&sources);
    let expected = ["src/agent/session.rs:4: `crate::cli::Context` leads to src/cli/mod.rs"];
    assert_eq!(rules::upward_arrows(&arrows), expected);
    assert_eq!(rules::imports_of_the_command_line(&arrows), expected);
    assert_eq!(rules::circles_of_files(&arrows).len(), 1);
    assert_eq!(rules::files_without_a_floor(&sources), [""; 0]);
    assert_eq!(
        rules::files_without_a_floor(&files(&[("src/attic/mod.rs", "")])).len(),
        1
    );
}

#[test]
fn a_circle_is_found_through_inline_paths_and_re_exports_but_not_within_a_module() {
    let circle = files(&[
        ("vault/src/a.rs", "fn f() { super::b::g() }"),
        ("vault/src/b.rs", "use crate::c::h;"),
        ("vault/src/c/mod.rs", "mod d; pub use d::h;"),
        ("vault/src/c/d.rs", "pub fn h() { crate::a::f() }"),
    ]);
    let found = rules::circles_of_files(&arrows(&circle));
    assert!(found.len() == 1 && found[0].contains("vault/src/c/d.rs:1"), "{found:?}");
    let module = files(&[
        ("vault/src/c/mod.rs", "mod d; pub struct C; fn f() { d::h() }"),
        ("vault/src/c/d.rs", "use super::C; pub fn h() {}"),
    ]);
    assert_eq!(rules::circles_of_files(&arrows(&module)), [""; 0]);
}

#[test]
fn a_crate_that_imports_its_neighbour_is_found() {
    let sources = files(&[
        ("host/src/lib.rs", "fn f() { lockstone_vault::open() }"),
        ("vault/src/lib.rs", "use lockstone_proto::ids;"),
        ("proto/src/lib.rs", ""),
    ]);
    let found = rules::wrong_imports_of_crates(&arrows(&sources));
    assert_eq!(
        found,
        ["host/src/lib.rs:1: `lockstone_vault::open` leads to vault/src/lib.rs"]
    );
}

#[test]
fn long_files_long_functions_and_forbidden_words_are_found() {
    let body = "    x();\n".repeat(99);
    let long = format!("fn short(a: [u8; 2]) {{\n}}\nfn long<T>(f: fn(T)) -> u8\nwhere\n{{\n{body}}}\n");
    let sources = files(&[("src/agent/x.rs", &long), ("src/cli/x.rs", &"\n".repeat(501))]);
    assert_eq!(
        rules::long_functions(&sources),
        ["src/agent/x.rs:3: `long` has 103 lines, 100 at most"]
    );
    assert_eq!(rules::long_files(&sources), ["src/cli/x.rs: 501 lines, 500 at most"]);
    let sources = files(&[
        (
            "src/agent/x.rs",
            "runtime.block_on(f); // block_on\nlet my_block_on = 1;",
        ),
        ("src/cli/x.rs", "runtime.block_on(f);"),
    ]);
    assert_eq!(
        rules::uses_of(&sources, "block_on", "src", &["src/cli"]),
        ["src/agent/x.rs:1: `block_on` is not allowed here"]
    );
}

#[test]
fn wide_comments_and_dead_citations_are_found() {
    let wide = format!("// {}\nlet x = \"{}\";\n", "w".repeat(118), "s".repeat(120));
    assert_eq!(rules::wide_comments("x.rs", &wide, &["//"]).len(), 1);
    let exists = |path: &str| path == "docs/format.md";
    let text = "See docs/format.md, docs/gone.md. And https://docs.rs/docs/other";
    assert_eq!(
        rules::dead_citations("x.rs", text, exists),
        ["x.rs:1: `docs/gone.md` does not exist"]
    );
    let text = "[a](format.md#packs) [b](../docs/format.md) [c](https://example.org) [d](gone.md) [e](#here)";
    assert_eq!(
        rules::dead_links("docs/x.md", text, exists),
        ["docs/x.md:1: the link to `gone.md` leads nowhere"]
    );
    let exists = |path: &str| path == "host/src/read.rs";
    let text = "`host/src/read`, `host/src/read.rs`, `host/src/<name>.rs`, `host/src/gone.rs`, `other/x`";
    assert_eq!(
        rules::dead_paths("x.md", text, exists),
        ["x.md:1: `host/src/gone.rs` does not exist"]
    );
}
