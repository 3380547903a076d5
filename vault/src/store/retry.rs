//! Tries again what failed for a passing reason, until it works or patience ends: pauses that grow, with jitter, and never
//! shorter than the store asked for. Only errors that `StoreError::is_transient` calls passing.
//!
//! **Patience** is a time, not a count: a store that is away for minutes is waited for, and after the time the operation
//! fails for good (`StoreError::Away`). A store that has not answered this process at all is waited for only shortly: then
//! it is more likely that the URL is wrong than that the store is away. An attempt counts for as long as one without any
//! movement can last (`STALLED_AFTER`); what goes beyond that was moving, or held by the pace, and costs no patience.
//!
//! **A create** whose answer was lost may have happened. Where a store says that the object is there, it is read back: it is
//! ours (`New`) where an attempt before this one may have written it and it is what we write; somebody else's (`Exists`)
//! otherwise; and where nothing is there in spite of what was said, it is tried again. Small objects are compared whole, long
//! ones (packs, under their random ids) by length and last bytes, which are the sealed directory.
//!
//! **A listing** that breaks off goes on behind the last name it gave, where the store lists in order; where it does not, it
//! begins again unless something was given out already.

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
/// Of longer ones, so much of the end.
const COMPARED_END: u64 = 16 * 1024;
/// Objects deleted at once.
const DELETES: usize = 8;

/// How patiently an operation is tried again after a transient error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryRule {
    /// The longest pause before the second attempt. It doubles from one to the next.
    pub first: Duration,
    /// No pause is longer, but where the store asks for it.
    pub most: Duration,
    /// An operation fails for good after so long.
    pub patience: Duration,
    /// The same for a store that did not answer this process yet.
    pub first_contact: Duration,
    /// Whether listings come in the order of their names.
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
    /// The pause after attempt `attempt` (from 1): the doubled pause, between half and all of it by `jitter` (0 to 1).
    #[must_use]
    pub fn pause(&self, attempt: u32, jitter: f64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
        doubled.min(self.most).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

/// Tries again what failed for a passing reason. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Retry {
    inner: Arc<dyn ObjectStore>,
    rule: RetryRule,
    /// Whether the store ever answered.
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
    /// Decorates `inner`. Pauses need a tokio runtime with time. The observer hears of every attempt after the first.
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

    /// One attempt of a create. `unsure`: whether an earlier one may have written the object.
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
            // Keys that may create and not overwrite (a SAS with `c` and without `w`) hear this of what is there.
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

    /// Whether what is there is this payload; `None` where nothing is there.
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

/// The result of a create that an earlier attempt had done.
fn ours() -> PutResult {
    PutResult {
        e_tag: None,
        version: None,
        extensions: http::Extensions::default(),
    }
}

/// Whether the payload's last bytes are these.
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

/// Whether an error comes from the store itself, so that it is where it should be.
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

/// A listing that survives its breaks.
struct Listing {
    retry: Retry,
    prefix: Option<Path>,
    /// What is wanted lies behind this name: the caller's, or the last one given.
    behind: Option<Path>,
    /// Whether anything was given.
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
                // Stores that do not know how to begin behind a name begin at the first.
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
