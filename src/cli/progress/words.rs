//! What is said about a job that runs.

use lockstone_actors::ProgressView;
use lockstone_proto::job::JobKind;

use super::rates::{Rates, done_bytes};
use crate::text::render;

/// Whether everything was read or written. Only the way to the vault, or to the disk, is left.
pub(super) fn is_all_done(kind: JobKind, view: &ProgressView) -> bool {
    view.seen_all && done_bytes(kind, view) >= view.bytes_seen
}

/// How far the job is. What matters most comes first, because a narrow terminal cuts off the end.
pub(super) fn how_far(kind: JobKind, view: &ProgressView, rates: &Rates) -> String {
    let done = done_bytes(kind, view);
    let more = if view.seen_all { "" } else { "+" };
    let mut parts = Vec::new();
    if is_all_done(kind, view) {
        parts.push("finishing".to_owned());
    } else if view.seen_all
        && let Some(percent) = (u128::from(done) * 100).checked_div(view.bytes_seen.into())
    {
        parts.push(format!("{percent} %"));
    }
    if let Some(left) = rates.remaining(kind, view) {
        parts.push(format!("{} left", render::about(left)));
    }
    if view.bytes_seen > 0 || !matches!(kind, JobKind::Check | JobKind::Collect) {
        let (done, seen) = (render::bytes(done), render::bytes(view.bytes_seen));
        parts.push(format!("{done} of {seen}{more}"));
    }
    if !is_all_done(kind, view) && rates.per_second() > 0 {
        parts.push(format!("{}/s", render::bytes(rates.per_second())));
    }
    let (done, seen) = (render::count(view.files_done), render::count(view.files_seen));
    if kind == JobKind::Collect {
        parts.push(format!("{} {done} of {seen}", view.phase));
    } else if kind != JobKind::Check {
        parts.push(format!("{done} of {seen}{more} files"));
    } else if view.packs_seen > 0 && view.phase == "data" {
        let (done, seen) = (render::count(view.packs_done), render::count(view.packs_seen));
        parts.push(format!("{done} of {seen} packs"));
    } else {
        parts.push(format!("{done} of {seen}"));
    }
    parts.join(" · ")
}

/// What was found, and what the job waits for; `waits_for` is empty if that is not known.
pub(super) fn found(kind: JobKind, view: &ProgressView, waits_for: &str) -> String {
    let mut parts = match kind {
        JobKind::Backup => vec![
            format!("new {}", render::bytes(view.bytes_new)),
            format!("known {}", render::bytes(view.bytes_known)),
            format!("stored {}", render::bytes(view.bytes_stored)),
        ],
        JobKind::Restore => vec![
            format!("fetched {}", render::bytes(view.bytes_fetched)),
            format!("wrote {}", render::bytes(view.bytes_written)),
        ],
        JobKind::Check | JobKind::Collect | JobKind::Unspecified => Vec::new(),
    };
    if !waits_for.is_empty() {
        parts.push(format!("waiting for {waits_for}"));
    }
    if view.restarts > 0 {
        parts.push(render::counted(view.restarts, "restart", "restarts"));
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const MIB: u64 = 1 << 20;

    /// The rates after `seconds` in which the job did what lies between the two views.
    fn rates(kind: JobKind, from: &ProgressView, to: &ProgressView, seconds: u64) -> Rates {
        let mut rates = Rates::new();
        let now = Instant::now();
        rates.add(now, kind, from);
        rates.add(now + Duration::from_secs(seconds), kind, to);
        rates
    }

    #[test]
    fn a_line_says_how_far_and_what_was_found() {
        let view = ProgressView {
            files_done: 1200,
            files_seen: 3000,
            bytes_done: MIB,
            bytes_seen: 3 * MIB,
            bytes_new: 4096,
            ..ProgressView::default()
        };
        let none = Rates::new();
        assert_eq!(
            how_far(JobKind::Backup, &view, &none),
            "1.00 MiB of 3.00 MiB+ · 1,200 of 3,000+ files"
        );
        assert_eq!(
            found(JobKind::Backup, &view, "the sealer"),
            "new 4.00 KiB · known 0 B · stored 0 B · waiting for the sealer"
        );
    }

    #[test]
    fn a_restore_of_one_large_file_shows_how_far_it_is() {
        let view = |written: u64| ProgressView {
            files_seen: 1,
            bytes_seen: 200 * MIB,
            bytes_written: written,
            bytes_fetched: 10 * MIB,
            seen_all: true,
            ..ProgressView::default()
        };
        let rates = rates(JobKind::Restore, &view(0), &view(96 * MIB), 8);
        assert_eq!(
            how_far(JobKind::Restore, &view(96 * MIB), &rates),
            "48 % · 8 s left · 96.00 MiB of 200.00 MiB · 12.00 MiB/s · 0 of 1 files"
        );
        assert_eq!(
            found(JobKind::Restore, &view(96 * MIB), ""),
            "fetched 10.00 MiB · wrote 96.00 MiB"
        );
    }

    #[test]
    fn a_check_counts_packs() {
        let view = ProgressView {
            phase: "data",
            packs_done: 7,
            packs_seen: 22,
            bytes_done: 140 * MIB,
            bytes_seen: 400 * MIB,
            seen_all: true,
            ..ProgressView::default()
        };
        assert_eq!(
            how_far(JobKind::Check, &view, &Rates::new()),
            "35 % · 140.00 MiB of 400.00 MiB · 7 of 22 packs"
        );
    }

    #[test]
    fn when_all_is_read_nothing_is_said_to_be_left() {
        let view = ProgressView {
            bytes_done: 30 * MIB,
            bytes_seen: 30 * MIB,
            seen_all: true,
            ..ProgressView::default()
        };
        let line = how_far(JobKind::Backup, &view, &rates(JobKind::Backup, &view, &view, 5));
        assert!(
            line.starts_with("finishing · 30.00 MiB of") && !line.contains("left"),
            "{line}"
        );
    }

    #[test]
    fn a_new_generation_does_not_confuse_the_rate() {
        let view = |bytes_done: u64| ProgressView {
            bytes_done,
            ..ProgressView::default()
        };
        assert_eq!(rates(JobKind::Backup, &view(100), &view(10), 1).per_second(), 0);
    }
}
