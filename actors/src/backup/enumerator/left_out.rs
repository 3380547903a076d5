//! What the walk leaves out: counted, and told if the user may not expect it.

use std::os::unix::ffi::OsStrExt;

use lockstone_host::walk::SkipReason;

use super::Enumerator;
use super::place::Place;
use crate::progress::add;

impl Enumerator {
    pub(super) fn skipped(&self, path: Vec<u8>, what: SkipReason, place: &mut Place<'_>) {
        let job = &self.context.job;
        let is_source = path == place.source.path;
        place.tally.is_left_out |= is_source;
        match what {
            SkipReason::Socket => {
                add(&job.progress.counters.sockets, 1);
                if is_source {
                    job.warnings.add(path, "is a socket: there is nothing in it to back up");
                }
            }
            SkipReason::PseudoFileSystem => {
                add(&job.progress.counters.kernel_views, 1);
                if is_source {
                    job.warnings
                        .add(path, "is a view into the kernel: nothing in it is backed up");
                }
            }
            // The rules count what each pattern leaves out.
            SkipReason::Excluded | SkipReason::Snapshots => {}
            SkipReason::OtherFileSystem => {
                add(&job.progress.counters.other_file_systems, 1);
                if let Some(why) = place.source.asked.rules.boundaries.complaint(&path) {
                    job.warnings.add(path, why);
                }
            }
            SkipReason::CacheDir => add(&job.progress.counters.caches, 1),
            SkipReason::Marked => add(&job.progress.counters.marked, 1),
            SkipReason::TooLarge => {
                add(&job.progress.counters.too_large, 1);
                if is_source {
                    job.warnings
                        .add(path, "is larger than `--exclude-larger-than` allows, and is left out");
                }
            }
            SkipReason::Unfinished => {
                let message = "left out: an unfinished file of a restore; the next restore into its folder removes it";
                job.warnings.add(path, message);
            }
            SkipReason::Forbidden => {
                // Every backup of `/` meets the agent's own state folder. This needs no warning.
                let own = job.request.state_dir.as_os_str().as_bytes();
                if path
                    .strip_prefix(own)
                    .is_none_or(|rest| !rest.is_empty() && !rest.starts_with(b"/"))
                {
                    job.warnings.add(path, "left out: it is a vault, or Lockstone's own");
                }
            }
        }
    }
}
