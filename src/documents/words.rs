//! Writes enums of the libraries by the words of `text`, for `serialize_with`.

use lockstone_proto::access::Region;
use lockstone_proto::vault::{Consistency, EntryKind, PointStatus};
use lockstone_vault::damage::DamageKind;
use lockstone_vault::points::Change;
use serde::Serializer;

use crate::text::point;

pub(super) fn point_status<S: Serializer>(status: &PointStatus, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(point::status_word(*status))
}

pub(super) fn consistency<S: Serializer>(consistency: &Consistency, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(point::consistency_word(*consistency))
}

pub(super) fn entry_kind<S: Serializer>(kind: &EntryKind, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(point::entry_kind_word(*kind))
}

pub(super) fn change<S: Serializer>(change: &Change, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(point::change_word(*change))
}

pub(super) fn damage_kind<S: Serializer>(kind: &DamageKind, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(kind.name())
}

pub(super) fn region<S: Serializer>(region: &Region, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(match region {
        Region::Secondary => "secondary",
        Region::Primary | Region::Unspecified => "primary",
    })
}
