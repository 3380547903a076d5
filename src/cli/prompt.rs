//! Where a passphrase comes from: a file, the environment, or a terminal. It never comes from the command line, which
//! other users can read.
//!
//! The order is `--passphrase-file`, `LOCKSTONE_PASSPHRASE_FILE`, `LOCKSTONE_PASSPHRASE`, a prompt. If a command
//! needs an old and a new passphrase (`passphrase change`), the new one has an option and variables of its own.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use lockstone_vault::crypto::slots::Passphrase;
use zeroize::Zeroizing;

use super::log::write_text;
use super::signals::Signals;
use crate::agent::access::passphrase::PassphraseSource;
use crate::failure::{Exit, Failure};

/// The largest passphrase file that is read, in bytes.
const MAX_FILE_LEN: u64 = 4096;

/// Which passphrase is asked for.
#[derive(Debug, Clone, Copy)]
struct Ask<'a> {
    /// What the prompt says.
    prompt: &'a str,
    /// The option that names a file, for the message if there is no passphrase.
    option: &'a str,
    /// The variable that holds the passphrase. The variable with `_FILE` appended names a file.
    variable: &'a str,
    /// A new passphrase is asked for twice, and has to follow the rules.
    new: bool,
}

/// The passphrase of a domain that exists.
const EXISTING: Ask<'_> = Ask {
    prompt: "Passphrase: ",
    option: "--passphrase-file",
    variable: "LOCKSTONE_PASSPHRASE",
    new: false,
};

/// The passphrase of a domain that is being made.
const FIRST: Ask<'_> = Ask {
    prompt: "New passphrase (16 to 127 ASCII characters): ",
    new: true,
    ..EXISTING
};

/// The passphrase that replaces another.
const REPLACEMENT: Ask<'_> = Ask {
    option: "--new-passphrase-file",
    variable: "LOCKSTONE_NEW_PASSPHRASE",
    ..FIRST
};

/// Gets passphrases for this process.
#[derive(Debug, Clone)]
pub(crate) struct Prompt {
    /// `--passphrase-file`.
    file: Option<PathBuf>,
    signals: Signals,
}

impl PassphraseSource for Prompt {
    fn existing(&self) -> Result<Zeroizing<String>, Failure> {
        self.obtain(self.file.as_deref(), EXISTING)
    }

    fn existing_of(&self, server: &str) -> Result<Zeroizing<String>, Failure> {
        let prompt = format!("Passphrase of server {server}: ");
        let ask = Ask {
            prompt: &prompt,
            ..EXISTING
        };
        self.obtain(self.file.as_deref(), ask)
    }
}

impl Prompt {
    pub(crate) fn new(file: Option<PathBuf>, signals: Signals) -> Prompt {
        Prompt { file, signals }
    }

    /// The passphrase of a new domain, from `--passphrase-file` if it was given. Fails with `usage` (exit 2) if the
    /// passphrase breaks the rules, or if there is no way to get one.
    pub(crate) fn first(&self) -> Result<Passphrase, Failure> {
        self.new_passphrase(self.file.as_deref(), FIRST)
    }

    /// The passphrase that replaces another, from `file` if it is given. Fails as [`first`](Prompt::first) does.
    pub(crate) fn replacement(&self, file: Option<&Path>) -> Result<Passphrase, Failure> {
        self.new_passphrase(file, REPLACEMENT)
    }

    /// The passphrase that replaces one that nobody knows: from where [`replacement`](Prompt::replacement) has it, else
    /// from where [`first`](Prompt::first) has it, since no other one is needed. Fails as these do.
    pub(crate) fn anew(&self, file: Option<&Path>) -> Result<Passphrase, Failure> {
        let variables = [
            REPLACEMENT.variable.to_owned(),
            format!("{}_FILE", REPLACEMENT.variable),
        ];
        let is_given = file.is_some() || variables.iter().any(|name| std::env::var_os(name).is_some());
        if is_given { self.replacement(file) } else { self.first() }
    }

    /// Asks a question on the terminal; true if the answer is yes. Without a terminal nothing is asked, and it is true.
    pub(crate) fn confirm(&self, question: &str) -> Result<bool, Failure> {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Ok(true);
        }
        write_text(question);
        let mut answer = String::new();
        std::io::stdin()
            .read_line(&mut answer)
            .map_err(|error| Failure::failed("failed", format!("cannot read the answer: {error}"), ""))?;
        if !answer.ends_with('\n') {
            // The input ended (^D). What comes next begins on a line of its own.
            write_text("\n");
        }
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    fn new_passphrase(&self, file: Option<&Path>, ask: Ask<'_>) -> Result<Passphrase, Failure> {
        by_the_rules(&self.obtain(file, ask)?)
    }

    fn obtain(&self, file: Option<&Path>, ask: Ask<'_>) -> Result<Zeroizing<String>, Failure> {
        if let Some(file) = file {
            return from_file(file);
        }
        let file_variable = format!("{}_FILE", ask.variable);
        if let Some(file) = std::env::var_os(&file_variable).filter(|value| !value.is_empty()) {
            return from_file(&PathBuf::from(file));
        }
        if let Some(text) = std::env::var_os(ask.variable) {
            let text = text.into_string().map_err(|_| {
                Failure::usage(
                    format!("{} is not text", ask.variable),
                    "a passphrase is all printable ASCII",
                )
            })?;
            return Ok(Zeroizing::new(text));
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::usage(
                "a passphrase is needed, and there is no terminal to ask on",
                format!(
                    "give a file with {}, or set {file_variable} or {}",
                    ask.option, ask.variable
                ),
            ));
        }
        let text = self.type_in(ask.prompt)?;
        if ask.new {
            // Before the second entry: nobody types a passphrase again that is refused anyway.
            by_the_rules(&text)?;
            if *self.type_in("Once more: ")? != *text {
                return Err(Failure::usage(
                    "the two passphrases differ",
                    "nothing was changed; try again",
                ));
            }
        }
        Ok(text)
    }

    fn type_in(&self, prompt: &str) -> Result<Zeroizing<String>, Failure> {
        let _prompting = self.signals.prompting();
        match rpassword::prompt_password(prompt) {
            Ok(text) => Ok(Zeroizing::new(text)),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Err(Failure::cancelled()),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                // The input ended (^D) before the line did.
                write_text("\n");
                Err(Failure::cancelled())
            }
            Err(error) => Err(Failure::failed(
                "failed",
                format!("cannot ask for the passphrase: {error}"),
                "",
            )),
        }
    }
}

/// The content of the file, without the end of its line.
fn from_file(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |what: String| {
        let message = format!("cannot read the passphrase from {}: {what}", file.display());
        Failure::failed(
            "passphrase-file",
            message,
            "the file holds the passphrase and nothing else",
        )
    };
    let mut text = Zeroizing::new(String::new());
    File::open(file)
        .and_then(|file| file.take(MAX_FILE_LEN + 1).read_to_string(&mut text))
        .map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MAX_FILE_LEN {
        return Err(failed(format!("it is larger than {MAX_FILE_LEN} bytes")));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.contains('\n') {
        return Err(failed("it has several lines".to_owned()));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// A new passphrase, if it follows the rules.
fn by_the_rules(text: &str) -> Result<Passphrase, Failure> {
    Passphrase::new(text.to_owned()).map_err(|error| {
        let hint = "a passphrase has 16 to 127 characters, all of them printable ASCII";
        Failure::new(Exit::Usage, "passphrase-rules", error.to_string(), hint)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_is_not_part_of_the_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passphrase");
        for (content, wanted) in [("a b", "a b"), ("a b\n", "a b"), ("a b\r\n", "a b"), (" a \n", " a ")] {
            std::fs::write(&file, content).unwrap();
            assert_eq!(*from_file(&file).unwrap(), wanted);
        }
    }

    #[test]
    fn a_file_of_two_lines_is_not_a_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passphrase");
        std::fs::write(&file, "a passphrase of one line\nand another\n").unwrap();
        assert!(from_file(&file).unwrap_err().message.contains("several lines"));
    }

    #[test]
    fn a_short_passphrase_breaks_the_rules() {
        let failure = by_the_rules("short").unwrap_err();
        assert_eq!((failure.exit, failure.code), (Exit::Usage, "passphrase-rules"));
        assert!(by_the_rules("long enough to be one").is_ok());
        assert!(by_the_rules(&"x".repeat(127)).is_ok());
        assert_eq!(by_the_rules(&"x".repeat(128)).unwrap_err().code, "passphrase-rules");
    }

    #[test]
    fn a_huge_file_is_not_a_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passphrase");
        std::fs::write(&file, "x".repeat(5000)).unwrap();
        assert!(from_file(&file).is_err());
    }
}
