//! The documents that `--json` prints, and that records of jobs keep: one struct for each kind of answer.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod common;
pub(crate) mod progress;
pub(crate) mod restore;
