//! Where a command's output goes: results to stdout, everything else to stderr. With `--json`, one document goes to
//! stdout.
//!
//! Every command gets one [`Output`]. It keeps these promises: `--json` means exactly one document; a job ends with its
//! own exit code, whoever reads its output; a reader who closes the pipe early (`| head`) ends a long list quietly.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use serde::Serialize;
use serde_json::Value;
use tracing::Level;

use super::log::say;
use super::signals::exit_now;
use crate::agent::notices::{Notice, Notices};
use crate::documents::common::FailureDocument;
use crate::failure::{Exit, Failure};

/// How a command ends, once it has shown what it had to show.
pub(crate) type Outcome = Result<Exit, Failure>;

/// The output of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// One JSON document on stdout, and no other text there.
    pub(crate) json: bool,
    /// No messages on stderr but errors and warnings.
    pub(crate) quiet: bool,
}

impl Output {
    /// A line of the result, for people. Nothing with `--json`.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            self.text(&format!("{}\n", text.as_ref()));
        }
    }

    /// Text that already ends its lines, for people. Nothing with `--json`.
    pub(crate) fn text(&self, text: &str) {
        if !self.json {
            note_lost(io::stdout().lock().write_all(text.as_bytes()));
        }
    }

    /// The document of a command that was called with `--json`.
    pub(crate) fn document(&self, document: &impl Serialize) {
        if self.json {
            let mut out = io::stdout().lock();
            // By way of a value, so that the members of every document come in the same order.
            let wrote = match serde_json::to_value(document) {
                Ok(value) => writeln!(out, "{value}"),
                Err(error) => Err(error.into()),
            };
            note_lost(wrote);
        }
    }

    /// Something worth knowing, on stderr.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            say(Level::INFO, text.as_ref());
        }
    }

    /// Something that deserves a look, on stderr.
    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        say(Level::WARN, &format!("warning: {text}"));
    }

    /// Why the command failed, and with `--json` its document.
    pub(crate) fn failure(&self, failure: &Failure) {
        say(Level::ERROR, &failure.to_string());
        self.document(&FailureDocument::from(failure));
    }

    /// A document with one long list, written as it comes, so that memory does not grow with it.
    pub(crate) fn list(&self, member: &str) -> List {
        let mut list = List {
            out: BufWriter::new(io::stdout()),
            json: self.json,
            first: true,
        };
        if list.json {
            let opened = write!(list.out, "{{{}:[", Value::String(member.to_owned()));
            end_list(opened);
        }
        list
    }
}

impl Notices for Output {
    fn give(&self, notice: Notice) {
        match notice {
            Notice::Note(text) => self.note(text),
            Notice::Warning(text) => self.warn(text),
        }
    }
}

/// A list on stdout: items of a JSON document, or lines.
#[derive(Debug)]
pub(crate) struct List {
    out: BufWriter<io::Stdout>,
    json: bool,
    first: bool,
}

impl List {
    /// Adds an item: `line` for people (without its end), or `document` for scripts. Only one of them is called.
    pub(crate) fn item<D: Serialize>(&mut self, line: impl FnOnce() -> String, document: impl FnOnce() -> D) {
        let wrote = if self.json {
            let comma = if self.first { "" } else { "," };
            match serde_json::to_value(document()) {
                Ok(value) => write!(self.out, "{comma}{value}"),
                Err(error) => Err(error.into()),
            }
        } else {
            writeln!(self.out, "{}", line())
        };
        self.first = false;
        end_list(wrote);
    }

    /// A line for people only.
    pub(crate) fn heading(&mut self, line: &str) {
        if !self.json {
            let wrote = writeln!(self.out, "{line}");
            end_list(wrote);
        }
    }

    /// Whether nothing was listed yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.first
    }

    /// Ends the list, and adds the other members of the document: those of `more`, which is a struct or a map.
    pub(crate) fn end(mut self, more: &impl Serialize) {
        if self.json {
            let wrote = match serde_json::to_value(more) {
                Ok(more) => {
                    let mut end = String::from("]");
                    for (name, value) in more.as_object().into_iter().flatten() {
                        end.push_str(&format!(",{}:{value}", Value::String(name.clone())));
                    }
                    writeln!(self.out, "{end}}}")
                }
                Err(error) => Err(error.into()),
            };
            note_lost(wrote);
        }
        let flushed = self.out.flush();
        note_lost(flushed);
    }

    /// Ends the list with the failure that cut it short. The caller returns this exit code, and prints nothing more.
    pub(crate) fn fail(self, failure: &Failure) -> Exit {
        say(Level::ERROR, &failure.to_string());
        self.end(&FailureDocument::from(failure));
        failure.exit
    }
}

/// Whether stderr is a terminal.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// What a command is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A job. Its result is in the vault or on the disk, and its exit code says how it ended.
    Job,
    /// Anything else. A command whose answer cannot be written has failed.
    Answer,
}

/// Whether something for stdout could not be written, for another reason than a closed pipe.
static LOST: AtomicBool = AtomicBool::new(false);

/// The exit code of a list if it ends now (see [`so_far`]).
static SO_FAR: AtomicU8 = AtomicU8::new(Exit::Done as u8);

/// Sets the exit code of a list whose reader leaves early. What is known to be wrong by then is said all the same.
pub(crate) fn so_far(exit: Exit) {
    SO_FAR.fetch_max(exit as u8, Ordering::SeqCst);
}

/// The exit code of the program, if its command ended with `exit`.
pub(crate) fn settled(exit: Exit, work: Work) -> Exit {
    match (exit, work) {
        (Exit::Done, Work::Answer) if LOST.load(Ordering::SeqCst) => Exit::Failed,
        _ => exit,
    }
}

/// Takes note of what could not be written to stdout, and says so once. The command goes on: its exit code must be its
/// own. A closed pipe means that the reader has enough, and is not an error.
fn note_lost(wrote: io::Result<()>) {
    if let Err(error) = wrote
        && error.kind() != io::ErrorKind::BrokenPipe
        && !LOST.swap(true, Ordering::SeqCst)
    {
        say(Level::ERROR, &format!("error: cannot write to stdout: {error}"));
    }
}

/// Ends the program if a list cannot be written further. A list can be long, and nothing but its output would come of
/// the rest.
fn end_list(wrote: io::Result<()>) {
    let Err(error) = wrote else { return };
    let is_closed = error.kind() == io::ErrorKind::BrokenPipe;
    note_lost(Err(error));
    let exit = Exit::from_code(SO_FAR.load(Ordering::SeqCst).into());
    exit_now(if is_closed { exit } else { settled(exit, Work::Answer) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_answer_is_a_failure_and_a_job_keeps_its_own_code() {
        assert_eq!(settled(Exit::Done, Work::Answer), Exit::Done);
        LOST.store(true, Ordering::SeqCst);
        assert_eq!(settled(Exit::Done, Work::Answer), Exit::Failed);
        assert_eq!(settled(Exit::Done, Work::Job), Exit::Done);
        assert_eq!(settled(Exit::Damaged, Work::Answer), Exit::Damaged);
    }
}
