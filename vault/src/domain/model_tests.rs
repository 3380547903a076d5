//! The promise behind every recovery point: each of its chunks lies in a pack that is there and can be relied on,
//! unless the pack was lost after the point was made. Two servers of one domain back up, collect and lose packs in any
//! order.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use lockstone_proto::ids::{ChunkId, PackId, PointId};
use lockstone_proto::vault::CommitBody;
use proptest::prelude::*;

use super::*;
use crate::store::names;
use crate::testing::{Lab, Tree, block_on, now, read_all, summary};

const FILES: [&str; 5] = ["/a", "/b", "/c/d", "/c/e", "/f"];

#[derive(Debug, Clone)]
enum Op {
    /// A server backs up the files whose bits are set.
    Backup { server: usize, files: u8 },
    /// A point is forgotten.
    Forget(usize),
    /// A server condemns and deletes every pack that no point needs.
    Collect { server: usize },
    /// A pack vanishes. Both servers look which packs are there.
    Lose(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0usize..2, 1u8..32).prop_map(|(server, files)| Op::Backup { server, files }),
        1 => any::<usize>().prop_map(Op::Forget),
        2 => (0usize..2).prop_map(|server| Op::Collect { server }),
        1 => any::<usize>().prop_map(Op::Lose),
    ];
    proptest::collection::vec(op, 1..12)
}

fn files(bits: u8) -> Vec<(&'static str, Vec<u8>)> {
    let chosen = FILES.iter().zip(0u8..).filter(|(_, bit)| bits >> bit & 1 == 1);
    chosen.map(|(name, bit)| (*name, vec![bit + 1; 1500])).collect()
}

fn all_packs(domain: &Domain) -> Vec<(PackId, u32)> {
    let mut found = Vec::new();
    for first in 0..=u8::MAX {
        let mut add = |id, number| {
            found.push((id, number));
            true
        };
        domain.index().packs_beginning(first, &mut add).unwrap();
    }
    found
}

struct Model {
    lab: Lab,
    servers: [Arc<Domain>; 2],
    /// The points that are not forgotten, with their files.
    alive: BTreeMap<u8, u8>,
    /// Those that lost something after they were made.
    broken: BTreeSet<u8>,
    next: u8,
}

impl Model {
    fn new() -> Self {
        let lab = Lab::new();
        let servers = [
            lab.open(Some(lab.server(1)), "one"),
            lab.open(Some(lab.server(2)), "two"),
        ];
        Self {
            lab,
            servers,
            alive: BTreeMap::new(),
            broken: BTreeSet::new(),
            next: 1,
        }
    }

    fn delete(&self, pack: &PackId) {
        let _ = std::fs::remove_file(self.lab.path(&names::pack(self.lab.domain, pack)));
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Backup { server, files: bits } => {
                self.lab.backup(&self.servers[*server], self.next, &files(*bits));
                self.alive.insert(self.next, *bits);
                self.next += 1;
            }
            Op::Forget(which) => {
                if let Some(point) = self.alive.keys().nth(which % self.alive.len().max(1)).copied() {
                    block_on(self.servers[0].forget(&[PointId([point; 16])], now())).unwrap();
                    self.alive.remove(&point);
                }
            }
            Op::Collect { server } => self.collect(*server),
            Op::Lose(which) => {
                block_on(self.servers[0].refresh()).unwrap();
                let packs = all_packs(&self.servers[0]);
                if let Some((pack, _)) = packs.get(which % packs.len().max(1)) {
                    self.delete(pack);
                }
                for server in &self.servers {
                    block_on(server.refresh()).unwrap();
                    block_on(server.distrust_missing()).unwrap();
                }
                let whole = self.whole();
                self.broken = self
                    .alive
                    .keys()
                    .copied()
                    .filter(|point| !whole.contains(point))
                    .collect();
            }
        }
    }

    fn collect(&self, server: usize) {
        let domain = &self.servers[server];
        block_on(domain.refresh()).unwrap();
        let mut ids: Vec<ChunkId> = Vec::new();
        for bits in self.alive.values() {
            let tree = Tree::build(&self.lab.keys, &files(*bits));
            ids.extend(tree.pages.iter().chain(&tree.data).map(|chunk| chunk.id));
        }
        let mut needed: BTreeSet<u32> = BTreeSet::new();
        for id in &ids {
            let place = domain.index().lookup(&[*id]).unwrap()[0];
            needed.extend(place.map(|place| place.pack));
        }
        let packs = all_packs(domain).into_iter();
        let unneeded: Vec<PackId> = packs
            .filter(|(id, number)| !needed.contains(number) && !domain.index().is_condemned(id))
            .map(|(id, _)| id)
            .collect();
        if !unneeded.is_empty() {
            block_on(domain.append_condemn(&[], &unneeded, now())).unwrap();
            for pack in &unneeded {
                self.delete(pack);
            }
        }
    }

    /// The points that another machine restores whole.
    fn whole(&self) -> BTreeSet<u8> {
        let cache = tempfile::tempdir().unwrap();
        let options = crate::testing::read_only(cache.path().join("cache"));
        let (domain, _) = block_on(Domain::open(
            &self.lab.vault,
            self.lab.domain,
            &self.lab.master,
            options,
        ))
        .unwrap();
        let view = block_on(domain.refresh()).unwrap();
        let whole = |point: &u8| {
            let point = view.point(&PointId([*point; 16])).unwrap();
            block_on(read_all(&domain, point.root())).values().all(Result::is_ok)
        };
        self.alive.keys().copied().filter(whole).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_chunk_of_a_point_lies_in_a_pack_that_can_be_relied_on(ops in ops()) {
        let mut model = Model::new();
        for op in &ops {
            model.step(op);
        }
        let whole = model.whole();
        for point in model.alive.keys() {
            prop_assert!(whole.contains(point) || model.broken.contains(point), "point {point} of {ops:?}");
        }
    }
}

#[test]
fn packs_that_are_condemned_while_a_backup_runs_are_not_relied_on() {
    let mut model = Model::new();
    model.step(&Op::Backup { server: 0, files: 1 });
    // The second server reads the index and finds everything there. Then the first one collects the vault.
    let [one, two] = model.servers.clone();
    let read_at = block_on(two.refresh()).unwrap().head.n;
    let tree = Tree::build(&model.lab.keys, &files(1));
    let ids: Vec<ChunkId> = tree.pages.iter().chain(&tree.data).map(|chunk| chunk.id).collect();
    assert!(two.index().lookup(&ids).unwrap().iter().all(Option::is_some));
    let relied = crate::testing::relied(&two, &tree);
    model.step(&Op::Forget(0));
    model.step(&Op::Collect { server: 0 });
    drop(one);
    let body = CommitBody {
        root: tree.root.unwrap().as_bytes().to_vec().into(),
        sources: vec![bytes::Bytes::from_static(b"/")],
        index_position: read_at,
        ..CommitBody::default()
    };
    let refused = block_on(two.commit(summary(50), body, &[], &relied, now()));
    assert!(matches!(refused, Err(VaultError::LostRace { .. })));
    // The new generation finds nothing of it, and stores it again.
    assert!(two.index().lookup(&ids).unwrap().iter().all(Option::is_none));
    model.step(&Op::Backup { server: 1, files: 1 });
    assert_eq!(model.whole(), model.alive.keys().copied().collect());
}
