//! Tests of a domain: appending, refreshing, and what damage does to either.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use lockstone_proto::ids::{ChunkId, PointId, SegmentId};
use lockstone_proto::vault::{ChunkKind, CommitBody, PointSummary};
use object_store::memory::InMemory;

use super::*;
use crate::damage::DamageKind;
use crate::error::Kind;
use crate::store::names;
use crate::testing::{FailingStore, Fault, Lab, block_on, now, read_all};

fn id(n: u8) -> PointId {
    PointId([n; 16])
}

fn file(n: u8) -> Vec<(&'static str, Vec<u8>)> {
    vec![("/srv/same", vec![7; 2500]), ("/srv/own", vec![n; 100])]
}

/// A lab with three points by one server.
fn three() -> (Lab, Arc<Domain>) {
    let lab = Lab::new();
    let domain = lab.open(Some(lab.server(1)), "one");
    for n in 1..=3 {
        lab.backup(&domain, n, &file(n));
    }
    (lab, domain)
}

fn signer(n: u8) -> Signer {
    Signer {
        server: ServerId([n; 16]),
        key: SigningKey::from_bytes(&[n; 32]),
    }
}

fn points(view: &LogView) -> Vec<u8> {
    view.points.iter().map(|point| point.id.0[0]).collect()
}

#[test]
fn what_one_machine_commits_another_reads() {
    let (lab, domain) = three();
    assert_eq!(points(&domain.view()), [1, 2, 3]);
    let other = lab.open(None, "other");
    assert!(other.view().points.is_empty());
    let view = block_on(other.refresh()).unwrap();
    assert_eq!(points(&view), [1, 2, 3]);
    assert!(view.damage.is_empty() && !view.log_damaged);
    assert_eq!(view.head, domain.view().head);
    let read = block_on(read_all(&other, view.points[1].root()));
    let read: Vec<_> = read
        .into_iter()
        .map(|(path, content)| (path, content.unwrap()))
        .collect();
    assert_eq!(
        read,
        [
            (b"/srv/own".to_vec(), vec![2; 100]),
            (b"/srv/same".to_vec(), vec![7; 2500])
        ]
    );
    assert!(matches!(
        block_on(other.forget(&[id(1)], now())),
        Err(VaultError::ReadOnly)
    ));

    // The result is the same next time, and after the cache was deleted.
    drop(other);
    let other = lab.open(None, "other");
    assert_eq!(block_on(other.refresh()).unwrap().points, view.points);
    drop(other);
    std::fs::remove_dir_all(lab.cache("other")).unwrap();
    let other = lab.open(None, "other");
    assert_eq!(block_on(other.refresh()).unwrap().points, view.points);
    assert!(
        block_on(read_all(&other, view.points[0].root()))
            .values()
            .all(Result::is_ok)
    );
}

#[test]
fn two_writers_that_race_both_succeed_and_the_log_is_dense() {
    let lab = Lab::new();
    let (one, two) = (
        lab.open(Some(lab.server(1)), "one"),
        lab.open(Some(lab.server(2)), "two"),
    );
    block_on(async {
        let write = |domain: Arc<Domain>, first: u8| {
            tokio::spawn(async move {
                for n in 0..20 {
                    domain
                        .append_segments(vec![SegmentId([first + n; 32])], &[], now())
                        .await
                        .unwrap();
                }
            })
        };
        let (a, b) = (write(one.clone(), 0), write(two.clone(), 100));
        a.await.unwrap();
        b.await.unwrap();
    });
    for domain in [&one, &two] {
        let view = block_on(domain.refresh()).unwrap();
        assert_eq!(view.head.n, 40);
        assert!(!view.log_damaged);
    }
    assert_eq!(one.view().head, two.view().head);
    assert_eq!(lab.objects().iter().filter(|name| name.contains("/log/")).count(), 40);
}

#[test]
fn a_writer_whose_answer_was_lost_finds_its_own_entry() {
    let failing = Arc::new(FailingStore::new(InMemory::new()));
    let lab = Lab::over(
        tempfile::tempdir().unwrap(),
        Store::new(failing.clone(), "memory://test"),
    );
    let domain = lab.open(Some(lab.server(1)), "one");
    let head = lab.backup(&domain, 1, &file(1));
    let segment = SegmentId([1; 32]);
    failing.fail_next_put(Fault::AnswerLost);
    let next = block_on(domain.append_segments(vec![segment], &[], now())).unwrap();
    assert_eq!(next.n, head.n + 1);

    // Where nothing was written, the error comes through, and the next attempt is not a second entry.
    failing.fail_next_put(Fault::Full);
    let error = block_on(domain.append_segments(vec![segment], &[], now())).unwrap_err();
    assert!(
        matches!(&error, VaultError::Store(error) if error.kind() == Kind::StoreFull),
        "{error}"
    );
    assert_eq!(block_on(domain.refresh()).unwrap().head, next);

    // A point that is committed again stays one point.
    let point = domain.view().points[0].clone();
    let relied = Relied::default();
    block_on(domain.commit(point.summary.clone(), point.body.clone(), &[], &relied, now())).unwrap();
    assert_eq!(domain.view().head, next);
}

#[test]
fn forgetting_can_be_undone_until_the_vault_is_collected() {
    let (_lab, domain) = three();
    let forget = |points: &[PointId]| block_on(domain.forget(points, now()));
    let undelete = |points: &[PointId]| block_on(domain.undelete(points, now()));
    let n = forget(&[id(2), id(3)]).unwrap().n;
    assert_eq!(forget(&[id(2)]).unwrap().n, n, "nothing to say, nothing written");
    assert_eq!(domain.view().latest(None).unwrap().id, id(1));
    assert_eq!(domain.view().point(&id(3)).unwrap().forgotten, Some(now().as_second()));
    undelete(&[id(3)]).unwrap();
    assert_eq!(domain.view().latest(None).unwrap().id, id(3));
    assert!(matches!(forget(&[id(9)]), Err(VaultError::NoSuchPoint(_))));

    block_on(domain.append_condemn(&[id(2)], &[], now())).unwrap();
    assert!(matches!(undelete(&[id(2)]), Err(VaultError::TooLate(point)) if point == id(2)));
    // A backup that took files over from it begins anew.
    let old = domain.view().points[0].clone();
    let (summary, relied) = (crate::testing::summary(8), Relied::default());
    let body = lockstone_proto::vault::CommitBody {
        parents: vec![bytes::Bytes::copy_from_slice(id(2).as_bytes())],
        ..old.body.clone()
    };
    let error = block_on(domain.commit(summary.clone(), body, &[], &relied, now())).unwrap_err();
    assert!(matches!(error, VaultError::LostRace { .. }) && error.is_transient());
    block_on(domain.commit(summary, old.body, &[], &relied, now())).unwrap();
}

#[test]
fn a_vault_that_went_back_is_noticed_with_the_cache_and_without() {
    let (lab, domain) = three();
    let head = domain.view().head;
    drop(domain);
    std::fs::remove_file(lab.path(&names::log_entry(lab.domain, head.n))).unwrap();
    for with_cache in [true, false] {
        if !with_cache {
            std::fs::remove_dir_all(lab.cache("one")).unwrap();
        }
        let domain = lab.open(Some(signer(1)), "one");
        let view = block_on(domain.refresh()).unwrap();
        assert!(view.log_damaged);
        assert_eq!(view.damage[0].kind, DamageKind::Log);
        let error = block_on(domain.forget(&[id(1)], now())).unwrap_err();
        assert!(
            matches!(error, VaultError::RolledBack { known, .. } if known == head.n),
            "{error}"
        );
        assert!(error.is_damage());
        // What is there still restores.
        assert!(points(&view).contains(&1));
        assert!(
            block_on(read_all(&domain, view.points[0].root()))
                .values()
                .all(Result::is_ok)
        );
        // Without reading first, appending is refused as well.
        drop(domain);
        let domain = lab.open(Some(signer(1)), "one");
        assert!(block_on(domain.forget(&[id(1)], now())).unwrap_err().is_damage());
    }

    // Another machine, which does not know, writes on. For the machine that knows, the log is now another one.
    let fresh = lab.open(Some(lab.server(2)), "two");
    block_on(fresh.forget(&[id(1)], now())).unwrap();
    block_on(fresh.forget(&[id(2)], now())).unwrap();
    std::fs::remove_dir_all(lab.cache("one")).unwrap();
    let domain = lab.open(Some(signer(1)), "one");
    assert!(block_on(domain.refresh()).unwrap().log_damaged);
    assert!(block_on(domain.forget(&[id(1)], now())).unwrap_err().is_damage());
}

/// Harms each log entry in turn and looks at it with a fresh cache.
fn with_harmed_entry(harm: impl Fn(&std::path::Path)) {
    let (lab, domain) = three();
    let commits: Vec<u64> = domain.view().points.iter().map(|point| point.n).collect();
    let head = domain.view().head;
    for n in 1..=head.n {
        let path = lab.path(&names::log_entry(lab.domain, n));
        let good = std::fs::read(&path).unwrap();
        harm(&path);
        let cache = format!("fresh {n}");
        let fresh = lab.open(Some(signer(1)), &cache);
        let view = block_on(fresh.refresh()).unwrap();
        let lost = commits.iter().position(|at| *at == n).map(|at| at as u8 + 1);
        if n == head.n && view.damage.is_empty() {
            // The last entry is missing and this machine never saw it, so it cannot be noticed.
            assert!(!path.exists());
        } else {
            assert!(view.log_damaged, "entry {n}");
            assert_eq!(view.damage[0].object, names::log_entry(lab.domain, n));
        }
        let wanted: Vec<u8> = (1..=3).filter(|point| Some(*point) != lost).collect();
        assert_eq!(points(&view), wanted, "entry {n}");
        if lost.is_some() {
            for point in &view.points {
                assert!(block_on(read_all(&fresh, point.root())).values().all(Result::is_ok));
            }
        }
        drop(fresh);
        std::fs::write(&path, good).unwrap();
        // After a repair everything is whole again.
        let fresh = lab.open(Some(signer(1)), &cache);
        let view = block_on(fresh.refresh()).unwrap();
        assert!(view.damage.is_empty(), "{:?}", view.damage);
        assert_eq!(points(&view), [1, 2, 3]);
    }
}

#[test]
fn an_entry_with_a_flipped_byte_costs_only_itself() {
    with_harmed_entry(|path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    });
}

#[test]
fn an_entry_that_is_cut_off_or_empty_costs_only_itself() {
    with_harmed_entry(|path| {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 3]).unwrap();
    });
    with_harmed_entry(|path| std::fs::write(path, "").unwrap());
}

#[test]
fn an_entry_that_is_missing_costs_only_itself() {
    with_harmed_entry(|path| std::fs::remove_file(path).unwrap());
}

#[test]
fn nothing_is_written_into_a_gap_but_behind_it() {
    let (lab, domain) = three();
    drop(domain);
    let gap = lab.path(&names::log_entry(lab.domain, 3));
    std::fs::remove_file(&gap).unwrap();
    // This holds for a machine that reads first and for one that writes at once.
    let fresh = lab.open(Some(signer(1)), "fresh");
    let end = block_on(fresh.forget(&[id(1)], now())).unwrap();
    assert!(!gap.exists());
    assert!(lab.path(&names::log_entry(lab.domain, end.n)).exists());
    assert!(fresh.view().log_damaged);
}

#[test]
fn a_missing_registration_hides_no_point() {
    let (lab, domain) = three();
    drop(domain);
    std::fs::remove_file(lab.path(&names::registration(ServerId([1; 16])))).unwrap();
    // The server itself knows its key, and goes on.
    let own = lab.open(Some(signer(1)), "own");
    let view = block_on(own.refresh()).unwrap();
    assert_eq!((points(&view), view.log_damaged), (vec![1, 2, 3], false));
    block_on(own.forget(&[id(1)], now())).unwrap();
    // Another machine reads what the domain's key vouches for, and says so.
    let other = lab.open(None, "other");
    let view = block_on(other.refresh()).unwrap();
    assert_eq!((points(&view), view.log_damaged), (vec![1, 2, 3], true));
    assert!(
        block_on(read_all(&other, view.points[2].root()))
            .values()
            .all(Result::is_ok)
    );
    // A server without a registration hides nothing either: what it writes is read, and reported.
    let options = DomainOptions {
        signer: Some(signer(9)),
        ..crate::testing::read_only(lab.cache("nine"))
    };
    let nine = block_on(Domain::open(&lab.vault, lab.domain, &lab.master, options))
        .unwrap()
        .0;
    block_on(nine.forget(&[id(2)], now())).unwrap();
    drop(nine);
    let view = block_on(other.refresh()).unwrap();
    assert_eq!(view.point(&id(2)).unwrap().forgotten, Some(now().as_second()));
    assert!(
        view.damage
            .iter()
            .any(|damage| damage.object == names::log_entry(lab.domain, view.head.n))
    );
    // A server of another domain cannot write.
    lab.server(4);
    let options = DomainOptions {
        signer: Some(signer(4)),
        ..crate::testing::read_only(lab.cache("four"))
    };
    let elsewhere = DomainId([77; 16]);
    let error = block_on(Domain::open(&lab.vault, elsewhere, &lab.master, options)).unwrap_err();
    assert!(matches!(error, VaultError::NotRegistered { .. }) && error.kind() == Kind::NotRegistered);
}

#[test]
fn a_damaged_segment_costs_only_its_packs_and_is_tried_again() {
    let (lab, domain) = three();
    drop(domain);
    // The segment of the third point, whose own file is in no other.
    let before = {
        let old = Lab::new();
        drop(old);
        lab.objects()
    };
    let segments: Vec<&String> = before.iter().filter(|name| name.contains("/segments/")).collect();
    assert_eq!(segments.len(), 3);
    for segment in segments {
        let path = lab.path(segment);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, &good[..good.len() - 1]).unwrap();
        let cache = format!("cache {}", &segment[segment.len() - 8..]);
        let fresh = lab.open(Some(signer(1)), &cache);
        let view = block_on(fresh.refresh()).unwrap();
        assert!(!view.log_damaged);
        assert_eq!(
            view.damage.iter().map(|damage| &damage.object).collect::<Vec<_>>(),
            [segment]
        );
        assert_eq!(points(&view), [1, 2, 3]);
        let whole = view
            .points
            .iter()
            .filter(|point| block_on(read_all(&fresh, point.root())).values().all(Result::is_ok));
        assert!(whole.count() <= 2);
        drop(fresh);
        std::fs::write(&path, good).unwrap();
        let fresh = lab.open(Some(signer(1)), &cache);
        let view = block_on(fresh.refresh()).unwrap();
        assert!(view.damage.is_empty());
        for point in &view.points {
            assert!(block_on(read_all(&fresh, point.root())).values().all(Result::is_ok));
        }
    }
}

#[test]
fn pages_are_verified_and_those_of_a_frame_kept_together() {
    let (lab, domain) = three();
    let root = domain.view().points[0].root().unwrap();
    let fresh = lab.open(None, "fresh");
    block_on(fresh.refresh()).unwrap();
    let raw = block_on(fresh.read_tree_chunk(&root)).unwrap();
    assert_eq!(lab.keys.chunk_id(ChunkKind::Tree, &raw), root);
    // Both pages of the point were in one frame, so both are kept now.
    let place = fresh.index().lookup(&[root]).unwrap()[0].unwrap();
    for (member, _) in fresh.index().frame_members(place.pack, place.frame).unwrap() {
        assert!(fresh.index().page(&member).unwrap().is_some());
    }
    // A page in the cache that is not what its id says is fetched again.
    let bad = crate::tree::NewPage {
        id: root,
        raw: bytes::Bytes::from_static(b"bad"),
    };
    fresh.index().put_pages(&[bad]).unwrap();
    assert_eq!(block_on(fresh.read_tree_chunk(&root)).unwrap(), raw);

    let unknown = ChunkId([0; 32]);
    assert!(matches!(
        block_on(fresh.read_tree_chunk(&unknown)),
        Err(VaultError::UnknownChunk(_))
    ));
    // Data never passes for a tree.
    let data = lab.keys.chunk_id(ChunkKind::Data, &[1; 100]);
    assert!(block_on(fresh.read_chunk(ChunkKind::Data, &data)).is_ok());
    assert!(block_on(fresh.read_tree_chunk(&data)).unwrap_err().is_damage());
    let pack = fresh.index().pack(place.pack).unwrap().unwrap();
    let path = lab.path(&names::pack(lab.domain, &pack.id));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let other = lab.open(None, "other");
    block_on(other.refresh()).unwrap();
    let error = block_on(other.read_tree_chunk(&root)).unwrap_err();
    assert!(
        matches!(
            &error,
            VaultError::Damaged {
                kind: DamageKind::Pack,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_cache_that_does_not_fit_together_is_read_anew() {
    let (lab, domain) = three();
    domain.index().log_put(2, b"garbage").unwrap();
    drop(domain);
    let domain = lab.open(Some(signer(1)), "one");
    let view = block_on(domain.refresh()).unwrap();
    assert_eq!((points(&view), view.damage.len()), (vec![1, 2, 3], 0));
}

#[test]
fn the_time_of_a_point_is_bounded_by_the_stores_clock_and_by_the_log() {
    let lab = Lab::new();
    let (one, two) = (
        lab.open(Some(lab.server(1)), "one"),
        lab.open(Some(lab.server(2)), "two"),
    );
    let commit = |domain: &Domain, point: u8, hours: i64, store: Option<i64>| {
        let (clock, body) = (now() + jiff::SignedDuration::from_hours(hours), CommitBody::default());
        let real = jiff::Timestamp::now();
        let shows = real + jiff::SignedDuration::from_hours(store.unwrap_or_default());
        let summary = PointSummary {
            started_s: clock.as_second() - 60,
            ..crate::testing::summary(point)
        };
        domain.store().clock().note(shows);
        block_on(domain.commit(summary, body, &[], &Relied::default(), clock)).unwrap();
        let view = domain.view();
        let point = view.points.last().unwrap();
        let hours = |s: i64| (s - now().as_second() + 1800) / 3600;
        assert_eq!(point.summary.started_s + 60, point.time_s);
        hours(point.time_s)
    };
    let year = 24 * 365;
    assert_eq!(commit(&one, 1, 0, None), 0);
    assert_eq!(commit(&two, 2, 10 * year, None), 10 * year, "nobody knows better");
    assert_eq!(commit(&one, 3, 2, None), 2, "one from the future drags none behind it");
    assert_eq!(
        commit(&two, 4, 10 * year, Some(3 - 10 * year)),
        3,
        "the store bounds it"
    );
    assert_eq!(commit(&one, 5, -50 * year, Some(50 * year + 4)), 3, "the log bounds it");
    assert_eq!(
        commit(&one, 6, 4, Some(-40 * year)),
        4,
        "the store's clock is from before the vault"
    );
    let other = lab.open(None, "other");
    assert_eq!(block_on(other.refresh()).unwrap().points.len(), 6);
}
