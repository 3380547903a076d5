//! How recovery points and their entries are written: the words that `--json` shares, and the cells and lines for
//! people.

use lockstone_proto::ids::PointId;
use lockstone_proto::vault::{Consistency, Entry, EntryKind, ForgetReason, PointStatus, PointSummary};
use lockstone_vault::points::Change;

use super::render;

/// As many digits of an id as people need to name a point.
pub(crate) fn short(id: &PointId) -> String {
    let mut hex = id.hex();
    hex.truncate(8);
    hex
}

pub(crate) fn status_word(status: PointStatus) -> &'static str {
    match status {
        PointStatus::Completed => "Completed",
        PointStatus::CompletedWithWarnings => "CompletedWithWarnings",
        PointStatus::Unspecified => "Unknown",
    }
}

pub(crate) fn consistency_word(consistency: Consistency) -> &'static str {
    match consistency {
        Consistency::Snapshot => "snapshot",
        Consistency::Live => "live",
        Consistency::Unspecified => "unknown",
    }
}

pub(crate) fn entry_kind_word(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Folder => "folder",
        EntryKind::Symlink => "symlink",
        EntryKind::Fifo => "fifo",
        EntryKind::CharDevice => "char-device",
        EntryKind::BlockDevice => "block-device",
        EntryKind::Unspecified => "unknown",
    }
}

pub(crate) fn change_word(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Modified => "modified",
        Change::Metadata => "metadata",
    }
}

/// Why a point was deleted, as `--json` says it. `None` if it was not said.
pub(crate) fn forget_word(reason: ForgetReason) -> Option<&'static str> {
    match reason {
        ForgetReason::ByHand => Some("hand"),
        ForgetReason::ByPolicy => Some("policy"),
        ForgetReason::ProtectionStopped => Some("protection-stopped"),
        ForgetReason::Unspecified => None,
    }
}

/// Why a point was deleted, for people.
pub(crate) fn forget_words(reason: ForgetReason) -> &'static str {
    match reason {
        ForgetReason::ByHand => "by hand",
        ForgetReason::ByPolicy => "by the policy",
        ForgetReason::ProtectionStopped => "protection was stopped",
        ForgetReason::Unspecified => "not known",
    }
}

/// The columns that every table of points begins with.
pub(crate) const HEAD: [&str; 7] = ["POINT", "TIME", "SERVER", "FILES", "SIZE", "STORED", "STATUS"];

/// The columns of [`HEAD`] that are aligned to the right.
pub(crate) const RIGHT: [usize; 3] = [3, 4, 5];

/// A point's cells for the columns of [`HEAD`]. `remarks` follow the status.
pub(crate) fn row(id: &PointId, server: &str, summary: &PointSummary, remarks: &[&str]) -> Vec<String> {
    let mut status = status_word(summary.status()).to_owned();
    for remark in remarks {
        status.push_str(", ");
        status.push_str(remark);
    }
    vec![
        short(id),
        render::local_time(summary.started_s),
        render::name(server.as_bytes()),
        render::count(summary.files),
        render::bytes(summary.bytes),
        render::bytes(summary.stored_bytes),
        status,
    ]
}

/// An entry in the form of `ls -l`.
pub(crate) fn entry_line(path: &[u8], entry: &Entry) -> String {
    let letter = match entry.kind() {
        EntryKind::Folder => 'd',
        EntryKind::Symlink => 'l',
        EntryKind::Fifo => 'p',
        EntryKind::CharDevice => 'c',
        EntryKind::BlockDevice => 'b',
        EntryKind::File | EntryKind::Unspecified => '-',
    };
    let owner = |name: &[u8], id: u32| {
        if name.is_empty() {
            id.to_string()
        } else {
            render::name(name)
        }
    };
    let size = match entry.kind() {
        EntryKind::CharDevice | EntryKind::BlockDevice => format!("{}, {}", entry.rdev_major, entry.rdev_minor),
        _ => render::count(entry.size),
    };
    let target = if entry.kind() == EntryKind::Symlink {
        format!(" -> {}", render::name(&entry.link_target))
    } else {
        String::new()
    };
    format!(
        "{} {:<8} {:<8} {size:>14} {} {}{target}",
        render::mode(letter, entry.mode),
        owner(&entry.user, entry.uid),
        owner(&entry.group, entry.gid),
        render::local_time(entry.mtime_s),
        render::name(path),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_what_ls_shows() {
        let entry = Entry {
            name: "l".into(),
            kind: EntryKind::Symlink as i32,
            mode: 0o777,
            uid: 7,
            link_target: "to\n".into(),
            ..Entry::default()
        };
        let line = entry_line(b"/l", &entry);
        assert!(
            line.starts_with("lrwxrwxrwx 7 ") && line.ends_with("/l -> to\\n"),
            "{line}"
        );
    }

    #[test]
    fn remarks_follow_the_status() {
        let summary = PointSummary {
            status: PointStatus::Completed.into(),
            ..PointSummary::default()
        };
        let cells = row(&PointId([0xab; 16]), "web", &summary, &["snapshot", "deleted"]);
        assert_eq!(cells.len(), HEAD.len());
        assert_eq!(cells[0], "abababab");
        assert_eq!(cells[6], "Completed, snapshot, deleted");
    }
}
