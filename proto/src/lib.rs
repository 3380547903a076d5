//! The formats that Lockstone writes and sends: the schemas of `proto/*.proto` as types, typed ids, and the limits of
//! vault format 1. Every other crate of the workspace imports this one; this one imports none of them.

pub mod ids;
pub mod job;
pub mod limits;

/// The objects of a domain: packs, segments, trees, log, key slots. `proto/vault.proto` documents each field.
#[allow(
    missing_docs,
    clippy::doc_markdown,
    reason = "generated from proto/vault.proto, which documents it"
)]
pub mod vault {
    include!(concat!(env!("OUT_DIR"), "/lockstone.vault.v1.rs"));
}

/// Credentials and registrations. `proto/access.proto` documents each field.
#[allow(
    missing_docs,
    clippy::doc_markdown,
    reason = "generated from proto/access.proto, which documents it"
)]
pub mod access {
    include!(concat!(env!("OUT_DIR"), "/lockstone.access.v1.rs"));
}
