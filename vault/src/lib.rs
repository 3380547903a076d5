//! Where backups live: the store, and what is written into it. The format is described in `docs/format.md`.
//!
//! The rooms, from the ground up:
//!
//! * `kind`, `bounds`, `buffers`, `damage`, `pause`: kinds of faults, limits of encoded messages, reused memory,
//!   damaged objects, waiting.
//! * [`store`]: objects by name, in a folder or an object store, with retries and a pace.
//! * [`crypto`]: keys, seals, key slots.
//! * [`pack`] and [`tree`]: how chunks and folders are written. Frames and segments are in `pack`.
//! * [`access`]: the descriptor, credentials, registrations and job records.
//! * [`log`]: the chain of entries that says what exists.
//! * [`index`]: the local, rebuildable database of chunks.
//! * [`vault`]: the vault as a whole, as far as it needs no key.
//! * [`domain`]: keys, log and index together. Jobs work with this.
//! * [`points`]: recovery points and their trees, folder by folder and file by file.
//! * [`check`]: whether everything is there and whole.
//! * [`collect`]: freeing what nothing needs.
//!
//! This is a plain library. It starts no threads; the callers do.

pub mod access;
mod bounds;
pub mod buffers;
mod canonical;
pub mod check;
pub mod collect;
pub mod crypto;
pub mod damage;
pub mod domain;
pub mod error;
pub mod index;
mod kind;
pub mod log;
pub mod pack;
mod pause;
pub mod points;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tree;
pub mod vault;

pub use error::VaultError;
pub use store::names;
