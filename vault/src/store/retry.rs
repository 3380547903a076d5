//! Repeats operations that failed with a transient error (`StoreError::is_transient`), until they succeed or patience
//! ends. Pauses grow from attempt to attempt, with jitter, and are never shorter than the store asked for.
//!
//! # Patience Patience is a time, not a count. A store that is away for minutes is waited for. When patience ends,
//! the operation fails with `StoreError::Away`, or with `StoreError::Shortage` if this machine was short of
//! something. A store that has not answered this process at all gets only a short time, because then a wrong URL is
//! more likely. Each attempt costs at most `STALLED_AFTER` of patience: an attempt that lasts longer was moving
//! bytes, or was held by the pace.
//!
//! # Creates A create whose answer was lost may have happened. If the store then says that the object exists, it is
//! read back and compared. It is our own (`New`) if an earlier attempt may have written it and its content is ours.
//! Otherwise another writer made it (`Exists`). If there is no object after all, the create is repeated. Small
//! objects are compared whole, long ones (packs, under random ids) by their length and their last bytes, which hold
//! the sealed directory.
//!
//! # Listings A listing that breaks off goes on after the last name it gave, if the store lists in order. Otherwise
//! it begins again, but only if it has given out nothing yet.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::connect::STALLED_AFTER;
use super::fault::{WireFault, WireKind};
use super::observe::{StoreObserver, Verb};
use super::{Refusal, StoreError};

/// Answers up to this long are read whole within one attempt, so that one that breaks off is asked for again.
const RETRIED_WHOLE: u64 = 64 * 1024 * 1024;
/// Objects up to this long are compared whole with what was to be written.
const COMPARED_WHOLE: usize = 256 * 1024;
/// How many bytes at the end of longer objects are compared.
const COMPARED_END: u64 = 16 * 1024;
/// How many objects are deleted at the same time.
const DELETES: usize = 8;

/// How patiently an operation is tried again after a transient error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryRule {
    /// The longest pause before the second attempt. It doubles from one to the next.
    pub first: Duration,
    /// The longest pause, except where the store asks for a longer one.
    pub most: Duration,
    /// How long an operation is tried before it fails for good.
    pub patience: Duration,
    /// The same for a store that has not answered this process yet.
    pub first_contact: Duration,
    /// Whether the store lists objects in the order of their names.
    pub ordered: bool,
}

impl Default for RetryRule {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            most: Duration::from_secs(15),
            patience: Duration::from_secs(15 * 60),
            first_contact: Duration::from_secs(10),
            ordered: false,
        }
    }
}

impl RetryRule {
    /// The pause after attempt `attempt` (from 1). It doubles with each attempt; `jitter` (0 to 1) takes up to half
    /// away.
    #[must_use]
    pub fn pause(&self, attempt: u32, jitter: f64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
        doubled.min(self.most).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

/// The decorator that repeats failed operations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Retry {
    inner: Arc<dyn ObjectStore>,
    rule: RetryRule,
    /// Whether the store has answered this process.
    reached: Arc<AtomicBool>,
    observer: Option<Arc<dyn StoreObserver>>,
}

/// How often and for how long one operation was tried.
struct Attempts<'r> {
    retry: &'r Retry,
    verb: Verb,
    count: u32,
    spent: Duration,
    begun: Instant,
}

impl Attempts<'_> {
    fn begin(&mut self) {
        self.count += 1;
        self.begun = Instant::now();
    }

    /// After a failed attempt: waits, or says that it was the last.
    async fn pause(&mut self, path: &Path, error: object_store::Error) -> Result<()> {
        if !is_transient(path, &error) {
            if is_answer(path, &error) {
                self.retry.reached.store(true, Ordering::Relaxed);
            }
            return Err(error);
        }
        let wanted = match WireFault::find(&error) {
            Some(fault) => match fault.kind {
                WireKind::Passing(wanted) => wanted.unwrap_or_default(),
                _ => Duration::ZERO,
            },
            None => Duration::ZERO,
        };
        self.spent += self.begun.elapsed().min(STALLED_AFTER);
        let rule = &self.retry.rule;
        let reached = self.retry.reached.load(Ordering::Relaxed);
        let patience = if reached {
            rule.patience
        } else {
            rule.first_contact.min(rule.patience)
        };
        if self.spent >= patience {
            return Err(if reached { away(path, self.spent, &error) } else { error });
        }
        let pause = rule.pause(self.count, jitter()).max(wanted).min(patience - self.spent);
        tracing::warn!(object = %path, %error, attempt = self.count, ?pause, "the store failed; trying again");
        tokio::time::sleep(pause).await;
        self.spent += pause;
        if let Some(observer) = &self.retry.observer {
            observer.retrying(self.verb);
        }
        Ok(())
    }
}

impl Retry {
    /// Decorates `inner`. Pauses need a tokio runtime with time. The observer is told of every attempt after the first.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, rule: RetryRule, observer: Option<Arc<dyn StoreObserver>>) -> Self {
        Self {
            inner,
            rule,
            reached: Arc::default(),
            observer,
        }
    }

    fn attempts(&self, verb: Verb) -> Attempts<'_> {
        Attempts {
            retry: self,
            verb,
            count: 0,
            spent: Duration::ZERO,
            begun: Instant::now(),
        }
    }

    async fn run<T, F: Future<Output = Result<T>>>(
        &self,
        verb: Verb,
        path: &Path,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T> {
        let mut attempts = self.attempts(verb);
        loop {
            attempts.begin();
            match attempt().await {
                Ok(done) => {
                    self.reached.store(true, Ordering::Relaxed);
                    return Ok(done);
                }
                Err(error) => attempts.pause(path, error).await?,
            }
        }
    }

    /// One attempt of a create. `unsure`: whether an earlier attempt may have written the object.
    async fn create(
        &self,
        location: &Path,
        payload: &PutPayload,
        opts: PutOptions,
        unsure: &AtomicBool,
    ) -> Result<PutResult> {
        use object_store::Error as E;
        match self.inner.put_opts(location, payload.clone(), opts).await {
            Err(said @ (E::AlreadyExists { .. } | E::Precondition { .. })) => {
                match self.is_there(location, payload).await? {
                    Some(true) if unsure.load(Ordering::Relaxed) => Ok(ours()),
                    Some(_) => Err(said),
                    None => Err(WireFault::passing(format!(
                        "the store said that the object is there, and it is not: {said}"
                    ))
                    .into_error()),
                }
            }
            // Keys that may create but not overwrite (a SAS with `c` and without `w`) get this answer if the object
            // exists.
            Err(error) if is_not_allowed(location, &error) => match self.is_there(location, payload).await {
                Ok(Some(true)) if unsure.load(Ordering::Relaxed) => Ok(ours()),
                Ok(Some(_)) => Err(E::AlreadyExists {
                    path: location.to_string(),
                    source: Box::new(error),
                }),
                _ => Err(error),
            },
            Err(error) => {
                unsure.fetch_or(is_transient(location, &error), Ordering::Relaxed);
                Err(error)
            }
            Ok(done) => Ok(done),
        }
    }

    /// Whether the object has this payload as its content; `None` if there is no object.
    async fn is_there(&self, location: &Path, payload: &PutPayload) -> Result<Option<bool>> {
        let read = async {
            let len = payload.content_length();
            let meta = self.inner.head(location).await?;
            if meta.size != len as u64 {
                return Ok(false);
            }
            let from = if len <= COMPARED_WHOLE {
                0
            } else {
                meta.size - COMPARED_END
            };
            if from == meta.size {
                return Ok(true);
            }
            let found = self.inner.get_range(location, from..meta.size).await?;
            Ok(ends_with(payload, &found))
        };
        match read.await {
            Ok(same) => Ok(Some(same)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn listed_from(&self, prefix: Option<&Path>, behind: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match behind {
            Some(last) => self.inner.list_with_offset(prefix, last),
            None => self.inner.list(prefix),
        }
    }
}

/// The result of a create that an earlier attempt completed.
fn ours() -> PutResult {
    PutResult {
        e_tag: None,
        version: None,
        extensions: http::Extensions::default(),
    }
}

/// Whether the payload ends with these bytes.
fn ends_with(payload: &PutPayload, end: &[u8]) -> bool {
    let mut left = end;
    for part in payload.as_ref().iter().rev() {
        let len = part.len().min(left.len());
        let (before, last) = left.split_at(left.len() - len);
        if part[part.len() - len..] != *last {
            return false;
        }
        left = before;
    }
    left.is_empty()
}

fn is_transient(path: &Path, error: &object_store::Error) -> bool {
    StoreError::sort(path.as_ref(), error).is_transient()
}

fn is_not_allowed(path: &Path, error: &object_store::Error) -> bool {
    let what = Refusal::NotAllowed;
    matches!(StoreError::sort(path.as_ref(), error), StoreError::Refused { what: found, .. } if found == what)
}

/// Whether an error is an answer of the store, which shows that the store was reached.
fn is_answer(path: &Path, error: &object_store::Error) -> bool {
    !matches!(StoreError::sort(path.as_ref(), error), StoreError::Io { .. })
}

fn away(path: &Path, spent: Duration, error: &object_store::Error) -> object_store::Error {
    let (kind, reason) = match StoreError::sort(path.as_ref(), error) {
        StoreError::Unreachable { reason, .. } => (WireKind::Away(spent), reason),
        StoreError::Shortage { reason, .. } => (WireKind::Shortage(Some(spent)), reason),
        other => (WireKind::Away(spent), other.to_string()),
    };
    WireFault::new(kind, reason).into_error()
}

fn jitter() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Retry({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Retry {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if opts.mode != PutMode::Create {
            return self
                .run(Verb::Put, location, || {
                    self.inner.put_opts(location, payload.clone(), opts.clone())
                })
                .await;
        }
        let unsure = AtomicBool::new(false);
        self.run(Verb::Put, location, || {
            self.create(location, &payload, opts.clone(), &unsure)
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
            if bytes.len() as u64 != range.end - range.start {
                return Err(WireFault::passing("the answer broke off").into_error());
            }
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
        let retry = self.clone();
        let delete = move |location: Result<Path>| {
            let retry = retry.clone();
            async move {
                let location = location?;
                retry
                    .run(Verb::Delete, &location, || retry.inner.delete(&location))
                    .await?;
                Ok(location)
            }
        };
        locations.map(delete).buffered(DELETES).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        Listing::begin(self.clone(), prefix.cloned(), None).stream()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        Listing::begin(self.clone(), prefix.cloned(), Some(offset.clone())).stream()
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

/// A listing that continues after it breaks off.
struct Listing {
    retry: Retry,
    prefix: Option<Path>,
    /// Only names after this one are wanted: the caller's offset, or the last name given out.
    behind: Option<Path>,
    /// Whether any name was given out.
    given: bool,
    from: BoxStream<'static, Result<ObjectMeta>>,
    count: u32,
    spent: Duration,
    ended: bool,
}

impl Listing {
    fn begin(retry: Retry, prefix: Option<Path>, behind: Option<Path>) -> Self {
        let from = retry.listed_from(prefix.as_ref(), behind.as_ref());
        Self {
            retry,
            prefix,
            behind,
            given: false,
            from,
            count: 0,
            spent: Duration::ZERO,
            ended: false,
        }
    }

    fn stream(self) -> BoxStream<'static, Result<ObjectMeta>> {
        futures::stream::unfold(self, |mut listing| async move {
            let next = listing.next().await?;
            Some((next, listing))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<ObjectMeta>> {
        let begun = Instant::now();
        while !self.ended {
            let error = match self.from.next().await {
                // Some stores cannot begin at a name and always list from the first.
                Some(Ok(meta)) if self.is_old(&meta.location) => continue,
                Some(Ok(meta)) => {
                    self.retry.reached.store(true, Ordering::Relaxed);
                    (self.given, self.count, self.spent) = (true, 0, Duration::ZERO);
                    if self.retry.rule.ordered {
                        self.behind = Some(meta.location.clone());
                    }
                    return Some(Ok(meta));
                }
                Some(Err(error)) => error,
                None => {
                    self.ended = true;
                    return None;
                }
            };
            if let Err(error) = self.again(begun, error).await {
                self.ended = true;
                return Some(Err(error));
            }
        }
        None
    }

    fn is_old(&self, location: &Path) -> bool {
        self.retry.rule.ordered && self.behind.as_ref().is_some_and(|behind| location <= behind)
    }

    async fn again(&mut self, begun: Instant, error: object_store::Error) -> Result<()> {
        if self.given && !self.retry.rule.ordered {
            return Err(error);
        }
        let mut attempts = Attempts {
            retry: &self.retry,
            verb: Verb::List,
            count: self.count + 1,
            spent: self.spent,
            begun,
        };
        let at = self.prefix.clone().unwrap_or_default();
        attempts.pause(&at, error).await?;
        (self.count, self.spent) = (attempts.count, attempts.spent);
        self.from = self.retry.listed_from(self.prefix.as_ref(), self.behind.as_ref());
        Ok(())
    }
}
