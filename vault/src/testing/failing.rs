//! A store in memory that fails on demand.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
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
    /// Names of which every read fails, and with what.
    rotten: Mutex<Vec<(String, rustix::io::Errno)>>,
    /// What listings answer, if not what is there. `!` breaks a listing off.
    listed: Mutex<Option<VecDeque<String>>>,
}

impl FailingStore {
    /// A store over `inner` that does not fail yet.
    #[must_use]
    pub fn new(inner: InMemory) -> Self {
        Self {
            inner,
            faults: Mutex::new((0, None)),
            put_fault: Mutex::new(None),
            rotten: Mutex::default(),
            listed: Mutex::default(),
        }
    }

    /// The next `count` puts and gets fail.
    pub fn fail_next(&self, count: u32, fault: Fault) {
        *self.faults.lock().unwrap() = (count, Some(fault));
    }

    /// From now on every read of this object fails with EIO.
    pub fn rot(&self, name: &str) {
        self.rot_with(name, rustix::io::Errno::IO);
    }

    /// From now on every read of this object fails with that error.
    pub fn rot_with(&self, name: &str, errno: rustix::io::Errno) {
        self.rotten.lock().unwrap().push((name.to_owned(), errno));
    }

    /// Puts something else in an object's place, or nothing.
    pub async fn replace(&self, name: &str, object: Option<Bytes>) {
        use object_store::ObjectStoreExt;
        let path = Path::from(name);
        match object {
            Some(object) => {
                self.inner.put(&path, object.into()).await.unwrap();
            }
            None => self.inner.delete(&path).await.unwrap(),
        }
    }

    /// From now on listings answer these names, in this order. At `!` a listing breaks off; the next one goes on behind
    /// it.
    pub fn list_as(&self, names: &[&str]) {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        *self.listed.lock().unwrap() = Some(names);
    }

    fn sound(&self, location: &Path) -> Stored<()> {
        let rotten = self.rotten.lock().unwrap();
        match rotten.iter().find(|(name, _)| name == location.as_ref()) {
            Some((_, errno)) => Err(error_of(*errno)),
            None => Ok(()),
        }
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
    error_of(errno)
}

fn error_of(errno: rustix::io::Errno) -> object_store::Error {
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
        self.sound(location)?;
        match self.next() {
            None => self.inner.get_opts(location, options).await,
            Some(fault) => Err(error(fault)),
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Stored<Vec<Bytes>> {
        self.sound(location)?;
        match self.next() {
            None => self.inner.get_ranges(location, ranges).await,
            Some(fault) => Err(error(fault)),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Stored<Path>>) -> BoxStream<'static, Stored<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Stored<ObjectMeta>> {
        let mut listed = self.listed.lock().unwrap();
        let Some(names) = listed.as_mut() else {
            return self.inner.list(prefix);
        };
        let mut answers = Vec::new();
        while let Some(name) = names.pop_front() {
            if name == "!" {
                answers.push(Err(error(Fault::Unreachable)));
                break;
            }
            answers.push(Ok(ObjectMeta {
                location: Path::from(name),
                last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
                size: 1,
                e_tag: None,
                version: None,
            }));
        }
        futures::stream::iter(answers).boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, _offset: &Path) -> BoxStream<'static, Stored<ObjectMeta>> {
        self.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Stored<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Stored<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
