//! A store in memory that fails on demand.

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};

use crate::store::Refusal;
use crate::store::fault::{WireFault, WireKind};

type Stored<T> = object_store::Result<T>;

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happened; the store was not reached.
    Unreachable,
    /// Nothing happened; there is no space.
    Full,
    /// A put happened, but its answer was lost.
    AnswerLost,
    /// Nothing happened, and the answer is that the object is there already.
    SaysExists,
    /// Nothing happened, and the answer is that it is not allowed.
    Denied,
}

/// A store in memory that fails on demand.
#[derive(Debug)]
pub struct FailingStore {
    inner: InMemory,
    faults: Mutex<(u32, Option<Fault>)>,
    put_fault: Mutex<Option<Fault>>,
}

impl FailingStore {
    /// A store over `inner` that does not fail yet.
    #[must_use]
    pub fn new(inner: InMemory) -> Self {
        Self {
            inner,
            faults: Mutex::new((0, None)),
            put_fault: Mutex::new(None),
        }
    }

    /// The next `count` puts and gets fail.
    pub fn fail_next(&self, count: u32, fault: Fault) {
        *self.faults.lock().unwrap() = (count, Some(fault));
    }

    /// The next put fails; gets before it do not.
    pub fn fail_next_put(&self, fault: Fault) {
        *self.put_fault.lock().unwrap() = Some(fault);
    }

    /// How many operations will still fail.
    pub fn left(&self) -> u32 {
        self.faults.lock().unwrap().0
    }

    fn next(&self) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        if faults.0 == 0 {
            return None;
        }
        faults.0 -= 1;
        faults.1
    }
}

fn error(fault: Fault) -> object_store::Error {
    use rustix::io::Errno;
    let errno = if fault == Fault::Full {
        Errno::NOSPC
    } else {
        Errno::TIMEDOUT
    };
    let source = std::io::Error::from_raw_os_error(errno.raw_os_error());
    object_store::Error::Generic {
        store: "failing",
        source: Box::new(source),
    }
}

impl fmt::Display for FailingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FailingStore")
    }
}

#[async_trait]
impl ObjectStore for FailingStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Stored<PutResult> {
        let fault = self.put_fault.lock().unwrap().take().or_else(|| self.next());
        match fault {
            None => self.inner.put_opts(location, payload, opts).await,
            Some(Fault::AnswerLost) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(error(Fault::AnswerLost))
            }
            Some(Fault::SaysExists) => Err(object_store::Error::AlreadyExists {
                path: location.to_string(),
                source: "says the store".into(),
            }),
            Some(Fault::Denied) => {
                let denied = WireKind::Refused(Refusal::NotAllowed);
                Err(WireFault::new(denied, "says the store").into_error())
            }
            Some(fault) => Err(error(fault)),
        }
    }

    async fn put_multipart_opts(&self, location: &Path, o: PutMultipartOptions) -> Stored<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, o).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Stored<GetResult> {
        match self.next() {
            None => self.inner.get_opts(location, options).await,
            Some(fault) => Err(error(fault)),
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Stored<Vec<Bytes>> {
        match self.next() {
            None => self.inner.get_ranges(location, ranges).await,
            Some(fault) => Err(error(fault)),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Stored<Path>>) -> BoxStream<'static, Stored<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Stored<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Stored<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Stored<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
