//! The jobs of this server: backup, restore, check and gc. `perform` is the skeleton of all of them: it takes the lock,
//! writes the records, opens the vault, runs the pipeline on a thread of its own, and returns a report. A command and
//! the daemon call it in the same way.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod ending;
pub(crate) mod gc;
pub(crate) mod live;
pub(crate) mod metrics;
pub(crate) mod observer;
mod operators_record;
pub(crate) mod perform;
pub(crate) mod restore;
mod run;
pub(crate) mod settle;
pub(crate) mod test_restore;
