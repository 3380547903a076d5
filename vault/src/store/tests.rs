//! Tests of the store: the suite of promises on each kind of store, and faults that only a local folder can have.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::Mutex;
use std::time::Duration;

use object_store::memory::InMemory;

use super::observe::{Metered, Outcome, StoreObserver, Verb};
use super::*;
use crate::kind::Kind;
use crate::testing::store_suite::suite;
use crate::testing::{FailingStore, Fault, block_on};

#[test]
fn a_local_folder_keeps_the_promises_of_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    block_on(suite(&store)).unwrap();
    assert!(!folder.path().join("probe").exists());
}

#[test]
fn a_store_in_memory_keeps_them_too_and_so_does_a_decorated_one() {
    let store = Store::new(Arc::new(InMemory::new()), "memory://test");
    block_on(suite(&store)).unwrap();
    let observer = Arc::new(Seen::default());
    let store = Store::new(Arc::new(InMemory::new()), "memory://test")
        .decorated(|inner| Arc::new(Metered::new(inner, observer.clone())))
        .decorated(|inner| Arc::new(Retry::new(inner, RetryRule::default(), None)));
    block_on(suite(&store)).unwrap();
    let seen = observer.0.lock().unwrap();
    for wanted in [
        (Verb::Put, Outcome::Done),
        (Verb::Put, Outcome::Exists),
        (Verb::Get, Outcome::NotFound),
        (Verb::Get, Outcome::Done),
        (Verb::Head, Outcome::Done),
        (Verb::List, Outcome::Done),
        (Verb::Delete, Outcome::Done),
    ] {
        assert!(
            seen.iter().any(|(verb, outcome, _)| (*verb, *outcome) == wanted),
            "{wanted:?}"
        );
    }
    assert!(seen.iter().any(|(verb, _, bytes)| *verb == Verb::Put && *bytes == 5000));
}

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<(Verb, Outcome, u64)>>);

impl StoreObserver for Seen {
    fn finished(&self, verb: Verb, outcome: Outcome, _seconds: f64, bytes: u64) {
        self.0.lock().unwrap().push((verb, outcome, bytes));
    }
}

#[test]
fn a_folder_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    let url = format!("file://{}", path.display());
    assert!(matches!(Store::open(&url), Err(StoreError::NoFolder { .. })));
    assert!(!path.exists());
    let store = Store::open_or_make(&url, &StoreOptions::default()).unwrap();
    assert_eq!(
        store.local_root(),
        Some(std::fs::canonicalize(&path).unwrap().as_path())
    );

    // The folder is not made either when it vanishes while it is open, or when another folder takes its place.
    std::fs::remove_dir(&path).unwrap();
    let gone = block_on(store.create("a/b", Bytes::from_static(b"x"))).unwrap_err();
    assert!(gone.is_transient(), "{gone}");
    let gone = block_on(store.get("a/b", 10)).unwrap_err();
    assert!(gone.is_transient() && !gone.is_not_found(), "{gone}");
    assert!(!path.exists());
    std::fs::create_dir(folder.path().join("keep the inode number busy")).unwrap();
    std::fs::create_dir(&path).unwrap();
    if store.root.as_ref().unwrap().identity != identity(&path).unwrap() {
        assert!(block_on(store.create("a/b", Bytes::from_static(b"x"))).is_err());
    }
}

#[test]
fn urls_that_mean_nothing_here_are_refused() {
    assert!(matches!(Store::open("gopher://x"), Err(StoreError::Unsupported { .. })));
    assert!(matches!(Store::open("s3://"), Err(StoreError::BadUrl { .. })));
    assert!(matches!(Store::open(""), Err(StoreError::BadUrl { .. })));
    assert!(matches!(Store::open("file://host/dir"), Err(StoreError::BadUrl { .. })));
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(
        Store::open(file.path().to_str().unwrap()),
        Err(StoreError::BadUrl { .. })
    ));
}

#[test]
fn errors_of_the_system_are_told_apart() {
    let sorted = |errno: i32| {
        let io = std::io::Error::from_raw_os_error(errno);
        // As deep as the local store wraps them.
        let wrapped = std::io::Error::other(io);
        StoreError::sort(
            "x",
            &object_store::Error::Generic {
                store: "test",
                source: Box::new(wrapped),
            },
        )
    };
    use rustix::io::Errno;
    assert!(sorted(Errno::NOSPC.raw_os_error()).kind() == Kind::StoreFull);
    assert!(sorted(Errno::DQUOT.raw_os_error()).kind() == Kind::StoreFull);
    assert!(matches!(
        sorted(Errno::ROFS.raw_os_error()),
        StoreError::ReadOnly { .. }
    ));
    assert!(matches!(
        sorted(Errno::ACCESS.raw_os_error()),
        StoreError::Permission { .. }
    ));
    assert!(sorted(Errno::TIMEDOUT.raw_os_error()).is_transient());
    for errno in [Errno::NFILE, Errno::NOMEM] {
        let short = sorted(errno.raw_os_error());
        assert!(short.kind() == Kind::Shortage && short.is_transient(), "{short:?}");
    }
    // The limit of this process does not change while it waits.
    let short = sorted(Errno::MFILE.raw_os_error());
    assert!(short.kind() == Kind::Shortage && !short.is_transient(), "{short:?}");
    assert!(short.to_string().contains("this process may hold"), "{short}");
    assert!(matches!(sorted(Errno::IO.raw_os_error()), StoreError::Io { .. }));
    assert!(!sorted(Errno::NOSPC.raw_os_error()).is_transient());
}

/// Patient enough for every test, but not longer than a test may take.
const QUICK: RetryRule = RetryRule {
    first: Duration::from_millis(1),
    most: Duration::from_millis(2),
    patience: Duration::from_secs(60),
    first_contact: Duration::from_secs(60),
    ordered: false,
};

fn failing() -> (Arc<FailingStore>, Store) {
    let failing = Arc::new(FailingStore::new(InMemory::new()));
    let store = Store::new(failing.clone(), "memory://test").retried(QUICK, None);
    (failing, store)
}

#[test]
fn passing_errors_are_tried_again_and_lasting_ones_are_not() {
    let (failing, store) = failing();
    failing.fail_next(3, Fault::Unreachable);
    assert_eq!(block_on(store.create("a", Bytes::from_static(b"x"))), Ok(Created::New));
    failing.fail_next(1, Fault::Full);
    let full = block_on(store.create("b", Bytes::from_static(b"x"))).unwrap_err();
    assert_eq!(full.kind(), Kind::StoreFull);
    assert_eq!(failing.left(), 0);
}

#[test]
fn patience_ends_and_says_so_and_is_short_for_a_store_that_never_answered() {
    let never = Duration::from_secs(3600);
    let failing = Arc::new(FailingStore::new(InMemory::new()));
    let rule = RetryRule {
        patience: never,
        first_contact: Duration::from_millis(20),
        ..QUICK
    };
    let store = Store::new(failing.clone(), "memory://test").retried(rule, None);
    failing.fail_next(u32::MAX, Fault::Unreachable);
    assert!(block_on(store.get("a", 10)).unwrap_err().is_transient());

    let rule = RetryRule {
        patience: Duration::from_millis(20),
        ..QUICK
    };
    let store = Store::new(failing.clone(), "memory://test").retried(rule, None);
    failing.fail_next(0, Fault::Unreachable);
    assert_eq!(block_on(store.head("a")), Ok(None));
    failing.fail_next(u32::MAX, Fault::Unreachable);
    let error = block_on(store.get("a", 10)).unwrap_err();
    assert!(matches!(error, StoreError::Away { .. }), "{error:?}");
    assert!(error.to_string().contains("memory://test") && !error.is_transient());
}

#[test]
fn a_store_that_was_given_up_is_not_waited_for_again_until_it_answers() {
    let failing = Arc::new(FailingStore::new(InMemory::new()));
    let rule = RetryRule {
        patience: Duration::from_millis(300),
        ..QUICK
    };
    let store = Store::new(failing.clone(), "memory://test").retried(rule, None);
    assert_eq!(block_on(store.head("a")), Ok(None));
    failing.fail_next(u32::MAX, Fault::Unreachable);
    assert!(matches!(block_on(store.get("a", 10)), Err(StoreError::Away { .. })));
    let left = failing.left();
    assert!(matches!(block_on(store.get("b", 10)), Err(StoreError::Away { .. })));
    assert_eq!(failing.left(), left - 1, "one attempt, and no pause");
    failing.fail_next(0, Fault::Unreachable);
    assert_eq!(block_on(store.head("a")), Ok(None));
    failing.fail_next(3, Fault::Unreachable);
    assert_eq!(block_on(store.head("a")), Ok(None));
}

#[test]
fn a_create_whose_answer_was_lost_is_ours_and_only_then() {
    let (failing, store) = failing();
    let long: Vec<u8> = (0..400_000_u32).map(|n| n as u8).collect();
    for (name, ours) in [("small", b"ours".to_vec()), ("empty", Vec::new()), ("long", long)] {
        failing.fail_next(1, Fault::AnswerLost);
        let parts = PutPayload::from_iter(ours.chunks(1000).map(Bytes::copy_from_slice));
        assert_eq!(block_on(store.create(name, parts)), Ok(Created::New), "{name}");
        assert_eq!(*block_on(store.get(name, 1 << 20)).unwrap(), *ours);
    }

    // No attempt of this writer came before, so the same bytes are another writer's.
    assert_eq!(
        block_on(store.create("small", Bytes::from_static(b"ours"))),
        Ok(Created::Exists)
    );
    // Another writer was first, and an attempt of this writer lost its answer.
    for theirs in [&b"longer"[..], b"same"] {
        let name = format!("raced/{}", theirs.len());
        block_on(store.create(&name, Bytes::from_static(theirs))).unwrap();
        failing.fail_next(1, Fault::Unreachable);
        assert_eq!(
            block_on(store.create(&name, Bytes::from_static(b"mine"))),
            Ok(Created::Exists)
        );
        assert_eq!(*block_on(store.get(&name, 10)).unwrap(), *theirs);
    }
}

#[test]
fn a_store_that_says_wrongly_that_an_object_is_there_is_not_believed() {
    let (failing, store) = failing();
    failing.fail_next_put(Fault::SaysExists);
    assert_eq!(block_on(store.create("a", Bytes::from_static(b"x"))), Ok(Created::New));
    assert_eq!(*block_on(store.get("a", 10)).unwrap(), *b"x");
}

#[test]
fn keys_that_may_not_overwrite_find_what_is_there() {
    let (failing, store) = failing();
    failing.fail_next_put(Fault::Denied);
    let denied = block_on(store.create("a", Bytes::from_static(b"x"))).unwrap_err();
    assert!(denied.kind() == Kind::Refused, "{denied:?}");
    block_on(store.create("a", Bytes::from_static(b"x"))).unwrap();
    failing.fail_next_put(Fault::Denied);
    assert_eq!(
        block_on(store.create("a", Bytes::from_static(b"y"))),
        Ok(Created::Exists)
    );
}

#[test]
fn an_object_that_cannot_be_read_is_at_fault_if_another_can_be_and_the_store_is_if_none_can() {
    let (failing, store) = failing();
    for name in [names::DESCRIPTOR, "domains/a", "domains/b"] {
        block_on(store.create(name, Bytes::from_static(b"x"))).unwrap();
    }
    failing.rot("domains/a");
    for error in [
        block_on(store.get("domains/a", 10)).unwrap_err(),
        block_on(store.get_range("domains/a", 0..1)).unwrap_err(),
        block_on(store.head("domains/a")).unwrap_err(),
    ] {
        assert!(
            matches!(error, StoreError::Unreadable { .. }) && error.is_object_fault(),
            "{error:?}"
        );
        assert!(error.to_string().starts_with("domains/a"), "{error}");
    }
    assert!(block_on(store.get("domains/b", 10)).is_ok());
    failing.rot(names::DESCRIPTOR);
    assert!(
        block_on(store.get(names::DESCRIPTOR, 10))
            .unwrap_err()
            .is_object_fault()
    );

    let nothing_there = Arc::new(FailingStore::new(InMemory::new()));
    let store = Store::new(nothing_there.clone(), "memory://test").retried(QUICK, None);
    nothing_there.rot("domains/a");
    let error = block_on(store.get("domains/a", 10)).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
}

#[test]
fn an_object_that_is_too_long_is_not_taken_into_memory() {
    let (_, store) = failing();
    block_on(store.create("a", Bytes::from_static(&[7; 1000]))).unwrap();
    let error = block_on(store.get("a", 999)).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { len: 1000, .. }), "{error:?}");
}

#[test]
fn foreign_files_in_a_vault_folder_are_left_alone() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    for name in ["keys/a", "keys/deep/b", "top"] {
        block_on(store.create(name, Bytes::from_static(b"x"))).unwrap();
    }
    let keys = folder.path().join("keys");
    for name in [&b"caf\xe9"[..], b"a#1", b"deep\xff"] {
        std::fs::write(keys.join(std::ffi::OsStr::from_bytes(name)), b"foreign").unwrap();
    }
    std::fs::create_dir(keys.join(std::ffi::OsStr::from_bytes(b"sub\xff"))).unwrap();
    std::os::unix::fs::symlink("nowhere", keys.join("link")).unwrap();
    std::os::unix::fs::symlink(".", keys.join("loop")).unwrap();
    let listed = block_on(store.list_all("keys")).unwrap();
    let names: Vec<&str> = listed.iter().map(|listed| listed.path.as_str()).collect();
    assert!(names.contains(&"keys/a") && names.contains(&"keys/deep/b"), "{names:?}");
    assert!(
        names.iter().all(|name| !name.contains('#') && !name.contains("caf")),
        "{names:?}"
    );
    assert_eq!(block_on(store.folders("")).unwrap(), ["keys"]);
    assert_eq!(block_on(store.list_all("nothing/here")).unwrap(), []);
}

/// A store that lists in another order than it promises, and breaks a listing off.
#[test]
fn a_listing_out_of_order_is_believed() {
    let listed = |names: &[&str]| {
        let shuffled = Arc::new(FailingStore::new(InMemory::new()));
        shuffled.list_as(names);
        let store = Store {
            ordered: true,
            ..Store::new(shuffled, "memory://test")
        };
        block_on(store.retried(QUICK, None).list_all("log"))
    };
    let names = |found: Vec<Listed>| found.into_iter().map(|listed| listed.path).collect::<Vec<_>>();
    let all = ["log/1", "log/2", "log/3"];
    assert_eq!(names(listed(&["log/1", "log/3", "log/2"]).unwrap()), all);
    // A break ("!") in a listing that kept its order goes on; in one that did not it is told.
    assert_eq!(
        names(listed(&["log/1", "log/2", "!", "log/1", "log/2", "log/3"]).unwrap()),
        all
    );
    assert!(listed(&["log/2", "log/1", "!", "log/3"]).is_err());
}

#[test]
fn pauses_grow_to_a_limit() {
    let rule = RetryRule {
        first: Duration::from_millis(100),
        most: Duration::from_secs(1),
        ..QUICK
    };
    let pauses: Vec<u128> = (1..6).map(|attempt| rule.pause(attempt, 1.0).as_millis()).collect();
    assert_eq!(pauses, [100, 200, 400, 800, 1000]);
    assert_eq!(rule.pause(40, 0.0), Duration::from_millis(500));
}

/// A pace that asks for small pieces and adds up the bytes.
#[derive(Debug, Default)]
struct Counted(Mutex<[usize; 3]>);

#[async_trait::async_trait]
impl pace::LinePace for Counted {
    fn piece(&self, _direction: pace::Direction) -> Option<usize> {
        Some(1000)
    }

    async fn bytes(&self, direction: pace::Direction, bytes: usize) {
        self.0.lock().unwrap()[usize::from(direction == pace::Direction::Down)] += bytes;
    }

    async fn request(&self) {
        self.0.lock().unwrap()[2] += 1;
    }
}

#[test]
fn a_folder_at_a_pace_keeps_the_promises_of_a_store_and_every_byte_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let pace = Arc::new(Counted::default());
    let options = StoreOptions {
        pace: pace.clone(),
        ..StoreOptions::default()
    };
    let store = Store::open_with(folder.path().to_str().unwrap(), &options).unwrap();
    block_on(suite(&store)).unwrap();

    let object: Vec<u8> = (0..300_001_u32).map(|n| n.to_le_bytes()[0]).collect();
    let parts = [&object[..5], &object[5..200_000], &object[200_000..]];
    let payload = || parts.into_iter().map(Bytes::copy_from_slice).collect::<PutPayload>();
    *pace.0.lock().unwrap() = [0; 3];
    assert_eq!(block_on(store.create("new/folder/object", payload())), Ok(Created::New));
    assert_eq!(*pace.0.lock().unwrap(), [object.len(), 0, 1]);
    assert_eq!(
        block_on(store.create("new/folder/object", payload())),
        Ok(Created::Exists)
    );
    assert_eq!(block_on(store.get("new/folder/object", 1 << 20)).unwrap(), object);
    *pace.0.lock().unwrap() = [0; 3];
    assert_eq!(
        block_on(store.get_range("new/folder/object", 7..300_000)).unwrap(),
        object[7..300_000]
    );
    assert_eq!(*pace.0.lock().unwrap(), [0, 299_993, 1]);
    assert_eq!(block_on(store.list_all("new")).unwrap().len(), 1);
    let names: Vec<_> = std::fs::read_dir(folder.path().join("new/folder")).unwrap().collect();
    assert_eq!(names.len(), 1);
}
