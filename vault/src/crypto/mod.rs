//! Who can open what: the keys of a domain, the seals made with them, and the slots that wrap the master key.

pub(crate) mod armor;
pub mod keys;
mod multi_hash;
pub(crate) mod seal;
pub mod slot_store;
pub mod slots;
