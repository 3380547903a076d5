//! The tour in README.md works as it is printed: its commands are run, and what they print has the shape that the
//! README shows. Ids, numbers, sizes, times and paths differ from machine to machine.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::lab::{Lab, PASSPHRASE, noise};
use crate::support::tree::file;

/// What a command of the tour is followed by.
struct Step {
    command: String,
    output: Vec<String>,
}

/// The commands of the tour, each with the output that the README shows.
fn steps() -> Vec<Step> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let tour = readme.split("\n## ").find(|part| part.starts_with("A tour")).unwrap();
    let mut steps: Vec<Step> = Vec::new();
    for block in tour.split("```").skip(1).step_by(2) {
        for line in block.lines().skip(1) {
            match line.strip_prefix("$ ") {
                Some(command) => steps.push(Step {
                    command: command.to_owned(),
                    output: Vec::new(),
                }),
                None => steps.last_mut().unwrap().output.push(line.to_owned()),
            }
        }
    }
    steps
}

/// A word of the output, with everything masked that differs from run to run.
fn masked_word(word: &str) -> String {
    let bare = word.trim_matches(|c: char| "(),;:`".contains(c));
    let is_hex = |text: &str| text.len() >= 8 && text.bytes().all(|c| c.is_ascii_hexdigit());
    let id = bare.trim_end_matches('…');
    let is_path = bare.starts_with('/') || bare.starts_with("domains/");
    let mask = if is_hex(id) {
        "ID"
    } else if is_path {
        "PATH"
    } else if bare.matches('-').count() == 7 && bare.bytes().all(|c| c == b'-' || c.is_ascii_alphanumeric()) {
        "KEY"
    } else if ["B", "KiB", "MiB", "GiB", "B/s", "KiB/s", "MiB/s", "GiB/s"].contains(&bare) {
        "UNIT"
    } else if bare.starts_with(|c: char| c.is_ascii_digit()) {
        "N"
    } else {
        return word.to_owned();
    };
    word.replace(bare, mask)
}

/// The shape of an output. Lines of the same shape that follow each other count once.
fn shape<'l>(lines: impl IntoIterator<Item = &'l str>) -> Vec<String> {
    let mut shape: Vec<String> = Vec::new();
    for line in lines {
        let is_prompt = ["New passphrase", "Once more:", "Passphrase:"];
        // How many paths are listed before the rest is counted depends on the files.
        let is_rest = line.trim_start().starts_with("and ") && line.ends_with("more (see --json)");
        if is_prompt.iter().any(|prompt| line.starts_with(prompt)) || is_rest {
            continue;
        }
        if line.starts_with("-r") {
            // An entry of a list, as `ls -l` writes it.
            shape.retain(|known| known != "ENTRY");
            shape.push("ENTRY".to_owned());
            continue;
        }
        let masked: Vec<String> = line.split_whitespace().map(masked_word).collect();
        let masked = masked.join(" ").replace("ID ID", "ID").replace("ID, ID", "ID");
        if shape.last() != Some(&masked) {
            shape.push(masked);
        }
    }
    shape
}

/// The files of the tour, instead of those of the system.
fn files(folder: &Path) {
    for number in 0..20 {
        file(
            &folder.join(format!("package-{number}/copyright")),
            &noise(number, 3000),
        );
    }
    file(&folder.join("zlib1g-dev/examples/gzlog.h"), b"one\n");
    file(&folder.join("zlib1g-dev/examples/zran.h"), b"two\n");
    file(&folder.join("large/changelog.gz"), &noise(99, 6 << 20));
}

#[test]
fn the_tour_in_the_readme_works_as_it_is_printed() {
    let lab = Lab::empty();
    let place = lab.path("tour");
    fs::create_dir(&place).unwrap();
    files(&place.join("www"));
    let program = Path::new(env!("CARGO_BIN_EXE_lockstone")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut setting = format!("cd {}\n", place.display());
    let steps = steps();
    assert!(steps.len() > 15, "the tour is not found");
    let mut points: Vec<String> = Vec::new();
    for step in steps {
        let mut command = step.command.replace("/tmp/tour", place.to_str().unwrap());
        if command.starts_with("lockstone points diff ") {
            command = format!("lockstone points diff {} {}", points[0], points[1]);
        }
        match command.split([' ', '=']).next().unwrap() {
            // The test has its own program, folder and files.
            "PATH" | "mkdir" | "cp" => continue,
            "export" => {
                setting.push_str(&format!("{command}\n"));
                continue;
            }
            name if command.contains("=$(") => {
                setting.push_str(&format!("{command}\n[ -n \"${name}\" ] || exit 99\n"));
                continue;
            }
            _ => {}
        }
        let ran = Command::new("sh")
            .args(["-c", &format!("{setting}{command} 2>&1")])
            .env_clear()
            .env("PATH", &path)
            .env("TZ", "UTC")
            .env("LOCKSTONE_PASSPHRASE", PASSPHRASE)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        let made = said.lines().filter_map(|line| line.strip_prefix("Recovery point "));
        points.extend(made.map(|line| line[..8].to_owned()));
        let finds_damage = step.output.iter().any(|line| line.starts_with("DAMAGED"));
        let code = if finds_damage { 6 } else { 0 };
        assert_eq!(ran.status.code(), Some(code), "{command}\n{said}");
        let shown = shape(step.output.iter().map(String::as_str));
        assert_eq!(shape(said.lines()), shown, "{command}\n{said}");
    }
}
