//! Where a command's words go: results to stdout, everything else to stderr, and with `--json` one document on stdout.
//!
//! Every command gets one [`Output`]. It keeps the promise that `--json` means exactly one document, and that a reader
//! who closes the pipe early (`| head`) ends the program quietly.

use std::io::{self, BufWriter, IsTerminal, Write};

use serde::Serialize;
use serde_json::{Map, Value};

use tracing::Level;

use super::log::say;
use crate::failure::{Exit, Failure};

/// What a command returns when it has said what it had to say.
pub type Outcome = Result<Exit, Failure>;

/// A command's way to speak.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// One JSON document on stdout, and no other text there.
    pub json: bool,
    /// No messages on stderr but errors and warnings.
    pub quiet: bool,
}

impl Output {
    /// A line of the result, for people. Nothing with `--json`.
    pub fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            let mut out = io::stdout().lock();
            finish(writeln!(out, "{}", text.as_ref()));
        }
    }

    /// Text that already ends its lines, for people. Nothing with `--json`.
    pub fn text(&self, text: &str) {
        if !self.json {
            let mut out = io::stdout().lock();
            finish(out.write_all(text.as_bytes()));
        }
    }

    /// The document of a command that was called with `--json`.
    pub fn document(&self, document: &impl Serialize) {
        if self.json {
            let mut out = io::stdout().lock();
            let text = serde_json::to_string(document).map_err(io::Error::from);
            finish(text.and_then(|text| writeln!(out, "{text}")));
        }
    }

    /// Something worth knowing, on stderr.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            say(Level::INFO, text.as_ref());
        }
    }

    /// Something that deserves a look, on stderr.
    pub fn warn(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        say(Level::WARN, &format!("warning: {text}"));
    }

    /// The last words of a command that failed.
    pub fn failure(&self, failure: &Failure) {
        say(Level::ERROR, &failure.to_string());
        let mut document = Map::new();
        document.insert("error".to_owned(), failure.json());
        self.document(&Value::Object(document));
    }

    /// A document with one long list, written as it comes, so that memory does not grow with it.
    #[must_use]
    pub fn list(&self, member: &str) -> List {
        let mut list = List {
            out: BufWriter::new(io::stdout()),
            json: self.json,
            first: true,
        };
        if list.json {
            let opened = write!(list.out, "{{{}:[", Value::String(member.to_owned()));
            finish(opened);
        }
        list
    }
}

/// A list on stdout: items of a JSON document, or lines.
#[derive(Debug)]
pub struct List {
    out: BufWriter<io::Stdout>,
    json: bool,
    first: bool,
}

impl List {
    /// One item: `line` for people (without its end), or `value` for scripts. Only the one that is wanted is made.
    pub fn item(&mut self, line: impl FnOnce() -> String, value: impl FnOnce() -> Value) {
        let wrote = if self.json {
            let comma = if self.first { "" } else { "," };
            write!(self.out, "{comma}{}", value())
        } else {
            writeln!(self.out, "{}", line())
        };
        self.first = false;
        finish(wrote);
    }

    /// A line for people only.
    pub fn heading(&mut self, line: &str) {
        if !self.json {
            let wrote = writeln!(self.out, "{line}");
            finish(wrote);
        }
    }

    /// True while nothing was listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first
    }

    /// Ends the list; the other members of the document follow it. A failure in the middle of a list goes here too, as
    /// the member `error`: what was listed before stays true.
    pub fn end(mut self, more: &Map<String, Value>) {
        if self.json {
            let mut end = String::from("]");
            for (name, value) in more {
                end.push_str(&format!(",{}:{value}", Value::String(name.clone())));
            }
            let wrote = writeln!(self.out, "{end}}}");
            finish(wrote);
        }
        let flushed = self.out.flush();
        finish(flushed);
    }

    /// Ends the list with the failure that cut it short. The caller returns the exit code: everything is said.
    #[must_use]
    pub fn fail(self, failure: &Failure) -> Exit {
        say(Level::ERROR, &failure.to_string());
        let mut more = Map::new();
        more.insert("error".to_owned(), failure.json());
        self.end(&more);
        failure.exit
    }
}

/// True where somebody looks at stderr.
#[must_use]
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// A closed pipe means that the reader has enough; any other failure of stdout is an error nobody can be told on stdout.
fn finish(wrote: io::Result<()>) {
    if let Err(error) = wrote {
        if error.kind() != io::ErrorKind::BrokenPipe {
            eprintln!("error: cannot write to stdout: {error}");
            std::process::exit(Exit::Failed as i32);
        }
        std::process::exit(Exit::Done as i32);
    }
}
