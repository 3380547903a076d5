//! The bounded flow that joins the stages of a pipeline: one way to cancel, one way to send and receive, one way to
//! account for bytes in memory, one way to run a stage. The flow rules of the design are kept here and nowhere else:
//!
//! 1. every wait also waits for the [`CancelToken`] (`channel`, `budget`);
//! 2. bytes in flight are paid for with a [`Permit`] of the job's [`Budget`], taken before reading;
//! 3. no channel, lock or RocksDB call happens inside a rayon task: stages call `pool.install` with pure work.
//!
//! A stage's body returns `Result<(), Stop>`; [`Stop`] tells a cause (a fault) from its echoes (a cancelled wait, a
//! neighbour that went away).

mod budget;
mod cancel;
mod channel;
mod clock;
mod fault;
mod stage;

pub(crate) use budget::{Budget, Permit};
pub use cancel::CancelToken;
pub(crate) use channel::{Gauge, Received, Receiver, Sender, Weigh, channel};
pub(crate) use clock::{Clocks, Doing, waiting};
pub use fault::Fault;
pub(crate) use fault::Stop;
pub(crate) use stage::{
    Body, Outcome, Report, Stage, StageExited, StageFigures, StageReport, StageSpec, Start, body, stage,
};

/// A place where a test may make a stage fail (`return`) or panic (`panic`), by the `fail` crate. Compiled to nothing
/// without the feature `failpoints`.
///
/// # Errors
/// A transient fault, where a test asked for one.
#[allow(
    clippy::unnecessary_wraps,
    reason = "the error exists with the feature `failpoints` only"
)]
pub(crate) fn fault_point(name: &str) -> Result<(), Stop> {
    let _ = name;
    fail::fail_point!(name, |_| Err(Fault::transient(format!("fault point {name}")).into()));
    Ok(())
}
