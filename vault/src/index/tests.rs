//! Tests of the index: it returns what was added, and after any harm to the cache folder it can be used again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::HashSet;

use lockstone_proto::ids::{DomainId, VaultId};
use lockstone_proto::vault::{Codec, Frame, PackDirectory};

use super::*;

const VAULT: VaultId = VaultId([1; 16]);
const DOMAIN: DomainId = DomainId([2; 16]);

fn open(folder: &Path) -> (Index, Opened) {
    Index::open(folder, VAULT, DOMAIN).unwrap()
}

/// Notes something that shows whether the index was kept.
fn note(index: &Index) {
    index.scratch_put(&[("x", b"1")]).unwrap();
}

fn noted(index: &Index) -> Option<Vec<u8>> {
    index.scratch_get(&["x"]).unwrap().remove(0)
}

fn chunk(n: u32) -> ChunkId {
    ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

/// A pack of two frames of `count` chunks each, numbered from `first` on.
fn pack(id: u8, kind: ChunkKind, first: u32, count: u32) -> PackEntry {
    let frame = |first: u32| Frame {
        sealed_len: 1000,
        raw_len: count * 10,
        codec: Codec::Zstd.into(),
        chunk_ids: (first..first + count).flat_map(|n| chunk(n).0).collect(),
        chunk_lens: vec![10; count as usize],
    };
    PackEntry {
        pack_id: vec![id; 32].into(),
        kind: kind.into(),
        len: 4096,
        directory: Some(PackDirectory {
            frames: vec![frame(first), frame(first + count)],
        }),
    }
}

#[test]
fn chunks_are_found_where_their_packs_say() {
    let folder = tempfile::tempdir().unwrap();
    let (index, opened) = open(folder.path());
    assert_eq!(opened, Opened::Fresh);
    let packs = [pack(1, ChunkKind::Data, 0, 1000), pack(2, ChunkKind::Tree, 10_000, 3)];
    let segment = SegmentId([9; 32]);
    assert_eq!(index.segments_not_loaded(&[segment]).unwrap(), [segment]);
    index.add_packs(&packs, &[segment]).unwrap();
    index.add_packs(&packs, &[segment]).unwrap();
    assert!(index.segments_not_loaded(&[segment]).unwrap().is_empty());

    let ids: Vec<ChunkId> = [5, 77_777, 1999, 10_004, 5].map(chunk).to_vec();
    let found = index.lookup(&ids).unwrap();
    assert_eq!(
        found[0],
        Some(ChunkPlace {
            pack: 0,
            frame: 0,
            ordinal: 5,
            offset: 50,
            len: 10
        })
    );
    assert_eq!(found[1], None);
    assert_eq!(
        found[2],
        Some(ChunkPlace {
            pack: 0,
            frame: 1,
            ordinal: 999,
            offset: 9990,
            len: 10
        })
    );
    assert_eq!(
        found[3],
        Some(ChunkPlace {
            pack: 1,
            frame: 1,
            ordinal: 1,
            offset: 10,
            len: 10
        })
    );
    assert_eq!(found[4], found[0]);
    assert!(index.lookup(&[]).unwrap().is_empty());
    let info = index.pack(1).unwrap().unwrap();
    assert_eq!(
        (info.id, info.kind, info.frames.len()),
        (PackId([2; 32]), ChunkKind::Tree, 2)
    );
    assert_eq!(index.pack(2).unwrap(), None);
    assert_eq!(index.pack_number(&PackId([2; 32])).unwrap(), Some(1));
    assert_eq!(index.frame_members(1, 1).unwrap()[1], (chunk(10_004), 10));
    assert!(index.frame_members(0, 0).unwrap().is_empty());
    let mut seen = Vec::new();
    index
        .packs_beginning(2, &mut |id, number| {
            seen.push((id, number));
            true
        })
        .unwrap();
    assert_eq!(seen, [(PackId([2; 32]), 1)]);
    let looked_up = index.lookups();
    assert!(looked_up.0 + looked_up.1 >= ids.len() as u64, "{looked_up:?}");
    let (chunks, _) = index.size();
    assert!(chunks > 0);
    drop(index);

    // It is there the next time, and goes on numbering.
    let (index, opened) = open(folder.path());
    assert_eq!(opened, Opened::Kept);
    assert_eq!(index.lookup(&ids).unwrap(), found);
    index.add_packs(&[pack(3, ChunkKind::Data, 20_000, 1)], &[]).unwrap();
    assert_eq!(index.pack_number(&PackId([3; 32])).unwrap(), Some(2));
    let (more, bytes) = index.size();
    assert!(more > chunks && bytes > 0, "{more} of {chunks}, {bytes} bytes");
}

/// The entry that condemned a pack.
fn by(n: u64) -> Condemned {
    Condemned {
        n,
        time_s: 100,
        delete_after_s: 200,
    }
}

#[test]
fn what_was_condemned_and_deleted_leaves_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = open(folder.path());
    let packs = [1, 2, 3].map(|id| pack(id, ChunkKind::Tree, 0, 3));
    index.add_packs(&packs, &[]).unwrap();
    let extra = pack(4, ChunkKind::Data, 50, 2);
    index.add_packs(std::slice::from_ref(&extra), &[]).unwrap();
    let before = index.size().0;
    let (one, two, four) = (PackId([1; 32]), PackId([2; 32]), PackId([4; 32]));
    index.condemn(&[one, two, four], by(7)).unwrap();
    let mut condemned = Vec::new();
    index
        .condemned(&mut |id, by| {
            condemned.push((id, by));
            true
        })
        .unwrap();
    assert_eq!(condemned, [one, two, four].map(|id| (id, by(7))));

    index.forget_condemned(&HashSet::new(), 6).unwrap();
    assert_eq!(
        index.places(&chunk(0)).unwrap().len(),
        3,
        "a later entry condemned them"
    );
    index.forget_condemned(&HashSet::from([two]), 7).unwrap();
    let places = |n: u32| -> Vec<u32> {
        let places = index.places(&chunk(n)).unwrap();
        places.iter().map(|place| place.pack).collect()
    };
    assert_eq!(
        places(0),
        [2, 1],
        "the good one first, then the one that is still there"
    );
    assert!(places(50).is_empty());
    assert!(index.size().0 < before);
    assert_eq!(
        (index.pack_number(&one).unwrap(), index.pack_number(&two).unwrap()),
        (None, Some(1))
    );
    assert!(index.is_condemned(&one) && index.frame_members(0, 0).unwrap().is_empty());
    assert!(!index.frame_members(1, 0).unwrap().is_empty());
    assert_eq!(
        index.pack(0).unwrap().unwrap().id,
        one,
        "who holds a number may still ask for it"
    );
    index.forget_condemned(&HashSet::new(), 7).unwrap();
    assert_eq!(places(0), [2]);
    // A segment that lists it again does not make it good.
    index.add_packs(&packs[..1], &[]).unwrap();
    assert_eq!(index.lookup(&[chunk(0)]).unwrap()[0].map(|place| place.pack), Some(2));
}

#[test]
fn packs_not_to_rely_on_are_passed_over_and_stay_so() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = open(folder.path());
    let (one, two, three) = (PackId([1; 32]), PackId([2; 32]), PackId([3; 32]));
    // It is condemned before its segment is loaded, as in a fresh cache.
    index.condemn(&[two], by(7)).unwrap();
    let pack = |id: u8| pack(id, ChunkKind::Data, 0, 1);
    index.add_packs(&[pack(1), pack(2)], &[]).unwrap();
    let good = |index: &Index| index.lookup(&[chunk(0)]).unwrap()[0].map(|place| place.pack);
    let all = |index: &Index| -> Vec<u32> {
        index
            .places(&chunk(0))
            .unwrap()
            .iter()
            .map(|place| place.pack)
            .collect()
    };
    assert_eq!((good(&index), all(&index)), (Some(0), vec![0, 1]));
    index.add_packs(&[pack(3)], &[]).unwrap();
    assert_eq!((good(&index), all(&index)), (Some(2), vec![2, 0, 1]));
    index
        .distrust(&[(three, "flipped".to_owned()), (one, "gone".to_owned())])
        .unwrap();
    let check = |index: &Index| {
        assert_eq!((good(index), all(index)), (None, vec![2, 0, 1]));
        assert_eq!(index.best_places(&[chunk(0)]).unwrap()[0].unwrap().pack, 2);
        assert!(index.is_condemned(&two) && !index.is_condemned(&one));
    };
    check(&index);
    drop(index);
    let (index, _) = open(folder.path());
    check(&index);
    assert_eq!(
        index.distrusted().unwrap(),
        [(one, "gone".to_owned()), (three, "flipped".to_owned())]
    );
    index.trust(&[one, two]).unwrap();
    assert_eq!((good(&index), all(&index)), (Some(0), vec![0, 2, 1]));
    index.trust(&[three]).unwrap();
    assert!(index.has_bad_packs() && index.distrusted().unwrap().is_empty());
}

#[test]
fn a_chunk_is_where_it_was_stored_last() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = open(folder.path());
    index
        .add_packs(&[pack(1, ChunkKind::Data, 0, 1), pack(2, ChunkKind::Data, 0, 1)], &[])
        .unwrap();
    assert_eq!(index.lookup(&[chunk(0)]).unwrap()[0].unwrap().pack, 1);
}

#[test]
fn every_place_of_a_chunk_is_kept_however_it_comes_in() {
    let folder = tempfile::tempdir().unwrap();
    // Overlapping runs of chunks: in one batch, in several calls, and after the tables were written and opened again.
    let runs = [(1, 0), (2, 500), (3, 0), (4, 1900), (5, 500)];
    let packs = runs.map(|(id, first)| pack(id, ChunkKind::Data, first, 1000));
    for part in [&packs[..2], &packs[2..3], &packs[3..]] {
        let (index, _) = open(folder.path());
        index.add_packs(part, &[]).unwrap();
    }
    let (index, _) = open(folder.path());
    for n in (0..4000).step_by(7) {
        let has = |first: &u32| (*first..*first + 2000).contains(&n);
        let wanted: Vec<u32> = (0..5).filter(|at| has(&runs[*at as usize].1)).rev().collect();
        let found: Vec<u32> = index
            .places(&chunk(n))
            .unwrap()
            .iter()
            .map(|place| place.pack)
            .collect();
        assert_eq!(found, wanted, "chunk {n}");
        let newest = index.lookup(&[chunk(n)]).unwrap()[0].map(|place| place.pack);
        assert_eq!(newest, wanted.first().copied(), "chunk {n}");
    }
}

#[test]
fn journal_pages_and_meta_keep_what_they_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = open(folder.path());
    let (one, two, three) = (("/a/1", "one"), ("/a/2", "two"), ("/b/1", "three"));
    assert!(!index.journal_load().unwrap());
    index.journal_add(&[two, three]).unwrap();
    let before = |prefix: &str, key: &str| index.journal_before(prefix.as_bytes(), key.as_bytes()).unwrap();
    assert_eq!(before("/a/", "/a/9"), None, "not loaded yet");
    assert!(index.journal_load().unwrap());
    index.journal_add(&[one]).unwrap();
    assert!(index.journal_load().unwrap());
    assert!(index.journal_load().unwrap());
    assert_eq!(before("/a/", "/a/0"), None);
    assert_eq!(before("/a/", "/a/1"), Some(b"one".to_vec()));
    assert_eq!(before("/a/", "/a/9"), Some(b"two".to_vec()));
    assert_eq!(before("/b/", "/b/0"), None, "what is before has another prefix");

    index
        .scratch_put(&[("c/1", "one"), ("c/2", "two"), ("d/1", "three")])
        .unwrap();
    let got = || index.scratch_get(&["d/1", "x", "c/1"]).unwrap();
    assert_eq!(got(), [Some(b"three".to_vec()), None, Some(b"one".to_vec())]);
    index.scratch_clear(b"c/").unwrap();
    assert_eq!(got(), [Some(b"three".to_vec()), None, None]);
    index.journal_add(&[one]).unwrap();
    index.journal_clear().unwrap();
    assert!(!index.journal_load().unwrap());
    assert_eq!(before("/a/", "/a/9"), None);
    assert_eq!(got(), [Some(b"three".to_vec()), None, None]);
    index.scratch_put(&[(vec![0xff, 0xff], b"x")]).unwrap();
    index.scratch_clear(&[0xff]).unwrap();
    assert_eq!(index.scratch_get(&[[0xff, 0xff]]).unwrap(), [None]);

    let page = NewPage {
        id: chunk(1),
        raw: Bytes::from_static(b"page"),
    };
    let kept = |is_own| {
        let raw = page.raw.clone();
        Some(KeptPage { raw, is_own })
    };
    index.put_fetched_pages(std::slice::from_ref(&page)).unwrap();
    assert_eq!(index.page(&page.id).unwrap(), kept(false));
    index.put_pages(std::slice::from_ref(&page)).unwrap();
    assert_eq!(index.page(&page.id).unwrap(), kept(true));
    assert_eq!(index.page(&chunk(2)).unwrap(), None);
    assert_eq!(noted(&index), None);
    note(&index);
    assert_eq!(noted(&index), Some(b"1".to_vec()));
    index.flush().unwrap();
    assert!(index.memory() < 48 << 20);
}

#[test]
fn one_that_is_open_elsewhere_is_busy_and_survives() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = open(folder.path());
    note(&index);
    assert!(matches!(
        Index::open(folder.path(), VAULT, DOMAIN),
        Err(IndexError::Busy { .. })
    ));
    assert!(matches!(
        Index::open(folder.path(), VAULT, DomainId([9; 16])),
        Err(IndexError::Busy { .. })
    ));
    assert_eq!(noted(&index), Some(b"1".to_vec()));
}

#[test]
fn one_of_another_vault_or_domain_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    note(&open(folder.path()).0);
    let (index, opened) = Index::open(folder.path(), VaultId([7; 16]), DOMAIN).unwrap();
    assert!(matches!(opened, Opened::Dropped { reason } if reason.contains("another vault")));
    assert_eq!(noted(&index), None);
    drop(index);
    let (_, opened) = Index::open(folder.path(), VaultId([7; 16]), DomainId([7; 16])).unwrap();
    assert!(matches!(opened, Opened::Dropped { .. }));
}

#[test]
fn damage_of_any_file_ends_in_a_usable_index() {
    let prepared = tempfile::tempdir().unwrap();
    {
        let (index, _) = open(prepared.path());
        index
            .add_packs(&[pack(1, ChunkKind::Data, 0, 5000)], &[SegmentId([1; 32])])
            .unwrap();
        index
            .put_pages(&[NewPage {
                id: chunk(1),
                raw: vec![7; 100_000].into(),
            }])
            .unwrap();
    }
    let names: Vec<_> = std::fs::read_dir(prepared.path().join("index"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(names.iter().any(|name| name.to_str().unwrap().ends_with(".sst")));
    for name in &names {
        for harm in ["flip", "cut", "garbage", "remove"] {
            let folder = tempfile::tempdir().unwrap();
            copy_keeping_times(prepared.path(), folder.path());
            let path = folder.path().join("index").join(name);
            let mut bytes = std::fs::read(&path).unwrap();
            match harm {
                "flip" if bytes.is_empty() => continue,
                "flip" => {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 0x10;
                    std::fs::write(&path, bytes).unwrap();
                }
                "cut" => std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap(),
                "garbage" => std::fs::write(&path, vec![0x55; bytes.len().max(10)]).unwrap(),
                _ => std::fs::remove_file(&path).unwrap(),
            }
            let what = format!("{harm} {name:?}");
            let (index, opened) = Index::open(folder.path(), VAULT, DOMAIN).expect(&what);
            // Kept, or dropped with a reason; and what it says it has loaded is there.
            if index
                .segments_not_loaded(&[SegmentId([1; 32])])
                .expect(&what)
                .is_empty()
            {
                assert!(
                    index
                        .lookup(&(0..5000).map(chunk).collect::<Vec<_>>())
                        .expect(&what)
                        .iter()
                        .all(Option::is_some)
                );
            }
            if name.to_str().unwrap().ends_with(".sst") {
                assert!(matches!(opened, Opened::Dropped { .. }), "{what}: {opened:?}");
            }
        }
    }
    // The folder itself may be a file.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index"), "not a folder").unwrap();
    let (_, opened) = open(folder.path());
    assert!(matches!(opened, Opened::Dropped { .. }), "{opened:?}");
}

#[test]
fn damage_found_while_it_is_used_drops_it_at_the_next_opening() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = open(folder.path());
    let error = index.corrupt("something");
    assert!(error.is_transient());
    drop(index);
    let (index, opened) = open(folder.path());
    assert!(matches!(opened, Opened::Dropped { .. }));
    drop(index);
    assert_eq!(open(folder.path()).1, Opened::Kept);
}

fn copy_keeping_times(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_keeping_times(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
            let time = entry.metadata().unwrap().modified().unwrap();
            std::fs::File::options()
                .write(true)
                .open(&target)
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
    }
}
