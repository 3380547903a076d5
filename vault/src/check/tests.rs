//! Tests of check: an undamaged vault is found whole. Any harm to any object is found and reported with the right
//! paths. What is not reported can still be restored.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use lockstone_proto::ids::{PointId, ServerId};
use lockstone_proto::vault::ChunkKind;

use super::*;
use crate::access::job_records::{Author, write_job};
use crate::crypto::slot_store::put_slot;
use crate::crypto::slots::{KdfParams, Passphrase, wrap_with_passphrase};
use crate::domain::DomainOptions;
use crate::testing::{Lab, block_on, now, read_all};

const ALL: CheckOptions = CheckOptions {
    read_data: Some(100.0),
    sample: 0,
    workers: 3,
    ..CheckOptions::STRUCTURE
};
const STRUCTURE: CheckOptions = CheckOptions { read_data: None, ..ALL };

fn content(seed: u8, len: usize) -> Vec<u8> {
    // Not compressible, so that frames have some length.
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

fn first_files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("/etc/hosts", content(1, 300)),
        ("/home/a/large", content(2, 9000)),
        ("/home/a/small", content(3, 50)),
        ("/home/b/note", content(4, 500)),
        ("/empty/", vec![]),
    ]
}

/// Two points that share most files, with a slot, a job record and a registration beside them.
fn lab() -> Lab {
    let lab = Lab::new();
    let signer = lab.server(1);
    let passphrase = Passphrase::new("a long enough passphrase".into()).unwrap();
    let kdf = KdfParams {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };
    let slot = wrap_with_passphrase(&lab.master, &passphrase, kdf, lab.domain).unwrap();
    block_on(put_slot(lab.vault.store(), &slot)).unwrap();
    let record = lockstone_proto::job::JobRecord {
        version: 1,
        vault_id: lab.vault.id().0.to_vec().into(),
        server_id: signer.server.0.to_vec().into(),
        job_id: vec![1; 16].into(),
        kind: lockstone_proto::job::JobKind::Backup.into(),
        ..Default::default()
    };
    block_on(write_job(lab.vault.store(), &record, Author::Server(&signer.key))).unwrap();
    let domain = lab.open(Some(signer), "writer");
    lab.backup(&domain, 1, &first_files());
    let mut second = first_files();
    second[3].1 = content(5, 600);
    second.push(("/new", content(6, 2000)));
    lab.backup(&domain, 2, &second);
    lab
}

fn open(lab: &Lab, cache: &str) -> Arc<Domain> {
    let options = DomainOptions {
        trusted: vec![(
            ServerId([1; 16]),
            ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key(),
        )],
        ..crate::testing::read_only(lab.cache(cache))
    };
    block_on(async {
        let (vault, _) = Vault::open_pinned(lab.vault.store().clone(), &lab.vault.pin())
            .await
            .unwrap();
        Domain::open(&vault, lab.domain, &lab.master, options).await.unwrap().0
    })
}

fn run(domain: &Arc<Domain>, options: &CheckOptions) -> CheckReport {
    block_on(check(domain, options, &Inline, &|_| (), &|| false)).unwrap()
}

#[test]
fn a_whole_vault_is_found_whole() {
    let lab = lab();
    let domain = open(&lab, "fresh");
    for options in [STRUCTURE, ALL] {
        let report = run(&domain, &options);
        assert!(report.is_ok(), "{:?}", report.damaged);
        assert_eq!((report.points, report.packs), (2, 4));
        // Ten chunks of the first point's five files and of the second's two new ones, shared folders once.
        assert!(report.chunks >= 12, "{}", report.chunks);
        assert_eq!(report.packs_read, if options.read_data.is_some() { 4 } else { 0 });
    }
    let none = CheckOptions {
        read_data: Some(0.0),
        ..ALL
    };
    assert_eq!(run(&domain, &none).packs_read, 0);
    let some: u64 = (0..16)
        .map(|sample| {
            run(
                &domain,
                &CheckOptions {
                    read_data: Some(50.0),
                    sample,
                    ..ALL
                },
            )
            .packs_read
        })
        .sum();
    assert!((16..=48).contains(&some), "{some}");
}

fn later(options: CheckOptions, days: i64) -> CheckOptions {
    CheckOptions {
        now: now() + jiff::SignedDuration::from_hours(24 * days),
        ..options
    }
}

#[test]
fn a_check_of_everything_that_was_stopped_goes_on() {
    let lab = lab();
    let domain = open(&lab, "fresh");
    let options = CheckOptions { workers: 1, ..ALL };
    let stopped_after = |packs: u64, days| {
        let read = AtomicU64::new(0);
        let show = |seen: CheckProgress| read.store(seen.packs_read, Ordering::Relaxed);
        let cancelled = || read.load(Ordering::Relaxed) >= packs;
        block_on(check(&domain, &later(options, days), &Inline, &show, &cancelled)).unwrap()
    };
    let first = stopped_after(1, 0);
    assert!(first.cancelled && first.packs_read < 4, "{first:?}");
    let second = stopped_after(1, 1);
    assert!(second.cancelled && second.packs_read_before == first.packs_read);
    let third = run(&domain, &later(options, 2));
    let before = first.packs_read + second.packs_read;
    assert_eq!((third.packs_read, third.packs_read_before), (4 - before, before));
    assert!(third.is_ok());
    // It has ended, so the next one reads everything. So does one after a stop that was long ago.
    assert_eq!(run(&domain, &later(options, 2)).packs_read, 4);
    assert!(stopped_after(1, 3).cancelled);
    assert_eq!(run(&domain, &later(options, 11)).packs_read, 4);
    // What was found damaged is read again, whatever was read before.
    let pack = lab.objects().into_iter().find(|name| name.contains("/packs/")).unwrap();
    let whole = std::fs::read(lab.path(&pack)).unwrap();
    std::fs::write(
        lab.path(&pack),
        [&whole[..100], &[whole[100] ^ 1], &whole[101..]].concat(),
    )
    .unwrap();
    assert!(!run(&domain, &later(options, 12)).is_ok());
    for _ in 0..2 {
        let structure = run(&domain, &later(STRUCTURE, 12));
        assert!(!structure.is_ok() && structure.packs_read == 1, "it is remembered");
    }
    std::fs::write(lab.path(&pack), whole).unwrap();
    assert!(run(&domain, &later(STRUCTURE, 12)).is_ok());
    assert_eq!(run(&domain, &later(STRUCTURE, 12)).packs_read, 0);
}

#[test]
fn what_was_not_read_for_the_longest_time_is_read_first() {
    let lab = lab();
    let domain = open(&lab, "fresh");
    let some = CheckOptions {
        read_data: Some(1.0),
        ..ALL
    };
    // A small share is one pack; four of them are all packs.
    for days in 0..4 {
        assert_eq!(run(&domain, &later(some, days)).packs_read, 1);
        let reading = domain.index().reading(later(some, days).now).unwrap();
        assert_eq!(reading.bytes_never_read == 0, days == 3);
    }
    let reading = domain.index().reading(later(some, 4).now).unwrap();
    assert_eq!(reading.unread_since_s, Some(now().as_second()));
    // Within four days: at least one a day, and what would be late tomorrow.
    let round = CheckOptions {
        round: Some(std::time::Duration::from_secs(4 * 86_400)),
        ..STRUCTURE
    };
    for days in 4..12 {
        assert!(run(&domain, &later(round, days)).packs_read >= 1);
        let reading = domain.index().reading(later(round, days).now).unwrap();
        let oldest = later(round, days).now.as_second() - reading.unread_since_s.unwrap();
        assert!(oldest < 4 * 86_400, "{days}: {oldest}");
    }
    // After a long time nobody looked, everything is late.
    assert_eq!(run(&domain, &later(round, 100)).packs_read, 4);
    // A clock that was set back makes nothing look read that was not.
    assert!(domain.index().reading(now()).unwrap().bytes_never_read > 0);
}

#[test]
fn a_check_can_be_cancelled_and_says_how_far_it_is() {
    let lab = lab();
    let domain = open(&lab, "fresh");
    let calls = AtomicU64::new(0);
    let cancelled = || calls.fetch_add(1, Ordering::Relaxed) > 3;
    let report = block_on(check(&domain, &ALL, &Inline, &|_| (), &cancelled)).unwrap();
    assert!(report.cancelled && !report.is_ok());
    let seen = std::sync::Mutex::new(BTreeSet::new());
    block_on(check(
        &domain,
        &ALL,
        &Inline,
        &|step: CheckProgress| {
            seen.lock().unwrap().insert(step.what);
        },
        &|| false,
    ))
    .unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        BTreeSet::from(["data", "log", "packs", "points"])
    );
}

type Files = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

fn all_files(domain: &Domain, view: &LogView) -> BTreeMap<(u8, Vec<u8>), Result<Vec<u8>, VaultError>> {
    let mut all = BTreeMap::new();
    for point in &view.points {
        for (path, content) in block_on(read_all(domain, point.root())) {
            all.insert((point.id.0[0], path), content);
        }
    }
    all
}

/// Harms every object of the vault in turn; each time the harm must be found, and everything it did not cost must be
/// there.
fn harm_everything(options: &CheckOptions, found_always: bool, harm: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let lab = lab();
    let whole: Files = {
        let domain = open(&lab, "whole");
        let view = block_on(domain.refresh()).unwrap();
        all_files(&domain, &view)
            .into_iter()
            .map(|(at, content)| (at, content.unwrap()))
            .collect()
    };
    assert_eq!(whole.len(), 4 + 5);
    for (round, object) in lab.objects().into_iter().enumerate() {
        let path = lab.path(&object);
        let good = std::fs::read(&path).unwrap();
        match harm(&good) {
            Some(bad) => std::fs::write(&path, bad).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let domain = open(&lab, &format!("harmed {round}"));
        let report = run(&domain, options);
        let view = domain.view();
        let harmless =
            object.contains("/keys/") || object.starts_with("jobs/") || object.contains("/log/0000000000000004");
        let silent_if_missing = !path.exists() && harmless;
        if found_always && !silent_if_missing {
            assert!(!report.is_ok(), "{object}");
            assert!(
                report.damaged.iter().any(|damage| damage.object == object),
                "{object}: {:?}",
                report.damaged
            );
        }
        // What can be read is right, and what cannot is reported with its point.
        let named: BTreeSet<(PointId, &[u8])> = report
            .damaged
            .iter()
            .flat_map(|damage| {
                damage
                    .points
                    .iter()
                    .flat_map(|point| damage.paths.iter().map(|path| (*point, path.as_slice())))
            })
            .collect();
        for (at, content) in all_files(&domain, &view) {
            match content {
                Ok(content) => assert_eq!(whole.get(&at), Some(&content), "{object}: {at:?}"),
                Err(error) => {
                    assert!(error.is_damage(), "{object}: {error}");
                    let point = PointId([at.0; 16]);
                    let path = if at.1.is_empty() { b"/".as_slice() } else { &at.1 };
                    assert!(
                        !found_always || named.contains(&(point, path)),
                        "{object}: {at:?} is lost but not named"
                    );
                }
            }
        }
        drop(domain);
        std::fs::write(&path, good).unwrap();
    }
}

#[test]
fn a_flipped_byte_anywhere_is_found_and_costs_no_more_than_is_named() {
    for place in [0.0, 0.3, 0.5, 0.9, 0.999_999] {
        harm_everything(&ALL, true, |good| {
            let mut bad = good.to_vec();
            let at = (good.len() as f64 * place) as usize;
            bad[at] ^= 0x04;
            Some(bad)
        });
    }
}

#[test]
fn an_object_that_is_cut_off_is_found_without_reading_data() {
    for part in [0, 50, 99] {
        harm_everything(&STRUCTURE, true, |good| Some(good[..good.len() * part / 100].to_vec()));
    }
    harm_everything(&STRUCTURE, true, |good| Some([good, b"more"].concat()));
}

#[test]
fn a_missing_object_is_found_without_reading_data() {
    harm_everything(&STRUCTURE, true, |_| None);
}

#[test]
fn a_damaged_frame_costs_only_the_files_in_it() {
    let lab = lab();
    let domain = open(&lab, "fresh");
    block_on(domain.refresh()).unwrap();
    // The chunk of one small file, in the first frame of the first data pack.
    let id = lab.keys.chunk_id(ChunkKind::Data, &content(4, 500));
    let place = domain.index().lookup(&[id]).unwrap()[0].unwrap();
    let pack = domain.index().pack(place.pack).unwrap().unwrap();
    let frame = pack.frames[place.frame as usize];
    let path = lab.path(&names::pack(lab.domain, &pack.id));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[frame.offset as usize + 5] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    // Its length is right, so that only reading shows it.
    assert!(run(&domain, &STRUCTURE).is_ok());
    let report = run(&domain, &ALL);
    assert_eq!(report.damaged.len(), 1);
    let damage = &report.damaged[0];
    assert_eq!(
        (damage.kind, damage.object.as_str()),
        (DamageKind::Pack, names::pack(lab.domain, &pack.id).as_str())
    );
    assert!(damage.paths.contains(&b"/home/b/note".to_vec()), "{:?}", damage.paths);
    assert!(!damage.paths.contains(&b"/etc/hosts".to_vec()), "{:?}", damage.paths);
    assert!(damage.points.contains(&PointId([1; 16])));
}

#[test]
fn damage_that_several_points_share_names_them_all() {
    let lab = lab();
    let domain = open(&lab, "fresh");
    block_on(domain.refresh()).unwrap();
    let id = lab.keys.chunk_id(ChunkKind::Data, &content(1, 300));
    let place = domain.index().lookup(&[id]).unwrap()[0].unwrap();
    let pack = domain.index().pack(place.pack).unwrap().unwrap();
    std::fs::remove_file(lab.path(&names::pack(lab.domain, &pack.id))).unwrap();
    let report = run(&domain, &STRUCTURE);
    assert_eq!(report.damaged.len(), 1);
    assert_eq!(report.damaged[0].points, [PointId([1; 16]), PointId([2; 16])]);
    assert!(report.damaged[0].paths.contains(&b"/etc/hosts".to_vec()));
    // A forgotten point is not checked.
    let writer = lab.open(
        Some(crate::domain::Signer {
            server: ServerId([1; 16]),
            key: ed25519_dalek::SigningKey::from_bytes(&[1; 32]),
        }),
        "writer",
    );
    block_on(writer.forget(&[PointId([2; 16])], now())).unwrap();
    assert_eq!(run(&domain, &STRUCTURE).damaged[0].points, [PointId([1; 16])]);
}

#[test]
fn a_log_entry_that_only_the_cache_still_knows_is_named_with_its_point() {
    let lab = lab();
    let domain = open(&lab, "fresh");
    let n = block_on(domain.refresh()).unwrap().points[0].n;
    std::fs::write(lab.path(&names::log_entry(lab.domain, n)), "garbage").unwrap();
    let report = run(&domain, &STRUCTURE);
    let damage = report
        .damaged
        .iter()
        .find(|damage| damage.kind == DamageKind::Log)
        .unwrap();
    assert_eq!(damage.points, [PointId([1; 16])]);
    // It still restores from here.
    let view = domain.view();
    assert!(all_files(&domain, &view).values().all(Result::is_ok));
}

#[test]
fn work_on_packs_can_be_spread() {
    struct Tokio;
    impl Spawn for Tokio {
        fn spawn(&self, work: BoxFuture<'static, PackOutcome>) -> BoxFuture<'static, PackOutcome> {
            let task = tokio::spawn(work);
            Box::pin(async { task.await.unwrap() })
        }
    }
    let lab = lab();
    let domain = open(&lab, "fresh");
    let report = block_on(check(&domain, &ALL, &Tokio, &|_| (), &|| false)).unwrap();
    assert!(report.is_ok());
    assert_eq!(report.packs_read, 4);
}
