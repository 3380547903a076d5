//! The documents of commands that print or write texts: `completions`, `man`, `metrics-page`.

use std::path::PathBuf;

use serde::Serialize;

/// The answer of `completions`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CompletionsDocument {
    pub(crate) shell: String,
    pub(crate) script: String,
}

/// One page of text.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PageDocument {
    pub(crate) page: String,
}

/// The folder that the manual pages were written to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PagesFolderDocument {
    pub(crate) folder: PathBuf,
}
