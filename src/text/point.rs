//! How recovery points are written for people.

use lockstone_proto::ids::PointId;

/// As many digits of an id as people need to name a point.
pub(crate) fn short(id: &PointId) -> String {
    let mut hex = id.hex();
    hex.truncate(8);
    hex
}
