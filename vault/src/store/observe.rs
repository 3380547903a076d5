//! Counting: what observers of a store are told, and the decorator `Metered` that tells them. Decorators are
//! `ObjectStore`s themselves, so they stack in any order: `Metered` inside counts attempts, `Retry` around it repeats
//! them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

/// An operation of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// An object was written.
    Put,
    /// An object, or ranges of one, was read.
    Get,
    /// An object's length was asked for.
    Head,
    /// Objects were listed.
    List,
    /// An object was deleted.
    Delete,
    /// An object was copied.
    Copy,
}

impl Verb {
    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Copy => "copy",
        }
    }
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It succeeded.
    Done,
    /// An object of that name was there already.
    Exists,
    /// There is no such object.
    NotFound,
    /// Any other error.
    Failed,
}

impl Outcome {
    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Exists => "exists",
            Self::NotFound => "not_found",
            Self::Failed => "failed",
        }
    }

    fn of<T>(result: &Result<T>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Self::Exists,
            Err(object_store::Error::NotFound { .. }) => Self::NotFound,
            Err(_) => Self::Failed,
        }
    }
}

/// Is told of every operation of a `Metered` store and of every repetition of a `Retry`. It is called on the thread
/// that ran the operation, so it must be quick.
pub trait StoreObserver: fmt::Debug + Send + Sync + 'static {
    /// An operation ended after `seconds`. It wrote or read `bytes`.
    fn finished(&self, verb: Verb, outcome: Outcome, seconds: f64, bytes: u64);

    /// An operation failed with a transient error and is tried again now.
    fn retrying(&self, _verb: Verb) {}

    /// An operation failed and waits for its next attempt. It is given up in `left`, unless the store answers.
    fn waits(&self, _left: Duration) {}

    /// An operation that `waits` was called for has ended.
    fn waits_no_longer(&self) {}
}

/// Tells an observer of every operation.
pub struct Metered {
    inner: Arc<dyn ObjectStore>,
    observer: Arc<dyn StoreObserver>,
}

impl Metered {
    /// Decorates `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, observer: Arc<dyn StoreObserver>) -> Self {
        Self { inner, observer }
    }

    async fn run<T>(
        &self,
        verb: Verb,
        work: impl Future<Output = Result<T>>,
        bytes: impl FnOnce(&T) -> u64,
    ) -> Result<T> {
        let start = Instant::now();
        let result = work.await;
        let moved = result.as_ref().map_or(0, bytes);
        self.observer
            .finished(verb, Outcome::of(&result), start.elapsed().as_secs_f64(), moved);
        result
    }
}

impl fmt::Debug for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metered({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Metered {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let len = payload.content_length() as u64;
        self.run(Verb::Put, self.inner.put_opts(location, payload, opts), |_| len)
            .await
    }

    async fn put_multipart_opts(&self, location: &Path, o: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, o).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let verb = if options.head { Verb::Head } else { Verb::Get };
        let head = options.head;
        let bytes = |got: &GetResult| if head { 0 } else { got.range.end - got.range.start };
        self.run(verb, self.inner.get_opts(location, options), bytes).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let bytes = |parts: &Vec<Bytes>| parts.iter().map(|part| part.len() as u64).sum();
        self.run(Verb::Get, self.inner.get_ranges(location, ranges), bytes)
            .await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let observer = Arc::clone(&self.observer);
        let mut last = Instant::now();
        self.inner
            .delete_stream(locations)
            .inspect(move |result| {
                observer.finished(Verb::Delete, Outcome::of(result), last.elapsed().as_secs_f64(), 0);
                last = Instant::now();
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.observe_listing(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.observe_listing(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.run(Verb::List, self.inner.list_with_delimiter(prefix), |_| 0)
            .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.run(Verb::Copy, self.inner.copy_opts(from, to, options), |()| 0)
            .await
    }
}

impl Metered {
    /// A listing counts once, when it ends or fails.
    fn observe_listing(
        &self,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (failed, ended) = (Arc::clone(&self.observer), Arc::clone(&self.observer));
        let start = Instant::now();
        let end = futures::stream::poll_fn(move |_| {
            ended.finished(Verb::List, Outcome::Done, start.elapsed().as_secs_f64(), 0);
            std::task::Poll::Ready(None)
        });
        listing
            .inspect_err(move |_| failed.finished(Verb::List, Outcome::Failed, start.elapsed().as_secs_f64(), 0))
            .chain(end)
            .boxed()
    }
}
