//! The probe: whether a store keeps the promises that a vault relies on. `vault create` runs it on the store it was
//! given, because a vault is only safe on a store that creates an object only if there is none of that name. The tests
//! have a longer suite of the same promises.

use bytes::Bytes;
use futures::future::join_all;

use super::{Created, Store, StoreError};
use crate::kind::Kind;

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeReport {
    /// A second create of a name is refused and changes nothing, even if several are made at once.
    pub create_if_absent: bool,
    /// What was written can be read at once.
    pub read_after_write: bool,
    /// What was written is listed at once. A vault does not need this.
    pub listed_after_write: bool,
}

impl ProbeReport {
    /// Whether the store can hold a vault.
    #[must_use]
    pub fn is_fit(&self) -> bool {
        self.create_if_absent && self.read_after_write
    }

    /// The report in words: one line for each finding.
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

/// Tests a store with a few small objects below `probe/`. They are removed afterwards if the store allows that.
pub async fn probe(store: &Store) -> Result<ProbeReport, StoreError> {
    let folder = format!("{PROBES}/{:08x}", getrandom::u32().unwrap_or_default());
    let report = probe_below(store, &folder).await;
    let listed = store.list_all(&folder).await.unwrap_or_default();
    for object in listed {
        match store.delete(&object.path).await {
            // Keys without the right to delete are enough for everything except collecting.
            Err(error) if error.kind() == Kind::Refused => break,
            deleted => deleted?,
        }
    }
    if let Some(root) = store.local_root() {
        // An empty folder is not an object, so it is removed apart.
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
