//! The promises that every store has to keep. The tests run this suite on each kind of store; `vault create` runs a
//! short form of it, the probe. There is one function for each promise. `Err` says which promise was broken.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use object_store::PutPayload;

use crate::store::probe::probe;
use crate::store::{Created, Store, StoreError};

type Kept = Result<(), String>;

/// The name of the one large object that several promises are about, and its length.
const OBJECT: &str = "a/b/object";
const OBJECT_LEN: u64 = 5000;

/// The whole suite, on an empty store.
pub async fn suite(store: &Store) -> Kept {
    nothing_is_found_in_an_empty_store(store).await?;
    let whole = an_object_is_written_once(store).await?;
    lengths_and_limits_are_kept(store).await?;
    ranges_are_exact(store, &whole).await?;
    an_empty_object_is_an_object(store).await?;
    listings_name_whole_parts(store).await?;
    one_of_many_writers_wins(store).await?;
    deleted_objects_are_gone(store).await?;
    the_probe_finds_the_store_fit(store).await
}

fn keep(promise: impl Into<String>, kept: bool) -> Kept {
    if kept { Ok(()) } else { Err(promise.into()) }
}

fn failed(what: &'static str) -> impl Fn(StoreError) -> String {
    move |error| format!("{what}: {error}")
}

async fn nothing_is_found_in_an_empty_store(store: &Store) -> Kept {
    let missing = "a/missing";
    let length = store.head(missing).await.map_err(failed("head"))?;
    keep("a missing object has no length", length.is_none())?;
    let whole = store.get(missing, 10).await;
    keep(
        "a missing object is NotFound",
        whole.as_ref().is_err_and(StoreError::is_not_found),
    )?;
    let part = store.get_range(missing, 0..1).await;
    keep(
        "a range of a missing object is NotFound",
        part.as_ref().is_err_and(StoreError::is_not_found),
    )?;
    let deleted = store.delete(missing).await;
    deleted.map_err(failed("deleting what is not there"))?;
    let listed = store.list_all("a").await.map_err(failed("list"))?;
    keep("an empty store lists nothing", listed.is_empty())?;
    let folders = store.folders("a").await.map_err(failed("folders"))?;
    keep("an empty store has no folders", folders.is_empty())
}

/// Writes the object in many parts, tries to write it again, and reads it back.
async fn an_object_is_written_once(store: &Store) -> Result<Vec<u8>, String> {
    let parts: Vec<Bytes> = (0..5_u8).map(|n| Bytes::from(vec![n; 1000])).collect();
    let whole = parts.concat();
    let created = store.create(OBJECT, PutPayload::from_iter(parts)).await;
    keep(
        "the first create is New",
        created.map_err(failed("create"))? == Created::New,
    )?;
    let again = store.create(OBJECT, Bytes::from_static(b"x")).await;
    keep(
        "the second create is Exists",
        again.map_err(failed("create again"))? == Created::Exists,
    )?;
    let read = store.get(OBJECT, OBJECT_LEN).await.map_err(failed("get"))?;
    keep("an object reads back as the first writer wrote it", *read == *whole)?;
    Ok(whole)
}

async fn lengths_and_limits_are_kept(store: &Store) -> Kept {
    let length = store.head(OBJECT).await.map_err(failed("head"))?;
    keep("its length is right", length == Some(OBJECT_LEN))?;
    let too_large = store.get(OBJECT, OBJECT_LEN - 1).await;
    let kept = matches!(
        too_large,
        Err(StoreError::TooLarge {
            len: 5000,
            max: 4999,
            ..
        })
    );
    keep("a limit is kept", kept)
}

async fn ranges_are_exact(store: &Store, whole: &[u8]) -> Kept {
    for range in [0..5000, 0..1, 999..1001, 4999..5000, 7..7] {
        let read = store.get_range(OBJECT, range.clone()).await;
        let read = read.map_err(failed("get_range"))?;
        let wanted = &whole[range.start as usize..range.end as usize];
        keep(format!("range {range:?} is exact"), *read == *wanted)?;
    }
    for range in [4999..5001, 5000..5001, 9000..9001] {
        let short = store.get_range(OBJECT, range.clone()).await;
        let kept = matches!(short, Err(StoreError::Short { found: OBJECT_LEN, .. }));
        keep(format!("range {range:?} is Short"), kept)?;
    }
    Ok(())
}

async fn an_empty_object_is_an_object(store: &Store) -> Kept {
    let created = store.create("a/empty", Bytes::new()).await;
    created.map_err(failed("create empty"))?;
    let read = store.get("a/empty", 0).await.map_err(failed("get empty"))?;
    keep("an empty object reads back", read.is_empty())
}

/// Listings go by whole parts of names, and say the right lengths.
async fn listings_name_whole_parts(store: &Store) -> Kept {
    let created = store.create("ab/other", Bytes::from_static(b"1")).await;
    created.map_err(failed("create other"))?;
    let listed = store.list_all("a").await.map_err(failed("list"))?;
    let listed: Vec<(&str, u64)> = listed.iter().map(|object| (object.path.as_str(), object.len)).collect();
    let right = listed == [(OBJECT, OBJECT_LEN), ("a/empty", 0)];
    keep(format!("the listing is right: {listed:?}"), right)?;
    let folders = store.folders("a").await.map_err(failed("folders"))?;
    keep("folders are listed", folders == ["b"])
}

async fn one_of_many_writers_wins(store: &Store) -> Kept {
    for round in 0..8 {
        let name = format!("race/{round}");
        let writers: Arc<[Bytes]> = (0..8_u8).map(|n| Bytes::from(vec![n; 10_000])).collect();
        let results = join_all(writers.iter().map(|bytes| store.create(&name, bytes.clone()))).await;
        let results: Vec<Created> = results
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(failed("racing create"))?;
        let winners = results.iter().filter(|created| **created == Created::New).count();
        keep("one writer wins", winners == 1)?;
        let winner = results.iter().position(|created| *created == Created::New);
        let read = store.get(&name, 10_000).await.map_err(failed("get after a race"))?;
        keep(
            "the winner's bytes are there",
            winner.is_some_and(|winner| read == writers[winner]),
        )?;
    }
    Ok(())
}

async fn deleted_objects_are_gone(store: &Store) -> Kept {
    store.delete(OBJECT).await.map_err(failed("delete"))?;
    let length = store.head(OBJECT).await.map_err(failed("head"))?;
    keep("a deleted object is gone", length.is_none())
}

async fn the_probe_finds_the_store_fit(store: &Store) -> Kept {
    let report = probe(store).await.map_err(failed("probe"))?;
    keep(
        "the probe finds the store fit",
        report.is_fit() && report.listed_after_write,
    )?;
    let left = store.list_all("probe").await.map_err(failed("list"))?;
    keep("the probe cleans up", left.is_empty())
}
