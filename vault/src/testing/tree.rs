//! Trees and packs of test files.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{ChunkKind, Entry, EntryKind, Frame, PackDirectory, PackEntry};

use crate::crypto::keys::Keys;
use crate::domain::Domain;
use crate::error::VaultError;
use crate::pack::frame::Compressor;
use crate::pack::{FramePosition, PackSeal};
use crate::points::{TreeWalk, Walked};
use crate::tree::content::ContentWriter;
use crate::tree::{FolderWriter, NewPage};

/// A tree of files, as chunks.
pub struct Tree {
    /// The top page of the root; `None` if there are no files.
    pub root: Option<ChunkId>,
    /// The tree chunks: pages and content lists.
    pub pages: Vec<NewPage>,
    /// The data chunks of all files, in order; equal chunks as often as they occur.
    pub data: Vec<NewPage>,
}

impl Tree {
    /// Folders come from the paths; a path that ends with `/` is an empty folder.
    pub fn build(keys: &Arc<Keys>, files: &[(&str, Vec<u8>)]) -> Self {
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
        // Names in order, with the content of files and `None` for folders.
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

/// Those of the chunks that the index does not know, each once.
pub(super) fn fresh(domain: &Domain, chunks: Vec<NewPage>) -> Vec<NewPage> {
    let ids: Vec<ChunkId> = chunks.iter().map(|chunk| chunk.id).collect();
    let known = domain.index().lookup(&ids).unwrap();
    let mut seen = HashSet::new();
    let unknown = chunks
        .into_iter()
        .zip(known)
        .filter(|(_, known)| known.is_none())
        .map(|(chunk, _)| chunk);
    unknown.filter(|chunk| seen.insert(chunk.id)).collect()
}

/// A pack of these chunks, three to a frame; `None` if there are none.
pub fn pack(keys: &Keys, kind: ChunkKind, chunks: &[NewPage]) -> Option<(PackEntry, Vec<u8>)> {
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
        let at = FramePosition {
            ordinal: ordinal as u32,
            raw_len: raw.len() as u32,
            codec,
        };
        seal.seal_frame(at, &mut payload).unwrap();
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
pub async fn read_all(domain: &Domain, root: Option<ChunkId>) -> BTreeMap<Vec<u8>, Result<Vec<u8>, VaultError>> {
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
