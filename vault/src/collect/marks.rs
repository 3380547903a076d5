//! Which chunks are needed: one bit for each chunk place that the index knows. 12.5 MB for 100 million chunks.

use crate::index::{ChunkPlace, PackInfo};

/// The marks of one pack.
#[derive(Debug, Default, Clone)]
pub(super) struct PackMarks {
    /// How many chunks are before each frame, and in all frames. Empty if the pack was not met.
    starts: Vec<u32>,
    /// One bit for each chunk, in the order of the pack's directory.
    bits: Vec<u64>,
    /// The length of the chunks that are needed, bytes.
    live: u64,
}

impl PackMarks {
    fn new(pack: &PackInfo) -> Self {
        let starts = pack.frames.iter().map(|frame| frame.first_chunk);
        Self {
            starts: starts.chain([pack.chunks()]).collect(),
            bits: vec![0; (pack.chunks() as usize).div_ceil(64)],
            live: 0,
        }
    }

    /// Whether that chunk of that frame is needed.
    pub(super) fn has(&self, frame: u32, ordinal: u32) -> bool {
        self.position(frame, ordinal)
            .is_some_and(|(word, bit)| self.bits[word] & bit != 0)
    }

    /// Whether every chunk that is needed by these marks is needed by the others, too.
    pub(super) fn is_within(&self, others: &Self) -> bool {
        let mut words = self.bits.iter().enumerate();
        words.all(|(at, word)| word & !others.bits.get(at).copied().unwrap_or_default() == 0)
    }

    /// The word and the bit of a chunk; `None` if the pack has no such chunk.
    fn position(&self, frame: u32, ordinal: u32) -> Option<(usize, u64)> {
        let (start, end) = (*self.starts.get(frame as usize)?, *self.starts.get(frame as usize + 1)?);
        let position = start.checked_add(ordinal).filter(|position| *position < end)?;
        Some((position as usize / 64, 1 << (position % 64)))
    }
}

/// The marks of all packs, by their numbers in the index. Marks are only added.
#[derive(Debug, Default)]
pub(super) struct Marks {
    packs: Vec<PackMarks>,
}

impl Marks {
    /// Whether that pack was met.
    pub(super) fn knows(&self, pack: u32) -> bool {
        self.of(pack).is_some()
    }

    /// Makes room for the marks of a pack.
    pub(super) fn meet(&mut self, number: u32, pack: &PackInfo) {
        let at = number as usize;
        if self.packs.len() <= at {
            self.packs.resize_with(at + 1, PackMarks::default);
        }
        self.packs[at] = PackMarks::new(pack);
    }

    /// Marks the chunk at a place. False if it was marked before, `None` if its pack has no such place or was not met.
    pub(super) fn mark(&mut self, place: &ChunkPlace) -> Option<bool> {
        let marks = self.packs.get_mut(place.pack as usize)?;
        let (word, bit) = marks.position(place.frame, place.ordinal)?;
        let is_new = marks.bits[word] & bit == 0;
        if is_new {
            marks.bits[word] |= bit;
            marks.live += u64::from(place.len);
        }
        Some(is_new)
    }

    /// The marks of a pack, if it was met.
    pub(super) fn of(&self, pack: u32) -> Option<&PackMarks> {
        self.packs.get(pack as usize).filter(|marks| !marks.starts.is_empty())
    }

    /// The packs of which something is needed.
    pub(super) fn needed(&self) -> impl Iterator<Item = u32> + '_ {
        (0_u32..)
            .zip(&self.packs)
            .filter(|(_, pack)| pack.live > 0)
            .map(|(number, _)| number)
    }

    /// The length of the chunks of a pack that are needed, bytes.
    pub(super) fn live(&self, pack: u32) -> u64 {
        self.of(pack).map_or(0, |marks| marks.live)
    }
}

#[cfg(test)]
mod tests {
    use lockstone_proto::ids::PackId;
    use lockstone_proto::vault::{ChunkKind, Codec};

    use super::*;
    use crate::index::FramePlace;

    fn pack() -> PackInfo {
        let frame = |first_chunk, chunks| FramePlace {
            offset: 80,
            sealed_len: 20,
            raw_len: 100,
            codec: Codec::Zstd,
            first_chunk,
            chunks,
        };
        PackInfo {
            id: PackId([1; 32]),
            kind: ChunkKind::Data,
            len: 500,
            frames: vec![frame(0, 60), frame(60, 70)],
        }
    }

    fn place(frame: u32, ordinal: u32) -> ChunkPlace {
        ChunkPlace {
            pack: 3,
            frame,
            ordinal,
            offset: 0,
            len: 10,
        }
    }

    #[test]
    fn a_chunk_is_marked_once() {
        let (mut marks, pack) = (Marks::default(), pack());
        assert_eq!((pack.chunks(), marks.live(3), marks.mark(&place(0, 0))), (130, 0, None));
        marks.meet(3, &pack);
        assert_eq!(
            (marks.mark(&place(0, 59)), marks.mark(&place(1, 69))),
            (Some(true), Some(true))
        );
        assert_eq!(marks.mark(&place(1, 69)), Some(false));
        for (frame, ordinal) in [(1, 70), (2, 0), (0, u32::MAX)] {
            assert_eq!(marks.mark(&place(frame, ordinal)), None);
        }
        let of = marks.of(3).cloned().unwrap_or_default();
        assert!(of.has(0, 59) && of.has(1, 69) && !of.has(1, 0) && !of.has(0, 60) && !of.has(9, 9));
        assert_eq!(
            (marks.live(3), marks.knows(3), marks.knows(2), marks.knows(9)),
            (20, true, false, false)
        );
    }

    #[test]
    fn marks_that_were_added_are_seen() {
        let (mut marks, pack) = (Marks::default(), pack());
        marks.meet(3, &pack);
        marks.mark(&place(0, 3));
        let before = marks.of(3).cloned().unwrap_or_default();
        assert!(before.is_within(&before) && PackMarks::default().is_within(&before));
        marks.mark(&place(1, 8));
        let after = marks.of(3).cloned().unwrap_or_default();
        assert!(before.is_within(&after) && !after.is_within(&before) && !after.is_within(&PackMarks::default()));
    }
}
