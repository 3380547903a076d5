//! The bounded flow that joins the stages of a pipeline. It has one way to cancel, one way to send and receive, one way
//! to account for bytes in memory, and one way to run a stage.
//!
//! # Flow rules
//!
//! `docs/ARCHITECTURE.md` ("Flow rules") explains the rules by which no pipeline can lock up or outgrow its memory.
//! This module keeps these of them:
//!
//! 1. every wait also waits for the [`CancelToken`] (`channel`, `budget`);
//! 2. bytes in flight are paid for with a [`Permit`] of the job's [`Budget`], which is taken before the bytes are read;
//! 3. a rayon task never touches a channel, a lock or RocksDB: a stage hands the pool pure work and waits for it.
//!
//! # How a stage ends
//!
//! A stage's body returns `Result<(), Stop>`. [`Stop`] tells a cause (a [`Fault`]) from its echoes: a cancelled wait,
//! or a neighbour that went away. Exactly one cause reaches the user: the first one.
//!
//! A channel tells a sender that *finished* from one that went away. So a stream only ends cleanly when all who sent to
//! it had done all their work, and a crash upstream is never mistaken for the end.
//!
//! # How a pipeline is put together
//!
//! A pipeline uses an [`Assembly`]: it makes the channels, and gives each stage its inbox, its outlets and its threads.

mod assembly;
mod budget;
mod cancel;
mod channel;
mod clock;
mod entry_error;
mod fault;
mod stage;
mod stage_name;

pub(crate) use assembly::{Assembly, Body};
pub(crate) use budget::{Budget, Permit};
pub use cancel::CancelToken;
pub(crate) use channel::{Gauge, Received, Receiver, Sender, Weigh, channel};
pub(crate) use clock::{Clocks, Doing, waiting};
pub(crate) use entry_error::EntryError;
pub use fault::Fault;
pub(crate) use fault::Stop;
pub(crate) use stage::{Outcome, Stage, StageExited, StageFigures, StageSpec, Start, Threads};
pub(crate) use stage_name::StageName;

/// A place where a test can make a stage fail (`return`) or panic (`panic`), by the `fail` crate. Without the feature
/// `failpoints` it compiles to nothing.
///
/// # Errors
/// A transient fault, if a test asked for one.
#[allow(
    clippy::unnecessary_wraps,
    reason = "the error exists with the feature `failpoints` only"
)]
pub(crate) fn fault_point(name: &str) -> Result<(), Stop> {
    let _ = name;
    fail::fail_point!(name, |_| Err(Fault::transient(format!("fault point {name}")).into()));
    Ok(())
}
