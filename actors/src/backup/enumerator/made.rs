//! Sources that were made for the backup: their place among the entries of the server, and what producers give.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use lockstone_host::walk::WalkEvent;
use lockstone_proto::vault::{Entry, EntryKind};

use super::place::{Place, Source, components};
use super::{Enumerator, Walk};
use crate::backup::messages::{ProducedTask, ToRead, Walked};
use crate::backup::source::Producer;
use crate::flow::Stop;
use crate::progress::add;

/// Only the owner reads what was made: a dump of a database is no less secret than its files.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

impl Enumerator {
    /// While the source `/` is walked, puts in front of its next entry the sources that come before it.
    pub(super) fn put_beside(&self, event: &WalkEvent, place: &mut Place<'_>, walk: &mut Walk) -> Result<(), Stop> {
        let (WalkEvent::Enter { name, .. } | WalkEvent::Entry { name, .. }) = event else {
            return Ok(());
        };
        if place.folders.len() != 1 {
            return Ok(());
        }
        let is_before = |source: &&Source| components(&source.path).next().is_some_and(|first| first < &name[..]);
        let count = place.beside.iter().take_while(is_before).count();
        let (now, later) = place.beside.split_at(count);
        place.beside = later;
        self.implied(Path::new("/"), now, 0, walk)
    }

    /// Sends a producer to the Hasher, and puts its file into the walk.
    pub(super) fn produced(&self, source: &Source, producer: &Arc<dyn Producer>, walk: &mut Walk) -> Result<(), Stop> {
        self.send_batch(walk)?;
        let mut entry = Box::new(self.made_entry(EntryKind::File));
        let name = components(&source.path).last().unwrap_or_default();
        entry.name = Bytes::copy_from_slice(name);
        add(&self.context.job.progress.counters.files_seen, 1);
        walk.kept += 1;
        let slot = walk.next_slot;
        walk.next_slot += 1;
        walk.steps.push(Walked::Pending(slot));
        self.hasher.send(ToRead::Produced(Box::new(ProducedTask {
            path: source.path.clone(),
            entry,
            old: source.old.as_ref().map(|old| old.entry.clone()),
            producer: Arc::clone(producer),
            slot,
        })))
    }

    /// The attributes of what was made: it belongs to the user of this process, and its time is that of the backup.
    pub(super) fn made_entry(&self, kind: EntryKind) -> Entry {
        let job = &self.context.job;
        let (seconds, nanoseconds) = job.started_at();
        let (uid, gid) = lockstone_host::process::user();
        Entry {
            kind: kind.into(),
            mode: if kind == EntryKind::Folder {
                FOLDER_MODE
            } else {
                FILE_MODE
            },
            uid,
            gid,
            user: job.owner_names.user(uid),
            group: job.owner_names.group(gid),
            mtime_s: seconds,
            mtime_ns: nanoseconds,
            ctime_s: seconds,
            ctime_ns: nanoseconds,
            links: 1,
            ..Entry::default()
        }
    }
}
