//! Which points `points list` shows.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use lockstone_proto::vault::PointStatus;
use lockstone_vault::log::Point;
use lockstone_vault::points::{clean_path, tells_about};

use crate::text::units;

/// The filters. A point has to pass all of them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub(super) struct FilterArgs {
    /// Only those with this tag (repeatable: with one of them)
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only those whose label has this text
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Only those whose backup began at this date or later (2027-01-31, or RFC 3339)
    #[arg(long, value_name = "DATE", value_parser = units::moment)]
    since: Option<i64>,
    /// Only those whose backup began before this date
    #[arg(long, value_name = "DATE", value_parser = units::moment)]
    until: Option<i64>,
    /// Only those with a source at this path, above it or below it
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// Only those whose backup ended so
    #[arg(long, value_enum, value_name = "STATUS")]
    status: Option<Status>,
    /// Only those that are held
    #[arg(long)]
    held: bool,
    /// Only those that are deleted, with who deleted them and why
    #[arg(long)]
    pub(super) deleted: bool,
    /// Only the newest so many of them
    #[arg(long, value_name = "N")]
    latest: Option<usize>,
}

/// How a backup ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Status {
    Completed,
    CompletedWithWarnings,
}

impl FilterArgs {
    /// Those of the points, oldest first, that pass.
    pub(super) fn pass<'v>(&self, mut points: Vec<&'v Point>, now: Timestamp) -> Vec<&'v Point> {
        let path = self.path.as_ref().map(|path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            clean_path(path.as_os_str().as_bytes())
        });
        points.retain(|point| self.passes(point, path.as_deref(), now));
        let left_out = points.len() - self.latest.unwrap_or(points.len()).min(points.len());
        points.split_off(left_out)
    }

    fn passes(&self, point: &Point, path: Option<&[u8]>, now: Timestamp) -> bool {
        let summary = &point.summary;
        let status = match summary.status() {
            PointStatus::CompletedWithWarnings => Status::CompletedWithWarnings,
            _ => Status::Completed,
        };
        (self.tag.is_empty() || self.tag.iter().any(|tag| summary.tags.contains(tag)))
            && self.label.as_ref().is_none_or(|text| summary.label.contains(text))
            && self.since.is_none_or(|since| summary.started_s >= since)
            && self.until.is_none_or(|until| summary.started_s < until)
            && path.is_none_or(|path| tells_about(point, path))
            && self.status.is_none_or(|wanted| wanted == status)
            && (!self.held || point.held(now).is_some())
            && (!self.deleted || point.forgotten.is_some())
    }
}
