//! The state folder (`LOCKSTONE_HOME`) and the files in it.

pub(crate) mod clones;
pub(crate) mod files;
pub(crate) mod folder;
pub(crate) mod host;
pub(crate) mod job_records;
pub(crate) mod lock;
pub(crate) mod machine_key;
pub(crate) mod registration;
pub(crate) mod seen_orders;
pub(crate) mod seen_time;
pub(crate) mod socket;
