//! The document of the `protection` commands.

use lockstone_proto::ids::PointId;
use serde::Serialize;

/// The answer of `protection stop`, `resume` and `show`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProtectionDocument {
    /// `active`, `stopped-keep`, `stopped-keep-for-ever` or `stopped-deleted`.
    pub(crate) protection: &'static str,
    /// Points that were deleted now.
    pub(crate) deleted: Vec<PointId>,
    /// Points that were brought back now.
    pub(crate) undeleted: Vec<PointId>,
    /// Points that were not deleted, because they are held.
    pub(crate) held: Vec<PointId>,
}
