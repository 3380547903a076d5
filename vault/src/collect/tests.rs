//! Tests of collecting on small vaults in a folder: what is freed, what stays, and what happens beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use lockstone_proto::ids::{PackId, PointId};
use lockstone_proto::vault::{ChunkKind, CommitBody, Segment};

use super::*;
use crate::log::LogHead;
use crate::pack::segment::encode_segment;
use crate::store::names;
use crate::testing::{Lab, Tree, block_on, now, pack, read_all, relied, summary};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn options(now: Timestamp) -> CollectOptions {
    CollectOptions {
        grace: SignedDuration::ZERO,
        unfinished: SignedDuration::ZERO,
        ..CollectOptions::usual(now)
    }
}

fn collect_with(domain: &Arc<Domain>, options: &CollectOptions) -> Result<CollectReport, VaultError> {
    block_on(collect(domain, options, &Inline, &|_| {}, &|| false))
}

fn collected(domain: &Arc<Domain>) -> CollectReport {
    collect_with(domain, &options(now())).unwrap()
}

fn id(point: u8) -> PointId {
    PointId([point; 16])
}

fn forget(domain: &Domain, points: &[u8]) -> LogHead {
    let points: Vec<PointId> = points.iter().map(|point| id(*point)).collect();
    block_on(domain.forget(&points, now())).unwrap()
}

/// Content that compresses badly, in chunks of 1,000 bytes of which none is like another.
fn noise(seed: u8, chunks: usize) -> Vec<u8> {
    let mut bytes = vec![0; chunks * 1000];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

/// The points that a machine without a cache restores whole, and the damage that it sees.
fn whole(lab: &Lab) -> Vec<u8> {
    let cache = tempfile::tempdir().unwrap();
    let options = crate::testing::read_only(cache.path().join("cache"));
    let (domain, _) = block_on(Domain::open(&lab.vault, lab.domain, &lab.master, options)).unwrap();
    let view = block_on(domain.refresh()).unwrap();
    let points = view.points.iter().filter(|point| {
        let read = block_on(read_all(&domain, point.root()));
        read.values().all(Result::is_ok)
    });
    points.map(|point| point.id.0[0]).collect()
}

fn packs(lab: &Lab) -> usize {
    lab.objects()
        .iter()
        .filter(|name| names::pack_id(name).is_some())
        .count()
}

#[test]
fn what_no_point_needs_is_freed() {
    let lab = Lab::without_soft_delete();
    let domain = lab.open(Some(lab.server(1)), "one");
    lab.backup(&domain, 1, &[("/a", noise(1, 30)), ("/b", noise(2, 30))]);
    lab.backup(&domain, 2, &[("/b", noise(2, 30)), ("/c", noise(3, 30))]);
    let before = packs(&lab);
    let nothing = collected(&domain);
    assert_eq!(
        (nothing.packs_condemned, nothing.packs_deleted, nothing.packs_repacked),
        (0, 0, 0)
    );
    assert_eq!((nothing.packs, packs(&lab)), (before as u64, before));

    forget(&domain, &[1]);
    let dry = CollectOptions {
        dry_run: true,
        ..options(now())
    };
    let head = domain.view().head;
    let foreseen = collect_with(&domain, &dry).unwrap();
    assert_eq!(
        (foreseen.points_gone, foreseen.packs_condemned, foreseen.packs_repacked),
        (1, 1, 1)
    );
    assert!(foreseen.bytes_reclaimable > 30_000 && foreseen.packs_deleted == 0);
    assert_eq!((block_on(domain.refresh()).unwrap().head, packs(&lab)), (head, before));
    let alone: Vec<(u8, u64)> = foreseen
        .alone
        .iter()
        .map(|(point, bytes)| (point.0[0], *bytes / 10_000))
        .collect();
    assert_eq!(alone, [(2, 6)], "it is the only one that is left");

    let freed = collected(&domain);
    // The pages of the first point are dead, and its data pack is half dead.
    assert_eq!(
        (freed.points_gone, freed.packs_condemned, freed.packs_repacked),
        (1, 1, 1)
    );
    assert_eq!((freed.packs_deleted, freed.packs_waiting), (2, 0));
    assert!(freed.warnings.is_empty(), "{:?}", freed.warnings);
    assert_eq!(whole(&lab), [2]);
    let late = block_on(domain.undelete(&[id(1)], now()));
    assert!(matches!(late, Err(VaultError::TooLate(point)) if point == id(1)));

    let again = collected(&domain);
    assert_eq!(
        again,
        CollectReport {
            packs: again.packs,
            bytes: again.bytes,
            ..CollectReport::default()
        },
        "a second collection changes nothing"
    );
    // The next backup relies on nothing that is gone.
    lab.backup(&domain, 3, &[("/a", noise(1, 30)), ("/b", noise(2, 30))]);
    assert_eq!(whole(&lab), [2, 3]);
}

#[test]
fn a_deleted_point_is_kept_until_its_time_is_over() {
    let lab = Lab::new();
    let domain = lab.open(Some(lab.server(1)), "one");
    lab.backup(&domain, 1, &[("/a", noise(1, 30))]);
    lab.backup(&domain, 2, &[("/b", noise(2, 30))]);
    forget(&domain, &[1]);
    let kept = collected(&domain);
    assert_eq!((kept.points_gone, kept.packs_condemned), (0, 0));
    block_on(domain.undelete(&[id(1)], now())).unwrap();
    assert_eq!(whole(&lab), [1, 2]);
}

#[test]
fn condemned_packs_stay_for_the_time_that_readers_are_granted() {
    let lab = Lab::without_soft_delete();
    let domain = lab.open(Some(lab.server(1)), "one");
    lab.backup(&domain, 1, &[("/a", noise(1, 30))]);
    lab.backup(&domain, 2, &[("/b", noise(2, 30))]);
    forget(&domain, &[1]);
    let at = |now: Timestamp, hours: i64| CollectOptions {
        grace: HOUR * i32::try_from(hours).unwrap(),
        ..options(now)
    };
    let first = collect_with(&domain, &at(now(), 24)).unwrap();
    assert_eq!(
        (first.packs_condemned, first.packs_deleted, first.packs_waiting),
        (2, 0, 2)
    );
    assert!(first.bytes_reclaimable > 30_000);
    let early = collect_with(&domain, &at(now() + HOUR * 23, 24)).unwrap();
    assert_eq!(
        (early.packs_condemned, early.packs_deleted, early.packs_waiting),
        (0, 0, 2)
    );
    // Another machine of the domain deletes them when the time is over.
    let other = lab.open(Some(lab.server(2)), "two");
    let due = collect_with(&other, &at(now() + HOUR * 24, 240)).unwrap();
    assert_eq!((due.packs_deleted, due.packs_waiting, due.bytes_reclaimable), (2, 0, 0));
    assert_eq!(whole(&lab), [2]);

    forget(&domain, &[2]);
    collect_with(&domain, &at(now(), 24)).unwrap();
    let at_once = collect_with(&domain, &at(now(), 0)).unwrap();
    assert_eq!(
        (at_once.packs_deleted, packs(&lab)),
        (2, 0),
        "who grants less frees at once"
    );
}

#[test]
fn what_is_needed_of_a_mostly_dead_pack_is_moved() {
    let lab = Lab::without_soft_delete();
    let domain = lab.open(Some(lab.server(1)), "one");
    let files: Vec<(String, Vec<u8>)> = (0..40).map(|n| (format!("/f{n:02}"), noise(n, 20))).collect();
    let some = |keep: &dyn Fn(usize) -> bool| -> Vec<(&str, Vec<u8>)> {
        let chosen = files.iter().enumerate().filter(|(at, _)| keep(*at));
        chosen
            .map(|(_, (name, content))| (name.as_str(), content.clone()))
            .collect()
    };
    lab.backup(&domain, 1, &some(&|_| true));
    lab.backup(&domain, 2, &some(&|at| at % 4 == 0));
    forget(&domain, &[1]);
    let before = vault_bytes(&lab);
    let moved = collected(&domain);
    assert_eq!((moved.packs_repacked, moved.packs_written), (1, 1));
    assert_eq!(whole(&lab), [2]);
    // 30 of 40 files of 20,000 bytes were dead.
    let freed = before - vault_bytes(&lab);
    assert!(freed > 600_000 * 95 / 100, "{freed}");
    // Another machine, whose cache knows the old place only, reads the log and finds the new one.
    assert_eq!(collected(&domain).packs_repacked, 0);
}

fn vault_bytes(lab: &Lab) -> u64 {
    let objects = block_on(lab.vault.store().list_all("")).unwrap();
    let packs = objects.iter().filter(|object| names::pack_id(&object.path).is_some());
    packs.map(|object| object.len).sum()
}

#[test]
fn a_reader_whose_packs_were_moved_reads_the_log_again() {
    let lab = Lab::without_soft_delete();
    let domain = lab.open(Some(lab.server(1)), "one");
    lab.backup(&domain, 1, &[("/a", noise(1, 30)), ("/b", noise(2, 30))]);
    lab.backup(&domain, 2, &[("/b", noise(2, 30))]);
    let reader = lab.open(None, "reader");
    let root = block_on(reader.refresh()).unwrap().point(&id(2)).unwrap().root();
    forget(&domain, &[1]);
    assert_eq!(collected(&domain).packs_deleted, 2);
    let read = block_on(read_all(&reader, root));
    assert!(read.values().all(Result::is_ok), "{read:?}");
}

#[test]
fn small_packs_are_gathered() {
    let lab = Lab::without_soft_delete();
    let domain = lab.open(Some(lab.server(1)), "one");
    for n in 1..=17 {
        lab.backup(&domain, n, &[("/a", noise(n, 3))]);
    }
    assert_eq!(packs(&lab), 34);
    let gathered = collected(&domain);
    assert_eq!(
        (gathered.packs_repacked, gathered.packs_written, packs(&lab)),
        (34, 2, 2)
    );
    assert_eq!(whole(&lab), (1..=17).collect::<Vec<_>>());
    assert_eq!(collected(&domain).packs_repacked, 0);
}

/// Stores a pack and lists it, as a backup that has not come to its end.
fn half_a_backup(lab: &Lab, domain: &Domain, content: &[u8]) {
    let tree = Tree::build(&lab.keys, &[("/half", content.to_vec())]);
    let (entry, object) = pack(&lab.keys, ChunkKind::Data, &tree.data).unwrap();
    let id = PackId::try_from(entry.pack_id.as_ref()).unwrap();
    let store = lab.vault.store();
    block_on(store.create(&names::pack(lab.domain, &id), object)).unwrap();
    let (segment, object) = encode_segment(
        &lab.keys,
        &Segment {
            packs: vec![entry.clone()],
        },
    )
    .unwrap();
    block_on(store.create(&names::segment(lab.domain, &segment), object)).unwrap();
    block_on(domain.append_segments(vec![segment], &[entry], now())).unwrap();
}

#[test]
fn a_backup_that_is_not_finished_keeps_what_it_stored() {
    let lab = Lab::without_soft_delete();
    let (one, two) = (
        lab.open(Some(lab.server(1)), "one"),
        lab.open(Some(lab.server(2)), "two"),
    );
    lab.backup(&one, 1, &[("/a", noise(1, 30))]);
    block_on(two.refresh()).unwrap();
    half_a_backup(&lab, &two, &noise(9, 30));
    let days = |days: i64| CollectOptions {
        unfinished: HOUR * 24 * 7,
        ..options(now() + HOUR * i32::try_from(24 * days).unwrap())
    };
    let spared = collect_with(&one, &days(1)).unwrap();
    assert_eq!((spared.packs_spared, spared.packs_condemned), (1, 0));
    // It is committed, or it is given up.
    lab.backup(&two, 2, &[("/half", noise(9, 30))]);
    assert_eq!(collect_with(&one, &days(1)).unwrap().packs_condemned, 0);
    assert_eq!(whole(&lab), [1, 2]);
    half_a_backup(&lab, &two, &noise(10, 30));
    assert_eq!(collected(&one).packs_condemned, 1);
}

#[test]
fn what_was_left_behind_is_deleted_once_it_is_old() {
    let lab = Lab::without_soft_delete();
    let domain = lab.open(Some(lab.server(1)), "one");
    lab.backup(&domain, 1, &[("/a", noise(1, 30))]);
    let orphan = PackId([0xab; 32]);
    let name = names::pack(lab.domain, &orphan);
    block_on(
        lab.vault
            .store()
            .create(&name, bytes::Bytes::from_static(b"left behind")),
    )
    .unwrap();
    let written = |hours: i64| {
        let at = SystemTime::from(now() - HOUR * i32::try_from(hours).unwrap());
        let file = std::fs::File::options().write(true).open(lab.path(&name)).unwrap();
        file.set_modified(at).unwrap();
    };
    let graced = CollectOptions {
        grace: HOUR * 24,
        ..options(now())
    };
    written(23);
    assert_eq!(collect_with(&domain, &graced).unwrap().orphans, 0);
    written(25);
    let report = collect_with(&domain, &graced).unwrap();
    assert_eq!(
        (report.orphans, report.packs_condemned, report.packs_waiting),
        (1, 1, 1)
    );
    assert_eq!(collected(&domain).packs_deleted, 1);
    assert!(!lab.path(&name).exists());
}

#[test]
fn most_of_a_vault_is_never_taken_for_left_behind() {
    let lab = Lab::without_soft_delete();
    let domain = lab.open(Some(lab.server(1)), "one");
    lab.backup(&domain, 1, &[("/a", noise(1, 30))]);
    for n in 0..70 {
        let name = names::pack(lab.domain, &PackId([n; 32]));
        block_on(lab.vault.store().create(&name, bytes::Bytes::from_static(b"x"))).unwrap();
        let file = std::fs::File::options().write(true).open(lab.path(&name)).unwrap();
        file.set_modified(SystemTime::from(now() - HOUR)).unwrap();
    }
    let report = collected(&domain);
    assert_eq!((report.orphans, report.packs_deleted, packs(&lab)), (0, 0, 72));
    assert!(
        report.warnings[0].contains("70 of 72 packs are listed by nothing"),
        "{:?}",
        report.warnings
    );
}

#[test]
fn nothing_is_condemned_if_it_is_not_known_what_is_needed() {
    let lab = Lab::without_soft_delete();
    let domain = lab.open(Some(lab.server(1)), "one");
    lab.backup(&domain, 1, &[("/a", noise(1, 30))]);
    let tree = Tree::build(&lab.keys, &[("/b", noise(2, 30))]);
    lab.backup(&domain, 2, &[("/b", noise(2, 30))]);
    forget(&domain, &[1]);
    // The page of a living point is lost.
    let place = domain.index().best_places(&[tree.root.unwrap()]).unwrap()[0].unwrap();
    let pages = domain.index().pack(place.pack).unwrap().unwrap().id;
    let path = lab.path(&names::pack(lab.domain, &pages));
    let kept = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let fresh = lab.open(Some(lab.server(2)), "fresh");
    let refused = collect_with(&fresh, &options(now()));
    assert!(
        matches!(&refused, Err(VaultError::NotCollected(why)) if why.contains("lost a part")),
        "{refused:?}"
    );
    std::fs::write(&path, kept).unwrap();
    // An entry of the log is lost.
    let entry = lab.path(&names::log_entry(lab.domain, 2));
    let kept = std::fs::read(&entry).unwrap();
    std::fs::remove_file(&entry).unwrap();
    let fresh = lab.open(Some(lab.server(3)), "fresh too");
    let refused = collect_with(&fresh, &options(now()));
    assert!(
        matches!(&refused, Err(VaultError::NotCollected(why)) if why.contains("entries of the log")),
        "{refused:?}"
    );
    std::fs::write(&entry, kept).unwrap();
    assert_eq!(packs(&lab), 4);
    let fresh = lab.open(Some(lab.server(4)), "at last");
    assert_eq!(collect_with(&fresh, &options(now())).unwrap().packs_deleted, 2);
    assert_eq!(whole(&lab), [2]);
}

#[test]
fn a_backup_that_ends_while_packs_are_condemned_keeps_what_it_needs() {
    let lab = Lab::without_soft_delete();
    let (one, two) = (
        lab.open(Some(lab.server(1)), "one"),
        lab.open(Some(lab.server(2)), "two"),
    );
    lab.backup(&one, 1, &[("/a", noise(1, 30))]);
    lab.backup(&one, 2, &[("/b", noise(2, 30))]);
    forget(&one, &[1]);
    let times = AtomicU32::new(0);
    let progress = |seen: CollectProgress| {
        // All is marked, and the entry is about to be written.
        if seen.what == "condemn" && times.fetch_add(1, Ordering::SeqCst) == 0 {
            std::thread::scope(|scope| {
                scope.spawn(|| lab.backup(&two, 3, &[("/a", noise(1, 30))]));
            });
        }
    };
    let report = block_on(collect(&one, &options(now()), &Inline, &progress, &|| false)).unwrap();
    assert_eq!(report.points_gone, 1);
    assert_eq!(whole(&lab), [2, 3]);
}

#[test]
fn a_backup_that_relies_on_what_was_condemned_meanwhile_begins_anew() {
    let lab = Lab::without_soft_delete();
    let (one, two) = (
        lab.open(Some(lab.server(1)), "one"),
        lab.open(Some(lab.server(2)), "two"),
    );
    lab.backup(&one, 1, &[("/a", noise(1, 30))]);
    lab.backup(&one, 2, &[("/b", noise(2, 30)), ("/a", noise(3, 30))]);
    // The second server finds all of the first point there. Then it is deleted and collected.
    let read_at = block_on(two.refresh()).unwrap().head.n;
    let tree = Tree::build(&lab.keys, &[("/a", noise(1, 30))]);
    let found = relied(&two, &tree);
    assert!(!found.known.is_empty());
    forget(&one, &[1]);
    collected(&one);
    let body = CommitBody {
        root: bytes::Bytes::copy_from_slice(tree.root.unwrap().as_bytes()),
        sources: vec![bytes::Bytes::from_static(b"/")],
        index_position: read_at,
        ..CommitBody::default()
    };
    let refused = block_on(two.commit(summary(3), body.clone(), &[], &found, now()));
    assert!(matches!(refused, Err(VaultError::LostRace { .. })), "{refused:?}");
    // One that relies on what the second point needs is not disturbed.
    let tree = Tree::build(&lab.keys, &[("/b", noise(2, 30)), ("/a", noise(3, 30))]);
    let body = CommitBody {
        root: bytes::Bytes::copy_from_slice(tree.root.unwrap().as_bytes()),
        ..body
    };
    let found = relied(&two, &tree);
    block_on(two.commit(summary(4), body, &[], &found, now())).unwrap();
    assert_eq!(whole(&lab), [2, 4]);
}

#[test]
fn a_collection_that_is_cancelled_can_go_on_later() {
    let lab = Lab::without_soft_delete();
    let domain = lab.open(Some(lab.server(1)), "one");
    lab.backup(&domain, 1, &[("/a", noise(1, 30)), ("/b", noise(2, 30))]);
    lab.backup(&domain, 2, &[("/b", noise(2, 30))]);
    forget(&domain, &[1]);
    for steps in 0..12 {
        let asked = AtomicU32::new(0);
        let cancelled = || asked.fetch_add(1, Ordering::SeqCst) >= steps;
        let report = block_on(collect(&domain, &options(now()), &Inline, &|_| {}, &cancelled)).unwrap();
        assert!(whole(&lab).contains(&2), "after {steps} steps: {report:?}");
    }
    collected(&domain);
    assert_eq!((packs(&lab), whole(&lab)), (2, vec![2]));
}

#[test]
fn a_dry_run_says_what_each_point_alone_holds() {
    let lab = Lab::new();
    let domain = lab.open(Some(lab.server(1)), "one");
    lab.backup(&domain, 1, &[("/x/a", noise(1, 30)), ("/both/b", noise(2, 40))]);
    lab.backup(&domain, 2, &[("/both/b", noise(2, 40)), ("/x/c", noise(3, 50))]);
    lab.backup(&domain, 3, &[("/both/b", noise(2, 40))]);
    let dry = CollectOptions {
        dry_run: true,
        ..options(now())
    };
    let report = collect_with(&domain, &dry).unwrap();
    let alone: Vec<(u8, u64)> = report
        .alone
        .iter()
        .map(|(point, bytes)| (point.0[0], *bytes / 10_000))
        .collect();
    assert_eq!(alone, [(1, 3), (2, 5), (3, 0)]);
}

#[test]
fn a_machine_that_only_reads_collects_nothing() {
    let lab = Lab::without_soft_delete();
    let domain = lab.open(Some(lab.server(1)), "one");
    lab.backup(&domain, 1, &[("/a", noise(1, 30))]);
    forget(&domain, &[1]);
    let reader = lab.open(None, "reader");
    assert!(matches!(
        collect_with(&reader, &options(now())),
        Err(VaultError::ReadOnly)
    ));
    let dry = CollectOptions {
        dry_run: true,
        ..options(now())
    };
    assert_eq!(collect_with(&reader, &dry).unwrap().packs_condemned, 2);
}
