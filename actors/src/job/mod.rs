//! What is common to all kinds of jobs: what they need ([`JobContext`]), and what their callers get back.

mod context;
mod error;
mod status;
mod warnings;

pub use context::JobContext;
pub use error::JobError;
pub use status::JobStatus;
pub use warnings::Warning;
pub(crate) use warnings::Warnings;
