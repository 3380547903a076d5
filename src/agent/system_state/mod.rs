//! What describes the system: how its disks are laid out, what is installed, what runs, how it is reached. Together
//! with `/etc` and `/boot` it is what is needed to set the machine up again.
//!
//! The files are written afresh for each backup, into a folder of the state folder, and are the source `/system state`
//! of the recovery point. They are never applied to a live system: `RESTORE.md` among them says, in this machine's own
//! values, what each is good for. No key of an encrypted disk is among them.
//!
//! A tool that is missing, fails or takes too long is a line in `NOTES.txt`, and no failure: a backup with less about
//! the system is better than none.

mod copies;
mod disks;
mod instructions;
mod tools;

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use lockstone_actors::CancelToken;

use self::disks::Disks;
use self::tools::{PACKAGE_CHECKS, TOOLS, Tool};
use super::programs::{self, NotEnded, Running};
use crate::failure::Failure;

/// Where the files are in a recovery point.
pub(crate) const PATH: &str = "/system state";
/// The folders of the server that belong to the state of the system.
pub(crate) const FOLDERS: &[&str] = &["/etc", "/boot"];

/// For how long a tool may run.
const PATIENCE: Duration = Duration::from_secs(30);
/// For how long the check of the packages may run. It reads every file that a package has installed.
const CHECK_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// The folder that the files are written into.
pub(crate) fn folder(state: &Path) -> PathBuf {
    state.join("system-state")
}

/// Writes the files. Blocks. Fails if they cannot be written, or if the job was cancelled. Returns how many tools gave
/// nothing, for the user.
pub(crate) fn write(state: &Path, package_check: bool, cancel: &CancelToken) -> Result<Option<String>, Failure> {
    let folder = folder(state);
    remove(&folder)?;
    let mut report = Report {
        folder,
        notes: String::new(),
        missing: 0,
        cancel: cancel.clone(),
    };
    report.sub_folder("")?;
    for tool in TOOLS {
        report.run(tool)?;
    }
    copies::write(&mut report)?;
    let disks = Disks::read(&report.folder);
    disks::write(&mut report, &disks)?;
    if package_check {
        for tool in PACKAGE_CHECKS {
            report.run(tool)?;
        }
    } else {
        report.note(
            "packages/verify.txt",
            "the check of the packages was left out, as asked for",
        );
    }
    let instructions = instructions::text(&disks);
    report.file("RESTORE.md", instructions.as_bytes())?;
    let notes = std::mem::take(&mut report.notes);
    report.file("NOTES.txt", notes.as_bytes())?;
    let missing = report.missing;
    let what =
        "tools that describe the system gave nothing; `/system state/NOTES.txt` of the recovery point names them";
    Ok((missing > 0).then(|| format!("{missing} {what}")))
}

/// Removes what the last backup wrote.
fn remove(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let shown = folder.display();
            Err(anyhow::Error::from(error)
                .context(format!("cannot remove {shown}"))
                .into())
        }
        _ => Ok(()),
    }
}

/// The folder of the system state while it is written.
struct Report {
    folder: PathBuf,
    /// A line for each thing that could not be told.
    notes: String,
    /// How many tools gave nothing although they are there.
    missing: usize,
    cancel: CancelToken,
}

impl Report {
    fn note(&mut self, file: &str, why: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.notes, "{file}: {why}");
    }

    fn sub_folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let folder = self.folder.join(name);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// Opens a new file, which only this user can read.
    fn create(&self, name: &str) -> Result<fs::File, Failure> {
        let path = self.folder.join(name);
        if let Some(above) = Path::new(name).parent().and_then(Path::to_str) {
            self.sub_folder(above)?;
        }
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path);
        Ok(opened.with_context(|| format!("cannot write {}", path.display()))?)
    }

    fn file(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        let written = self.create(name)?.write_all(content);
        Ok(written.with_context(|| format!("cannot write {}", self.folder.join(name).display()))?)
    }

    /// Runs a tool, and keeps what it prints.
    fn run(&mut self, tool: &Tool) -> Result<(), Failure> {
        let words: Vec<String> = tool.command.iter().map(|&word| word.to_owned()).collect();
        self.run_words(tool.file, &words, tool.is_slow)
    }

    /// Runs a program, and keeps what it prints. What it complains about is a note.
    fn run_words(&mut self, file: &str, words: &[String], is_slow: bool) -> Result<(), Failure> {
        let Some(mut command) = programs::command(words) else {
            return Ok(());
        };
        let complaints = self.create("complaints")?;
        let (output, errors) = (self.create(file)?, Stdio::from(complaints));
        command
            .stdout(output)
            .stderr(errors)
            .env("LC_ALL", "C")
            .current_dir("/");
        let patience = if is_slow { CHECK_PATIENCE } else { PATIENCE };
        let running = Running::start(&mut command).map_err(NotEnded::Failed);
        let ended = running.and_then(|running| running.wait(patience, Some(&self.cancel)));
        let why = match ended {
            Ok(status) if status.success() => None,
            Ok(status) => Some(format!("{status}{}", self.complaint())),
            Err(NotEnded::Cancelled) => return Err(Failure::cancelled()),
            Err(NotEnded::TimedOut) => Some(format!("ended after {} s", patience.as_secs())),
            Err(NotEnded::Failed(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                self.note(file, &format!("{} is not installed", words[0]));
                self.discard(file);
                return Ok(());
            }
            Err(NotEnded::Failed(error)) => Some(error.to_string()),
        };
        let _ = fs::remove_file(self.folder.join("complaints"));
        if let Some(why) = why {
            self.note(file, &format!("`{}`: {why}", words.join(" ")));
            if fs::metadata(self.folder.join(file)).is_ok_and(|found| found.len() == 0) {
                self.missing += 1;
                self.discard(file);
            }
        }
        Ok(())
    }

    /// Removes the empty file of a tool that gave nothing.
    fn discard(&self, file: &str) {
        for file in ["complaints", file] {
            // An empty file more does no harm.
            let _ = fs::remove_file(self.folder.join(file));
        }
    }

    /// The first line that a tool complained with.
    fn complaint(&self) -> String {
        let text = fs::read_to_string(self.folder.join("complaints")).unwrap_or_default();
        text.lines().next().map(|line| format!(": {line}")).unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_system_is_described_afresh_each_time() {
        let state = tempfile::tempdir().unwrap();
        let cancel = CancelToken::new();
        let stale = folder(state.path()).join("stale");
        fs::create_dir_all(&stale).unwrap();
        write(state.path(), false, &cancel).unwrap();
        assert!(!stale.exists());
        let folder = folder(state.path());
        let guide = fs::read_to_string(folder.join("RESTORE.md")).unwrap();
        assert!(guide.contains("never apply"), "{guide}");
        let notes = fs::read_to_string(folder.join("NOTES.txt")).unwrap();
        assert!(
            notes.contains("packages/verify.txt: the check of the packages was left out"),
            "{notes}"
        );
        assert!(
            !fs::read_to_string(folder.join("disks/mountinfo.txt"))
                .unwrap()
                .is_empty()
        );
        assert!(!folder.join("complaints").exists());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("RESTORE.md"))), (0o700, 0o600));
    }

    #[test]
    fn a_missing_tool_is_a_note_and_a_cancelled_job_ends_it() {
        let state = tempfile::tempdir().unwrap();
        let mut report = Report {
            folder: state.path().join("f"),
            notes: String::new(),
            missing: 0,
            cancel: CancelToken::new(),
        };
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<String>>();
        report
            .run_words("a/missing.txt", &words(&["/no/such/tool"]), false)
            .unwrap();
        report
            .run_words("a/fails.txt", &words(&["/bin/sh", "-c", "echo why >&2; exit 3"]), false)
            .unwrap();
        report
            .run_words("a/half.txt", &words(&["/bin/sh", "-c", "echo half; exit 3"]), false)
            .unwrap();
        report
            .run_words("a/good.txt", &words(&["/bin/sh", "-c", "echo $LC_ALL"]), false)
            .unwrap();
        assert!(
            report.notes.contains("a/missing.txt: /no/such/tool is not installed"),
            "{}",
            report.notes
        );
        assert!(report.notes.contains("exit status: 3: why"), "{}", report.notes);
        assert_eq!(report.missing, 1);
        let names = fs::read_dir(state.path().join("f/a")).unwrap().count();
        assert_eq!(names, 2, "the good one and the half one");
        assert_eq!(fs::read_to_string(state.path().join("f/a/good.txt")).unwrap(), "C\n");
        report.cancel.cancel();
        let failure = report.run_words("x", &words(&["sleep", "300"]), false).unwrap_err();
        assert_eq!(failure.exit, crate::failure::Exit::Cancelled);
    }
}
