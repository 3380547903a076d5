//! The demo: a vault, a registration, two backups, a restore and a check in a scratch folder, on a copy of real files.
//!
//! Each step is this program, run as a user would run it; what it prints is what a user would see. At the end the
//! restored tree is compared with the copy by content and metadata, by code of its own (`compare`).

mod compare;
mod copy;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::cli::Context;
use crate::failure::{Exit, Failure};
use crate::text::render;

/// What the demo is shown on, at most.
const BYTES_MAX: u64 = 200 << 20;
/// And at most so many files.
const FILES_MAX: u64 = 20_000;
/// Shown on these where nothing is named, and the first is there.
const DEFAULTS: [&str; 2] = ["/usr/share/doc", "/etc"];

/// A demo in its scratch folder, which is removed with it.
#[derive(Debug)]
pub struct Demo<'a> {
    context: &'a Context,
    scratch: Option<TempDir>,
    root: PathBuf,
    from: PathBuf,
    program: PathBuf,
    begun: Instant,
}

/// What a demo has to say.
#[derive(Debug)]
pub struct Figures {
    /// Files in the copy.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries that were compared.
    pub compared: u64,
    /// The whole demo.
    pub duration: Duration,
}

impl<'a> Demo<'a> {
    /// Makes the scratch folder.
    ///
    /// # Errors
    /// Where there are no files to show it on, or no folder can be made.
    pub fn prepare(context: &'a Context, path: Option<PathBuf>) -> Result<Demo<'a>, Failure> {
        let from = match path {
            Some(path) => path,
            None => DEFAULTS
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
            context,
            scratch: Some(scratch),
            root,
            from,
            program,
            begun: Instant::now(),
        })
    }

    /// The scratch folder stays.
    pub fn keep(&mut self) -> PathBuf {
        self.scratch.take().map_or_else(|| self.root.clone(), TempDir::keep)
    }

    /// Tells it all.
    ///
    /// # Errors
    /// The first step that failed, or a difference between what was backed up and what came back.
    pub fn run(&mut self) -> Result<Figures, Failure> {
        let source = self.root.join("files");
        self.say(&format!(
            "A copy of {}, so that nothing of yours is touched",
            self.from.display()
        ));
        let copied = copy::copy(&self.from, &source, BYTES_MAX, FILES_MAX, &|| {
            self.context.cancel.is_cancelled()
        })?;
        if copied.files == 0 {
            return Err(Failure::failed(
                "no-files",
                format!("no file of {} can be read", self.from.display()),
                "name another folder",
            ));
        }
        let more = if copied.complete {
            ""
        } else {
            ", as much as a demo needs"
        };
        self.note(&format!(
            "  {} files, {}{more}",
            render::count(copied.files),
            render::bytes(copied.bytes)
        ));

        let vault = self.root.join("vault");
        let (vault, source_text) = (vault.display().to_string(), source.display().to_string());
        let credentials = self.root.join("demo.vaultcredentials").display().to_string();
        std::fs::write(self.root.join("passphrase"), "a demo is no secret\n").context("cannot write the passphrase")?;

        self.say("The operator makes a vault, and credentials by which a server may register");
        self.step(&["vault", "create", &vault])?;
        self.step(&["vault", "credentials", &vault, "--out", &credentials])?;
        self.say("The server registers; its passphrase never leaves it");
        self.step(&[
            "register",
            "--credentials",
            &credentials,
            "--server-name",
            "demo",
            "--kdf-memory-mib",
            "64",
        ])?;
        self.say("A first backup");
        self.step(&["backup", &source_text])?;
        self.say("Something changes: a new file, a longer one, one less");
        copy::change(&source).context("cannot change the copy")?;
        self.say("A second backup reads only what changed");
        self.step(&["backup", &source_text, "--label", "after the change"])?;
        self.step(&["points", "list"])?;
        let (first, second) = self.two_points()?;
        self.step(&["points", "diff", &first, &second])?;
        self.say("Everything comes back");
        let target = self.root.join("restored");
        self.step(&[
            "restore",
            "latest",
            "--target",
            &target.display().to_string(),
            "--verify",
        ])?;
        self.say("What came back, against what was backed up: content and metadata");
        let back = target.join(source.strip_prefix("/").unwrap_or(&source));
        let compared = compare::compare(&source, &back)?;
        self.note(&format!("  {} entries, all the same", render::count(compared)));
        self.say("And the vault, every byte of it");
        self.step(&["check", "--read-data"])?;
        Ok(Figures {
            files: copied.files,
            bytes: copied.bytes,
            compared,
            duration: self.begun.elapsed(),
        })
    }

    fn say(&self, text: &str) {
        self.note(&format!("\n── {text}"));
    }

    fn note(&self, text: &str) {
        if self.context.out.json {
            self.context.out.note(text)
        } else {
            self.context.out.line(text)
        }
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

    /// Runs one step as a user would; its words are the demo's words.
    fn step(&self, args: &[&str]) -> Result<(), Failure> {
        if self.context.cancel.is_cancelled() {
            return Err(Failure::cancelled());
        }
        self.note(&format!("$ lockstone {}", typed(args)));
        let mut command = self.command(args);
        if self.context.out.json {
            // One document on stdout, and it is the demo's.
            command.stdout(std::io::stderr());
        }
        let status = command
            .status()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        match status.code() {
            Some(0) => Ok(()),
            _ if self.context.cancel.is_cancelled() => Err(Failure::cancelled()),
            code => {
                let exit = code.map_or(Exit::Failed, Exit::from_code);
                Err(Failure::new(
                    exit,
                    "demo",
                    format!("`lockstone {}` ended with {status}", typed(args)),
                    "",
                ))
            }
        }
    }

    /// The two points that were made, as `--json` lists them.
    fn two_points(&self) -> Result<(String, String), Failure> {
        let output = self
            .command(&["points", "list", "--json"])
            .output()
            .context("cannot list the points")?;
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).context("no list of points")?;
        let id = |place: usize| {
            value["points"][place]["id"]
                .as_str()
                .map(|id| id[..8.min(id.len())].to_owned())
        };
        match (id(0), id(1)) {
            (Some(first), Some(second)) => Ok((first, second)),
            _ => Err(Failure::failed("demo", "two backups made fewer than two points", "")),
        }
    }
}

/// A command line as one would type it.
fn typed(args: &[&str]) -> String {
    let quoted = |arg: &&str| {
        if arg.contains(' ') {
            format!("'{arg}'")
        } else {
            (*arg).to_owned()
        }
    };
    args.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// A path, for messages.
fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    render::name(path.as_os_str().as_bytes())
}
