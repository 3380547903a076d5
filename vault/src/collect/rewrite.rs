//! The steps of a collection that rewrite mostly dead packs.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use lockstone_proto::ids::PackId;
use lockstone_proto::vault::{ChunkKind, RepackBody};

use super::builder::{Builder, ids_of};
use super::marks::PackMarks;
use super::plan::Plan;
use super::repack::move_pack;
use super::run::{Run, bytes_of};
use super::sweep::Found;
use crate::error::VaultError;
use crate::log::Body;

/// An entry Repack is written after so many bytes of new packs, so that little is moved again after a crash.
const REPACK_BYTES: u64 = 256 << 20;
/// Or after so many old packs.
const REPACK_PACKS: usize = 4096;

/// A pack whose chunks were moved: what was needed of it then.
struct Moved {
    number: u32,
    found: Found,
    marks: PackMarks,
}

impl Run<'_> {
    /// Moves what is needed out of mostly dead packs.
    pub(super) async fn repack(&mut self, plan: &Plan) -> Result<(), VaultError> {
        let total = plan.repack.len() as u64;
        let mut done = 0;
        let domain = Arc::clone(self.domain);
        for kind in [ChunkKind::Data, ChunkKind::Tree] {
            let mut builder = Builder::new(&domain, kind, self.options.pack_target, self.options.zstd_level)?;
            let mut batch: Vec<Moved> = Vec::new();
            for number in &plan.repack {
                let pack = domain.pack(*number)?;
                if pack.kind != kind || self.is_cancelled() {
                    continue;
                }
                self.progress("repack", done, total);
                done += 1;
                let Some(marks) = self.walker.marks.of(*number).cloned() else {
                    continue;
                };
                match move_pack(&domain, &pack, &marks, &mut builder).await {
                    Ok(()) => batch.push(Moved {
                        number: *number,
                        found: Found {
                            id: pack.id,
                            len: pack.len,
                        },
                        marks,
                    }),
                    Err(error) if error.is_damage() => {
                        domain.index().distrust(&[(pack.id, error.to_string())])?;
                        self.warn(format!("a pack stays as it is, because it is damaged: {error}"));
                    }
                    Err(error) => return Err(error),
                }
                if builder.stored_bytes >= REPACK_BYTES || batch.len() >= REPACK_PACKS {
                    self.replace(&mut builder, &mut batch).await?;
                }
            }
            self.replace(&mut builder, &mut batch).await?;
        }
        Ok(())
    }

    /// Writes the entry that names the new packs, and the old ones that they replace.
    async fn replace(&mut self, builder: &mut Builder<'_>, batch: &mut Vec<Moved>) -> Result<(), VaultError> {
        builder.flush().await?;
        let packs = builder.take_stored();
        if packs.is_empty() {
            batch.clear();
            return Ok(());
        }
        let (segments, _) = self.domain.write_segments(&packs).await?;
        loop {
            // Another collection may have condemned the new packs: nothing listed them so far. The old ones stay.
            let new: Vec<PackId> = ids_of(&packs).collect();
            if self.domain.index().has_condemned(&HashSet::new(), &new) {
                batch.clear();
                return Ok(());
            }
            // Or an old one. And others may have come to need more of one than was moved.
            batch.retain(|moved| {
                let marks = self.walker.marks.of(moved.number);
                !self.domain.index().is_condemned(&moved.found.id)
                    && marks.is_none_or(|now| now.is_within(&moved.marks))
            });
            if batch.is_empty() {
                let segments = segments.clone();
                self.head = self.domain.append_segments(segments, &packs, self.options.now).await?;
                break;
            }
            let old: Vec<Found> = batch.iter().map(|moved| moved.found).collect();
            let body = Body::Repack(RepackBody {
                old_pack_ids: bytes_of(&old),
                segment_ids: segments
                    .iter()
                    .map(|id| Bytes::copy_from_slice(id.as_bytes()))
                    .collect(),
                delete_after_s: self.delete_after_s(),
            });
            if self.append(&body, &packs).await? {
                self.report.packs_repacked += old.len() as u64;
                self.condemned.extend(old);
                break;
            }
            self.mark_new().await?;
            if self.is_cancelled() {
                // Not everything is marked, so the entry cannot be written any more.
                batch.clear();
                return Ok(());
            }
        }
        self.report.packs_written += packs.len() as u64;
        self.report.bytes_written += packs.iter().map(|pack| pack.len).sum::<u64>();
        batch.clear();
        Ok(())
    }
}
