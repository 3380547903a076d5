//! The steps of the protocol: which are possible, and what each does.
//!
//! An entry of the log is created only at the position behind the last one that its writer has read. So reading to the
//! end, validating and creating are one step here: where another entry came first, the store refuses, and nothing has
//! happened. A collector's marks are the exception. They are made long before, so they are a step of their own, and
//! `is_fresh` says whether the log grew since. A request that arrives late is covered as well: a create of an entry
//! finds its position free, which means that the log is as it was validated, and the deletion of a pack is possible at
//! any time after it was condemned.

use lockstone_proto::vault::ChunkKind;
use lockstone_vault::collect::plan::{Limits, PackFacts, plan};

use crate::rules::Rule;
use crate::state::{
    Backup, CHUNKS, COLLECTORS, Collection, Object, POINTS, Point, Reader, Set, Standing, State, WRITERS,
};

/// For each chunk the pack that a collector marked.
pub(crate) type Kept = [Option<u8>; CHUNKS];

/// The model asks the plan only for what is dead.
const LIMITS: Limits = Limits {
    repack_below: 0,
    pack_target: 0,
};

/// What a machine does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A backup begins: it reads the log, and looks its chunks up. `parents` is empty or one point.
    Begin {
        by: usize,
        wants: Set,
        parents: Set,
        relied: Set,
        missing: Set,
    },
    /// It writes its pack.
    Upload(usize),
    /// It appends a Segments entry that lists its pack.
    Checkpoint(usize),
    /// It appends its Commit, or learns that it cannot.
    Commit { by: usize, is_answered: bool },
    /// A backup ends in the middle.
    CrashBackup(usize),
    /// Somebody deletes a point.
    Forget(u8),
    /// Somebody brings a point back.
    Undelete(u8),
    /// A collection begins: it reads the log, decides which points are gone, lists the packs, and marks.
    Mark { by: usize, gone: Set, kept: Kept },
    /// It reads the log to its end and marks what is new.
    ReadOn { by: usize, kept: Kept },
    /// It appends a Condemn.
    Condemn { by: usize, packs: Set, is_answered: bool },
    /// It copies what is marked in these packs into a new pack.
    Copy { by: usize, old: Set },
    /// It appends a Repack.
    Repack { by: usize, is_answered: bool },
    /// A collection ends, done or in the middle.
    EndCollection(usize),
    /// Somebody deletes a condemned pack.
    Sweep(u8),
    /// A restore reads the log.
    Look { point: u8, chunk: u8 },
    /// It reads its chunk, or reads the log again.
    Read,
}

/// How much there is at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) chunks: usize,
    pub(crate) packs: usize,
    pub(crate) points: usize,
    pub(crate) writers: usize,
    pub(crate) collectors: usize,
    pub(crate) readers: usize,
}

/// What the steps may do, and which rule they leave out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) size: Size,
    pub(crate) without: Option<Rule>,
}

impl Rules {
    pub(crate) fn keep(self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// The chunks that a collection keeps.
    fn live(self, state: &State, gone: Set) -> Set {
        let roots = state.points_that(|standing| match standing {
            Standing::Alive => true,
            Standing::Forgotten => self.keep(Rule::ForgottenPointsAreRoots),
            Standing::Unknown | Standing::Gone => false,
        });
        let roots = roots.minus(gone.and(state.forgotten()));
        roots.iter().fold(Set::EMPTY, |live, n| live.or(state.point(n).chunks))
    }

    /// The packs that a collection may condemn: those of which its plan says so, and orphans that are not marked. The
    /// plan is the program's own.
    fn dead(self, state: &State, collection: &Collection) -> Set {
        let packs = state.packs_that(|pack| pack.is_listed && !pack.is_condemned);
        let facts: Vec<PackFacts> = packs
            .iter()
            .map(|n| PackFacts {
                number: n.into(),
                kind: ChunkKind::Data,
                len: 1,
                raw: state.pack(n).chunks.iter().count() as u64,
                live: collection.kept.iter().filter(|kept| **kept == Some(n)).count() as u64,
                spared: false,
                distrusted: false,
            })
            .collect();
        let planned = plan(&facts, &LIMITS).dead.into_iter();
        let planned = planned.fold(Set::EMPTY, |all, n| all.or(Set::of(n as u8)));
        let orphans = if self.keep(Rule::OrphansAreMarked) {
            let marked = collection.kept.iter().flatten();
            collection
                .orphans
                .minus(marked.fold(Set::EMPTY, |all, n| all.or(Set::of(*n))))
        } else {
            collection.orphans
        };
        planned.or(orphans).minus(state.condemned())
    }

    /// Adds every way to mark these chunks. Machines disagree which pack of several is the best. If a chunk has none,
    /// nothing is collected.
    fn ways_to_mark(state: &State, live: Set, kept: Kept, each: &mut dyn FnMut(Kept)) {
        match live.first() {
            None => each(kept),
            Some(chunk) => {
                for pack in state.good(chunk).iter() {
                    let mut kept = kept;
                    kept[chunk as usize] = Some(pack);
                    Self::ways_to_mark(state, live.minus(Set::of(chunk)), kept, each);
                }
            }
        }
    }

    pub(crate) fn steps(self, state: &State, steps: &mut Vec<Step>) {
        for by in 0..WRITERS {
            // Idle machines are alike.
            if state.backups[..by].contains(&state.backups[by]) {
                continue;
            }
            match &state.backups[by] {
                None if active(&state.backups) == self.size.writers => {}
                None => self.begins(state, by, steps),
                Some(_) => backup_steps(state, by, state.has_room(self.size.packs), steps),
            }
        }
        for by in 0..COLLECTORS {
            if state.collections[..by].contains(&state.collections[by]) {
                continue;
            }
            match &state.collections[by] {
                None if active(&state.collections) == self.size.collectors => {}
                None => self.marks(state, by, steps),
                Some(collection) => self.collection_steps(state, by, collection, steps),
            }
        }
        for n in state.points_that(|standing| standing == Standing::Alive).iter() {
            steps.push(Step::Forget(n));
            if self.size.readers > 0 && state.reader == Reader::Idle {
                steps.extend(state.point(n).chunks.iter().map(|chunk| Step::Look { point: n, chunk }));
            }
        }
        let back = state.points_that(|standing| match standing {
            Standing::Forgotten => true,
            Standing::Gone => !self.keep(Rule::GoneIsFinal),
            Standing::Unknown | Standing::Alive => false,
        });
        steps.extend(back.iter().map(Step::Undelete));
        let planned = state
            .collections
            .iter()
            .flatten()
            .fold(Set::EMPTY, |all, one| all.or(self.dead(state, one)));
        let swept = state
            .packs_that(|pack| pack.object == Object::Stored)
            .filter(|n| state.pack(n).is_condemned || !self.keep(Rule::CondemnedBeforeDeleted) && planned.has(n));
        steps.extend(swept.iter().map(Step::Sweep));
        if matches!(state.reader, Reader::Reads { .. }) {
            steps.push(Step::Read);
        }
    }

    fn begins(self, state: &State, by: usize, steps: &mut Vec<Step>) {
        if state.free_point(self.size.points).is_none() {
            return;
        }
        let parents = state.points_that(|standing| standing == Standing::Alive);
        let parents = std::iter::once(Set::EMPTY).chain(parents.iter().map(Set::of));
        for parents in parents {
            let taken = parents.iter().fold(Set::EMPTY, |all, n| all.or(state.point(n).chunks));
            for wants in Set::below(self.size.chunks)
                .subsets()
                .skip(1)
                .filter(|wants| parents.is_empty() || wants.meets(taken))
            {
                let looked_up = wants.minus(taken);
                let known = looked_up.filter(|chunk| !state.good(chunk).is_empty());
                Self::ways_to_mark(state, known, [None; CHUNKS], &mut |found| {
                    let relied = found.iter().flatten().fold(Set::EMPTY, |all, n| all.or(Set::of(*n)));
                    let missing = looked_up.minus(known);
                    let step = Step::Begin {
                        by,
                        wants,
                        parents,
                        relied,
                        missing,
                    };
                    if !steps.contains(&step) {
                        steps.push(step);
                    }
                });
            }
        }
    }

    fn marks(self, state: &State, by: usize, steps: &mut Vec<Step>) {
        for gone in state.forgotten().subsets() {
            Self::ways_to_mark(state, self.live(state, gone), [None; CHUNKS], &mut |kept| {
                steps.push(Step::Mark { by, gone, kept });
            });
        }
    }

    fn collection_steps(self, state: &State, by: usize, collection: &Collection, steps: &mut Vec<Step>) {
        steps.push(Step::EndCollection(by));
        if !collection.is_fresh {
            self.read_on(state, by, collection, steps);
        }
        if collection.is_fresh || !self.keep(Rule::HeadIsUnchanged) {
            let gone = collection.gone.and(state.forgotten());
            for packs in self
                .dead(state, collection)
                .subsets()
                .filter(|packs| !packs.is_empty() || !gone.is_empty())
            {
                steps.extend([true, false].map(|is_answered| Step::Condemn { by, packs, is_answered }));
            }
            if collection.new.is_some() && !self.replaced(state, collection).is_empty() {
                steps.extend([true, false].map(|is_answered| Step::Repack { by, is_answered }));
            }
        }
        let is_decided = collection.gone.is_empty() || !self.keep(Rule::GoneBeforeRepack);
        if collection.new.is_none() && is_decided && state.has_room(self.size.packs) {
            let marked = collection
                .kept
                .iter()
                .flatten()
                .fold(Set::EMPTY, |all, n| all.or(Set::of(*n)));
            let olds = marked.subsets().skip(1).filter(|old| state.is_stored(*old));
            steps.extend(olds.map(|old| Step::Copy { by, old }));
        }
    }

    fn read_on(self, state: &State, by: usize, collection: &Collection, steps: &mut Vec<Step>) {
        let live = self.live(state, collection.gone);
        let mut kept = collection.kept;
        let mut unmarked = Set::EMPTY;
        for chunk in Set::below(self.size.chunks).iter() {
            let mark = &mut kept[chunk as usize];
            let is_lost = mark.is_some_and(|pack| state.pack(pack).is_condemned);
            if is_lost && self.keep(Rule::LostMarksAreMadeAgain) {
                *mark = None;
            } else if mark.is_some() || collection.kept[chunk as usize].is_none() && !self.keep(Rule::NewRootsAreMarked)
            {
                continue;
            }
            if live.has(chunk) {
                unmarked = unmarked.or(Set::of(chunk));
            }
        }
        Self::ways_to_mark(state, unmarked, kept, &mut |kept| steps.push(Step::ReadOn { by, kept }));
    }

    /// The old packs that a Repack names, as the log is now.
    pub(crate) fn replaced(self, state: &State, collection: &Collection) -> Set {
        let Some(new) = collection.new else { return Set::EMPTY };
        if self.keep(Rule::NewPacksAreChecked) && state.pack(new).is_condemned {
            return Set::EMPTY;
        }
        let old = collection.old.minus(state.condemned());
        if !self.keep(Rule::UncopiedPacksStay) {
            return old;
        }
        let copied = state.pack(new).chunks;
        let uncopied = Set::below(self.size.chunks).minus(copied);
        old.filter(|pack| {
            !uncopied
                .iter()
                .any(|chunk| collection.kept[chunk as usize] == Some(pack))
        })
    }

    /// The state after a step. `None` where the step cannot be done.
    pub(crate) fn after(self, before: &State, step: Step) -> Option<State> {
        let mut state = *before;
        match step {
            Step::Begin {
                by,
                wants,
                parents,
                relied,
                missing,
            } => {
                let (point, own) = (state.free_point(self.size.points)?, None);
                state.backups[by] = Some(Backup {
                    point,
                    wants,
                    parents,
                    relied,
                    missing,
                    own,
                });
            }
            Step::Upload(by) => {
                let missing = state.backups[by]?.missing;
                let own = state.write(missing)?;
                let backup = state.backups[by].as_mut()?;
                (backup.own, backup.missing) = (Some(own), Set::EMPTY);
            }
            Step::Checkpoint(by) => {
                state.list(state.backups[by]?.own);
                state.grow(None);
            }
            Step::Commit { by, is_answered } => self.commit(&mut state, by, is_answered)?,
            Step::CrashBackup(by) => state.backups[by] = None,
            Step::Forget(n) => {
                state.stand(Set::of(n), Standing::Forgotten);
                state.grow(None);
            }
            Step::Undelete(n) => {
                state.stand(Set::of(n), Standing::Alive);
                state.grow(None);
            }
            Step::Mark { by, gone, kept } => {
                let orphans =
                    state.packs_that(|pack| pack.object == Object::Stored && !pack.is_listed && !pack.is_condemned);
                let collection = Collection {
                    gone,
                    kept,
                    orphans,
                    is_fresh: true,
                    ..Collection::default()
                };
                state.collections[by] = Some(collection);
            }
            Step::ReadOn { by, kept } => {
                let collection = state.collections[by].as_mut()?;
                (collection.kept, collection.is_fresh) = (kept, true);
                // Points that were brought back are not named, not even if they were deleted again.
                collection.gone = collection.gone.and(before.forgotten());
            }
            Step::Condemn { by, packs, is_answered } => {
                let gone = state.collections[by]?.gone.and(state.forgotten());
                state.condemn(packs);
                state.stand(gone, Standing::Gone);
                state.grow(Some(by).filter(|_| is_answered));
            }
            Step::Copy { by, old } => {
                let kept = state.collections[by]?.kept;
                let copied =
                    Set::below(self.size.chunks).filter(|chunk| kept[chunk as usize].is_some_and(|pack| old.has(pack)));
                let new = state.write(copied)?;
                let collection = state.collections[by].as_mut()?;
                (collection.new, collection.old) = (Some(new), old);
            }
            Step::Repack { by, is_answered } => self.repack(&mut state, by, is_answered)?,
            Step::EndCollection(by) => state.collections[by] = None,
            Step::Sweep(n) => state.packs[n as usize].object = Object::Deleted,
            Step::Look { point, chunk } => {
                let places = state.places(chunk);
                state.reader = Reader::Reads { point, chunk, places };
            }
            Step::Read => self.read(&mut state),
        }
        Some(state)
    }

    fn commit(self, state: &mut State, by: usize, is_answered: bool) -> Option<()> {
        let backup = state.backups[by]?;
        let is_committed = state.point(backup.point).standing != Standing::Unknown;
        if is_committed || !self.is_valid(state, &backup) {
            // It is done, or a new backup begins.
            state.backups[by] = None;
            return Some(());
        }
        state.points[backup.point as usize] = Point {
            standing: Standing::Alive,
            chunks: backup.wants,
        };
        state.list(backup.own);
        if is_answered {
            state.backups[by] = None;
        }
        state.grow(None);
        Some(())
    }

    /// Whether a Commit may be written now.
    pub(crate) fn is_valid(self, state: &State, backup: &Backup) -> bool {
        let condemned = state.condemned();
        let own = backup.own.map_or(Set::EMPTY, Set::of);
        let gone = backup.parents.filter(|n| state.point(n).standing == Standing::Gone);
        !(self.keep(Rule::ParentsAreChecked) && !gone.is_empty()
            || self.keep(Rule::ReliedPacksAreChecked) && backup.relied.meets(condemned)
            || self.keep(Rule::OwnPacksAreChecked) && own.meets(condemned))
    }

    fn repack(self, state: &mut State, by: usize, is_answered: bool) -> Option<()> {
        let collection = state.collections[by]?;
        let (new, old) = (collection.new?, self.replaced(state, &collection));
        state.list(Some(new));
        state.condemn(old);
        state.grow(Some(by).filter(|_| is_answered));
        let collection = state.collections[by].as_mut()?;
        if is_answered {
            for chunk in state.packs[new as usize].chunks.iter() {
                let mark = &mut collection.kept[chunk as usize];
                *mark = mark.map(|pack| if old.has(pack) { new } else { pack });
            }
        }
        (collection.new, collection.old) = (None, Set::EMPTY);
        Some(())
    }

    fn read(self, state: &mut State) {
        let Reader::Reads { point, chunk, places } = state.reader else {
            return;
        };
        let has_it = |places: Set| places.iter().any(|n| state.pack(n).object == Object::Stored);
        let now = state.places(chunk);
        state.reader = if has_it(places) {
            Reader::Idle
        } else if has_it(now) && self.keep(Rule::ReadersReadAgain) {
            Reader::Reads {
                point,
                chunk,
                places: now,
            }
        } else if state.point(point).standing == Standing::Gone {
            Reader::Idle
        } else {
            Reader::Failed
        };
    }
}

fn backup_steps(state: &State, by: usize, has_room: bool, steps: &mut Vec<Step>) {
    let Some(backup) = &state.backups[by] else { return };
    steps.push(Step::CrashBackup(by));
    match backup.own {
        None if !backup.missing.is_empty() => {
            if has_room {
                steps.push(Step::Upload(by));
            }
            return;
        }
        Some(own) if !state.pack(own).is_listed => steps.push(Step::Checkpoint(by)),
        _ => {}
    }
    let is_new = state.point(backup.point).standing == Standing::Unknown;
    steps.push(Step::Commit { by, is_answered: true });
    if is_new {
        steps.push(Step::Commit { by, is_answered: false });
    }
}

fn active<T>(machines: &[Option<T>]) -> usize {
    machines.iter().flatten().count()
}

impl State {
    /// A point that is not there and that no backup makes.
    fn free_point(&self, points: usize) -> Option<u8> {
        let made = self
            .backups
            .iter()
            .flatten()
            .fold(Set::EMPTY, |all, backup| all.or(Set::of(backup.point)));
        let free = self.points_that(|standing| standing == Standing::Unknown).minus(made);
        free.first().filter(|_| free.iter().count() > POINTS - points)
    }
}
