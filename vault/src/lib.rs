//! Where backups live: the store and what is written into it. From the bottom up: `store` (objects), `keys` and `slots`
//! (who can open what), `frame`, `pack`, `segment` and `tree` (how content and folders lie there), `log` (what is true),
//! `index` (the local memory of it), `domain` (all of that together, which jobs use), `points` (looking into recovery
//! points) and `check`. A plain library: it has no threads of its own and knows no actor.
//!
//! The format is written down in `docs/format.md`.

pub mod access;
mod bounds;
pub mod buffers;
pub mod check;
pub mod crypto;
pub mod damage;
pub mod domain;
pub mod error;
pub mod index;
mod kind;
pub mod log;
pub mod pack;
pub mod points;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tree;
pub mod vault;

pub use error::VaultError;
pub use store::names;
