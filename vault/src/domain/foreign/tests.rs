//! Tests of what other servers say of their packs.
#![allow(clippy::unwrap_used, reason = "tests")]

use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{ChunkKind, Segment};

use super::*;
use crate::pack::segment::encode_segment;
use crate::testing::{Lab, Tree, block_on, now, pack};

#[test]
fn what_another_server_says_of_a_pack_is_compared_with_the_pack_once() {
    let lab = Lab::new();
    let (one, two) = (
        lab.open(Some(lab.server(1)), "one"),
        lab.open(Some(lab.server(2)), "two"),
    );
    let claimed = ChunkId([9; 32]);
    let mut entries = Vec::new();
    for n in 0..2 {
        let tree = Tree::build(&lab.keys, &[("/a", vec![n; 500])]);
        let (mut entry, object) = pack(&lab.keys, ChunkKind::Data, &tree.data).unwrap();
        let pack_id = PackId::try_from(entry.pack_id.as_ref()).unwrap();
        block_on(lab.vault.store().create(&names::pack(lab.domain, &pack_id), object)).unwrap();
        if n == 1 {
            entry.directory.as_mut().unwrap().frames[0].chunk_ids = claimed.0.to_vec().into();
        }
        entries.push(entry);
    }
    let honest = ChunkId::try_from(entries[0].directory.as_ref().unwrap().frames[0].chunk_ids.as_ref()).unwrap();
    let segment = Segment { packs: entries.clone() };
    let (id, object) = encode_segment(&lab.keys, &segment).unwrap();
    block_on(
        lab.vault
            .store()
            .create(&names::segment(lab.domain, &id), object.to_vec()),
    )
    .unwrap();
    block_on(one.append_segments(vec![id], &entries, now())).unwrap();

    let known = |domain: &Domain| {
        let found = domain.index().lookup(&[honest, claimed]).unwrap();
        found.iter().map(Option::is_some).collect::<Vec<_>>()
    };
    block_on(two.refresh()).unwrap();
    assert_eq!(known(&two), [true, true]);
    assert_eq!(two.index().unverified().unwrap(), [id]);
    assert_eq!(block_on(two.verify_foreign()).unwrap(), 1);
    assert_eq!(known(&two), [true, false], "the next backup stores it again");
    assert_eq!(two.index().still_bad().unwrap().len(), 1);
    assert_eq!(block_on(two.verify_foreign()).unwrap(), 0, "once");
    assert!(two.index().unverified().unwrap().is_empty());

    block_on(one.refresh()).unwrap();
    assert_eq!(block_on(one.verify_foreign()).unwrap(), 0, "its own");
    assert_eq!(known(&one), [true, true]);
}
