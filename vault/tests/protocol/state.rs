//! What is at any moment: packs, points, and the machines that work with them. The log itself is not kept. Each rule of
//! the protocol asks only for its sum (which points are there, which packs are listed or condemned), and whether it
//! grew since a collector read it.

/// Chunks of which files are made.
pub(crate) const CHUNKS: usize = 2;
/// How many packs may be there at once. A pack that is deleted makes room for a new one.
pub(crate) const PACKS: usize = 3;
/// How many points may be there at once. A point that is gone makes room for a new one.
pub(crate) const POINTS: usize = 2;
/// Servers that back up at once.
pub(crate) const WRITERS: usize = 2;
/// Servers that collect at once.
pub(crate) const COLLECTORS: usize = 2;

/// A set of small numbers: chunks, packs or points.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Set(u8);

impl Set {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) fn of(n: u8) -> Self {
        Self(1 << n)
    }

    pub(crate) fn below(n: usize) -> Self {
        Self(((1u16 << n) - 1) as u8)
    }

    pub(crate) fn has(self, n: u8) -> bool {
        self.0 & 1 << n != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn first(self) -> Option<u8> {
        (self.0 != 0).then(|| self.0.trailing_zeros() as u8)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..8).filter(move |n| self.has(*n))
    }

    /// Every subset, the empty one first.
    pub(crate) fn subsets(self) -> impl Iterator<Item = Self> {
        (0..=self.0).map(Self).filter(move |some| some.minus(self).is_empty())
    }

    /// The members of which that is true.
    pub(crate) fn filter(self, keep: impl Fn(u8) -> bool) -> Self {
        self.iter()
            .filter(|n| keep(*n))
            .fold(Self::EMPTY, |all, n| all.or(Self::of(n)))
    }

    /// The same set under other names: `to[n]` is the new name of `n`.
    pub(crate) fn renamed(self, to: &[u8]) -> Self {
        self.iter().fold(Self::EMPTY, |all, n| all.or(Self::of(to[n as usize])))
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The object of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Object {
    #[default]
    Unwritten,
    Stored,
    Deleted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Pack {
    pub(crate) object: Object,
    pub(crate) chunks: Set,
    /// Whether a segment lists it that the log names.
    pub(crate) is_listed: bool,
    /// Whether the log condemned it.
    pub(crate) is_condemned: bool,
}

/// What the log says of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Standing {
    #[default]
    Unknown,
    Alive,
    Forgotten,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Point {
    pub(crate) standing: Standing,
    pub(crate) chunks: Set,
}

/// A server that backs up. Without a backup it knows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Backup {
    pub(crate) point: u8,
    pub(crate) wants: Set,
    /// The point from which it took chunks over.
    pub(crate) parents: Set,
    /// The packs in which it found chunks.
    pub(crate) relied: Set,
    /// The chunks that it has to store.
    pub(crate) missing: Set,
    /// The pack that it wrote.
    pub(crate) own: Option<u8>,
}

/// A server that collects. Without a collection it knows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Collection {
    /// The points that its Condemn will name as gone.
    pub(crate) gone: Set,
    /// For each chunk the pack that it marked.
    pub(crate) kept: [Option<u8>; CHUNKS],
    /// Packs in the listing that no segment listed.
    pub(crate) orphans: Set,
    /// Whether it has read the log to its end.
    pub(crate) is_fresh: bool,
    /// The pack with the live chunks of the old ones.
    pub(crate) new: Option<u8>,
    /// The packs that it replaces.
    pub(crate) old: Set,
}

/// A restore of one chunk of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Reader {
    #[default]
    Idle,
    Reads {
        point: u8,
        chunk: u8,
        /// The packs that had it when the log was read.
        places: Set,
    },
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    pub(crate) packs: [Pack; PACKS],
    pub(crate) points: [Point; POINTS],
    pub(crate) backups: [Option<Backup>; WRITERS],
    pub(crate) collections: [Option<Collection>; COLLECTORS],
    pub(crate) reader: Reader,
}

impl State {
    pub(crate) fn pack(&self, n: u8) -> &Pack {
        &self.packs[n as usize]
    }

    pub(crate) fn point(&self, n: u8) -> &Point {
        &self.points[n as usize]
    }

    pub(crate) fn packs_that(&self, keep: impl Fn(&Pack) -> bool) -> Set {
        Set::below(PACKS).filter(|n| keep(self.pack(n)))
    }

    pub(crate) fn points_that(&self, keep: impl Fn(Standing) -> bool) -> Set {
        Set::below(POINTS).filter(|n| keep(self.point(n).standing))
    }

    pub(crate) fn condemned(&self) -> Set {
        self.packs_that(|pack| pack.is_condemned)
    }

    pub(crate) fn forgotten(&self) -> Set {
        self.points_that(|standing| standing == Standing::Forgotten)
    }

    /// The packs in which a server that has read the log looks for a chunk to rely on.
    pub(crate) fn good(&self, chunk: u8) -> Set {
        self.packs_that(|pack| pack.is_listed && !pack.is_condemned && pack.chunks.has(chunk))
    }

    /// The packs in which a restore that has read the log looks for a chunk.
    pub(crate) fn places(&self, chunk: u8) -> Set {
        self.packs_that(|pack| pack.is_listed && pack.chunks.has(chunk))
    }

    pub(crate) fn is_stored(&self, packs: Set) -> bool {
        packs.iter().all(|n| self.pack(n).object == Object::Stored)
    }

    /// Whether a further pack may be written.
    pub(crate) fn has_room(&self, packs: usize) -> bool {
        self.packs
            .iter()
            .filter(|pack| pack.object != Object::Unwritten)
            .count()
            < packs
    }

    /// Writes a pack under a new name; `None` if there are as many as may be.
    pub(crate) fn write(&mut self, chunks: Set) -> Option<u8> {
        let free = self.packs_that(|pack| pack.object == Object::Unwritten).first()?;
        self.packs[free as usize] = Pack {
            object: Object::Stored,
            chunks,
            ..Pack::default()
        };
        Some(free)
    }

    pub(crate) fn list(&mut self, pack: Option<u8>) {
        if let Some(n) = pack {
            self.packs[n as usize].is_listed = true;
        }
    }

    pub(crate) fn condemn(&mut self, packs: Set) {
        for n in packs.iter() {
            self.packs[n as usize].is_condemned = true;
        }
    }

    pub(crate) fn stand(&mut self, points: Set, standing: Standing) {
        for n in points.iter() {
            self.points[n as usize].standing = standing;
        }
    }

    /// The log has grown. `by`: the collector that wrote the entry and knows that.
    pub(crate) fn grow(&mut self, by: Option<usize>) {
        for (n, collection) in self.collections.iter_mut().enumerate() {
            if let Some(collection) = collection.as_mut().filter(|_| by != Some(n)) {
                collection.is_fresh = false;
            }
        }
    }

    /// Whether each chunk of the points that are not gone lies in a pack that is there and that nobody condemned.
    pub(crate) fn is_whole(&self) -> bool {
        let mut needed = self
            .points
            .iter()
            .filter(|point| matches!(point.standing, Standing::Alive | Standing::Forgotten));
        needed.all(|point| {
            let mut chunks = point.chunks.iter();
            chunks.all(|chunk| self.good(chunk).iter().any(|n| self.pack(n).object == Object::Stored))
        })
    }
}
