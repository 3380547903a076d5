//! What a restore prints when it has ended.

use lockstone_actors::{RestoreReport, RestoreTo};

use crate::agent::jobs::restore::place;
use crate::cli::output::Output;
use crate::text::render;

/// At most this many names of copies are printed.
const SHOWN_COPIES: usize = 10;

pub(super) fn show(out: &Output, report: &RestoreReport, to: &RestoreTo, dry_run: bool, verified: bool) {
    let place = place(to);
    if dry_run {
        for path in &report.would {
            out.line(render::name(path));
        }
        for path in &report.deleted_paths {
            out.line(format!("delete {}", render::name(path)));
        }
        if report.deleted > 0 {
            let what = render::counted(report.deleted, "file or folder", "files and folders");
            out.line(format!("Would delete {what} that the recovery point does not have"));
        }
        out.line(format!(
            "Would restore {} ({}) to {place}; nothing was written",
            render::counted(report.files, "file", "files"),
            render::bytes(report.bytes)
        ));
        return;
    }
    out.line(format!(
        "Restored {} in {} ({}) to {place}",
        render::counted(report.files, "file", "files"),
        render::counted(report.folders, "folder", "folders"),
        render::bytes(report.bytes)
    ));
    out.line(format!(
        "  fetched  {}, wrote {}",
        render::bytes(report.bytes_fetched),
        render::bytes(report.bytes_written)
    ));
    for (n, what) in [
        (report.unchanged, "were there already, as they should be"),
        (report.skipped, "left as they were"),
        (report.deleted, "deleted, which the recovery point does not have"),
        (report.copies, "put beside files that differ:"),
    ] {
        if n > 0 {
            out.line(format!("  files    {} {what}", render::count(n)));
        }
    }
    for copy in report.copied.iter().take(SHOWN_COPIES) {
        out.line(format!("           {}", render::name(copy)));
    }
    let more = report.copied.len().saturating_sub(SHOWN_COPIES);
    if more > 0 {
        out.line(format!(
            "           and {} more (see --json)",
            render::count(more as u64)
        ));
    }
    if verified {
        out.line("  verified what was written, by reading it back");
    }
    if report.warnings_total > 0 {
        out.line(format!(
            "  warnings {}, listed above",
            render::count(report.warnings_total)
        ));
    }
    out.line(format!(
        "  time     {}",
        render::time_and_rate(report.duration, report.bytes_written)
    ));
}
