//! The table of docs/reliability.md: each class of object, with each fault, in each command. One object is harmed at a
//! time, and costs what it held and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use bytes::Bytes;
use lockstone_proto::ids::{JobId, PointId, ServerId, SlotId};
use lockstone_proto::vault::ChunkKind;
use object_store::memory::InMemory;
use rustix::io::Errno;

use super::*;
use crate::access::job_records::{Author, write_job};
use crate::crypto::slot_store::{list_slots, open_with_machine, open_with_recovery, put_slot};
use crate::crypto::slots::{wrap_with_machine, wrap_with_recovery};
use crate::domain::{DomainOptions, Signer};
use crate::store::{RetryRule, Store};
use crate::testing::{FailingStore, Lab, block_on, now, read_all, read_only};

const READ_DATA: CheckOptions = CheckOptions {
    read_data: Some(100.0),
    sample: 0,
    workers: 1,
    ..CheckOptions::STRUCTURE
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Descriptor,
    Registration,
    Order,
    Slot,
    Log,
    Segment,
    DataPack,
    TreePack,
    Job,
}

const CLASSES: [Class; 9] = [
    Class::Descriptor,
    Class::Registration,
    Class::Order,
    Class::Slot,
    Class::Log,
    Class::Segment,
    Class::DataPack,
    Class::TreePack,
    Class::Job,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Missing,
    Short,
    Flipped,
    Failing(Errno),
}

const HARMS: [Harm; 5] = [
    Harm::Missing,
    Harm::Short,
    Harm::Flipped,
    Harm::Failing(Errno::IO),
    Harm::Failing(Errno::ACCESS),
];

/// Files that do not compress, so that the middle of a pack is in a frame.
fn files(n: u8) -> Vec<(&'static str, Vec<u8>)> {
    ["/srv/a", "/srv/b", "/srv/c", "/srv/d", "/srv/e", "/srv/f", "/srv/g"]
        .iter()
        .zip(0..)
        .map(|(name, at)| {
            let mut content = vec![0; 500];
            blake3::Hasher::new().update(&[n, at]).finalize_xof().fill(&mut content);
            (*name, content)
        })
        .collect()
}

/// A vault of two servers in one domain, with a point of each. Everything that is harmed belongs to the first.
struct Bench {
    store: Arc<FailingStore>,
    lab: Lab,
    recovery: String,
    /// The object of each class.
    objects: Vec<(Class, String)>,
}

impl Bench {
    fn new() -> Self {
        let store = Arc::new(FailingStore::new(InMemory::new()));
        let lab = Lab::over(
            tempfile::tempdir().unwrap(),
            Store::new(store.clone(), "memory://test").retried(RetryRule::default(), None),
        );
        let (one, two) = (lab.server(1), lab.server(2));
        let vault = lab.vault.store();
        let (slot, recovery) = wrap_with_recovery(&lab.master, lab.domain).unwrap();
        block_on(put_slot(vault, &slot)).unwrap();
        let slot = wrap_with_machine(&lab.master, &[7; 32], lab.domain, one.server).unwrap();
        let slot: SlotId = block_on(put_slot(vault, &slot)).unwrap();
        let record = lockstone_proto::job::JobRecord {
            version: 1,
            vault_id: lab.vault.id().0.to_vec().into(),
            server_id: one.server.0.to_vec().into(),
            job_id: vec![1; 16].into(),
            kind: lockstone_proto::job::JobKind::Backup.into(),
            ..Default::default()
        };
        block_on(write_job(vault, &record, Author::Server(&one.key))).unwrap();
        // The first of two, so that it is missed when it is gone.
        for tenant in ["one", "two"] {
            block_on(lab.vault.set_tenant(&lab.operator, Some(tenant.to_owned()), now())).unwrap();
        }
        let server = one.server;
        let one = lab.open(Some(one), "one");
        lab.backup(&one, 1, &files(1));
        let (log, objects) = (one.view().points[0].n, lab.objects());
        let segment = objects.iter().find(|name| name.contains("/segments/")).unwrap().clone();
        let pack_of = |kind: ChunkKind| {
            let mut found = None;
            for first in 0..=u8::MAX {
                let index = one.index();
                index
                    .packs_beginning(first, &mut |id, number| {
                        if index.pack(number).unwrap().unwrap().kind == kind {
                            found = Some(names::pack(lab.domain, &id));
                        }
                        true
                    })
                    .unwrap();
            }
            found.unwrap()
        };
        let objects = vec![
            (Class::Descriptor, names::DESCRIPTOR.to_owned()),
            (Class::Registration, names::registration(server)),
            (Class::Order, names::order(1)),
            (Class::Slot, names::slot(lab.domain, slot)),
            (Class::Log, names::log_entry(lab.domain, log)),
            (Class::Segment, segment),
            (Class::DataPack, pack_of(ChunkKind::Data)),
            (Class::TreePack, pack_of(ChunkKind::Tree)),
            (Class::Job, names::job(server, JobId([1; 16]), 0)),
        ];
        drop(one);
        lab.backup(&lab.open(Some(two), "two"), 2, &files(2));
        Self {
            store,
            lab,
            recovery: recovery.to_string(),
            objects,
        }
    }

    fn harm(&self, name: &str, harm: Harm) {
        let store = self.lab.vault.store();
        let whole = block_on(store.get(name, 1 << 20)).unwrap();
        let object = match harm {
            Harm::Failing(errno) => return self.store.rot_with(name, errno),
            Harm::Missing => None,
            Harm::Short => Some(whole.slice(..whole.len() / 2)),
            Harm::Flipped => {
                let mut bytes = whole.to_vec();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                Some(Bytes::from(bytes))
            }
        };
        block_on(self.store.replace(name, object));
    }

    /// The domain as the second server opens it, with a cache of that name.
    fn open(&self, cache: &str) -> Arc<Domain> {
        let options = DomainOptions {
            signer: Some(Signer {
                server: ServerId([2; 16]),
                key: ed25519_dalek::SigningKey::from_bytes(&[2; 32]),
            }),
            ..read_only(self.lab.cache(cache))
        };
        block_on(async {
            let pin = self.lab.vault.pin();
            let (vault, _) = Vault::open_pinned(self.lab.vault.store().clone(), &pin).await.unwrap();
            Domain::open(&vault, self.lab.domain, &self.lab.master, options)
                .await
                .unwrap()
                .0
        })
    }
}

fn restores(domain: &Domain, view: &LogView, point: u8) -> bool {
    let Some(point) = view.point(&PointId([point; 16])) else {
        return false;
    };
    block_on(read_all(domain, point.root())).values().all(Result::is_ok)
}

/// One row of the table: list, restore, check and backup, in this order, with one harmed object.
fn row(class: Class, harm: Harm) {
    let bench = Bench::new();
    let name = &bench.objects.iter().find(|(of, _)| *of == class).unwrap().1;
    bench.harm(name, harm);
    let what = format!("{class:?} {harm:?}");

    let domain = bench.open("cold");
    let view = block_on(domain.refresh()).unwrap();
    let listed: Vec<u8> = view.points.iter().map(|point| point.id.0[0]).collect();
    let wanted: &[u8] = if class == Class::Log { &[2] } else { &[1, 2] };
    assert_eq!(listed, wanted, "list: {what}");
    assert_eq!(
        view.log_damaged,
        matches!(class, Class::Log | Class::Registration),
        "{what}"
    );

    let costs = matches!(class, Class::Log | Class::Segment | Class::DataPack | Class::TreePack);
    assert_eq!(restores(&domain, &view, 1), !costs, "restore: {what}");
    assert!(restores(&domain, &view, 2), "restore: {what}");
    let store = bench.lab.vault.store();
    let opened = block_on(open_with_recovery(store, bench.lab.domain, &bench.recovery));
    assert!(opened.is_ok(), "the other slot: {what}");
    let opened = block_on(open_with_machine(store, bench.lab.domain, ServerId([1; 16]), &[7; 32]));
    assert_eq!(opened.is_ok(), class != Class::Slot, "the slot: {what}");
    assert!(block_on(list_slots(store, bench.lab.domain)).is_ok(), "{what}");

    let report = block_on(check(&domain, &READ_DATA, &Inline, &|_| (), &|| false)).unwrap();
    let named = report.damaged.iter().any(|damage| damage.object == *name);
    // What names nothing else is not missed.
    let unnoticed = harm == Harm::Missing && matches!(class, Class::Slot | Class::Job);
    assert_eq!(named, !unnoticed, "check: {what}: {:?}", report.damaged);
    assert_eq!(report.points, view.points.len() as u64, "check: {what}");

    // The files of the lost point are backed up again: nothing of them is taken for granted.
    bench.lab.backup(&domain, 3, &files(1));
    drop(domain);
    let fresh = bench.open("fresh");
    let view = block_on(fresh.refresh()).unwrap();
    assert!(
        restores(&fresh, &view, 3) && restores(&fresh, &view, 2),
        "backup: {what}"
    );
}

#[test]
fn each_object_costs_what_it_holds_whatever_its_fault() {
    for class in CLASSES {
        for harm in HARMS {
            row(class, harm);
        }
    }
}

#[test]
fn a_lost_pack_whose_content_is_stored_again_is_harmless() {
    for class in [Class::DataPack, Class::TreePack] {
        let bench = Bench::new();
        let name = &bench.objects.iter().find(|(of, _)| *of == class).unwrap().1;
        bench.harm(name, Harm::Missing);
        let domain = bench.open("cold");
        let look = || block_on(check(&domain, &READ_DATA, &Inline, &|_| (), &|| false)).unwrap();
        assert!(!look().is_ok());
        bench.lab.backup(&domain, 3, &files(1));
        let report = look();
        assert!(report.is_ok(), "{:?}", report.damaged);
        assert_eq!(report.harmless.len(), 1);
        assert_eq!(report.harmless[0].object, *name);
        assert!(report.harmless[0].reason.contains(NOT_NEEDED));
    }
}

#[test]
fn what_only_a_lost_segment_lists_is_stored_again_by_a_machine_that_had_read_it() {
    for class in [Class::Log, Class::Segment] {
        let bench = Bench::new();
        let domain = bench.open("warm");
        block_on(domain.refresh()).unwrap();
        let name = match class {
            // The entry that names the segment.
            Class::Log => names::log_entry(bench.lab.domain, 1),
            _ => bench.objects.iter().find(|(of, _)| *of == class).unwrap().1.clone(),
        };
        bench.harm(&name, Harm::Missing);
        let look = |domain| block_on(check(domain, &READ_DATA, &Inline, &|_| (), &|| false)).unwrap();
        let report = look(&domain);
        let named = report.damaged.iter().find(|damage| damage.object == name);
        assert!(named.is_some(), "{class:?}: {:?}", report.damaged);
        bench.lab.backup(&domain, 3, &files(1));
        let fresh = bench.open("fresh");
        let view = block_on(fresh.refresh()).unwrap();
        assert!(restores(&fresh, &view, 3) && restores(&fresh, &view, 1), "{class:?}");
        if class == Class::Segment {
            for domain in [&domain, &fresh] {
                let report = look(domain);
                assert!(report.is_ok(), "{:?}", report.damaged);
                assert_eq!(report.harmless[0].object, name);
            }
        }
    }
}

#[test]
fn a_backup_behind_a_lost_condemn_does_not_rely_on_what_it_condemned() {
    let bench = Bench::new();
    let domain = bench.open("two");
    let pack = &bench.objects.iter().find(|(of, _)| *of == Class::DataPack).unwrap().1;
    let id: PackId = pack.rsplit('/').next().unwrap().parse().unwrap();
    let n = block_on(domain.append_condemn(&[], &[id], now())).unwrap().n;
    bench.lab.backup(&domain, 3, &files(3));
    drop(domain);
    // The entry is lost, and the pack was deleted, as it said.
    bench.harm(&names::log_entry(bench.lab.domain, n), Harm::Flipped);
    bench.harm(pack, Harm::Missing);
    let domain = bench.open("cold");
    assert!(block_on(domain.refresh()).unwrap().log_damaged);
    assert_eq!(block_on(domain.distrust_missing()).unwrap(), 1);
    bench.lab.backup(&domain, 4, &files(1));
    let fresh = bench.open("fresh");
    let view = block_on(fresh.refresh()).unwrap();
    assert!(restores(&fresh, &view, 4));
}
