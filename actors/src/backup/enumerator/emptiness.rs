//! A source without files is hardly what the user wants: a disk that is not mounted, a folder that was emptied, a
//! pattern that leaves everything out. The recovery point then has a warning, so that it does not pass for a good one.

use jiff::Timestamp;
use lockstone_proto::vault::EntryKind;

use super::Enumerator;
use super::place::Place;
use super::previous_point::{OldPoint, has_files, resolve};
use crate::flow::{Fault, Stop};

/// The warning about a folder that was a mount point.
pub(super) const NOT_MOUNTED: &str = "was a file system of its own in the last recovery point, and is not mounted now";

/// The warning about a recovery point whose sources were all left out.
pub(super) const ALL_LEFT_OUT: &str = "no file is in this recovery point: the exclude patterns left out everything";

/// How many earlier recovery points are searched for files of a source that has none now.
const SEARCHED: usize = 64;

impl Enumerator {
    /// Warns if there is no file in the source that was just walked, although there are files that could be. Fails if
    /// the source is or was on temporary storage: what was in memory and is gone must not pass for a backup.
    pub(super) fn judge(&self, place: &Place<'_>) -> Result<(), Stop> {
        let job = &self.context.job;
        let tally = &place.tally;
        if tally.kept > 0 || tally.problems > 0 || tally.is_left_out {
            return Ok(());
        }
        let path = &place.source.path;
        if tally.left_out > 0 {
            job.warnings.add(
                path.clone(),
                "no file of it is in this recovery point: all were left out",
            );
            return Ok(());
        }
        let view = job.domain.view();
        let had_files = self.points_with(path, &view).take(SEARCHED).find(|point| {
            resolve(job, &OldPoint::of(point), path)
                .is_some_and(|entry| entry.kind() != EntryKind::Folder || has_files(job, &entry))
        });
        if let Some(point) = had_files {
            let when = Timestamp::from_second(point.summary.started_s).unwrap_or_default();
            if place.source.asked.temporary || point.body.temporary.iter().any(|source| source == path) {
                let message = format!(
                    "{}: temporary storage was emptied: it has no files now, and had some in the recovery point of {when}",
                    String::from_utf8_lossy(path)
                );
                let hint = "fill it again, or restore it from that recovery point; if it is to be empty, leave it out \
                            of the backup";
                return Err(Fault::permanent(message).hint(hint).into());
            }
            job.warnings.add(
                path.clone(),
                format!("has no files now, and had some in the recovery point of {when}"),
            );
        }
        Ok(())
    }
}
