//! Tests of what a foreign, damaged or lost object in the log does: it costs what it held, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use lockstone_proto::ids::PointId;
use lockstone_proto::vault::ForgetReason;

use super::*;
use crate::store::names;
use crate::testing::{Lab, block_on, now};

fn id(n: u8) -> PointId {
    PointId([n; 16])
}

fn file(n: u8) -> Vec<(&'static str, Vec<u8>)> {
    vec![("/srv/same", vec![7; 2500]), ("/srv/own", vec![n; 100])]
}

fn points(view: &LogView) -> Vec<u8> {
    view.points.iter().map(|point| point.id.0[0]).collect()
}

fn signer(n: u8) -> Signer {
    Signer {
        server: ServerId([n; 16]),
        key: SigningKey::from_bytes(&[n; 32]),
    }
}

/// Two servers of one domain, a point of each.
fn two_servers() -> (Lab, Arc<Domain>, Arc<Domain>) {
    let lab = Lab::new();
    let (one, two) = (
        lab.open(Some(lab.server(1)), "one"),
        lab.open(Some(lab.server(2)), "two"),
    );
    lab.backup(&one, 1, &file(1));
    lab.backup(&two, 2, &file(2));
    block_on(one.refresh()).unwrap();
    (lab, one, two)
}

fn put(lab: &Lab, n: u64, object: &[u8]) {
    std::fs::write(lab.path(&names::log_entry(lab.domain, n)), object).unwrap();
}

fn fresh_view(lab: &Lab, cache: &str) -> Arc<LogView> {
    block_on(lab.open(None, cache).refresh()).unwrap()
}

#[test]
fn junk_at_the_end_is_passed_over_and_the_next_entry_accounts_for_it() {
    let (lab, one, two) = two_servers();
    let head = one.view().head.n;
    put(&lab, head + 1, b"junk");
    put(&lab, head + 2, b"more junk");
    // It might have been an entry, as long as nobody accounts for it.
    let view = block_on(one.refresh()).unwrap();
    assert!(view.log_damaged && view.behind.len() == 2);
    lab.backup(&one, 3, &file(3));
    lab.backup(&two, 4, &file(4));
    for (cache, view) in [
        ("fresh", fresh_view(&lab, "fresh")),
        ("one", block_on(one.refresh()).unwrap()),
        ("two", block_on(two.refresh()).unwrap()),
        // What is kept of it is read back.
        ("fresh", fresh_view(&lab, "fresh")),
    ] {
        assert_eq!(points(&view), [1, 2, 3, 4], "{cache}");
        assert!(view.behind.is_empty(), "{cache}");
        assert!(
            !view.log_damaged && view.damage.is_empty(),
            "{cache}: {:?}",
            view.damage
        );
    }
    let audit = block_on(one.audit_log()).unwrap();
    assert!(audit.damage.is_empty());
    let foreign: Vec<_> = audit.foreign.iter().map(|at| at.object.clone()).collect();
    assert_eq!(foreign, [head + 1, head + 2].map(|n| names::log_entry(lab.domain, n)));
    let (overview, damage) = block_on(lab.vault.points(lab.domain)).unwrap();
    assert_eq!((overview.len(), damage.len()), (4, 0));
}

#[test]
fn junk_far_ahead_stops_nobody_neither_now_nor_when_the_log_gets_there() {
    let (lab, one, two) = two_servers();
    let head = one.view().head.n;
    put(&lab, head + 3, b"junk");
    put(&lab, u64::MAX, b"junk");
    drop(one);
    let one = lab.open(Some(signer(1)), "cold");
    let view = block_on(one.refresh()).unwrap();
    assert_eq!((view.head.n, view.log_damaged), (head, false));
    for point in 3..=8 {
        lab.backup(if point % 2 == 0 { &two } else { &one }, point, &file(point));
    }
    let view = fresh_view(&lab, "fresh");
    assert_eq!(points(&view), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(!view.log_damaged && view.damage.is_empty(), "{:?}", view.damage);
}

#[test]
fn an_entry_of_a_server_of_another_domain_is_no_entry() {
    let (lab, one, _) = two_servers();
    // It is registered in a domain of its own, has no key of this one, and signs for this one.
    let elsewhere = DomainId([9; 16]);
    let keys = Keys::derive(&MasterKey::generate().unwrap(), lab.domain);
    let head = one.view().head;
    let signer = signer(1);
    let parts = crate::log::EntryParts {
        server: signer.server,
        key: &signer.key,
        nonce: &[1; 16],
        now: now(),
        body: &crate::log::Body::Forget(vec![id(1)], ForgetReason::ByHand),
    };
    assert_ne!(elsewhere, lab.domain);
    put(&lab, head.n + 1, &crate::log::seal(&keys, &head, parts).unwrap());
    lab.backup(&one, 3, &file(3));
    let view = fresh_view(&lab, "fresh");
    assert_eq!(points(&view), [1, 2, 3]);
    assert!(view.damage.is_empty() && view.point(&id(1)).unwrap().forgotten.is_none());
    // The operator, who cannot see that its body does not open, is told by the entry behind it.
    let (overview, damage) = block_on(lab.vault.points(lab.domain)).unwrap();
    assert_eq!(
        overview.iter().map(|point| point.id.0[0]).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(damage.is_empty() && overview[0].forgotten.is_none(), "{damage:?}");
}

/// Harms each entry in turn. With and without a cache the domain goes on, what is whole is read, and what is lost stays
/// named.
fn goes_on_behind(harm: impl Fn(&std::path::Path)) {
    let last = two_servers().1.view().head.n;
    for n in 1..=last {
        for cache in ["one", "cold"] {
            let (lab, one, two) = two_servers();
            let lost = one
                .view()
                .points
                .iter()
                .find(|point| point.n == n)
                .map(|point| point.id);
            drop(one);
            harm(&lab.path(&names::log_entry(lab.domain, n)));
            let one = lab.open(Some(signer(1)), cache);
            lab.backup(&one, 3, &file(3));
            lab.backup(&two, 4, &file(4));
            let what = format!("entry {n}, cache {cache}");
            let view = fresh_view(&lab, "fresh");
            let wanted: Vec<u8> = (1..=4).filter(|point| Some(id(*point)) != lost).collect();
            assert_eq!(points(&view), wanted, "{what}");
            // Whoever saw the entry knows that it is lost. If nobody did who wrote behind it, it is void.
            if n < last || cache == "one" {
                assert!(view.log_damaged, "{what}");
                assert_eq!(view.damage[0].object, names::log_entry(lab.domain, n), "{what}");
            }
            // A server that has read the entry goes on to rely on the segments that it named.
            for point in view.points.iter().filter(|point| point.id.0[0] == 3 && cache == "cold") {
                let read = block_on(crate::testing::read_all(&lab.open(None, "fresh"), point.root()));
                assert!(read.values().all(Result::is_ok), "{what}");
            }
        }
    }
}

#[test]
fn a_domain_goes_on_behind_a_flipped_entry() {
    goes_on_behind(|path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    });
}

#[test]
fn a_domain_goes_on_behind_an_entry_that_is_cut_off() {
    goes_on_behind(|path| std::fs::write(path, "cut").unwrap());
}

#[test]
fn a_domain_goes_on_behind_a_missing_entry() {
    let last = two_servers().1.view().head.n;
    for n in 1..last {
        let (lab, one, _) = two_servers();
        drop(one);
        std::fs::remove_file(lab.path(&names::log_entry(lab.domain, n))).unwrap();
        let one = lab.open(Some(signer(1)), "cold");
        lab.backup(&one, 3, &file(3));
        let view = fresh_view(&lab, "fresh");
        assert!(points(&view).contains(&3) && view.log_damaged, "entry {n}");
    }
}

#[test]
fn a_lost_registration_stops_no_other_server() {
    let (lab, _, two) = two_servers();
    std::fs::remove_file(lab.path(&names::registration(ServerId([1; 16])))).unwrap();
    drop(two);
    let two = lab.open(Some(signer(2)), "cold");
    lab.backup(&two, 3, &file(3));
    assert_eq!(points(&fresh_view(&lab, "fresh")), [1, 2, 3]);
    let (overview, damage) = block_on(lab.vault.points(lab.domain)).unwrap();
    assert_eq!(
        overview.iter().map(|point| point.id.0[0]).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let entries = two.view().points[0].n;
    assert_eq!(damage.len() as u64, entries, "{damage:?}");
}

#[test]
fn an_entry_that_needs_what_this_program_does_not_know_ends_the_reading() {
    let (lab, one, two) = two_servers();
    let head = one.view().head;
    let signer = signer(1);
    let body = crate::log::Body::Forget(vec![id(1)], ForgetReason::ByHand);
    let parts = crate::log::EntryParts {
        server: signer.server,
        key: &signer.key,
        nonce: &[1; 16],
        now: now(),
        body: &body,
    };
    put(
        &lab,
        head.n + 1,
        &crate::log::seal_with(&lab.keys, &head, parts, vec!["shards".to_owned()]).unwrap(),
    );
    for domain in [&one, &two] {
        let error = block_on(domain.refresh()).unwrap_err();
        assert!(
            matches!(&error, VaultError::NewerFeature { word, .. } if word == "shards"),
            "{error}"
        );
        assert!(block_on(domain.forget(&[id(1)], now())).is_err());
    }
}

#[test]
fn a_cache_that_cannot_be_written_after_the_entry_exists_is_no_failure() {
    let (lab, one, _) = two_servers();
    let old = one.view().points[0].clone();
    let body = lockstone_proto::vault::CommitBody {
        index_position: one.view().head.n,
        ..old.body
    };
    // The index refuses a pack whose id is cut off.
    let unfit = lockstone_proto::vault::PackEntry {
        pack_id: vec![1; 3].into(),
        ..Default::default()
    };
    let summary = crate::testing::summary(9);
    block_on(one.commit(summary, body, &[unfit], &Relied::default(), now())).unwrap();
    assert_eq!(points(&one.view()), [1, 2, 9]);
    assert_eq!(points(&fresh_view(&lab, "fresh")), [1, 2, 9]);
}
