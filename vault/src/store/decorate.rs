//! Decorators of an `ObjectStore`. Each is an `ObjectStore` itself and adds one thing, so that they stack in any order the
//! caller wants: `Metered` innermost counts attempts, `Retry` around it repeats them.

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
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::StoreError;

/// Answers up to this long are read whole within one attempt, so that one that breaks off is asked for again.
const RETRIED_WHOLE: u64 = 64 * 1024 * 1024;

/// How often and how patiently an operation is tried again after a transient error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryRule {
    /// Attempts in all, the first included; at least 1.
    pub attempts: u32,
    /// The longest pause before the second attempt. It doubles from one to the next.
    pub first: Duration,
    /// No pause is longer.
    pub most: Duration,
}

impl Default for RetryRule {
    fn default() -> Self {
        Self {
            attempts: 6,
            first: Duration::from_millis(200),
            most: Duration::from_secs(10),
        }
    }
}

impl RetryRule {
    /// The pause after attempt `attempt` (from 1): the doubled pause, between half and all of it by `jitter` (0 to 1).
    #[must_use]
    pub fn pause(&self, attempt: u32, jitter: f64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
        doubled.min(self.most).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

/// Tries again what failed for a passing reason: exponential pauses with jitter, a bounded number of times. Only errors
/// that `StoreError::is_transient` says are passing. A `create` that is tried again may find its own first attempt.
pub struct Retry {
    inner: Arc<dyn ObjectStore>,
    rule: RetryRule,
    observer: Option<Arc<dyn StoreObserver>>,
}

impl Retry {
    /// Decorates `inner`. Pauses need a tokio runtime with time.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, rule: RetryRule) -> Self {
        let observer = None;
        Self { inner, rule, observer }
    }

    /// Tells an observer of every attempt after the first.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn StoreObserver>) -> Self {
        let observer = Some(observer);
        Self { observer, ..self }
    }

    async fn run<T, F: Future<Output = Result<T>>>(
        &self,
        verb: Verb,
        path: &Path,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T> {
        let mut count = 1;
        loop {
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if count >= self.rule.attempts || !is_transient(path, &error) {
                return Err(error);
            }
            let pause = self.rule.pause(count, jitter());
            tracing::debug!(object = %path, %error, attempt = count, ?pause, "trying again");
            tokio::time::sleep(pause).await;
            count += 1;
            if let Some(observer) = &self.observer {
                observer.retrying(verb);
            }
        }
    }
}

fn is_transient(path: &Path, error: &object_store::Error) -> bool {
    StoreError::sort(path.as_ref(), error).is_transient()
}

fn jitter() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("inner", &self.inner)
            .field("rule", &self.rule)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Retry({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Retry {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.run(Verb::Put, location, || {
            self.inner.put_opts(location, payload.clone(), opts.clone())
        })
        .await
    }

    async fn put_multipart_opts(&self, location: &Path, o: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, o).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let verb = if options.head { Verb::Head } else { Verb::Get };
        self.run(verb, location, || async {
            let got = self.inner.get_opts(location, options.clone()).await?;
            if options.head || got.range.end - got.range.start > RETRIED_WHOLE {
                return Ok(got);
            }
            let (meta, range, attributes) = (got.meta.clone(), got.range.clone(), got.attributes.clone());
            let extensions = got.extensions.clone();
            let bytes = got.bytes().await?;
            let payload = GetResultPayload::Stream(futures::stream::once(async { Ok(bytes) }).boxed());
            Ok(GetResult {
                payload,
                meta,
                range,
                attributes,
                extensions,
            })
        })
        .await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.run(Verb::Get, location, || self.inner.get_ranges(location, ranges))
            .await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let at = prefix.cloned().unwrap_or_default();
        self.run(Verb::List, &at, || self.inner.list_with_delimiter(prefix))
            .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.run(Verb::Copy, from, || self.inner.copy_opts(from, to, options.clone()))
            .await
    }
}

/// What was asked of a store.
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

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// As asked.
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

/// Hears of every operation of a `Metered` store, and of every repetition of a `Retry`; called by whichever thread ran it, so
/// it must be quick.
pub trait StoreObserver: Send + Sync + 'static {
    /// An operation ended after `seconds`; `bytes` were written or read by it.
    fn finished(&self, verb: Verb, outcome: Outcome, seconds: f64, bytes: u64);

    /// An operation failed for a passing reason, and is tried again now.
    fn retrying(&self, _verb: Verb) {}
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
