//! The policy of a protected server: what is backed up, when, and for how long each recovery point is kept.
//!
//! Everything here is pure: values in, values out. The time is passed in, and nothing is read or written. `file`
//! turns the text of a policy file into a [`Policy`] or says what is wrong, with line and column. `schedule` lists
//! the runs of a span of time. `retention` says which tags a new recovery point gets, and which points have had their
//! time. `guard` says whether a backup is strange. `preview` runs both over a span in which every run succeeds.

mod calendar;
mod clock;
mod file;
mod guard;
mod open;
mod preview;
mod retention;
mod schedule;
mod tag;

pub(crate) use self::file::{
    Bandwidth, EXAMPLE, Hooks, Item, Mail, Notify, Occasion, Policy, PolicyError, Source, TestRestore, parse,
};
pub(crate) use self::guard::{Figures, Strange, strange};
pub(crate) use self::open::{open_part, parts_of, schedule_of};
pub(crate) use self::preview::{Preview, preview};
pub(crate) use self::retention::{Expiry, Kept, Ledger, Made, plan};
pub(crate) use self::schedule::{Run, Schedule};
pub(crate) use self::tag::{Tag, Tags, Tier};
