//! A recovery point as the retention of the policy sees it.

use jiff::Timestamp;
use lockstone_proto::vault::PointSummary;
use lockstone_vault::log::Point;

use crate::policy::{Kept, Made, Tag};

pub(super) fn made(summary: &PointSummary) -> Made {
    let nanoseconds = i32::try_from(summary.started_ns).unwrap_or(0);
    Made {
        // When the backup began.
        at: Timestamp::new(summary.started_s, nanoseconds).unwrap_or_default(),
        tags: summary.tags.iter().filter_map(|tag| Tag::from_name(tag)).collect(),
    }
}

pub(super) fn kept(point: &Point, now: Timestamp) -> Kept {
    kept_of(&point.summary, point.held(now).is_some())
}

/// A point as the retention sees it.
pub(crate) fn kept_of(summary: &PointSummary, held: bool) -> Kept {
    let Made { at, mut tags } = made(summary);
    let retain_until = match summary.expires_s {
        0 => None,
        until => Timestamp::from_second(until).ok(),
    };
    if retain_until.is_some() {
        tags.remove(Tag::OnDemand);
    }
    Kept {
        at,
        tags,
        retain_until,
        held,
    }
}
