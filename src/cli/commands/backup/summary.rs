//! What a backup prints when it has ended.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use lockstone_actors::BackupReport;
use lockstone_proto::vault::Consistency;

use crate::cli::output::Output;
use crate::text::point::short;
use crate::text::render;

/// More patterns than this are counted together.
const SHOWN_PATTERNS: usize = 6;

/// What a backup would do.
pub(super) fn show_dry_run(out: &Output, report: &BackupReport, sources: &[PathBuf], full: bool) {
    out.line(format!("Would back up {}", names(sources)));
    out.line(files_line(report, full));
    out.line(format!(
        "  size     {}, of which {} are new or changed",
        render::bytes(report.bytes_scanned),
        render::bytes(report.bytes_to_read)
    ));
    let left_out = left_out(report);
    if !left_out.is_empty() {
        out.line(format!("  left out {}", left_out.join(", ")));
    }
    out.line("Nothing was stored");
}

fn names(sources: &[PathBuf]) -> String {
    let names: Vec<String> = sources
        .iter()
        .map(|source| render::name(source.as_os_str().as_bytes()))
        .collect();
    names.join(", ")
}

pub(super) fn show(out: &Output, report: &BackupReport, sources: &[PathBuf], vault_url: &str, full: bool) {
    let Some(point) = report.point else { return };
    out.line(format!("Backed up {} to {vault_url}", names(sources)));
    out.line(files_line(report, full));
    if report.files_resumed > 0 {
        let resumed = render::counted(report.files_resumed, "file was", "files were");
        out.line(format!(
            "           {resumed} finished by an interrupted run, and not read again"
        ));
    }
    out.line(format!(
        "  size     {}, of which {} were read and {} were new",
        render::bytes(report.bytes_scanned),
        render::bytes(report.bytes_read),
        render::bytes(report.bytes_new)
    ));
    out.line(format!(
        "  stored   {}{}",
        render::bytes(report.bytes_stored),
        ratio(report.bytes_new, report.bytes_stored)
    ));
    let restarts = match report.restarts {
        0 => String::new(),
        n => format!(", with {}", render::counted(u64::from(n), "restart", "restarts")),
    };
    out.line(format!(
        "  time     {}, {}{restarts}",
        render::time_and_rate(report.duration, report.bytes_read),
        if report.consistency == Consistency::Snapshot {
            "from a snapshot"
        } else {
            "from live files"
        },
    ));
    if report.throttled >= Duration::from_secs(1) {
        let held = render::duration(report.throttled);
        out.line(format!("  limit    held requests back for {held} in all"));
    }
    let left_out = left_out(report);
    if !left_out.is_empty() {
        out.line(format!("  left out {}", left_out.join(", ")));
    }
    if report.warnings_total > 0 {
        out.line(format!(
            "  warnings {}, listed above",
            render::count(report.warnings_total)
        ));
    }
    out.line(format!("Recovery point {} ({point})", short(&point)));
}

/// How many files there are. A backup with `--full` compares with no earlier point, so it cannot tell which are new.
fn files_line(report: &BackupReport, full: bool) -> String {
    let files = report.files_new + report.files_changed + report.files_unchanged;
    let files = render::count(files);
    let folders = render::counted(report.dirs, "folder", "folders");
    if full {
        return format!("  files    {files} in {folders}: all read, not compared with an earlier point");
    }
    format!(
        "  files    {files} in {folders}: {} new, {} changed, {} unchanged",
        render::count(report.files_new),
        render::count(report.files_changed),
        render::count(report.files_unchanged)
    )
}

/// What was left out on purpose, each kind with its count.
fn left_out(report: &BackupReport) -> Vec<String> {
    let left_out = &report.left_out;
    let patterns = left_out.patterns.iter().filter(|(_, entries)| *entries > 0);
    let mut parts: Vec<String> = patterns
        .map(|(pattern, entries)| format!("{} by \"{pattern}\"", render::count(*entries)))
        .collect();
    if parts.len() > SHOWN_PATTERNS {
        let entries: u64 = left_out.patterns.iter().map(|(_, entries)| entries).sum();
        let patterns = parts.len();
        parts = vec![format!("{} by {patterns} patterns", render::count(entries))];
    }
    let kinds = [
        (left_out.caches, "cache folder", "cache folders"),
        (left_out.marked, "marked folder", "marked folders"),
        (left_out.too_large, "larger file", "larger files"),
        (left_out.other_file_systems, "other file system", "other file systems"),
        (left_out.kernel_views, "view into the kernel", "views into the kernel"),
        (report.sockets_skipped, "socket", "sockets"),
    ];
    let counted = kinds.into_iter().filter(|(count, ..)| *count > 0);
    parts.extend(counted.map(|(count, one, many)| render::counted(count, one, many)));
    parts
}

/// The size of what was stored, as a percentage of what was new.
fn ratio(new: u64, stored: u64) -> String {
    // Under a MiB the pages of the tree weigh more than the data, so a ratio would mislead.
    if new < 1 << 20 || stored == 0 {
        return String::new();
    }
    #[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
    let percent = 100.0 * stored as f64 / new as f64;
    format!(" ({percent:.0} % of what was new, compressed and encrypted)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_backup_calls_nothing_new() {
        let report = BackupReport {
            files_new: 6,
            dirs: 1,
            ..BackupReport::default()
        };
        let full = files_line(&report, true);
        assert!(
            full.contains("6 in 1 folder: all read") && !full.contains("new"),
            "{full}"
        );
        let other = files_line(&report, false);
        assert!(other.contains("6 new, 0 changed, 0 unchanged"), "{other}");
    }

    #[test]
    fn a_ratio_is_only_given_for_enough_data() {
        assert_eq!(ratio(100, 200), "");
        assert_eq!(
            ratio(4 << 20, 1 << 20),
            " (25 % of what was new, compressed and encrypted)"
        );
    }
}
