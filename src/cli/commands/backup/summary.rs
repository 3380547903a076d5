//! What a backup prints when it has ended.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use lockstone_actors::BackupReport;
use lockstone_proto::vault::Consistency;

use crate::cli::output::Output;
use crate::text::point::short;
use crate::text::render;

pub(super) fn show(out: &Output, report: &BackupReport, sources: &[PathBuf], vault_url: &str) {
    let Some(point) = report.point else { return };
    let what: Vec<String> = sources
        .iter()
        .map(|source| render::name(source.as_os_str().as_bytes()))
        .collect();
    out.line(format!("Backed up {} to {vault_url}", what.join(", ")));
    let files = report.files_new + report.files_changed + report.files_unchanged;
    out.line(format!(
        "  files    {} in {}: {} new, {} changed, {} unchanged",
        render::count(files),
        render::counted(report.dirs, "folder", "folders"),
        render::count(report.files_new),
        render::count(report.files_changed),
        render::count(report.files_unchanged)
    ));
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
        "  time     {} ({}), {}{restarts}",
        render::duration(report.duration),
        render::rate(report.bytes_scanned, report.duration),
        if report.consistency == Consistency::Snapshot {
            "from a snapshot"
        } else {
            "from live files"
        },
    ));
    if report.sockets_skipped > 0 {
        out.line(format!(
            "  skipped  {}",
            render::counted(report.sockets_skipped, "socket", "sockets")
        ));
    }
    if report.warnings_total > 0 {
        out.line(format!(
            "  look at  {}, above",
            render::counted(report.warnings_total, "warning", "warnings")
        ));
    }
    out.line(format!("Recovery point {} ({point})", short(&point)));
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
    fn a_ratio_is_only_given_for_enough_data() {
        assert_eq!(ratio(100, 200), "");
        assert_eq!(
            ratio(4 << 20, 1 << 20),
            " (25 % of what was new, compressed and encrypted)"
        );
    }
}
