//! What every store has to keep, in one suite. The tests run it on each store there is; `vault create` runs the short
//! form, `probe`, on the one it was given, because a vault is only safe where create-if-absent is honoured.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use object_store::PutPayload;

use super::{Created, Store, StoreError};
use crate::kind::Kind;

/// What a probe found. Written for people by `lines`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeReport {
    /// A second create of one name is refused and changes nothing, also when several come at once.
    pub create_if_absent: bool,
    /// What was written can be read at once.
    pub read_after_write: bool,
    /// What was written is listed at once. Not needed, only good to know.
    pub listed_after_write: bool,
}

impl ProbeReport {
    /// Whether a vault may live here.
    #[must_use]
    pub fn is_fit(&self) -> bool {
        self.create_if_absent && self.read_after_write
    }

    /// The report in words, a line a finding.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let word = |good: bool| if good { "yes" } else { "NO" };
        let mut lines = vec![
            format!("creates an object only where none is: {}", word(self.create_if_absent)),
            format!("gives back what was just written: {}", word(self.read_after_write)),
            format!("lists what was just written: {}", word(self.listed_after_write)),
        ];
        if !self.is_fit() {
            lines.push("this store cannot hold a vault: two writers could overwrite each other's log".to_owned());
        }
        lines
    }
}

/// The folder of the probe's objects.
pub(crate) const PROBES: &str = "probe";

/// Tries out a store with a few small objects below `probe/`, which are removed afterwards, if the store allows that.
pub async fn probe(store: &Store) -> Result<ProbeReport, StoreError> {
    let folder = format!("{PROBES}/{:08x}", getrandom::u32().unwrap_or_default());
    let report = probe_below(store, &folder).await;
    let listed = store.list_all(&folder).await.unwrap_or_default();
    for object in listed {
        match store.delete(&object.path).await {
            // Keys that may not delete are good for all but collecting.
            Err(error) if error.kind() == Kind::Refused => break,
            deleted => deleted?,
        }
    }
    if let Some(root) = store.local_root() {
        // Empty folders are no objects; leaving one behind would only puzzle people.
        let _ = std::fs::remove_dir(root.join(&folder));
        let _ = std::fs::remove_dir(root.join(PROBES));
    }
    report
}

async fn probe_below(store: &Store, folder: &str) -> Result<ProbeReport, StoreError> {
    let name = format!("{folder}/a");
    let first = store.create(&name, Bytes::from_static(b"first")).await?;
    let read = store.get(&name, 64).await;
    let second = store.create(&name, Bytes::from_static(b"second")).await?;
    let kept = store.get(&name, 64).await;
    let raced = format!("{folder}/raced");
    let writers: Vec<String> = (0..4).map(|n| format!("writer {n}")).collect();
    let results = join_all(
        writers
            .iter()
            .map(|text| store.create(&raced, text.clone().into_bytes())),
    )
    .await;
    let results = results.into_iter().collect::<Result<Vec<_>, _>>()?;
    let winner = results.iter().position(|created| *created == Created::New);
    let won = store.get(&raced, 64).await?;
    let one_winner = results.iter().filter(|created| **created == Created::New).count() == 1
        && winner.is_some_and(|winner| *won == *writers[winner].as_bytes());
    let listed = store
        .list_all(folder)
        .await?
        .iter()
        .filter(|object| object.path == name)
        .count()
        == 1;
    let is = |read: &Result<Bytes, StoreError>, wanted: &[u8]| read.as_ref().is_ok_and(|bytes| **bytes == *wanted);
    Ok(ProbeReport {
        create_if_absent: first == Created::New && second == Created::Exists && is(&kept, b"first") && one_winner,
        read_after_write: is(&read, b"first"),
        listed_after_write: listed,
    })
}

/// The whole suite, on an empty store. `Err` says which promise was broken.
pub async fn suite(store: &Store) -> Result<(), String> {
    let failed = |what: &str, error: StoreError| format!("{what}: {error}");
    macro_rules! keep {
        ($what:expr, $promise:expr) => {
            if !$promise {
                return Err($what.to_owned());
            }
        };
    }

    // Nothing there yet.
    keep!(
        "a missing object has no length",
        store.head("a/missing").await.map_err(|e| failed("head", e))?.is_none()
    );
    let missing = store.get("a/missing", 10).await;
    keep!(
        "a missing object is NotFound",
        missing.as_ref().is_err_and(StoreError::is_not_found)
    );
    let missing = store.get_range("a/missing", 0..1).await;
    keep!(
        "a range of a missing object is NotFound",
        missing.as_ref().is_err_and(StoreError::is_not_found)
    );
    store
        .delete("a/missing")
        .await
        .map_err(|e| failed("deleting what is not there", e))?;
    keep!(
        "an empty store lists nothing",
        store.list_all("a").await.map_err(|e| failed("list", e))?.is_empty()
    );
    keep!(
        "an empty store has no folders",
        store.folders("a").await.map_err(|e| failed("folders", e))?.is_empty()
    );

    // Write once, of many parts, and read back.
    let parts: Vec<Bytes> = (0..5_u8).map(|n| Bytes::from(vec![n; 1000])).collect();
    let whole = parts.concat();
    let payload = PutPayload::from_iter(parts);
    let created = store
        .create("a/b/object", payload)
        .await
        .map_err(|e| failed("create", e))?;
    keep!("the first create is New", created == Created::New);
    let again = store
        .create("a/b/object", Bytes::from_static(b"x"))
        .await
        .map_err(|e| failed("create again", e))?;
    keep!("the second create is Exists", again == Created::Exists);
    let read = store.get("a/b/object", 5000).await.map_err(|e| failed("get", e))?;
    keep!("an object reads back as the first writer wrote it", *read == *whole);
    keep!(
        "its length is right",
        store.head("a/b/object").await.map_err(|e| failed("head", e))? == Some(5000)
    );
    let too_large = store.get("a/b/object", 4999).await;
    keep!(
        "a limit is kept",
        matches!(
            too_large,
            Err(StoreError::TooLarge {
                len: 5000,
                max: 4999,
                ..
            })
        )
    );

    // Ranges.
    for range in [0..5000, 0..1, 999..1001, 4999..5000, 7..7] {
        let read = store
            .get_range("a/b/object", range.clone())
            .await
            .map_err(|e| failed("get_range", e))?;
        let wanted = &whole[range.start as usize..range.end as usize];
        keep!(format!("range {range:?} is exact"), *read == *wanted);
    }
    for range in [4999..5001, 5000..5001, 9000..9001] {
        let short = store.get_range("a/b/object", range.clone()).await;
        keep!(
            format!("range {range:?} is Short"),
            matches!(short, Err(StoreError::Short { found: 5000, .. }))
        );
    }

    // An empty object is an object.
    store
        .create("a/empty", Bytes::new())
        .await
        .map_err(|e| failed("create empty", e))?;
    keep!(
        "an empty object reads back",
        store
            .get("a/empty", 0)
            .await
            .map_err(|e| failed("get empty", e))?
            .is_empty()
    );

    // Listings: whole name parts only, lengths right.
    store
        .create("ab/other", Bytes::from_static(b"1"))
        .await
        .map_err(|e| failed("create other", e))?;
    let listed = store.list_all("a").await.map_err(|e| failed("list", e))?;
    let listed: Vec<(&str, u64)> = listed.iter().map(|object| (object.path.as_str(), object.len)).collect();
    keep!(
        format!("the listing is right: {listed:?}"),
        listed == [("a/b/object", 5000), ("a/empty", 0)]
    );
    keep!(
        "folders are listed",
        store.folders("a").await.map_err(|e| failed("folders", e))? == ["b"]
    );

    // One of many writers wins, whole.
    for round in 0..8 {
        let name = format!("race/{round}");
        let writers: Arc<[Bytes]> = (0..8_u8).map(|n| Bytes::from(vec![n; 10_000])).collect();
        let results = join_all(writers.iter().map(|bytes| store.create(&name, bytes.clone()))).await;
        let results = results
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| failed("racing create", e))?;
        keep!(
            "one writer wins",
            results.iter().filter(|created| **created == Created::New).count() == 1
        );
        let winner = results
            .iter()
            .position(|created| *created == Created::New)
            .unwrap_or_default();
        let read = store
            .get(&name, 10_000)
            .await
            .map_err(|e| failed("get after a race", e))?;
        keep!("the winner's bytes are there", read == writers[winner]);
    }

    store.delete("a/b/object").await.map_err(|e| failed("delete", e))?;
    keep!(
        "a deleted object is gone",
        store.head("a/b/object").await.map_err(|e| failed("head", e))?.is_none()
    );
    let report = probe(store).await.map_err(|e| failed("probe", e))?;
    keep!(
        "the probe finds the store fit",
        report.is_fit() && report.listed_after_write
    );
    keep!(
        "the probe cleans up",
        store.list_all("probe").await.map_err(|e| failed("list", e))?.is_empty()
    );
    Ok(())
}
