//! What can be wrong with a tree chunk.

use bytes::Bytes;

use crate::bounds::Malformed;

/// Why a page or a content list cannot be read or made. Never transient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// It is longer than the format allows.
    #[error("a tree chunk of {0} bytes is over the format's limit")]
    TooLong(usize),
    /// It cannot be decoded.
    #[error("a tree chunk cannot be decoded: {0}")]
    Malformed(#[from] Malformed),
    /// The page breaks the rules.
    #[error("a tree page {0}")]
    Page(&'static str),
    /// An entry breaks the rules.
    #[error("the entry \"{}\" {what}", name.escape_ascii())]
    Entry {
        /// Its name.
        name: Bytes,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The content list breaks the rules.
    #[error("a content list {0}")]
    Content(&'static str),
}
