//! Tests of which packs a domain relies on: not on condemned ones, and on another place where one is damaged.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use lockstone_proto::vault::Segment;

use super::*;
use crate::pack::segment::encode_segment;
use crate::testing::{Lab, block_on, now, pack, read_all};

fn packs(domain: &Domain) -> Vec<PackId> {
    let mut found = Vec::new();
    for first in 0..=u8::MAX {
        domain
            .index()
            .packs_beginning(first, &mut |id, _| {
                found.push(id);
                true
            })
            .unwrap();
    }
    found
}

fn remove(lab: &Lab, packs: &[PackId]) {
    for id in packs {
        std::fs::remove_file(lab.path(&names::pack(lab.domain, id))).unwrap();
    }
}

fn is_whole(domain: &Domain, point: usize) -> bool {
    let view = block_on(domain.refresh()).unwrap();
    let files = block_on(read_all(domain, view.points[point].root()));
    files.len() == 2 && files.values().all(Result::is_ok)
}

#[test]
fn nothing_relies_on_condemned_packs() {
    let files = |n| [("/srv/same", vec![7; 2500]), ("/srv/own", vec![n; 100])];
    for fresh in [false, true] {
        let lab = Lab::new();
        let one = lab.open(Some(lab.server(1)), "one");
        let two = lab.open(Some(lab.server(2)), "two");
        lab.backup(&one, 1, &files(1));
        lab.backup(&two, 2, &files(1));
        let condemned = packs(&one);
        block_on(one.append_condemn(&[], &condemned, now())).unwrap();
        remove(&lab, &condemned);
        let writer = if fresh {
            drop(two);
            lab.open(Some(lab.server(3)), "three")
        } else {
            two
        };
        lab.backup(&writer, 3, &files(1));
        let head = writer.view().head;
        drop(writer);
        let reader = lab.open(None, "reader");
        assert!(is_whole(&reader, 2), "fresh cache: {fresh}");
        // A cache that has loaded them knows it after it is opened again.
        drop(one);
        let one = lab.open(None, "one");
        assert_eq!(block_on(one.refresh()).unwrap().head, head);
        assert!(condemned.iter().all(|id| one.index().is_condemned(id)));
        assert!(is_whole(&one, 2));
        // That a condemned pack is gone is no damage, as long as no point needs it.
        let options = crate::check::CheckOptions {
            read_data: Some(100.0),
            sample: 0,
            workers: 1,
            ..crate::check::CheckOptions::STRUCTURE
        };
        let check = crate::check::check(&one, &options, &crate::check::Inline, &|_| (), &|| false);
        assert!(block_on(check).unwrap().is_ok());
    }
}

#[test]
fn a_condemned_pack_that_is_still_there_is_read_if_nothing_else_has_the_chunk() {
    let lab = Lab::new();
    let one = lab.open(Some(lab.server(1)), "one");
    lab.backup(&one, 1, &[("/srv/same", vec![7; 2500]), ("/srv/own", vec![1; 100])]);
    let condemned = packs(&one);
    block_on(one.append_condemn(&[], &condemned, now())).unwrap();
    for domain in [one, lab.open(None, "fresh")] {
        assert!(is_whole(&domain, 0));
        assert!(condemned.iter().all(|id| domain.index().is_condemned(id)));
    }
}

#[test]
fn a_chunk_comes_from_whichever_pack_has_it_whole() {
    let lab = Lab::new();
    let domain = lab.open(Some(lab.server(1)), "one");
    let raw = Bytes::from(vec![5; 700]);
    let id = lab.keys.chunk_id(ChunkKind::Data, &raw);
    for _ in 0..2 {
        let chunk = NewPage { id, raw: raw.clone() };
        let (entry, object) = pack(&lab.keys, ChunkKind::Data, &[chunk]).unwrap();
        let pack = PackId::try_from(entry.pack_id.as_ref()).unwrap();
        block_on(domain.store().create(&names::pack(lab.domain, &pack), object)).unwrap();
        let packs = vec![entry];
        let (segment, object) = encode_segment(&lab.keys, &Segment { packs: packs.clone() }).unwrap();
        block_on(domain.store().create(&names::segment(lab.domain, &segment), object)).unwrap();
        block_on(domain.append_segments(vec![segment], &packs, now())).unwrap();
    }
    let places = domain.index().places(&id).unwrap();
    assert_eq!(places.len(), 2);
    let pack = |at: usize| domain.index().pack(places[at].pack).unwrap().unwrap().id;
    let best = lab.path(&names::pack(lab.domain, &pack(0)));
    let mut bytes = std::fs::read(&best).unwrap();
    bytes[crate::pack::HEADER_LEN + 5] ^= 1;
    std::fs::write(&best, bytes).unwrap();
    let read = || block_on(domain.read_chunk(ChunkKind::Data, &id));
    assert_eq!(read().unwrap(), raw);
    // From now on writers use the other one, and readers try it first.
    let distrusted = domain.index().distrusted().unwrap();
    assert_eq!(distrusted.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [pack(0)]);
    assert_eq!(domain.index().lookup(&[id]).unwrap()[0], Some(places[1]));
    remove(&lab, &[pack(1)]);
    assert!(read().unwrap_err().is_damage());
    assert_eq!(domain.index().lookup(&[id]).unwrap()[0], None);
    assert_eq!(block_on(domain.recover(ChunkKind::Data, &[id])).unwrap(), [None]);
}
