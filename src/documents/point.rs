//! The documents of recovery points: lists of them, their entries, and how two of them differ.

use jiff::Timestamp;
use lockstone_proto::ids::{PointId, ServerId};
use lockstone_proto::vault::{Consistency, Entry, EntryKind, PointStatus, PointSummary};
use lockstone_vault::log::Point;
use lockstone_vault::points::{Change, Version};
use serde::Serialize;

use super::common::{PathDocument, exact, exact_of, lossy};
use super::vault::DamageDocument;
use super::words;
use crate::policy::{Expiry, Tag};
use crate::text::point::forget_word;
use crate::text::render;

/// What everyone who may list a point sees of it, the operator too. Sizes are in bytes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PointSummaryDocument {
    id: PointId,
    /// When the backup began.
    time: String,
    server: String,
    files: u64,
    folders: u64,
    bytes: u64,
    stored_bytes: u64,
    #[serde(serialize_with = "words::point_status")]
    status: PointStatus,
    #[serde(serialize_with = "words::consistency")]
    consistency: Consistency,
    tags: Vec<String>,
    label: String,
    /// When the point's time is over: by its own date, or for whom the policy is known, by the policy. Null if it is
    /// kept until it is deleted, or until a newer one is there.
    expires: Option<String>,
    /// When the point was deleted; null if it was not.
    deleted: Option<String>,
    /// Whether it cannot be deleted.
    held: bool,
    /// Whether it lost files that no repair could heal. The others can be restored.
    lost_files: bool,
}

impl PointSummaryDocument {
    /// `forgotten` is when the point was deleted, in seconds since the epoch.
    pub(crate) fn new(id: PointId, server: &str, summary: &PointSummary, forgotten: Option<i64>, held: bool) -> Self {
        PointSummaryDocument {
            id,
            time: render::utc_time(summary.started_s, summary.started_ns),
            server: server.to_owned(),
            files: summary.files,
            folders: summary.folders,
            bytes: summary.bytes,
            stored_bytes: summary.stored_bytes,
            status: summary.status(),
            consistency: summary.consistency(),
            tags: summary.tags.clone(),
            label: summary.label.clone(),
            expires: render::utc_if_set(summary.expires_s),
            deleted: forgotten.map(|at| render::utc_time(at, 0)),
            held,
            lost_files: false,
        }
    }

    /// The same of a point that lost files, or did not.
    pub(crate) fn lossy(self, lost_files: bool) -> Self {
        PointSummaryDocument { lost_files, ..self }
    }
}

/// A point, as a server of its domain sees it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PointDocument {
    #[serde(flatten)]
    summary: PointSummaryDocument,
    sources: Vec<String>,
    /// For each source its exact bytes in base64, or null if it is UTF-8; absent if all are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources_bytes: Vec<Option<String>>,
    /// Those of the sources that were made for the backup: what programs printed, the system state. Absent if none was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    made: Vec<String>,
    /// Those of the sources that were on temporary storage; absent if none was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    temporary: Vec<String>,
    /// Volumes that were backed up although they are not eligible; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_volumes: Vec<String>,
    /// How many warnings its backup had.
    warnings: u64,
    /// Why it is kept until `expires`: the tag that lasts longest, `held`, `date` for a date of its own, `newest` if it
    /// lives until a newer one is there, or `protection-stopped` if it is kept for ever. Null if it is not known here.
    kept: Option<String>,
    /// Who holds it and why; null if it is not held.
    hold: Option<HoldDocument>,
    /// By whom and why it was deleted; null if it was not.
    deletion: Option<DeletionDocument>,
}

/// A hold on a point.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HoldDocument {
    reason: String,
    /// Null: until it is released.
    until: Option<String>,
    since: String,
    /// The server that holds it.
    server: String,
}

/// Why a point was deleted.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DeletionDocument {
    time: String,
    /// The server that deleted it.
    server: String,
    /// `hand`, `policy`, or `protection-stopped`; null if it was not said.
    reason: Option<&'static str>,
}

impl PointDocument {
    /// `name_of`: the names of servers. `expiry`: what the policy says about the point, and the tag by which, if it is
    /// this server's and there is a policy.
    pub(crate) fn new(
        point: &Point,
        name_of: impl Fn(ServerId) -> String,
        expiry: Option<(Expiry, Option<Tag>)>,
        now: Timestamp,
        lost_files: bool,
    ) -> Self {
        let held = point.held(now);
        let server = name_of(point.server);
        let mut summary = PointSummaryDocument::new(point.id, &server, &point.summary, point.forgotten, held.is_some());
        summary.lost_files = lost_files;
        let mut kept = None;
        if let Some((expiry, tag)) = expiry.filter(|_| point.forgotten.is_none()) {
            summary.expires = match expiry {
                Expiry::At(end) => Some(end.to_string()),
                Expiry::Newer | Expiry::Held => None,
            };
            kept = Some(match (expiry, tag) {
                (Expiry::Held, _) if held.is_some() => "held".to_owned(),
                (Expiry::Held, _) => "protection-stopped".to_owned(),
                (Expiry::Newer, _) => "newest".to_owned(),
                (Expiry::At(_), Some(tag)) => tag.to_string(),
                (Expiry::At(_), None) => "date".to_owned(),
            });
        }
        PointDocument {
            summary,
            sources: point.body.sources.iter().map(|source| lossy(source)).collect(),
            sources_bytes: exact_of(point.body.sources.iter().map(|source| &source[..])),
            made: point.body.made.iter().map(|path| lossy(path)).collect(),
            temporary: point.body.temporary.iter().map(|path| lossy(path)).collect(),
            allowed_volumes: point.body.allowed_volumes.iter().map(|path| lossy(path)).collect(),
            warnings: point.body.warnings,
            kept,
            hold: held.map(|hold| HoldDocument {
                reason: hold.reason.clone(),
                until: render::utc_if_set(hold.until_s),
                since: render::utc_time(hold.since_s, 0),
                server: name_of(hold.server),
            }),
            deletion: point
                .forgotten
                .zip(point.removal)
                .map(|(at, removal)| DeletionDocument {
                    time: render::utc_time(at, 0),
                    server: name_of(removal.server),
                    reason: forget_word(removal.reason),
                }),
        }
    }
}

/// The answer of `points list`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PointsDocument {
    pub(crate) points: Vec<PointDocument>,
}

/// The answer of `vault points`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OperatorPointsDocument {
    pub(crate) points: Vec<PointSummaryDocument>,
    pub(crate) damaged: Vec<DamageDocument>,
}

/// The answer of `points delete`, `undelete`, `hold` and `release`: every point that was named, once.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChangedPointsDocument {
    Deleted(Vec<PointId>),
    Undeleted(Vec<PointId>),
    Held(Vec<PointId>),
    Released(Vec<PointId>),
}

/// A file or folder in a point.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EntryDocument {
    #[serde(flatten)]
    path: PathDocument,
    #[serde(rename = "type", serialize_with = "words::entry_kind")]
    kind: EntryKind,
    /// In bytes.
    size: u64,
    mode: u32,
    mtime: String,
    uid: u32,
    gid: u32,
    user: String,
    group: String,
    /// What a symlink leads to; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// The exact bytes of `target` in base64, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_bytes: Option<String>,
    /// How many names the file has; absent if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<u64>,
    /// The names of the extended attributes; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    xattrs: Vec<String>,
}

impl EntryDocument {
    pub(crate) fn new(path: &[u8], entry: &Entry) -> Self {
        EntryDocument {
            path: path.into(),
            kind: entry.kind(),
            size: entry.size,
            mode: entry.mode,
            mtime: render::utc_time(entry.mtime_s, entry.mtime_ns),
            uid: entry.uid,
            gid: entry.gid,
            user: lossy(&entry.user),
            group: lossy(&entry.group),
            target: (!entry.link_target.is_empty()).then(|| lossy(&entry.link_target)),
            target_bytes: exact(&entry.link_target),
            links: (entry.links > 1).then_some(entry.links),
            xattrs: entry.xattrs.iter().map(|xattr| lossy(&xattr.name)).collect(),
        }
    }
}

/// The members of `points ls` beside its list of entries.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EntriesEnd {
    pub(crate) point: PointId,
}

/// An entry that `points find` found, and the point it is in.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MatchDocument {
    #[serde(flatten)]
    pub(crate) entry: EntryDocument,
    pub(crate) point: PointId,
}

/// A difference between two points.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ChangeDocument {
    #[serde(flatten)]
    path: PathDocument,
    #[serde(serialize_with = "words::change")]
    change: Change,
    #[serde(rename = "type", serialize_with = "words::entry_kind")]
    kind: EntryKind,
}

impl ChangeDocument {
    pub(crate) fn new(path: &[u8], change: Change, kind: EntryKind) -> Self {
        ChangeDocument {
            path: path.into(),
            change,
            kind,
        }
    }
}

/// A version of a path.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VersionDocument {
    /// The first point that has it.
    point: PointId,
    /// When that point's backup began.
    time: String,
    #[serde(serialize_with = "words::change")]
    change: Change,
    #[serde(rename = "type", serialize_with = "words::entry_kind")]
    kind: EntryKind,
    /// In bytes; null if the path was removed.
    size: Option<u64>,
    /// Null if the path was removed.
    mtime: Option<String>,
}

impl VersionDocument {
    pub(crate) fn new(point: &Point, version: &Version) -> Self {
        let entry = (version.change != Change::Removed).then_some(&version.entry);
        VersionDocument {
            point: point.id,
            time: render::utc_time(point.summary.started_s, point.summary.started_ns),
            change: version.change,
            kind: version.entry.kind(),
            size: entry.map(|entry| entry.size),
            mtime: entry.map(|entry| render::utc_time(entry.mtime_s, entry.mtime_ns)),
        }
    }
}

/// No members beside a list.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NothingMore {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_apply_is_null_or_absent() {
        let summary = PointSummary {
            status: PointStatus::CompletedWithWarnings.into(),
            consistency: Consistency::Live.into(),
            files: 2,
            ..PointSummary::default()
        };
        let document = json!(PointSummaryDocument::new(
            PointId([1; 16]),
            "web",
            &summary,
            None,
            false
        ));
        assert_eq!(
            document,
            json!({
                "id": "01".repeat(16), "time": "1970-01-01T00:00:00Z", "server": "web", "files": 2, "folders": 0,
                "bytes": 0, "stored_bytes": 0, "status": "CompletedWithWarnings", "consistency": "live", "tags": [],
                "label": "", "expires": null, "deleted": null, "held": false, "lost_files": false,
            })
        );
        let entry = Entry {
            kind: EntryKind::CharDevice.into(),
            links: 1,
            ..Entry::default()
        };
        let document = json!(EntryDocument::new(b"/dev/a", &entry));
        assert_eq!(
            document,
            json!({
                "path": "/dev/a", "type": "char-device", "size": 0, "mode": 0, "mtime": "1970-01-01T00:00:00Z",
                "uid": 0, "gid": 0, "user": "", "group": "",
            })
        );
    }

    #[test]
    fn what_applies_is_there() {
        let entry = Entry {
            kind: EntryKind::Symlink.into(),
            links: 2,
            link_target: "to".into(),
            ..Entry::default()
        };
        let document = json!(MatchDocument {
            entry: EntryDocument::new(b"/l\xff", &entry),
            point: PointId([2; 16]),
        });
        assert_eq!((&document["target"], &document["links"]), (&json!("to"), &json!(2)));
        assert_eq!(document["path_bytes"], "L2z/");
        assert_eq!(document["point"], "02".repeat(16));
        let changed = ChangedPointsDocument::Undeleted(vec![PointId([2; 16])]);
        assert_eq!(json!(changed), json!({ "undeleted": ["02".repeat(16)] }));
        let change = ChangeDocument::new(b"/a", Change::Metadata, EntryKind::Folder);
        assert_eq!(
            json!(change),
            json!({ "path": "/a", "change": "metadata", "type": "folder" })
        );
    }
}
