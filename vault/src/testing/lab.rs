//! A vault in a folder, with one domain.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use lockstone_proto::access::Region;
use lockstone_proto::ids::{DomainId, PackId, PointId, ServerId};
use lockstone_proto::vault::{ChunkKind, CommitBody, Consistency, PointStatus, PointSummary, Segment};

use super::tree::{Tree, fresh, pack};
use super::{block_on, folder_store, now};
use crate::access::credentials::{Issue, OperatorKey};
use crate::access::descriptor::SOFT_DELETE_DAYS;
use crate::access::registration::NewServer;
use crate::crypto::keys::{Keys, MasterKey};
use crate::domain::{Domain, DomainOptions, Relied, Signer};
use crate::log::LogHead;
use crate::pack::segment::encode_segment;
use crate::store::{Store, names};
use crate::vault::{CreateOptions, Vault};

/// A vault in a folder, with one domain, for tests to back up into and to harm.
pub struct Lab {
    /// The folder of the vault.
    pub folder: tempfile::TempDir,
    caches: tempfile::TempDir,
    /// The operator of the vault.
    pub operator: OperatorKey,
    /// The vault, opened.
    pub vault: Vault,
    /// The master key of the domain.
    pub master: MasterKey,
    /// The only domain.
    pub domain: DomainId,
    /// The subkeys of the domain.
    pub keys: Arc<Keys>,
}

impl Lab {
    /// A new, empty vault in a folder of its own.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "it makes folders and a vault in them")]
    pub fn new() -> Self {
        let (folder, store) = folder_store();
        Self::over(folder, store)
    }

    /// The same, and what is deleted cannot be brought back.
    pub fn without_soft_delete() -> Self {
        let (folder, store) = folder_store();
        let options = CreateOptions {
            soft_delete_days: 0,
            ..create_options()
        };
        Self::made(folder, store, &options)
    }

    /// A new, empty vault over any store; the folder is only kept.
    pub fn over(folder: tempfile::TempDir, store: Store) -> Self {
        Self::made(folder, store, &create_options())
    }

    fn made(folder: tempfile::TempDir, store: Store, options: &CreateOptions) -> Self {
        let operator = OperatorKey::generate().unwrap();
        let (vault, _) = block_on(Vault::create(store, &operator, options)).unwrap();
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
    pub fn server(&self, n: u8) -> Signer {
        let issue = Issue {
            region: Region::Primary,
            url: String::new(),
            secondary_url: None,
            tenant: None,
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
            machine: None,
        };
        block_on(self.vault.register(&credentials, &new, now())).unwrap();
        signer
    }

    /// The cache folder of that name.
    #[must_use]
    pub fn cache(&self, name: &str) -> PathBuf {
        self.caches.path().join(name)
    }

    /// The pin file of that name.
    #[must_use]
    pub fn pin(&self, name: &str) -> PathBuf {
        self.caches.path().join(format!("{name}.pin"))
    }

    /// Opens the domain with a cache and a pin of that name.
    pub fn open(&self, signer: Option<Signer>, cache: &str) -> Arc<Domain> {
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
    pub fn objects(&self) -> Vec<String> {
        let all = block_on(self.vault.store().list_all("")).unwrap();
        all.into_iter().map(|object| object.path).collect()
    }

    /// Where an object of the vault lies.
    #[must_use]
    pub fn path(&self, object: &str) -> PathBuf {
        self.folder.path().join(object)
    }

    /// Backs files up as a point with this id, in chunks of 1,000 bytes.
    pub fn backup(&self, domain: &Domain, point: u8, files: &[(&str, Vec<u8>)]) -> LogHead {
        let tree = Tree::build(&self.keys, files);
        let head = block_on(domain.refresh()).unwrap().head;
        let relied = relied(domain, &tree);
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
            root_folder: None,
            ..CommitBody::default()
        };
        block_on(domain.commit(summary(point), body, &[], &relied, now())).unwrap()
    }
}

/// What a backup of this tree relies on: the packs that have something of it.
pub fn relied(domain: &Domain, tree: &Tree) -> Relied {
    let ids: Vec<_> = tree.pages.iter().chain(&tree.data).map(|chunk| chunk.id).collect();
    let places = domain.index().lookup(&ids).unwrap();
    Relied {
        known: places.into_iter().flatten().map(|place| place.pack).collect(),
        own: Vec::new(),
    }
}

/// How test vaults are made: one region, no tenant, 14 days.
#[must_use]
pub fn create_options() -> CreateOptions {
    CreateOptions {
        secondary_url: None,
        tenant: None,
        soft_delete_days: SOFT_DELETE_DAYS,
        now: now(),
    }
}

/// How a domain is opened to read only, with a cache folder.
#[must_use]
pub fn read_only(cache_dir: PathBuf) -> DomainOptions {
    DomainOptions {
        signer: None,
        cache_dir,
        pin_file: None,
        trusted: Vec::new(),
    }
}

/// A summary for tests.
pub fn summary(point: u8) -> PointSummary {
    summary_of(PointId([point; 16]), now())
}

/// A summary of a point that was begun at that time.
pub fn summary_of(point: PointId, begun: Timestamp) -> PointSummary {
    PointSummary {
        point_id: Bytes::copy_from_slice(point.as_bytes()),
        started_s: begun.as_second(),
        status: PointStatus::Completed.into(),
        consistency: Consistency::Live.into(),
        tags: vec!["daily".into()],
        ..PointSummary::default()
    }
}
