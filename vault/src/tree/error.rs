//! What can be wrong with a tree chunk.

use bytes::Bytes;

use crate::bounds::Malformed;

/// What is wrong with a page or a content list, or with what should go into one. Never transient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A page or list over the limit.
    #[error("a tree chunk of {0} bytes is over the format's limit")]
    TooLong(usize),
    /// It cannot be decoded.
    #[error("a tree chunk cannot be decoded: {0}")]
    Malformed(#[from] Malformed),
    /// A page that breaks the rules.
    #[error("a tree page {0}")]
    Page(&'static str),
    /// An entry that breaks the rules.
    #[error("the entry \"{}\" {what}", name.escape_ascii())]
    Entry {
        /// Its name.
        name: Bytes,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A content list that breaks the rules.
    #[error("a content list {0}")]
    Content(&'static str),
}
