//! The store: objects by name, written once. All code that reads or writes a vault's objects goes through `Store`.
//! Behind it is any `ObjectStore`, wrapped in as many decorators (`observe`, `retry`) as the caller wants.
//!
//! Promises: `create` never overwrites, and what it acknowledged is durable (a local store syncs the file and its
//! folders). A read never allocates more than its caller allows. An error names the object and says whether a new
//! attempt may help. Only `open_or_make` makes a missing vault folder. A folder that vanishes or is replaced while it
//! is open is noticed.

mod body;
mod bounded;
mod clock;
mod connect;
mod error;
pub(crate) mod fault;
mod local;
pub mod names;
mod no_proxy;
pub mod observe;
mod open;
mod own;
pub mod pace;
pub mod probe;
mod retry;
mod settings;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use jiff::SignedDuration;
pub use object_store::PutPayload;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

pub(crate) use clock::StoreClock;
pub use error::StoreError;
pub use fault::Refusal;
use observe::StoreObserver;
pub use open::StoreOptions;
use open::{Place, place};
pub(crate) use retry::jitter;
pub use retry::{Retry, RetryRule};

/// Smaller objects are written in one piece. So the file system's time of one is the time of now.
const SMALL: usize = 1024 * 1024;

/// The result of a `create`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// This call created the object, and it is durable.
    New,
    /// An object of that name was there and was not changed. It may come from an earlier attempt of the same writer
    /// that seemed to fail.
    Exists,
}

/// An object as a listing names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name.
    pub path: String,
    /// Its length, bytes.
    pub len: u64,
    /// When it was written, by the store's clock, seconds since the epoch.
    pub written_s: i64,
}

/// An extension of a read: an object that is longer is not taken into memory.
#[derive(Debug, Clone, Copy)]
struct MaxLen(u64);

/// A vault's objects. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    url: Arc<str>,
    root: Option<Arc<Root>>,
    /// Whether the store lists names in order.
    ordered: bool,
    clock: Arc<StoreClock>,
}

/// A local vault's folder as it was when it was opened. Shows whether it was unmounted or replaced since.
#[derive(Debug)]
struct Root {
    path: PathBuf,
    identity: (u64, u64),
}

impl Root {
    fn check(&self, url: &str) -> Result<(), StoreError> {
        match identity(&self.path) {
            Ok(now) if now == self.identity => Ok(()),
            Ok(_) => Err(StoreError::Unreachable {
                object: url.to_owned(),
                reason: "the vault's folder is not the one that was opened (unmounted, or replaced)".to_owned(),
            }),
            Err(error) => Err(StoreError::Unreachable {
                object: url.to_owned(),
                reason: format!("the vault's folder is gone: {error}"),
            }),
        }
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let stat = rustix::fs::stat(path)?;
    Ok((stat.st_dev, stat.st_ino))
}

impl Store {
    /// Opens the store of a vault URL: a path, `file:///dir`, `s3://bucket/prefix` or `az://container/prefix`. A folder
    /// must be there; an object store is not contacted yet. Endpoint and keys come from the store's environment
    /// variables.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        Self::open_with(url, &StoreOptions::default())
    }

    /// The same with options.
    pub fn open_with(url: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        match place(url)? {
            Place::Folder(path) => Self::local(url, path, options),
            Place::Bucket(bucket) => {
                let clock = Arc::default();
                Ok(Self {
                    inner: bucket.open(url, options, Arc::clone(&clock))?,
                    url: bucket.url().into(),
                    root: None,
                    ordered: true,
                    clock,
                })
            }
        }
    }

    /// The same, but makes the folder (and those above it) if it is missing. Buckets and containers are never made:
    /// their owner decides where they are and who may use them. Only for `vault create`.
    pub fn open_or_make(url: &str, options: &StoreOptions) -> Result<Self, StoreError> {
        if let Place::Folder(path) = place(url)? {
            std::fs::create_dir_all(&path).map_err(|error| StoreError::from_io(url, &error))?;
        }
        Self::open_with(url, options)
    }

    /// The URL of a vault in whose folder or prefix this place is. Places that cannot be read hold none, as far as one
    /// knows: keys are often allowed to read below one prefix only.
    pub async fn vault_around(url: &str, options: &StoreOptions) -> Result<Option<String>, StoreError> {
        match place(url)? {
            Place::Folder(path) => {
                let path = std::path::absolute(&path).map_err(|error| StoreError::from_io(url, &error))?;
                // A link on the way leads elsewhere, so the nearest folder that is there is resolved first.
                let there = path
                    .ancestors()
                    .skip(1)
                    .find_map(|above| std::fs::canonicalize(above).ok());
                let mut above = there.iter().flat_map(|there| there.ancestors());
                let found = above.find(|folder| folder.join(names::DESCRIPTOR).is_file());
                Ok(found.map(|folder| folder.display().to_string()))
            }
            Place::Bucket(bucket) => {
                for above in bucket.above() {
                    let url = above.url();
                    let store = above.open(&url, options, Arc::default())?;
                    match store.head(&ObjectPath::from(names::DESCRIPTOR)).await {
                        Ok(_) => return Ok(Some(url)),
                        // The store is asked again when the vault is made, and then waited for.
                        Err(error) if StoreError::sort(&url, &error).is_transient() => return Ok(None),
                        Err(_) => {}
                    }
                }
                Ok(None)
            }
        }
    }

    fn local(url: &str, path: PathBuf, options: &StoreOptions) -> Result<Self, StoreError> {
        let folder = match std::fs::metadata(&path) {
            Ok(stat) => stat.is_dir(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::NoFolder { url: url.to_owned() });
            }
            Err(error) => return Err(StoreError::from_io(url, &error)),
        };
        if !folder {
            return Err(StoreError::BadUrl {
                url: url.to_owned(),
                reason: "it is not a folder",
            });
        }
        let path = std::fs::canonicalize(path).map_err(|error| StoreError::from_io(url, &error))?;
        let identity = identity(&path).map_err(|error| StoreError::from_io(url, &error))?;
        let inner = LocalFileSystem::new_with_prefix(&path).map_err(|error| StoreError::sort(url, &error))?;
        Ok(Self {
            inner: Arc::new(local::Local::new(
                inner.with_fsync(true),
                path.clone(),
                Arc::clone(&options.pace),
            )),
            url: url.into(),
            root: Some(Arc::new(Root { path, identity })),
            ordered: false,
            clock: Arc::default(),
        })
    }

    /// A store over any `ObjectStore`; `url` is for messages.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, url: &str) -> Self {
        Self {
            inner,
            url: url.into(),
            root: None,
            ordered: false,
            clock: Arc::default(),
        }
    }

    /// The same store behind one more decorator.
    #[must_use]
    pub fn decorated(self, with: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>) -> Self {
        Self {
            inner: with(self.inner),
            ..self
        }
    }

    /// The same store with retries, which are reported to the observer. `rule.ordered` is set to what the store can do.
    #[must_use]
    pub fn retried(self, rule: RetryRule, observer: Option<Arc<dyn StoreObserver>>) -> Self {
        let rule = RetryRule {
            ordered: self.ordered,
            ..rule
        };
        self.decorated(|inner| Arc::new(Retry::new(inner, rule, observer)))
    }

    /// The vault URL that it was opened with.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder of a local store, absolute and without symlinks.
    #[must_use]
    pub fn local_root(&self) -> Option<&Path> {
        self.root.as_deref().map(|root| root.path.as_path())
    }

    /// Asks for the store's time, if it did not say it yet and can be asked.
    pub(crate) async fn ask_time(&self) {
        match &self.root {
            Some(root) => self.clock.ask(&root.path),
            // Every answer has the time.
            None if self.clock.offset().is_none() => {
                let _ = self.head(names::DESCRIPTOR).await;
            }
            None => {}
        }
    }

    /// The store's time less this server's, as far as the store has said it to this process.
    pub(crate) fn clock_offset(&self) -> Option<SignedDuration> {
        self.clock.offset()
    }

    /// What is known of its clock, for tests to change.
    #[cfg(test)]
    pub(crate) fn clock(&self) -> &StoreClock {
        &self.clock
    }

    /// Creates an object if there is none of that name. Never overwrites. Once it returns `New`, the object is durable.
    /// After an error the object may exist nevertheless.
    pub async fn create(&self, path: &str, payload: impl Into<PutPayload>) -> Result<Created, StoreError> {
        if let Some(root) = &self.root {
            // Without this check the missing folder would be made again, on the disk below the mount point.
            root.check(&self.url)?;
        }
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        let payload = payload.into();
        let is_small = payload.content_length() < SMALL;
        match self.inner.put_opts(&ObjectPath::from(path), payload, options).await {
            Ok(_) => {
                if let Some(root) = self.root.as_ref().filter(|_| is_small) {
                    self.clock.wrote(&root.path.join(path));
                }
                Ok(Created::New)
            }
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Created::Exists)
            }
            Err(error) => Err(self.explain(path, error)),
        }
    }

    /// The whole object, refused if it is longer than `max_len` bytes.
    pub async fn get(&self, path: &str, max_len: u64) -> Result<Bytes, StoreError> {
        let failed = |error| self.explain(path, error);
        let mut options = GetOptions::default();
        options.extensions.insert(MaxLen(max_len));
        let got = self
            .inner
            .get_opts(&ObjectPath::from(path), options)
            .await
            .map_err(failed)?;
        if got.meta.size > max_len {
            return Err(StoreError::TooLarge {
                object: path.to_owned(),
                len: got.meta.size,
                max: max_len,
            });
        }
        let (len, bytes) = (got.meta.size, got.bytes().await.map_err(failed)?);
        if bytes.len() as u64 == len {
            Ok(bytes)
        } else {
            Err(StoreError::Short {
                object: path.to_owned(),
                wanted: len,
                found: bytes.len() as u64,
            })
        }
    }

    /// Exactly these bytes of an object; `Short` if the object ends earlier. The caller bounds the range.
    pub async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let wanted = range.end - range.start;
        let at = ObjectPath::from(path);
        let failed = match self.inner.get_ranges(&at, std::slice::from_ref(&range)).await {
            Ok(parts) => {
                let bytes = parts.into_iter().next().unwrap_or_default();
                if bytes.len() as u64 == wanted {
                    return Ok(bytes);
                }
                StoreError::Short {
                    object: path.to_owned(),
                    wanted: range.end,
                    found: range.start + bytes.len() as u64,
                }
            }
            Err(error) => self.explain(path, error),
        };
        // Stores report a range beyond the end in many ways, so the length decides.
        if matches!(failed, StoreError::Io { .. } | StoreError::Unreadable { .. })
            && let Ok(Some(len)) = self.head(path).await
            && len < range.end
        {
            return Err(StoreError::Short {
                object: path.to_owned(),
                wanted: range.end,
                found: len,
            });
        }
        Err(failed)
    }

    /// The object's length, bytes; `None` if there is no such object.
    pub async fn head(&self, path: &str) -> Result<Option<u64>, StoreError> {
        match self.inner.head(&ObjectPath::from(path)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(error) => match self.explain(path, error) {
                StoreError::NotFound { .. } => Ok(None),
                other => Err(other),
            },
        }
    }

    /// All objects below a prefix of whole name parts, in no particular order.
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<Listed, StoreError>> {
        let (at, url) = (prefix.to_owned(), Arc::clone(&self.url));
        self.inner
            .list(Some(&ObjectPath::from(prefix)))
            .map(move |listed| match listed {
                Ok(meta) => Ok(Listed {
                    path: meta.location.to_string(),
                    len: meta.size,
                    written_s: meta.last_modified.timestamp(),
                }),
                Err(error) => Err(StoreError::sort(&at, &error).named(&url)),
            })
            .boxed()
    }

    /// The same, whole and sorted by name.
    pub async fn list_all(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let mut all: Vec<Listed> = self.list(prefix).try_collect().await?;
        all.sort_unstable();
        Ok(all)
    }

    /// The names of the folders right below a prefix, sorted.
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let at = ObjectPath::from(prefix);
        let listed = self.inner.list_with_delimiter(Some(&at)).await;
        let listed = listed.map_err(|error| self.explain(prefix, error))?;
        let mut names: Vec<String> = listed
            .common_prefixes
            .iter()
            .filter_map(|path| path.filename().map(str::to_owned))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Deletes an object. It is not an error if there is none.
    pub async fn delete(&self, path: &str) -> Result<(), StoreError> {
        match self.inner.delete(&ObjectPath::from(path)).await {
            Ok(()) => Ok(()),
            Err(error) => match self.explain(path, error) {
                StoreError::NotFound { .. } => Ok(()),
                other => Err(other),
            },
        }
    }

    /// If the whole folder of a local vault is missing, a missing object means that the store is away.
    fn explain(&self, path: &str, error: object_store::Error) -> StoreError {
        let error = StoreError::sort(path, &error);
        match (&error, &self.root) {
            (StoreError::NotFound { .. }, Some(root)) => root.check(&self.url).err().unwrap_or(error),
            _ => error.named(&self.url),
        }
    }
}

#[cfg(test)]
mod tests;
