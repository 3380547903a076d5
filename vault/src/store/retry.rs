//! Repeats operations that failed with a transient error (`StoreError::is_transient`), until they succeed or patience
//! ends. Pauses grow from attempt to attempt, with jitter, and are never shorter than the store asked for.
//!
//! # Patience
//! Patience is a time, not a count. A store that is away for minutes is waited for. When patience ends,
//! the operation fails with `StoreError::Away`, or with `StoreError::Shortage` if this machine was short of
//! something. A store that has not answered this process at all gets only a short time, because then a wrong URL is
//! more likely. Each attempt costs at most `STALLED_AFTER` of patience: an attempt that lasts longer was moving
//! bytes, or was held by the pace. A store that was given up once is not waited for again until it answers.
//!
//! # Creates
//! A create whose answer was lost may have happened. If the store then says that the object exists, it is
//! read back and compared. It is our own (`New`) if an earlier attempt may have written it and its content is ours.
//! Otherwise another writer made it (`Exists`). If there is no object after all, the create is repeated. Small
//! objects are compared whole, long ones (packs, under random ids) by their length and their last bytes, which hold
//! the sealed directory.
//!
//! # Objects that cannot be read
//! An error that repeats for one object, while another object of the same store can be read, is the fault of that
//! object (`StoreError::Unreadable`), and not of the store. It is decided here, once for all callers.

mod listing;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
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
use super::{MaxLen, Refusal, StoreError, names};
use listing::Listing;

/// Answers up to this long are read whole within one attempt, so that one that breaks off is asked for again.
const RETRIED_WHOLE: u64 = 64 * 1024 * 1024;
/// Objects up to this long are compared whole with what was to be written.
const COMPARED_WHOLE: usize = 256 * 1024;
/// How many bytes at the end of longer objects are compared.
const COMPARED_END: u64 = 16 * 1024;
/// If this many objects cannot be read, one after another without a readable one between them, the store itself is at
/// fault: the descriptor may still be read from the memory of the kernel.
const UNREADABLE_IN_A_ROW: u32 = 64;
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
    /// Whether the store was given up, and has not answered since. It is not waited for a second time: there is one
    /// patience for the job, and not one for each object.
    given_up: Arc<AtomicBool>,
    /// How many reads failed for their object's sake since the last one that succeeded.
    unreadable: Arc<AtomicU32>,
    observer: Option<Arc<dyn StoreObserver>>,
}

/// How often and for how long one operation was tried.
struct Attempts<'r> {
    retry: &'r Retry,
    verb: Verb,
    count: u32,
    spent: Duration,
    begun: Instant,
    /// Whether the observer was told that the operation waits.
    waits: bool,
}

impl Drop for Attempts<'_> {
    fn drop(&mut self) {
        if let (true, Some(observer)) = (self.waits, &self.retry.observer) {
            observer.waits_no_longer();
        }
    }
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
                self.retry.answered();
            }
            return Err(error);
        }
        let wanted = match WireFault::find(&error).map(|fault| fault.kind) {
            // The store was not asked, so this costs no patience.
            Some(WireKind::Outwaited) => return Ok(()),
            Some(WireKind::Passing(wanted)) => wanted.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        self.spent += self.begun.elapsed().min(STALLED_AFTER);
        let rule = &self.retry.rule;
        let reached = self.retry.reached.load(Ordering::Relaxed);
        let patience = if !reached {
            rule.first_contact.min(rule.patience)
        } else if self.retry.given_up.load(Ordering::Relaxed) {
            Duration::ZERO
        } else {
            rule.patience
        };
        if self.spent >= patience {
            self.retry.given_up.store(reached, Ordering::Relaxed);
            return Err(if reached { away(path, self.spent, &error) } else { error });
        }
        let pause = rule.pause(self.count, jitter()).max(wanted).min(patience - self.spent);
        tracing::warn!(object = %path, %error, attempt = self.count, ?pause, "the store failed; trying again");
        if let Some(observer) = self.retry.observer.as_ref().filter(|_| !self.waits) {
            observer.waits(patience - self.spent);
            self.waits = true;
        }
        crate::pause::pause(pause).await;
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
            given_up: Arc::default(),
            unreadable: Arc::default(),
            observer,
        }
    }

    /// The store has answered.
    fn answered(&self) {
        self.reached.store(true, Ordering::Relaxed);
        self.given_up.store(false, Ordering::Relaxed);
    }

    fn attempts(&self, verb: Verb) -> Attempts<'_> {
        Attempts {
            retry: self,
            verb,
            count: 0,
            spent: Duration::ZERO,
            begun: Instant::now(),
            waits: false,
        }
    }

    async fn run<T, F: Future<Output = Result<T>>>(
        &self,
        verb: Verb,
        path: &Path,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T> {
        let mut attempts = self.attempts(verb);
        let reads = matches!(verb, Verb::Get | Verb::Head);
        let mut unexplained = false;
        loop {
            attempts.begin();
            match attempt().await {
                Ok(done) => {
                    self.answered();
                    if reads {
                        self.unreadable.store(0, Ordering::Relaxed);
                    }
                    return Ok(done);
                }
                Err(error) if reads && is_unexplained(path, &error) => {
                    if unexplained {
                        return Err(self.blamed(path, error).await);
                    }
                    unexplained = true;
                }
                Err(error) => attempts.pause(path, error).await?,
            }
        }
    }

    /// Whose fault is it that an object cannot be read? If another object can be read, it is the object's own fault.
    /// The reading may also show why the store refuses: an answer to HEAD has no body, so it cannot say that.
    async fn blamed(&self, path: &Path, error: object_store::Error) -> object_store::Error {
        let descriptor = Path::from(names::DESCRIPTOR);
        let readable = async {
            let got = self.inner.get_opts(&descriptor, GetOptions::default()).await?;
            got.bytes().await
        };
        let read = readable.await;
        if let Err(said) = &read
            && matches!(StoreError::sort(names::DESCRIPTOR, said), StoreError::Refused { .. })
        {
            return read.err().unwrap_or(error);
        }
        // Beside the descriptor there are folders in a vault, and none in an empty mount point.
        let works = *path != descriptor && read.is_ok()
            || self
                .inner
                .list_with_delimiter(None)
                .await
                .is_ok_and(|root| !root.common_prefixes.is_empty());
        if !works || self.unreadable.fetch_add(1, Ordering::Relaxed) >= UNREADABLE_IN_A_ROW {
            return error;
        }
        let reason = match StoreError::sort(path.as_ref(), &error) {
            StoreError::Io { reason, .. } | StoreError::Permission { reason, .. } => reason,
            other => other.to_string(),
        };
        WireFault::new(WireKind::Unreadable, reason).into_error()
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

/// Whether an error may be the fault of the object, or of the store.
fn is_unexplained(path: &Path, error: &object_store::Error) -> bool {
    matches!(
        StoreError::sort(path.as_ref(), error),
        StoreError::Io { .. } | StoreError::Permission { .. }
    )
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

/// A random number from 0 to 1.
pub(crate) fn jitter() -> f64 {
    let bytes = crate::crypto::keys::random::<4>().unwrap_or([0, 0, 0, 0x80]);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
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
            let most = options.extensions.get::<MaxLen>().map_or(RETRIED_WHOLE, |most| most.0);
            if options.head || got.range.end - got.range.start > most.min(RETRIED_WHOLE) {
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
