//! Where a passphrase comes from: a file, the environment, or a terminal; never the command line, which others can read.
//!
//! Order: `--passphrase-file`, `LOCKSTONE_PASSPHRASE_FILE`, `LOCKSTONE_PASSPHRASE`, a prompt. A new passphrase has its own
//! names where an old one is asked for too (`passphrase change`).

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use lockstone_vault::crypto::slots::Passphrase;
use zeroize::Zeroizing;

use super::signals;
use crate::failure::Failure;

/// A file with a passphrase is never larger.
const FILE_MAX: u64 = 4096;

/// Which passphrase is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// What the prompt says.
    pub prompt: &'a str,
    /// The option that names a file, for the message where nothing was given.
    pub option: &'a str,
    /// The variable that holds the passphrase; with `_FILE` behind it, the variable that names a file.
    pub variable: &'a str,
    /// Asked twice, and held to the rules.
    pub new: bool,
}

/// The passphrase of a domain that exists.
pub const EXISTING: Ask<'_> = Ask {
    prompt: "Passphrase: ",
    option: "--passphrase-file",
    variable: "LOCKSTONE_PASSPHRASE",
    new: false,
};

/// The passphrase of a domain that is being made.
pub const FIRST: Ask<'_> = Ask {
    prompt: "New passphrase (16 or more ASCII characters): ",
    new: true,
    ..EXISTING
};

/// The passphrase that replaces another.
pub const REPLACEMENT: Ask<'_> = Ask {
    option: "--new-passphrase-file",
    variable: "LOCKSTONE_NEW_PASSPHRASE",
    ..FIRST
};

/// A text that may be the passphrase (or the recovery key) of a domain that exists. Whether it is, only its slot knows.
///
/// # Errors
/// `usage` where there is none to be had; a plain failure where its file cannot be read.
pub fn existing(file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    obtain(file, EXISTING)
}

/// A passphrase that keeps to the rules.
///
/// # Errors
/// `usage` (exit 2) where it breaks them, or there is none to be had.
pub fn new(file: Option<&Path>, ask: Ask<'_>) -> Result<Passphrase, Failure> {
    let text = obtain(file, ask)?;
    Passphrase::new(text.as_str().to_owned()).map_err(|error| {
        let hint = "a passphrase has 16 or more characters, all of them printable ASCII";
        Failure::new(crate::failure::Exit::Usage, "passphrase-rules", error.to_string(), hint)
    })
}

fn obtain(file: Option<&Path>, ask: Ask<'_>) -> Result<Zeroizing<String>, Failure> {
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
    let text = prompt(ask.prompt)?;
    if ask.new && *prompt("Once more: ")? != *text {
        return Err(Failure::usage(
            "the two passphrases differ",
            "nothing was changed; try again",
        ));
    }
    Ok(text)
}

fn prompt(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let _quiet = signals::prompting();
    match rpassword::prompt_password(prompt) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Err(Failure::cancelled()),
        Err(error) => Err(Failure::failed(
            "failed",
            format!("cannot ask for the passphrase: {error}"),
            "",
        )),
    }
}

/// The first line of the file, without its end.
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
    let mut limited = std::io::Read::take(
        std::fs::File::open(file).map_err(|e| failed(e.to_string()))?,
        FILE_MAX + 1,
    );
    std::io::Read::read_to_string(&mut limited, &mut text).map_err(|e| failed(e.to_string()))?;
    if text.len() as u64 > FILE_MAX {
        return Err(failed(format!("it is larger than {FILE_MAX} bytes")));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    Ok(Zeroizing::new(line.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_is_no_part_of_the_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passphrase");
        for (content, wanted) in [("a b", "a b"), ("a b\n", "a b"), ("a b\r\n", "a b"), (" a \n", " a ")] {
            std::fs::write(&file, content).unwrap();
            assert_eq!(*from_file(&file).unwrap(), wanted);
        }
    }

    #[test]
    fn a_huge_file_is_no_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passphrase");
        std::fs::write(&file, "x".repeat(5000)).unwrap();
        assert!(from_file(&file).is_err());
    }
}
