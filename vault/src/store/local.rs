//! A store in a folder. `LocalFileSystem` names and writes the objects; this decorator adds three things:
//!
//! * **Ranges are read into reused buffers.** A restore reads most of a vault through here, some MiB at a time. In
//!   fresh memory each read costs a thousand page faults, which takes longer than the read itself.
//! * **Foreign files are left alone.** A file whose name cannot be that of an object (not UTF-8, say) is not listed,
//!   and does not end the listing (`folders`).
//! * **Bytes keep the pace.** A vault in a folder is often a network mount. If there is a limit, objects are written
//!   and ranges are read piece by piece, each when the pace allows it. The file system may still hold what was written
//!   and send it later. Objects of only a few pieces, and objects that replace another, wait for all of their bytes
//!   first and are written at once.
//!
//! An object that is written piece by piece is staged under the name that `LocalFileSystem` uses for staging, which
//! listings leave out. Then it is linked to its own name, which never replaces anything. What a killed writer left
//! behind is removed by a later one (`abandoned`).

mod abandoned;
mod folders;

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::pace::{Direction, LinePace};
use crate::buffers::{Pool, Pooled};

/// Shorter ranges are read without a buffer of the pool.
const MIN_POOLED_READ: u64 = 64 * 1024;

/// How many bytes of buffers are kept for the next ranges.
const BUFFERS: usize = 32 * 1024 * 1024;

/// A local store with buffers and a pace.
#[derive(Debug)]
pub(super) struct Local {
    inner: LocalFileSystem,
    root: PathBuf,
    pool: Pool,
    pace: Arc<dyn LinePace>,
    cleaned: abandoned::Cleaned,
}

impl Local {
    pub(super) fn new(inner: LocalFileSystem, root: PathBuf, pace: Arc<dyn LinePace>) -> Self {
        let pool = Pool::new(BUFFERS);
        Self {
            inner,
            root,
            pool,
            pace,
            cleaned: abandoned::Cleaned::default(),
        }
    }

    /// The folder of a prefix.
    fn folder(&self, prefix: Option<&Path>) -> Result<PathBuf> {
        match prefix {
            Some(prefix) if !prefix.as_ref().is_empty() => self.inner.path_to_filesystem(prefix),
            _ => Ok(self.root.clone()),
        }
    }

    /// The range, if all of it is there. Otherwise `None`: the inner store finds the error and reports it.
    async fn read(&self, location: &Path, range: Range<u64>) -> Option<Bytes> {
        let path = self.inner.path_to_filesystem(location).ok()?;
        let buffer = self.pool.take(usize::try_from(range.end - range.start).ok()?);
        if self.pace.piece(Direction::Down).is_none() {
            return aside(move || read_all(&path, range, buffer)).await.ok();
        }
        let mut file = aside(move || File::open(path)).await.ok()?;
        let (mut at, mut buffer) = (range.start, buffer);
        while at < range.end {
            let piece = self.pace.piece(Direction::Down).map_or(u64::MAX, |piece| piece as u64);
            let len = usize::try_from(piece.clamp(1, range.end - at)).ok()?;
            self.pace.bytes(Direction::Down, len).await;
            (file, buffer) = aside(move || {
                file.read_exact_at(buffer.spare(len), at)?;
                buffer.filled(len);
                Ok((file, buffer))
            })
            .await
            .ok()?;
            at += len as u64;
        }
        Some(Bytes::from_owner(buffer))
    }

    /// Removes staged objects that were left behind beside an object that was just written.
    async fn clean(&self, written: &Path) {
        let Ok(path) = self.inner.path_to_filesystem(written) else {
            return;
        };
        if path.parent().is_some_and(|folder| self.cleaned.is_first(folder))
            && let Err(error) = aside(move || abandoned::remove(&path)).await
        {
            tracing::debug!(object = %written, %error, "staged objects that were left behind could not be removed");
        }
    }

    /// Creates an object piece by piece.
    async fn create(&self, path: PathBuf, payload: PutPayload) -> io::Result<()> {
        let staging = path.clone();
        let mut staged = aside(move || Staged::create(&staging)).await?;
        for part in payload {
            let mut left = part;
            while !left.is_empty() {
                let piece = self
                    .pace
                    .piece(Direction::Up)
                    .unwrap_or(left.len())
                    .clamp(1, left.len());
                let piece = left.split_to(piece);
                self.pace.bytes(Direction::Up, piece.len()).await;
                staged = aside(move || {
                    staged.file.write_all(&piece)?;
                    Ok(staged)
                })
                .await?;
            }
        }
        aside(move || staged.publish(&path)).await
    }
}

/// Runs blocking work outside the runtime's workers, if there is a runtime.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await.map_err(io::Error::other)?,
        Err(_) => work(),
    }
}

fn read_all(path: &FilePath, range: Range<u64>, mut buffer: Pooled) -> io::Result<Bytes> {
    // The buffer was made for at least this length.
    let len = usize::try_from(range.end - range.start).unwrap_or_default();
    File::open(path)?.read_exact_at(buffer.spare(len), range.start)?;
    buffer.filled(len);
    Ok(Bytes::from_owner(buffer))
}

/// A staged object. It is removed unless it is published.
struct Staged {
    file: File,
    path: PathBuf,
}

impl Staged {
    fn create(object: &FilePath) -> io::Result<Self> {
        let mut number = 1_u64;
        loop {
            let mut path = object.as_os_str().to_owned();
            path.push(format!("#{number}"));
            let path = PathBuf::from(path);
            match File::options().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Self { file, path }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) if error.kind() == ErrorKind::NotFound => make_folder(object.parent())?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the object its name, durably. Fails if there is an object of that name.
    fn publish(self, object: &FilePath) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::hard_link(&self.path, object).map_err(|error| match error.kind() {
            // It was taken for one that was left behind. It has to be written again.
            ErrorKind::NotFound => io::Error::new(ErrorKind::Interrupted, "the staged object is not there any more"),
            _ => error,
        })?;
        object.parent().map_or(Ok(()), sync_folder)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Makes a folder and the folders above it, each durably.
fn make_folder(folder: Option<&FilePath>) -> io::Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    match std::fs::create_dir(folder) {
        // Another process has just made it, and may not have made it durable yet.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == ErrorKind::NotFound && folder.parent().is_some() => {
            make_folder(folder.parent())?;
            return make_folder(Some(folder));
        }
        made => made?,
    }
    folder.parent().map_or(Ok(()), sync_folder)
}

fn sync_folder(folder: &FilePath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn failed(location: &Path, error: io::Error) -> object_store::Error {
    let source = Box::new(error);
    match source.kind() {
        ErrorKind::AlreadyExists => object_store::Error::AlreadyExists {
            path: location.to_string(),
            source,
        },
        _ => object_store::Error::Generic {
            store: "LocalFileSystem",
            source,
        },
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Local {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.pace.request().await;
        let len = payload.content_length();
        if let Some(piece) = self.pace.piece(Direction::Up) {
            if opts.mode == PutMode::Create && len > piece {
                let path = self.inner.path_to_filesystem(location)?;
                let created = self.create(path, payload).await;
                created.map_err(|error| failed(location, error))?;
                self.clean(location).await;
                return Ok(PutResult {
                    e_tag: None,
                    version: None,
                    extensions: http::Extensions::default(),
                });
            }
            self.pace.bytes(Direction::Up, len).await;
        }
        let put = self.inner.put_opts(location, payload, opts).await?;
        self.clean(location).await;
        Ok(put)
    }

    async fn put_multipart_opts(&self, location: &Path, o: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, o).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.pace.request().await;
        let head = options.head;
        let got = self.inner.get_opts(location, options).await?;
        if !head && self.pace.piece(Direction::Down).is_some() {
            let len = usize::try_from(got.range.end - got.range.start).unwrap_or(usize::MAX);
            self.pace.bytes(Direction::Down, len).await;
        }
        Ok(got)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.pace.request().await;
        if let [range] = ranges
            && range.end.saturating_sub(range.start) >= MIN_POOLED_READ
            && let Some(bytes) = self.read(location, range.clone()).await
        {
            return Ok(vec![bytes]);
        }
        let got = self.inner.get_ranges(location, ranges).await?;
        if self.pace.piece(Direction::Down).is_some() {
            self.pace.bytes(Direction::Down, got.iter().map(Bytes::len).sum()).await;
        }
        Ok(got)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.folder(prefix) {
            Ok(folder) => folders::list(folder, prefix),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let offset = offset.clone();
        let behind = move |meta: &ObjectMeta| std::future::ready(meta.location > offset);
        self.list(prefix).try_filter(behind).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (folder, prefix) = (self.folder(prefix)?, prefix.cloned().unwrap_or_default());
        let at = prefix.clone();
        let found = aside(move || folders::read(&folder, &prefix)).await;
        let (mut objects, mut folders) = found.map_err(|error| failed(&at, error))?;
        objects.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        folders.sort_unstable();
        Ok(ListResult {
            common_prefixes: folders,
            objects,
            extensions: http::Extensions::default(),
        })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
