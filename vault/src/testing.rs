//! Helpers of this crate's tests: a runtime to wait on, a store that fails on demand, a small vault with a domain.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

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
    PutOptions, PutPayload, PutResult, Result,
};

use crate::store::Store;

/// Runs a future to its end on a runtime of its own.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

/// A store in a folder of its own, which goes when the first part is dropped.
pub(crate) fn folder_store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    (folder, store)
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing happened; the store was not reached.
    Unreachable,
    /// Nothing happened; there is no space.
    Full,
    /// A put happened, but its answer was lost.
    AnswerLost,
}

/// A store in memory that fails on demand.
#[derive(Debug)]
pub(crate) struct FailingStore {
    inner: InMemory,
    faults: Mutex<(u32, Option<Fault>)>,
}

impl FailingStore {
    pub(crate) fn new(inner: InMemory) -> Self {
        Self { inner, faults: Mutex::new((0, None)) }
    }

    /// The next `count` puts and gets fail.
    pub(crate) fn fail_next(&self, count: u32, fault: Fault) {
        *self.faults.lock().unwrap() = (count, Some(fault));
    }

    pub(crate) fn left(&self) -> u32 {
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
    let errno = if fault == Fault::Full { Errno::NOSPC } else { Errno::TIMEDOUT };
    let source = std::io::Error::from_raw_os_error(errno.raw_os_error());
    object_store::Error::Generic { store: "failing", source: Box::new(source) }
}

impl fmt::Display for FailingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FailingStore")
    }
}

#[async_trait]
impl ObjectStore for FailingStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        match self.next() {
            None => self.inner.put_opts(location, payload, opts).await,
            Some(Fault::AnswerLost) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(error(Fault::AnswerLost))
            }
            Some(fault) => Err(error(fault)),
        }
    }

    async fn put_multipart_opts(&self, location: &Path, o: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, o).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.next() {
            None => self.inner.get_opts(location, options).await,
            Some(fault) => Err(error(fault)),
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.next() {
            None => self.inner.get_ranges(location, ranges).await,
            Some(fault) => Err(error(fault)),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
