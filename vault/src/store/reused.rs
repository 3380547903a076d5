//! A folder's objects read into buffers that are used again. A restore reads all of a vault through here, some MiB at a
//! time; in fresh memory each of those costs a thousand page faults, which is more than the reading itself. Everything else,
//! errors too, is left to the store within.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path as FilePath;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use crate::pool::{Pool, Pooled};

/// Shorter ranges are not worth a buffer of the pool.
const LEAST: u64 = 64 * 1024;

/// A local store with buffers.
#[derive(Debug)]
pub(super) struct Reused {
    inner: LocalFileSystem,
    pool: Pool,
}

impl Reused {
    pub(super) fn new(inner: LocalFileSystem) -> Self {
        let pool = Pool::default();
        Self { inner, pool }
    }

    /// The range, where all of it is there; what went wrong otherwise is for the store within to say.
    async fn read(&self, location: &Path, range: Range<u64>) -> Option<Bytes> {
        let path = self.inner.path_to_filesystem(location).ok()?;
        let mut buffer = self.pool.take(usize::try_from(range.end - range.start).ok()?);
        let read = move || {
            read_exact(&path, range, &mut buffer).ok()?;
            Some(Bytes::from_owner(buffer))
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => runtime.spawn_blocking(read).await.ok()?,
            Err(_) => read(),
        }
    }
}

fn read_exact(path: &FilePath, range: Range<u64>, buffer: &mut Pooled) -> std::io::Result<()> {
    // It is no longer than what a buffer was made for.
    let len = usize::try_from(range.end - range.start).unwrap_or_default();
    File::open(path)?.read_exact_at(buffer.spare(len), range.start)?;
    buffer.filled(len);
    Ok(())
}

impl fmt::Display for Reused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Reused {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, o: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, o).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if let [range] = ranges
            && range.end.saturating_sub(range.start) >= LEAST
            && let Some(bytes) = self.read(location, range.clone()).await
        {
            return Ok(vec![bytes]);
        }
        self.inner.get_ranges(location, ranges).await
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
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
