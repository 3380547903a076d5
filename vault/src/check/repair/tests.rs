//! Tests of repair: what can be healed is healed for every machine of the domain, what cannot is written down, the rest
//! restores, and the next check is clean. A repair can be stopped anywhere, and done again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockstone_proto::ids::{JobId, PackId, PointId};
use lockstone_proto::vault::ChunkKind;

use super::super::{CheckOptions, CheckReport, Inline, check};
use crate::access::job_records::{Author, write_job};
use crate::damage::DamageKind;
use crate::domain::{Domain, Signer};
use crate::log::LogView;
use crate::store::names;
use crate::testing::{Lab, block_on, now, read_all};

const READ: CheckOptions = CheckOptions {
    read_data: Some(100.0),
    ..CheckOptions::STRUCTURE
};

fn repair_options() -> CheckOptions {
    CheckOptions {
        repair: true,
        now: now(),
        ..READ
    }
}

fn content(n: u8) -> Vec<u8> {
    let mut bytes = vec![0; 700];
    blake3::Hasher::new().update(&[n]).finalize_xof().fill(&mut bytes);
    bytes
}

const NAMES: [&str; 12] = [
    "/a/1", "/a/2", "/a/3", "/a/4", "/b/1", "/b/2", "/b/3", "/b/4", "/c/1", "/c/2", "/c/3", "/c/4",
];

/// The files of the first point, or of the second one, which has others in its folders.
fn files(point: u8) -> Vec<(&'static str, Vec<u8>)> {
    let numbers = NAMES.iter().zip(0..);
    numbers.map(|(name, at)| (*name, content(point * 100 + at))).collect()
}

/// A vault with two points that share nothing, and the machine that made them.
struct Bench {
    lab: Lab,
    one: Arc<Domain>,
}

impl Bench {
    fn new() -> Self {
        let lab = Lab::new();
        let signer = lab.server(1);
        let record = lockstone_proto::job::JobRecord {
            version: 1,
            vault_id: lab.vault.id().0.to_vec().into(),
            server_id: signer.server.0.to_vec().into(),
            job_id: vec![1; 16].into(),
            kind: lockstone_proto::job::JobKind::Backup.into(),
            ..Default::default()
        };
        block_on(write_job(lab.vault.store(), &record, Author::Server(&signer.key))).unwrap();
        let one = lab.open(Some(signer), "one");
        lab.backup(&one, 1, &files(1));
        lab.backup(&one, 2, &files(2));
        Self { lab, one }
    }

    /// The same server without its cache.
    fn without_cache(mut self) -> Self {
        let signer = Signer {
            server: self.one.server().unwrap(),
            key: ed25519_dalek::SigningKey::from_bytes(&[1; 32]),
        };
        self.one = self.lab.open(Some(signer), "one again");
        self
    }

    /// The pack of that kind with the largest or smallest number.
    fn pack(&self, kind: ChunkKind, last: bool) -> PackId {
        let index = self.one.index();
        let mut found: Vec<(u32, PackId)> = Vec::new();
        for first in 0..=u8::MAX {
            index
                .packs_beginning(first, &mut |id, number| {
                    if index.pack(number).unwrap().unwrap().kind == kind {
                        found.push((number, id));
                    }
                    true
                })
                .unwrap();
        }
        found.sort_unstable();
        let (first, newest) = (found.first().unwrap().1, found.last().unwrap().1);
        if last { newest } else { first }
    }

    fn flip(&self, object: &str, at: usize) {
        let path = self.lab.path(object);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }

    fn remove(&self, object: &str) {
        std::fs::remove_file(self.lab.path(object)).unwrap();
    }

    fn named(&self, part: &str) -> Vec<String> {
        self.lab
            .objects()
            .into_iter()
            .filter(|name| name.contains(part))
            .collect()
    }

    fn repair(&self) -> CheckReport {
        run(&self.one, &repair_options())
    }

    /// A machine that sees the vault for the first time.
    fn fresh(&self, name: &str) -> (Arc<Domain>, Arc<LogView>) {
        let domain = self.lab.open(None, name);
        let view = block_on(domain.refresh()).unwrap();
        (domain, view)
    }

    /// Asserts that everything restores on a machine that sees the vault for the first time, and that a check is clean
    /// there and here.
    #[track_caller]
    fn all_is_well(&self, points: &[u8]) {
        let (domain, view) = self.fresh("fresh");
        assert!(view.damage.is_empty() && !view.log_damaged, "{:?}", view.damage);
        for point in points {
            assert_eq!(lost(&domain, &view, *point), Vec::<String>::new(), "point {point}");
        }
        for domain in [&domain, &self.one] {
            let report = run(domain, &READ);
            assert!(report.is_ok(), "{:?}", report.damaged);
        }
    }
}

fn run(domain: &Arc<Domain>, options: &CheckOptions) -> CheckReport {
    block_on(check(domain, options, &Inline, &|_| (), &|| false)).unwrap()
}

/// The files of a point that cannot be read.
fn lost(domain: &Domain, view: &LogView, point: u8) -> Vec<String> {
    let point = view.point(&PointId([point; 16])).unwrap();
    let all = block_on(read_all(domain, point.root()));
    assert!(all.len() == NAMES.len(), "{:?}", all.keys());
    let lost = all.into_iter().filter(|(_, content)| content.is_err());
    lost.map(|(path, _)| String::from_utf8(path).unwrap()).collect()
}

#[test]
fn a_whole_vault_is_not_touched() {
    let bench = Bench::new();
    let before = bench.lab.objects();
    let report = bench.repair();
    assert!(report.is_ok() && report.repaired.is_empty() && report.not_repaired.is_none());
    assert_eq!(bench.lab.objects(), before);
}

#[test]
fn what_is_whole_in_a_damaged_pack_is_copied_and_lost_files_are_marked_until_they_are_healed() {
    let bench = Bench::new();
    let pack = bench.pack(ChunkKind::Data, false);
    let name = names::pack(bench.lab.domain, &pack);
    bench.flip(&name, 100);
    let report = bench.repair();
    // The chunks of three files lay in the frame that is lost.
    assert_eq!(report.damaged.len(), 1, "{:?}", report.damaged);
    assert_eq!(report.damaged[0].points, [PointId([1; 16])]);
    let (domain, view) = bench.fresh("reader");
    assert_eq!(view.lossy, [PointId([1; 16])]);
    assert_eq!(domain.index().still_bad().unwrap().len(), 1, "every machine knows it");
    let gone = lost(&domain, &view, 1);
    assert_eq!(gone.len(), 3, "{gone:?}");
    // Nothing relies on the damaged object any more: the rest is in a new one.
    bench.remove(&name);
    let (domain, view) = bench.fresh("without it");
    assert_eq!(lost(&domain, &view, 1), gone);
    assert!(lost(&domain, &view, 2).is_empty());
    // Done again, it does nothing.
    let head = block_on(bench.one.refresh()).unwrap().head;
    assert!(bench.repair().repaired.is_empty());
    assert_eq!(block_on(bench.one.refresh()).unwrap().head, head);

    // The source still has the files: the next backup heals the old point, too.
    bench.lab.backup(&bench.one, 3, &files(1));
    assert!(run(&bench.one, &READ).is_ok());
    let report = bench.repair();
    assert!(report.is_ok(), "{:?}", report.damaged);
    assert!(
        report
            .repaired
            .iter()
            .any(|repaired| repaired.how.contains("no recovery point needs it"))
    );
    bench.all_is_well(&[1, 2, 3]);
    let (domain, view) = bench.fresh("afterwards");
    assert!(view.lossy.is_empty() && domain.index().still_bad().unwrap().is_empty());
}

#[test]
fn a_pack_whose_header_or_directory_is_damaged_loses_nothing() {
    for (kind, from_the_end) in [(ChunkKind::Data, false), (ChunkKind::Tree, true)] {
        let bench = Bench::new();
        let name = names::pack(bench.lab.domain, &bench.pack(kind, false));
        let len = std::fs::metadata(bench.lab.path(&name)).unwrap().len() as usize;
        bench.flip(&name, if from_the_end { len - 30 } else { 50 });
        assert!(!run(&bench.one, &READ).is_ok());
        let report = bench.repair();
        assert!(report.is_ok(), "{:?}", report.damaged);
        bench.remove(&name);
        bench.all_is_well(&[1, 2]);
    }
}

#[test]
fn lost_pages_come_from_the_cache() {
    for missing in [true, false] {
        let bench = Bench::new();
        let name = names::pack(bench.lab.domain, &bench.pack(ChunkKind::Tree, false));
        // The pages are in the cache of a machine that has read them.
        let view = block_on(bench.one.refresh()).unwrap();
        assert!(lost(&bench.one, &view, 1).is_empty());
        match missing {
            true => bench.remove(&name),
            false => bench.flip(&name, 100),
        }
        let report = bench.repair();
        assert!(report.is_ok(), "{:?}", report.damaged);
        bench.all_is_well(&[1, 2]);
    }
}

#[test]
fn a_segment_is_made_again_from_the_packs() {
    for (cached, flipped) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut bench = Bench::new();
        for segment in bench.named("/segments/") {
            match flipped {
                true => bench.flip(&segment, 90),
                false => bench.remove(&segment),
            }
        }
        if !cached {
            bench = bench.without_cache();
        }
        assert!(!run(&bench.one, &READ).is_ok());
        let report = bench.repair();
        assert!(report.is_ok(), "{:?}", report.damaged);
        assert!(bench.one.index().still_bad().unwrap().is_empty());
        bench.all_is_well(&[1, 2]);
    }
}

#[test]
fn a_lost_log_entry_is_put_back_from_the_cache() {
    for flipped in [false, true] {
        // Entries: segments, point 1, segments, point 2.
        for n in 1..=3 {
            let bench = Bench::new();
            let name = names::log_entry(bench.lab.domain, n);
            let whole = std::fs::read(bench.lab.path(&name)).unwrap();
            match flipped {
                true => bench.flip(&name, 40),
                false => bench.remove(&name),
            }
            let report = bench.repair();
            assert!(report.is_ok(), "{n}: {:?}", report.damaged);
            assert_eq!(std::fs::read(bench.lab.path(&name)).unwrap(), whole);
            assert_eq!(bench.named("quarantine/").len(), usize::from(flipped));
            bench.all_is_well(&[1, 2]);
        }
    }
}

#[test]
fn several_lost_entries_are_put_back_together() {
    let bench = Bench::new();
    for n in [1, 2, 3] {
        bench.remove(&names::log_entry(bench.lab.domain, n));
    }
    let report = bench.repair();
    assert!(report.is_ok(), "{:?}", report.damaged);
    bench.all_is_well(&[1, 2]);
}

#[test]
fn a_log_entry_that_nobody_knows_is_written_down_as_lost() {
    for flipped in [false, true] {
        let bench = Bench::new();
        for n in [1, 2] {
            let name = names::log_entry(bench.lab.domain, n);
            match flipped {
                true => bench.flip(&name, 40),
                false => bench.remove(&name),
            }
        }
        let bench = bench.without_cache();
        assert!(block_on(bench.one.refresh()).unwrap().log_damaged);
        let report = bench.repair();
        assert!(report.is_ok(), "{:?}", report.damaged);
        // The first point is gone. What its packs hold is known again.
        let (domain, view) = bench.fresh("reader");
        assert_eq!(view.points.len(), 1);
        let chunk = bench.lab.keys.chunk_id(ChunkKind::Data, &content(100));
        assert!(domain.index().lookup(&[chunk]).unwrap()[0].is_some());
        bench.all_is_well(&[2]);
        let operators = block_on(bench.lab.vault.points(bench.lab.domain)).unwrap();
        assert_eq!(operators.0.len(), 1);
    }
}

#[test]
fn a_lost_condemn_counts_for_nobody_not_even_for_who_knows_it() {
    let bench = Bench::new();
    let two = bench.lab.open(Some(bench.lab.server(2)), "two");
    let pack = bench.pack(ChunkKind::Data, true);
    let n = block_on(two.append_condemn(&[], &[pack], now())).unwrap().n;
    bench.lab.backup(&two, 3, &files(1));
    assert!(two.index().is_condemned(&pack));
    // The other machine has not seen it, and the entry is lost.
    bench.flip(&names::log_entry(bench.lab.domain, n), 40);
    let bench = bench.without_cache();
    let report = bench.repair();
    assert!(report.is_ok(), "{:?}", report.damaged);
    assert!(!bench.one.index().is_condemned(&pack));
    block_on(two.refresh()).unwrap();
    assert!(!two.index().is_condemned(&pack));
    bench.all_is_well(&[1, 2, 3]);
}

#[test]
fn what_stands_behind_the_last_entry_counts_as_none() {
    let bench = Bench::new();
    let name = names::log_entry(bench.lab.domain, 5);
    std::fs::write(bench.lab.path(&name), b"junk").unwrap();
    assert!(!run(&bench.one, &READ).is_ok());
    assert!(bench.repair().is_ok());
    bench.all_is_well(&[1, 2]);

    // The last entry itself is damaged. This machine saw it, and puts it back once an entry stands behind it.
    let bench = Bench::new();
    let name = names::log_entry(bench.lab.domain, 4);
    bench.flip(&name, 40);
    let report = bench.repair();
    assert!(report.is_ok(), "{:?}", report.damaged);
    bench.all_is_well(&[1, 2]);
}

#[test]
fn a_damaged_job_record_is_moved_aside() {
    let bench = Bench::new();
    let name = names::job(bench.one.server().unwrap(), JobId([1; 16]), 0);
    for times in 1..=2 {
        let whole = std::fs::read(bench.lab.path(&name)).unwrap();
        bench.flip(&name, 10 * times);
        let report = bench.repair();
        assert!(
            report.is_ok() && report.repaired[0].kind == DamageKind::Job,
            "{:?}",
            report.damaged
        );
        assert_eq!(bench.named("quarantine/").len(), times);
        assert!(!bench.lab.path(&name).exists());
        std::fs::write(bench.lab.path(&name), whole).unwrap();
    }
}

#[test]
fn a_pack_that_is_whole_again_is_trusted_again() {
    let bench = Bench::new();
    let name = names::pack(bench.lab.domain, &bench.pack(ChunkKind::Data, true));
    let whole = std::fs::read(bench.lab.path(&name)).unwrap();
    bench.remove(&name);
    assert!(!bench.repair().is_ok());
    assert_eq!(bench.fresh("before").1.lossy, [PointId([2; 16])]);
    // Somebody has put it back from a copy of the vault.
    std::fs::write(bench.lab.path(&name), whole).unwrap();
    let report = bench.repair();
    assert!(report.is_ok(), "{:?}", report.damaged);
    let (domain, view) = bench.fresh("after");
    assert!(view.lossy.is_empty() && !domain.index().has_distrusted());
    bench.all_is_well(&[1, 2]);
}

#[test]
fn who_can_only_read_repairs_nothing_and_says_so() {
    let bench = Bench::new();
    bench.remove(&bench.named("/segments/")[0]);
    let before = bench.lab.objects();
    let reader = bench.lab.open(None, "reader");
    let report = run(&reader, &repair_options());
    assert!(report.not_repaired.is_some() && !report.is_ok());
    assert_eq!(bench.lab.objects(), before);
}

#[test]
fn a_repair_that_is_stopped_anywhere_can_be_done_again() {
    let mut stops = 0;
    loop {
        let bench = Bench::new();
        // The pages are at hand.
        let view = block_on(bench.one.refresh()).unwrap();
        assert!(lost(&bench.one, &view, 1).is_empty());
        bench.remove(&bench.named("/segments/")[0]);
        bench.remove(&names::pack(bench.lab.domain, &bench.pack(ChunkKind::Tree, false)));
        bench.flip(&names::log_entry(bench.lab.domain, 2), 40);
        bench.flip(&names::pack(bench.lab.domain, &bench.pack(ChunkKind::Data, true)), 50);
        let asked = AtomicU64::new(0);
        let cancelled = || asked.fetch_add(1, Ordering::Relaxed) >= stops;
        let report = block_on(check(&bench.one, &repair_options(), &Inline, &|_| (), &cancelled)).unwrap();
        let is_done = !report.cancelled;
        let report = bench.repair();
        assert!(report.is_ok(), "stopped after {stops}: {:?}", report.damaged);
        bench.all_is_well(&[1, 2]);
        if is_done {
            break;
        }
        stops += 37;
    }
    assert!(stops > 300, "{stops}");
}
