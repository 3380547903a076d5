//! What Lockstone writes down and what it says: the schemas of `proto/*.proto` as types, typed ids, and the limits of
//! vault format 1. Everything else in the house imports this; this imports nothing of the house.

pub mod ids;
pub mod job;
pub mod limits;

/// Records of a domain: packs, segments, trees, log, key slots. Shapes and units stand in `proto/vault.proto`.
#[allow(
    missing_docs,
    clippy::doc_markdown,
    reason = "generated from proto/vault.proto, which documents it"
)]
pub mod vault {
    include!(concat!(env!("OUT_DIR"), "/lockstone.vault.v1.rs"));
}

/// Credentials and registrations. Shapes and units stand in `proto/access.proto`.
#[allow(
    missing_docs,
    clippy::doc_markdown,
    reason = "generated from proto/access.proto, which documents it"
)]
pub mod access {
    include!(concat!(env!("OUT_DIR"), "/lockstone.access.v1.rs"));
}
