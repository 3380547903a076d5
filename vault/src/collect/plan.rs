//! What a collection does with each pack, given how much of it is needed. A pure function.

use std::collections::BTreeMap;

use lockstone_proto::vault::ChunkKind;

/// What a collection knows of a pack that is in the vault and not condemned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackFacts {
    /// Its number in the index.
    pub number: u32,
    /// What it holds.
    pub kind: ChunkKind,
    /// The length of the object, bytes.
    pub len: u64,
    /// The length of all of its chunks, bytes.
    pub raw: u64,
    /// The length of the chunks that are needed, bytes.
    pub live: u64,
    /// Whether a backup that is not finished may need it. Then it stays as it is.
    pub spared: bool,
    /// Whether it was found damaged. Then its chunks are not moved: a backup stores them again.
    pub distrusted: bool,
}

impl PackFacts {
    /// How much of the object is not needed, bytes, about: its parts compress differently.
    #[must_use]
    pub fn dead(&self) -> u64 {
        let (len, dead) = (u128::from(self.len), u128::from(self.raw.saturating_sub(self.live)));
        u64::try_from(len * dead / u128::from(self.raw.max(1))).unwrap_or(self.len)
    }
}

/// When packs are repacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Packs of which less than this share is needed are repacked, percent.
    pub repack_below: u8,
    /// The size at which a new pack is closed, bytes.
    pub pack_target: u64,
}

/// So many small packs of one kind are gathered.
pub const GATHER: usize = 16;
/// A pack is small if it has less than this part of a new pack.
pub const SMALL: u64 = 8;

/// What is to be done, by the numbers of the packs, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Packs that nothing needs.
    pub dead: Vec<u32>,
    /// Packs whose needed chunks are moved into new packs.
    pub repack: Vec<u32>,
    /// How much the dead packs and the dead parts of the repacked ones take, bytes, about.
    pub frees: u64,
    /// How many bytes of chunks are moved.
    pub moves: u64,
    /// How much stays that is not needed, bytes, about. Packs that are spared are not counted.
    pub stays: u64,
}

/// Decides.
#[must_use]
pub fn plan(packs: &[PackFacts], limits: &Limits) -> Plan {
    let usable = || packs.iter().filter(|pack| !pack.spared);
    let dead: Vec<&PackFacts> = usable().filter(|pack| pack.live == 0).collect();
    let partial: Vec<&PackFacts> = usable().filter(|pack| pack.live > 0 && !pack.distrusted).collect();
    let is_below =
        |pack: &&&PackFacts| pack.live.saturating_mul(100) < pack.raw.saturating_mul(limits.repack_below.into());
    let mut repack: BTreeMap<u32, &PackFacts> = BTreeMap::new();
    repack.extend(partial.iter().filter(is_below).map(|pack| (pack.number, *pack)));
    for kind in [ChunkKind::Data, ChunkKind::Tree] {
        let is_small = |pack: &&&PackFacts| pack.kind == kind && pack.len < limits.pack_target / SMALL;
        let small: Vec<&PackFacts> = partial.iter().filter(is_small).copied().collect();
        if small.len() >= GATHER {
            repack.extend(small.into_iter().map(|pack| (pack.number, pack)));
        }
    }
    let mut numbers: Vec<u32> = dead.iter().map(|pack| pack.number).collect();
    numbers.sort_unstable();
    let wholly: u64 = dead.iter().map(|pack| pack.len).sum();
    let partly: u64 = repack.values().map(|pack| pack.dead()).sum();
    Plan {
        dead: numbers,
        moves: repack.values().map(|pack| pack.live).sum(),
        frees: wholly + partly,
        stays: partial.iter().map(|pack| pack.dead()).sum::<u64>() - partly,
        repack: repack.into_keys().collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn pack(number: u32, len: u64, live_percent: u64) -> PackFacts {
        PackFacts {
            number,
            kind: ChunkKind::Data,
            len,
            raw: 2 * len,
            live: 2 * len * live_percent / 100,
            spared: false,
            distrusted: false,
        }
    }

    fn limits(repack_below: u8) -> Limits {
        Limits {
            repack_below,
            pack_target: 32 * MIB,
        }
    }

    #[test]
    fn dead_packs_go_and_whole_ones_stay() {
        let packs = [pack(1, 30 * MIB, 0), pack(2, 30 * MIB, 100)];
        let plan = plan(&packs, &limits(95));
        assert_eq!((plan.dead, plan.repack), (vec![1], vec![]));
        assert_eq!((plan.frees, plan.moves, plan.stays), (30 * MIB, 0, 0));
    }

    #[test]
    fn a_pack_that_may_be_needed_is_spared() {
        let spared = PackFacts {
            spared: true,
            ..pack(1, 30 * MIB, 0)
        };
        assert_eq!(plan(&[spared], &limits(95)), Plan::default());
        let damaged = PackFacts {
            distrusted: true,
            ..pack(2, 30 * MIB, 50)
        };
        assert_eq!(plan(&[damaged], &limits(100)).repack, [0; 0]);
    }

    #[test]
    fn what_is_mostly_dead_is_repacked() {
        let packs: Vec<PackFacts> = (0..10).map(|n| pack(n, 30 * MIB, 10 * u64::from(n) + 5)).collect();
        assert_eq!(plan(&packs, &limits(50)).repack, [0, 1, 2, 3, 4]);
        assert_eq!(plan(&packs, &limits(0)).repack, [0; 0]);
        let chosen = plan(&packs, &limits(95));
        assert_eq!(chosen.repack, (0..9).collect::<Vec<_>>(), "95 % are not less than 95 %");
        assert_eq!((chosen.stays, chosen.frees), (30 * MIB * 5 / 100, 30 * MIB * 495 / 100));
        assert_eq!(plan(&packs, &limits(100)).repack.len(), 10);
    }

    #[test]
    fn small_packs_are_gathered_once_there_are_many() {
        let small = |count| (0..count).map(|n| pack(n, MIB, 100)).collect::<Vec<_>>();
        assert_eq!(plan(&small(15), &limits(95)).repack, [0; 0]);
        let gathered = plan(&small(16), &limits(95));
        assert_eq!((gathered.repack.len(), gathered.frees), (16, 0));
    }

    fn any_pack() -> impl Strategy<Value = PackFacts> {
        (1..64_u64, 0..=100_u64, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(len, live, tree, spared, distrusted)| PackFacts {
                kind: if tree { ChunkKind::Tree } else { ChunkKind::Data },
                spared,
                distrusted,
                ..pack(0, len * MIB, live)
            },
        )
    }

    proptest! {
        #[test]
        fn nothing_that_is_needed_is_dead(mut packs in proptest::collection::vec(any_pack(), 0..60), below in 0..=100_u8) {
            for (pack, number) in packs.iter_mut().zip(0..) {
                pack.number = number;
            }
            let plan = plan(&packs, &limits(below));
            for pack in &packs {
                let dead = plan.dead.contains(&pack.number);
                let repack = plan.repack.contains(&pack.number);
                prop_assert_eq!(dead, pack.live == 0 && !pack.spared);
                prop_assert!(!repack || (!dead && !pack.spared && !pack.distrusted));
            }
            let moved: u64 = packs.iter().filter(|pack| plan.repack.contains(&pack.number)).map(|pack| pack.live).sum();
            prop_assert_eq!(plan.moves, moved);
        }
    }
}
