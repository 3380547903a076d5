//! The protected server. This library lists its volumes, freezes a source, walks it, reads it and cuts it into chunks,
//! captures and applies metadata, and writes restored files beneath a target. It starts no threads: the actors call it
//! from theirs.
//!
//! On the way into a backup: [`volumes`] → [`snapshot`] → [`walk`] → [`read`] → [`chunk`], with [`metadata`] for
//! everything but the content. On the way back: [`write`](mod@write).

pub mod boundaries;
pub mod chunk;
mod folder;
pub mod metadata;
mod path;
pub mod process;
pub mod read;
pub mod settle;
pub mod snapshot;
mod stat;
mod sys;
pub mod terminal;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod testing;
pub mod volumes;
pub mod walk;
pub mod write;
