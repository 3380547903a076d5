//! Helpers of this crate's tests: a runtime to wait on, a store that fails on demand, a small vault with a domain.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use lockstone_proto::access::Region;
use lockstone_proto::ids::{ChunkId, DomainId, PackId, ServerId};
use lockstone_proto::vault::{
    ChunkKind, CommitBody, Consistency, Entry, EntryKind, Frame, PackDirectory, PackEntry, PointStatus, PointSummary,
    Segment,
};

use crate::access::credentials::{Issue, OperatorKey};
use crate::access::registration::NewServer;
use crate::crypto::keys::{Keys, MasterKey};
use crate::domain::{Domain, DomainOptions, Signer};
use crate::error::VaultError;
use crate::log::LogHead;
use crate::pack::PackSeal;
use crate::pack::frame::Compressor;
use crate::pack::segment::encode_segment;
use crate::points::{TreeWalk, Walked};
use crate::store::fault::{WireFault, WireKind};
use crate::store::{Refusal, Store, names};
use crate::tree::content::ContentWriter;
use crate::tree::{FolderWriter, NewPage};
use crate::vault::{CreateOptions, Vault};

type Stored<T> = object_store::Result<T>;

/// Runs a future to its end on a runtime of its own.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
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
    /// Nothing happened, and the answer is that the object is there already.
    SaysExists,
    /// Nothing happened, and the answer is that it is not allowed.
    Denied,
}

/// A store in memory that fails on demand.
#[derive(Debug)]
pub(crate) struct FailingStore {
    inner: InMemory,
    faults: Mutex<(u32, Option<Fault>)>,
    put_fault: Mutex<Option<Fault>>,
}

impl FailingStore {
    pub(crate) fn new(inner: InMemory) -> Self {
        Self {
            inner,
            faults: Mutex::new((0, None)),
            put_fault: Mutex::new(None),
        }
    }

    /// The next `count` puts and gets fail.
    pub(crate) fn fail_next(&self, count: u32, fault: Fault) {
        *self.faults.lock().unwrap() = (count, Some(fault));
    }

    /// The next put fails; gets before it do not.
    pub(crate) fn fail_next_put(&self, fault: Fault) {
        *self.put_fault.lock().unwrap() = Some(fault);
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

/// A vault in a folder, with one domain, for tests to back up into and to harm.
pub(crate) struct Lab {
    pub(crate) folder: tempfile::TempDir,
    caches: tempfile::TempDir,
    pub(crate) operator: OperatorKey,
    pub(crate) vault: Vault,
    pub(crate) master: MasterKey,
    pub(crate) domain: DomainId,
    pub(crate) keys: Arc<Keys>,
}

pub(crate) fn now() -> Timestamp {
    "2026-11-22T03:00:00Z".parse().unwrap()
}

impl Lab {
    pub(crate) fn new() -> Self {
        let (folder, store) = folder_store();
        Self::over(folder, store)
    }

    /// The same over any store; the folder is only kept.
    pub(crate) fn over(folder: tempfile::TempDir, store: Store) -> Self {
        let operator = OperatorKey::generate().unwrap();
        let (vault, _) = block_on(Vault::create(store, &operator, &CreateOptions::new(now()))).unwrap();
        let (master, domain) = (MasterKey::generate().unwrap(), DomainId([5; 16]));
        let keys = Arc::new(Keys::derive(&master, domain));
        Self {
            folder,
            caches: tempfile::tempdir().unwrap(),
            operator,
            vault,
            master,
            domain,
            keys,
        }
    }

    /// Registers a server.
    pub(crate) fn server(&self, n: u8) -> Signer {
        let issue = Issue {
            region: Region::Primary,
            url: String::new(),
            secondary_url: None,
            now: now(),
            valid_days: 10,
        };
        let credentials = self.operator.issue(&issue).unwrap();
        let signer = Signer {
            server: ServerId([n; 16]),
            key: SigningKey::from_bytes(&[n; 32]),
        };
        let name = format!("server {n}");
        let new = NewServer {
            id: signer.server,
            name: &name,
            domain: self.domain,
            key: &signer.key,
        };
        block_on(self.vault.register(&credentials, &new, now())).unwrap();
        signer
    }

    pub(crate) fn cache(&self, name: &str) -> PathBuf {
        self.caches.path().join(name)
    }

    pub(crate) fn pin(&self, name: &str) -> PathBuf {
        self.caches.path().join(format!("{name}.pin"))
    }

    /// Opens the domain with a cache and a pin of that name.
    pub(crate) fn open(&self, signer: Option<Signer>, cache: &str) -> Arc<Domain> {
        let options = DomainOptions {
            signer,
            cache_dir: self.cache(cache),
            pin_file: Some(self.pin(cache)),
            trusted: Vec::new(),
        };
        block_on(Domain::open(&self.vault, self.domain, &self.master, options))
            .unwrap()
            .0
    }

    /// Every object of the vault.
    pub(crate) fn objects(&self) -> Vec<String> {
        let all = block_on(self.vault.store().list_all("")).unwrap();
        all.into_iter().map(|object| object.path).collect()
    }

    pub(crate) fn path(&self, object: &str) -> PathBuf {
        self.folder.path().join(object)
    }

    /// Backs files up as a point with this id, in chunks of 1,000 bytes.
    pub(crate) fn backup(&self, domain: &Domain, point: u8, files: &[(&str, Vec<u8>)]) -> LogHead {
        let tree = Tree::build(&self.keys, files);
        let head = block_on(domain.refresh()).unwrap().head;
        let data = pack(&self.keys, ChunkKind::Data, &fresh(domain, tree.data));
        let pages = pack(&self.keys, ChunkKind::Tree, &fresh(domain, tree.pages));
        let store = self.vault.store();
        let mut entries = Vec::new();
        for (entry, object) in [data, pages].into_iter().flatten() {
            let id = PackId::try_from(entry.pack_id.as_ref()).unwrap();
            block_on(store.create(&names::pack(self.domain, &id), object)).unwrap();
            entries.push(entry);
        }
        let mut segments = Vec::new();
        if !entries.is_empty() {
            let (id, object) = encode_segment(&self.keys, &Segment { packs: entries.clone() }).unwrap();
            block_on(store.create(&names::segment(self.domain, &id), object)).unwrap();
            segments.push(id);
            block_on(domain.append_segments(segments.clone(), &entries, now())).unwrap();
        }
        let body = CommitBody {
            segment_ids: Vec::new(),
            root: tree
                .root
                .map(|root| Bytes::copy_from_slice(root.as_bytes()))
                .unwrap_or_default(),
            sources: vec![Bytes::from_static(b"/")],
            index_position: head.n,
            parents: Vec::new(),
            warnings: 0,
        };
        block_on(domain.commit(summary(point), body, &[], now())).unwrap()
    }
}

/// A summary for tests.
pub(crate) fn summary(point: u8) -> PointSummary {
    PointSummary {
        point_id: vec![point; 16].into(),
        started_s: now().as_second(),
        status: PointStatus::Completed.into(),
        consistency: Consistency::Live.into(),
        tags: vec!["daily".into()],
        ..PointSummary::default()
    }
}

fn fresh(domain: &Domain, chunks: Vec<NewPage>) -> Vec<NewPage> {
    let ids: Vec<ChunkId> = chunks.iter().map(|chunk| chunk.id).collect();
    let known = domain.index().lookup(&ids).unwrap();
    let mut seen = std::collections::HashSet::new();
    let unknown = chunks
        .into_iter()
        .zip(known)
        .filter(|(_, known)| known.is_none())
        .map(|(chunk, _)| chunk);
    unknown.filter(|chunk| seen.insert(chunk.id)).collect()
}

/// A tree of files, as chunks.
pub(crate) struct Tree {
    pub(crate) root: Option<ChunkId>,
    pub(crate) pages: Vec<NewPage>,
    pub(crate) data: Vec<NewPage>,
}

impl Tree {
    /// Folders come from the paths; a path that ends with `/` is an empty folder.
    pub(crate) fn build(keys: &Arc<Keys>, files: &[(&str, Vec<u8>)]) -> Self {
        let mut tree = Self {
            root: None,
            pages: Vec::new(),
            data: Vec::new(),
        };
        let all: BTreeMap<Vec<u8>, &Vec<u8>> = files
            .iter()
            .map(|(path, content)| (path.trim_start_matches('/').as_bytes().to_vec(), content))
            .collect();
        tree.root = tree.folder(keys, b"", &all);
        tree
    }

    fn folder(&mut self, keys: &Arc<Keys>, base: &[u8], files: &BTreeMap<Vec<u8>, &Vec<u8>>) -> Option<ChunkId> {
        // Names in order; of a folder whether it is one.
        let mut names: BTreeMap<Vec<u8>, Option<&Vec<u8>>> = BTreeMap::new();
        for (path, content) in files {
            let Some(rest) = path.strip_prefix(base).filter(|rest| !rest.is_empty()) else {
                continue;
            };
            match rest.iter().position(|byte| *byte == b'/') {
                Some(end) => names.insert(rest[..end].to_vec(), None),
                None => names.insert(rest.to_vec(), Some(content)),
            };
        }
        let mut writer = FolderWriter::new(keys.clone());
        for (name, content) in names {
            let mut entry = Entry {
                name: Bytes::from(name.clone()),
                kind: EntryKind::File.into(),
                mode: 0o644,
                ..Entry::default()
            };
            match content {
                None => {
                    let below = [base, &name, b"/"].concat();
                    let page = self.folder(keys, &below, files);
                    entry.kind = EntryKind::Folder.into();
                    entry.page = page
                        .map(|page| Bytes::copy_from_slice(page.as_bytes()))
                        .unwrap_or_default();
                }
                Some(content) => {
                    entry.size = content.len() as u64;
                    let mut writer = ContentWriter::new(keys.clone());
                    for chunk in content.chunks(1000) {
                        let id = keys.chunk_id(ChunkKind::Data, chunk);
                        self.data.push(NewPage {
                            id,
                            raw: Bytes::copy_from_slice(chunk),
                        });
                        writer.chunk(&id, chunk.len() as u32, &mut self.pages).unwrap();
                    }
                    entry.content = writer.finish(&mut self.pages).unwrap();
                }
            }
            writer.push(&entry, &mut self.pages).unwrap();
        }
        writer.finish(&mut self.pages).unwrap()
    }
}

/// A pack of these chunks, three to a frame; `None` if there are none.
pub(crate) fn pack(keys: &Keys, kind: ChunkKind, chunks: &[NewPage]) -> Option<(PackEntry, Vec<u8>)> {
    if chunks.is_empty() {
        return None;
    }
    let seal = PackSeal::create(keys, kind).unwrap();
    let mut object = seal.header().to_vec();
    let mut compressor = Compressor::new(3).unwrap();
    let mut frames = Vec::new();
    for (ordinal, members) in chunks.chunks(3).enumerate() {
        let raw = members
            .iter()
            .map(|chunk| chunk.raw.as_ref())
            .collect::<Vec<_>>()
            .concat();
        let mut payload = Vec::new();
        let codec = compressor.compress(&raw, &mut payload).unwrap();
        seal.seal_frame(ordinal as u32, raw.len() as u32, codec, &mut payload)
            .unwrap();
        frames.push(Frame {
            sealed_len: payload.len() as u32,
            raw_len: raw.len() as u32,
            codec: codec.into(),
            chunk_ids: members.iter().flat_map(|chunk| chunk.id.0).collect(),
            chunk_lens: members.iter().map(|chunk| chunk.raw.len() as u32).collect(),
        });
        object.extend_from_slice(&payload);
    }
    let directory = PackDirectory { frames };
    let tail = seal.seal_directory(&directory, object.len() as u64).unwrap();
    object.extend_from_slice(&tail);
    let len = object.len() as u64;
    Some((seal.entry(directory, len), object))
}

/// The content of every file of a tree, or why it cannot be read.
pub(crate) async fn read_all(domain: &Domain, root: Option<ChunkId>) -> BTreeMap<Vec<u8>, Result<Vec<u8>, VaultError>> {
    let mut files = BTreeMap::new();
    let mut walk = TreeWalk::new(domain, root, Vec::new());
    while let Some(step) = walk.next().await.unwrap() {
        match step {
            Walked::Entry { path, entry } if entry.kind() == EntryKind::File => {
                let mut content = Ok(Vec::new());
                if let Some(list) = &entry.content {
                    for id in list.ids.chunks(ChunkId::LEN) {
                        let id = ChunkId::try_from(id).unwrap();
                        match domain.read_chunk(ChunkKind::Data, &id).await {
                            Ok(chunk) => content.as_mut().unwrap().extend_from_slice(&chunk),
                            Err(error) => {
                                content = Err(error);
                                break;
                            }
                        }
                    }
                }
                files.insert(path, content);
            }
            Walked::Entry { .. } | Walked::Leave { .. } => {}
            Walked::Damaged { path, error } => {
                files.insert(path, Err(error));
            }
        }
    }
    files
}
