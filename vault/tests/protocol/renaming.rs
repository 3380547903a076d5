//! States that differ only in names are one state. Packs, points and servers have no order, and what is deleted and
//! not spoken of any more makes room. So histories of any length have a bounded number of states.

use crate::rules::Rule;
use crate::state::{Backup, Object, PACKS, POINTS, Pack, Point, Reader, Set, Standing, State};
use crate::steps::Rules;

impl State {
    /// The same state under the names that all states like it get, and without what no step asks for any more.
    pub(crate) fn settled(mut self, rules: Rules) -> Self {
        self.drop_what_is_over(rules);
        let free = self
            .packs_that(|pack| pack.object == Object::Deleted && pack.is_condemned)
            .minus(self.packs_in_use());
        for n in free.iter() {
            self.packs[n as usize] = Pack::default();
        }
        let gone = self.points_that(|standing| standing == Standing::Gone);
        for n in gone.minus(self.points_in_use()).iter() {
            self.points[n as usize] = Point::default();
        }
        self.backups.sort_unstable();
        self.collections.sort_unstable();
        let packs = order::<PACKS, _>(|n| (self.packs[n], self.mentions_of_pack(n as u8)));
        let points = order::<POINTS, _>(|n| (self.points[n], self.mentions_of_point(n as u8)));
        self.rename(&packs, &points);
        self.backups.sort_unstable();
        self.collections.sort_unstable();
        self
    }

    fn drop_what_is_over(&mut self, rules: Rules) {
        let condemned = self.condemned();
        let listed = self.packs_that(|pack| pack.is_listed);
        let deleted = self.packs_that(|pack| pack.object == Object::Deleted);
        let gone = self.points_that(|standing| standing == Standing::Gone);
        for n in gone.iter() {
            self.points[n as usize].chunks = Set::EMPTY;
        }
        let points = self.points;
        for backup in self.backups.iter_mut().flatten() {
            if points[backup.point as usize].standing != Standing::Unknown {
                // It has its point, and only does not know it yet.
                let point = backup.point;
                *backup = Backup {
                    point,
                    ..Backup::default()
                };
            }
            if let Some(own) = backup.own.filter(|own| listed.has(*own)) {
                // From now on its own pack is as any other.
                backup.relied = backup.relied.or(Set::of(own));
                backup.own = None;
            }
        }
        for collection in self.collections.iter_mut().flatten() {
            // What is condemned or gone is no longer theirs to decide.
            collection.old = collection.old.minus(condemned);
            collection.orphans = collection.orphans.minus(condemned);
            collection.gone = collection.gone.minus(gone);
            if rules.keep(Rule::OrphansAreMarked) {
                collection.orphans = collection.orphans.minus(listed);
            }
            if rules.keep(Rule::LostMarksAreMadeAgain) {
                collection.kept = collection.kept.map(|pack| pack.filter(|pack| !condemned.has(*pack)));
            }
        }
        if let Reader::Reads { places, .. } = &mut self.reader {
            *places = places.minus(deleted);
        }
    }

    fn packs_in_use(&self) -> Set {
        let one = |pack: Option<u8>| pack.map_or(Set::EMPTY, Set::of);
        let mut used = Set::EMPTY;
        for backup in self.backups.iter().flatten() {
            used = used.or(backup.relied).or(one(backup.own));
        }
        for collection in self.collections.iter().flatten() {
            used = used.or(collection.orphans).or(collection.old).or(one(collection.new));
            used = collection.kept.iter().fold(used, |used, pack| used.or(one(*pack)));
        }
        if let Reader::Reads { places, .. } = self.reader {
            used = used.or(places);
        }
        used
    }

    fn points_in_use(&self) -> Set {
        let mut used = Set::EMPTY;
        for backup in self.backups.iter().flatten() {
            used = used.or(backup.parents).or(Set::of(backup.point));
        }
        for collection in self.collections.iter().flatten() {
            used = used.or(collection.gone);
        }
        if let Reader::Reads { point, .. } = self.reader {
            used = used.or(Set::of(point));
        }
        used
    }

    /// Where a pack is spoken of, so that packs alike can be told apart.
    fn mentions_of_pack(&self, n: u8) -> u32 {
        let mut bits = 0;
        let mut note = |is: bool| bits = bits << 1 | u32::from(is);
        for backup in self.backups.iter().flatten() {
            note(backup.relied.has(n));
            note(backup.own == Some(n));
        }
        for collection in self.collections.iter().flatten() {
            collection.kept.iter().for_each(|kept| note(*kept == Some(n)));
            note(collection.orphans.has(n));
            note(collection.new == Some(n));
            note(collection.old.has(n));
        }
        note(matches!(self.reader, Reader::Reads { places, .. } if places.has(n)));
        bits
    }

    fn mentions_of_point(&self, n: u8) -> u32 {
        let mut bits = 0;
        let mut note = |is: bool| bits = bits << 1 | u32::from(is);
        for backup in self.backups.iter().flatten() {
            note(backup.point == n);
            note(backup.parents.has(n));
        }
        for collection in self.collections.iter().flatten() {
            note(collection.gone.has(n));
        }
        note(matches!(self.reader, Reader::Reads { point, .. } if point == n));
        bits
    }

    fn rename(&mut self, packs: &[u8; PACKS], points: &[u8; POINTS]) {
        let (old_packs, old_points) = (self.packs, self.points);
        for n in 0..PACKS {
            self.packs[packs[n] as usize] = old_packs[n];
        }
        for n in 0..POINTS {
            self.points[points[n] as usize] = old_points[n];
        }
        let rename = |pack: Option<u8>| pack.map(|n| packs[n as usize]);
        for backup in self.backups.iter_mut().flatten() {
            backup.relied = backup.relied.renamed(packs);
            backup.own = rename(backup.own);
            backup.point = points[backup.point as usize];
            backup.parents = backup.parents.renamed(points);
        }
        for collection in self.collections.iter_mut().flatten() {
            collection.kept = collection.kept.map(rename);
            collection.orphans = collection.orphans.renamed(packs);
            collection.new = rename(collection.new);
            collection.old = collection.old.renamed(packs);
            collection.gone = collection.gone.renamed(points);
        }
        if let Reader::Reads { point, places, .. } = &mut self.reader {
            *point = points[*point as usize];
            *places = places.renamed(packs);
        }
    }
}

/// For each of the things its place when they are sorted by that key.
fn order<const N: usize, K: Ord>(key: impl Fn(usize) -> K) -> [u8; N] {
    let mut sorted: [u8; N] = std::array::from_fn(|n| n as u8);
    sorted.sort_by_key(|n| key(*n as usize));
    let mut to = [0; N];
    for (place, n) in sorted.iter().enumerate() {
        to[*n as usize] = place as u8;
    }
    to
}
