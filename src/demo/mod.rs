//! The demo: a vault, a registration, two backups, a restore and a check in a scratch folder, on a copy of real files.
//!
//! Each step runs this program as a child process, just as a user would run it, so the output is what a user would see.
//! At the end the restored tree is compared with the copy (`compare`), by code that the restore does not use.

mod compare;
mod copy;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use lockstone_actors::CancelToken;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::failure::{Exit, Failure};
use crate::text::render;

/// The copy holds at most this many bytes.
const MAX_BYTES: u64 = 200 << 20;
/// The copy holds at most this many files.
const MAX_FILES: u64 = 20_000;
/// If no path is given, the first of these folders that exists is copied.
const DEFAULT_PATHS: [&str; 2] = ["/usr/share/doc", "/etc"];

/// How a demo prints, and how it is cancelled.
pub(crate) struct Surroundings<'a> {
    /// Prints one line.
    pub(crate) print: &'a dyn Fn(&str),
    /// Whether the steps print to stderr, because stdout is kept for a document.
    pub(crate) steps_to_stderr: bool,
    /// Ends the demo after the current step.
    pub(crate) cancel: CancelToken,
}

/// A demo in its scratch folder. The folder is removed when this is dropped.
pub(crate) struct Demo<'a> {
    surroundings: Surroundings<'a>,
    scratch: Option<TempDir>,
    root: PathBuf,
    from: PathBuf,
    program: PathBuf,
    begun: Instant,
}

/// What a demo that succeeded reports.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    ok: bool,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Entries that were compared at the end.
    compared: u64,
    #[serde(rename = "duration_seconds", serialize_with = "as_seconds")]
    pub(crate) duration: Duration,
    /// The scratch folder, if it was kept.
    pub(crate) kept: Option<PathBuf>,
}

fn as_seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// The part of `points list --json` that the demo reads.
#[derive(Deserialize)]
struct PointList {
    points: Vec<ListedPoint>,
}

#[derive(Deserialize)]
struct ListedPoint {
    id: String,
}

impl<'a> Demo<'a> {
    /// Finds the files to copy and makes the scratch folder.
    pub(crate) fn prepare(path: Option<PathBuf>, surroundings: Surroundings<'a>) -> Result<Demo<'a>, Failure> {
        let from = match path {
            Some(path) => path,
            None => DEFAULT_PATHS
                .iter()
                .map(PathBuf::from)
                .find(|path| path.is_dir())
                .unwrap_or_else(|| "/etc".into()),
        };
        let from = from.canonicalize().map_err(|error| {
            Failure::failed(
                "source-missing",
                format!("cannot use {}: {error}", from.display()),
                "name a folder of files",
            )
        })?;
        let scratch = tempfile::Builder::new()
            .prefix("lockstone-demo-")
            .tempdir()
            .context("cannot make a scratch folder")?;
        let root = scratch
            .path()
            .canonicalize()
            .context("cannot find the scratch folder")?;
        let program = std::env::current_exe().context("cannot find this program")?;
        Ok(Demo {
            surroundings,
            scratch: Some(scratch),
            root,
            from,
            program,
            begun: Instant::now(),
        })
    }

    /// Keeps the scratch folder and returns its path.
    pub(crate) fn keep(&mut self) -> PathBuf {
        self.scratch.take().map_or_else(|| self.root.clone(), TempDir::keep)
    }

    /// Runs the demo and prints each step. Fails with the first step that failed, or with the first difference between
    /// what was backed up and what was restored.
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let source = self.root.join("files");
        let copied = self.copy_files(&source)?;
        self.set_up()?;
        let source_text = source.display().to_string();
        self.heading("A first backup");
        self.step(&["backup", &source_text])?;
        self.heading("Something changes: a new file, a longer one, a removed one");
        copy::change(&source).context("cannot change the copy")?;
        self.heading("A second backup reads only what changed");
        self.step(&["backup", &source_text, "--label", "after the change"])?;
        self.step(&["points", "list"])?;
        let (first, second) = self.two_points()?;
        self.step(&["points", "diff", &first, &second])?;
        self.heading("Everything is restored");
        let target = self.root.join("restored");
        let target_text = target.display().to_string();
        self.step(&["restore", "latest", "--target", &target_text, "--verify"])?;
        self.heading("What was restored is compared with what was backed up: content and metadata");
        let restored = target.join(source.strip_prefix("/").unwrap_or(&source));
        let compared = compare::compare(&source, &restored)?;
        self.print(&format!("  {} entries, all the same", render::count(compared)));
        self.heading("The vault is checked, every byte of it");
        self.step(&["check", "--read-data"])?;
        Ok(Report {
            ok: true,
            files: copied.files,
            bytes: copied.bytes,
            compared,
            duration: self.begun.elapsed(),
            kept: None,
        })
    }

    fn copy_files(&self, source: &Path) -> Result<copy::Copied, Failure> {
        self.heading(&format!(
            "A copy of {}, so that your own files are not touched",
            self.from.display()
        ));
        let bounds = copy::Bounds {
            bytes: MAX_BYTES,
            files: MAX_FILES,
        };
        let cancelled = || self.surroundings.cancel.is_cancelled();
        let copied = copy::copy(&self.from, source, bounds, &cancelled)?;
        if copied.files == 0 {
            return Err(Failure::failed(
                "no-files",
                format!("no file in {} can be read", self.from.display()),
                "name another folder",
            ));
        }
        let rest = if copied.complete {
            ""
        } else {
            ", which is enough for a demo"
        };
        self.print(&format!(
            "  {} files, {}{rest}",
            render::count(copied.files),
            render::bytes(copied.bytes)
        ));
        Ok(copied)
    }

    /// Makes the vault and registers a server.
    fn set_up(&self) -> Result<(), Failure> {
        let vault = self.root.join("vault").display().to_string();
        let credentials = self.root.join("demo.vaultcredentials").display().to_string();
        std::fs::write(self.root.join("passphrase"), "a demo is no secret\n").context("cannot write the passphrase")?;
        self.heading("The operator makes a vault, and credentials that let a server register");
        self.step(&["vault", "create", &vault])?;
        self.step(&["vault", "credentials", &vault, "--out", &credentials])?;
        self.heading("The server registers; its passphrase never leaves it");
        self.step(&["register", "--credentials", &credentials, "--server-name", "demo"])
    }

    fn heading(&self, text: &str) {
        self.print(&format!("\n── {text}"));
    }

    fn print(&self, text: &str) {
        (self.surroundings.print)(text);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("LOCKSTONE_HOME", self.root.join("home"))
            .env("LOCKSTONE_PASSPHRASE_FILE", self.root.join("passphrase"))
            .env_remove("LOCKSTONE_PASSPHRASE")
            .stdin(Stdio::null());
        command.arg0("lockstone");
        command
    }

    /// Prints a command line and runs it. The command's output goes where this program's output goes.
    fn step(&self, args: &[&str]) -> Result<(), Failure> {
        if self.surroundings.cancel.is_cancelled() {
            return Err(Failure::cancelled());
        }
        self.print(&format!("$ lockstone {}", command_line(args)));
        let mut command = self.command(args);
        if self.surroundings.steps_to_stderr {
            command.stdout(std::io::stderr());
        }
        let status = command
            .status()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        match status.code() {
            Some(0) => Ok(()),
            _ if self.surroundings.cancel.is_cancelled() => Err(Failure::cancelled()),
            code => {
                let exit = code.map_or(Exit::Failed, Exit::from_code);
                Err(Failure::new(
                    exit,
                    "demo",
                    format!("`lockstone {}` ended with {status}", command_line(args)),
                    "",
                ))
            }
        }
    }

    /// The ids of the two points, shortened.
    fn two_points(&self) -> Result<(String, String), Failure> {
        let output = self
            .command(&["points", "list", "--json"])
            .output()
            .context("cannot list the points")?;
        let list: PointList = serde_json::from_slice(&output.stdout).context("cannot read the list of points")?;
        let short = |point: &ListedPoint| point.id.chars().take(8).collect();
        match list.points.as_slice() {
            [first, second, ..] => Ok((short(first), short(second))),
            _ => Err(Failure::failed("demo", "two backups made fewer than two points", "")),
        }
    }
}

/// A command line as a user would type it.
fn command_line(args: &[&str]) -> String {
    let quoted = |arg: &&str| {
        if arg.contains(' ') {
            format!("'{arg}'")
        } else {
            (*arg).to_owned()
        }
    };
    args.iter().map(quoted).collect::<Vec<_>>().join(" ")
}
