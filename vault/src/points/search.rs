//! A search for names through many recovery points. Points of one server share most of their pages, and a page's id
//! says what is in it and below it. So a page is looked at once, whatever the number of points: what was found below
//! it is remembered by its id, relative to it.
//!
//! # Memory
//! Pages without matches cost 16 bytes each (`barren`), and matches their encoded entries. Both are bounded; what does
//! not fit is forgotten, and found again by another look.
//!
//! # Threads
//! A search is shared: [`Search::look_ahead`] goes through points that [`Search::find`] comes to later.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lockstone_proto::ids::ChunkId;
use lockstone_proto::limits::TREE_MAX_DEPTH;
use lockstone_proto::vault::Entry;
use prost::Message as _;

use super::PageSource;
use super::barren::Barren;
use super::glance::{Glance, Look, Step, glance};
use crate::damage::DamageKind;
use crate::error::VaultError;

/// Matches of at most this many bytes are remembered.
const HELD_MAX: usize = 16 << 20;
/// What a match or a way to one costs beside its bytes, about.
const PART_BYTES: usize = 64;
/// What is higher than this many pages is not remembered, so that what is remembered is flat.
const HEIGHT_MAX: usize = 512;
/// The longest path that is accepted in a tree, bytes.
const PATH_MAX: usize = 4 << 20;

/// What is looked for.
pub trait Wanted: Send + Sync {
    /// Whether the path counts, and not the name alone.
    fn is_by_path(&self) -> bool;

    /// Whether an entry is wanted. `path` is its whole path if that counts, else it is empty.
    fn is_match(&self, path: &[u8], name: &[u8]) -> bool;
}

/// Is told what a search finds.
pub trait Findings: Send {
    /// A match. The search ends if this breaks.
    fn found(&mut self, path: &[u8], entry: &Entry) -> ControlFlow<()>;

    /// A part of this folder cannot be read. Told once, whatever the number of trees that have it.
    fn damaged(&mut self, path: &[u8], error: VaultError);
}

/// A search, with what it remembers.
pub struct Search<S> {
    source: Arc<S>,
    wanted: Arc<dyn Wanted>,
    /// Pages without matches below them.
    barren: Barren,
    found: Mutex<Found>,
    /// How often `found` was emptied.
    emptied: AtomicU64,
    looked_at: AtomicU64,
}

/// What was found below a page.
struct Node {
    /// How many pages are below one another here.
    height: usize,
    parts: Vec<Part>,
}

impl Node {
    fn of(parts: Vec<Part>) -> Self {
        let heights = parts.iter().map(|part| match part {
            Part::Match(_) => 0,
            Part::Below(_, node) => node.height,
        });
        Self {
            height: 1 + heights.max().unwrap_or(0),
            parts,
        }
    }
}

enum Part {
    /// An entry of the page, encoded.
    Match(Bytes),
    /// What was found in the folder of this name, or without a name in a lower page of the same folder.
    Below(Bytes, Arc<Node>),
}

impl Part {
    fn weight(&self) -> usize {
        PART_BYTES
            + match self {
                Self::Match(bytes) | Self::Below(bytes, _) => bytes.len(),
            }
    }
}

/// Pages with matches below them.
#[derive(Default)]
struct Found {
    nodes: HashMap<u128, Arc<Node>, BuildHasherDefault<AsItIs>>,
    /// Bytes of what `nodes` has.
    held: usize,
}

/// What is remembered of a page.
enum Known {
    Nothing,
    Found(Arc<Node>),
    Unknown,
}

/// A page that the walk is in.
struct Frame {
    key: u128,
    level: u32,
    /// The length of the folder's path.
    path_len: usize,
    steps: std::vec::IntoIter<Step>,
    /// What was found so far; `None` if it cannot be remembered.
    parts: Option<Vec<Part>>,
    /// The name by which the walk went on, if it is below this page.
    below: Bytes,
}

/// A page to go to.
struct Way {
    page: ChunkId,
    /// If it is a page of the same folder: the level of the page above, and the first name that it promises.
    promised: Option<(u32, Bytes)>,
}

impl<S: PageSource> Search<S> {
    /// A search in trees whose pages come from `source`.
    #[must_use]
    pub fn new(source: Arc<S>, wanted: Arc<dyn Wanted>) -> Self {
        Self {
            source,
            wanted,
            barren: Barren::new(),
            found: Mutex::default(),
            emptied: AtomicU64::new(0),
            looked_at: AtomicU64::new(0),
        }
    }

    /// Where the pages come from.
    #[cfg(test)]
    pub(super) fn source(&self) -> &S {
        &self.source
    }

    #[cfg(test)]
    pub(super) fn into_source(self) -> Arc<S> {
        self.source
    }

    /// How many pages were looked at.
    #[must_use]
    pub fn looked_at(&self) -> u64 {
        self.looked_at.load(Ordering::Relaxed)
    }

    /// Tells every match in a tree, in byte order of names, folders before their content. A damaged page costs what is
    /// below it. Any other error ends the search.
    pub async fn find(
        &self,
        root: Option<ChunkId>,
        findings: &mut dyn Findings,
    ) -> Result<ControlFlow<()>, VaultError> {
        self.walk(root, Some(findings)).await
    }

    /// Remembers what is in a tree, so that `find` need not look.
    pub async fn look_ahead(&self, root: Option<ChunkId>) -> Result<(), VaultError> {
        self.walk(root, None).await.map(|_| ())
    }

    async fn walk(
        &self,
        root: Option<ChunkId>,
        mut findings: Option<&mut dyn Findings>,
    ) -> Result<ControlFlow<()>, VaultError> {
        let (mut path, mut stack): (Vec<u8>, Vec<Frame>) = (Vec::new(), Vec::new());
        let mut way = root.map(|page| Way { page, promised: None });
        let mut emptied = self.emptied.load(Ordering::Relaxed);
        loop {
            if let Some(to) = way.take() {
                let key = key(self.wanted.is_by_path(), &to.page, &path);
                match self.known(key) {
                    Known::Nothing => {}
                    Known::Found(node) => {
                        if let Some(findings) = &mut findings
                            && tell(&node, &mut path, *findings).is_break()
                        {
                            return Ok(ControlFlow::Break(()));
                        }
                        keep(&mut stack, node);
                    }
                    Known::Unknown => match self.look(&to, &path, stack.len()).await {
                        Ok((level, steps)) => stack.push(Frame {
                            key,
                            level,
                            path_len: path.len(),
                            steps: steps.into_iter(),
                            parts: Some(Vec::new()),
                            below: Bytes::new(),
                        }),
                        Err(error) if !error.is_damage() => return Err(error),
                        Err(error) => match &mut findings {
                            Some(findings) => {
                                findings.damaged(&path, error);
                                self.barren.add(key);
                            }
                            // `find` has to come here and tell it.
                            None => forget(&mut stack),
                        },
                    },
                }
            }
            let Some(frame) = stack.last_mut() else {
                return Ok(ControlFlow::Continue(()));
            };
            path.truncate(frame.path_len);
            match frame.steps.next() {
                Some(Step::Match(entry)) => {
                    if let Some(findings) = &mut findings
                        && tell_one(&entry, &mut path, *findings).is_break()
                    {
                        return Ok(ControlFlow::Break(()));
                    }
                    if let Some(parts) = &mut frame.parts {
                        parts.push(Part::Match(entry));
                    }
                }
                Some(Step::Folder { name, page }) => {
                    path.push(b'/');
                    path.extend_from_slice(&name);
                    frame.below = name;
                    way = Some(Way { page, promised: None });
                }
                Some(Step::Child { page, first }) => {
                    frame.below = Bytes::new();
                    let promised = Some((frame.level, first));
                    way = Some(Way { page, promised });
                }
                None => self.leave(&mut stack, &mut emptied),
            }
        }
    }

    /// Leaves the innermost page, and remembers what was found below it.
    fn leave(&self, stack: &mut Vec<Frame>, emptied: &mut u64) {
        let Some(Frame { key, parts, .. }) = stack.pop() else {
            return;
        };
        let emptied_now = self.emptied.load(Ordering::Relaxed);
        if emptied_now != *emptied {
            // What this walk holds was found before memory became short.
            *emptied = emptied_now;
            return forget(stack);
        }
        match parts {
            Some(parts) if parts.is_empty() => self.barren.add(key),
            Some(parts) => {
                let node = Arc::new(Node::of(parts));
                if node.height <= HEIGHT_MAX && self.add_found(key, &node) {
                    keep(stack, node);
                } else {
                    *emptied = self.emptied.load(Ordering::Relaxed);
                    forget(stack);
                }
            }
            None => forget(stack),
        }
    }

    /// Returns false if memory was short. Then nothing is remembered any more.
    fn add_found(&self, key: u128, node: &Arc<Node>) -> bool {
        let weight: usize = PART_BYTES + node.parts.iter().map(Part::weight).sum::<usize>();
        let mut found = self.found();
        if found.held + weight > HELD_MAX {
            *found = Found::default();
            self.emptied.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        if found.nodes.insert(key, Arc::clone(node)).is_none() {
            found.held += weight;
        }
        true
    }

    /// Looks at a page that is not known.
    async fn look(&self, to: &Way, path: &[u8], depth: usize) -> Result<(u32, Vec<Step>), VaultError> {
        let damaged = |why: &str| VaultError::damaged(DamageKind::Page, to.page.hex(), why);
        if depth >= TREE_MAX_DEPTH || path.len() > PATH_MAX {
            return Err(damaged("it is deeper than the format allows"));
        }
        self.looked_at.fetch_add(1, Ordering::Relaxed);
        let raw = self.source.raw_page(&to.page).await?;
        let mut looking = Looking {
            wanted: &*self.wanted,
            barren: &self.barren,
            path: path.to_vec(),
            path_len: path.len(),
        };
        let Glance { level, first, steps } = glance(&raw, &mut looking).map_err(|_| damaged("it cannot be decoded"))?;
        let is_promised = |(above, promised): &(u32, Bytes)| above.checked_sub(1) == Some(level) && first == promised;
        if !to.promised.as_ref().is_none_or(is_promised) {
            return Err(damaged("it is not the one its parent promises"));
        }
        Ok((level, steps))
    }

    fn known(&self, key: u128) -> Known {
        if self.barren.contains(key) {
            return Known::Nothing;
        }
        match self.found().nodes.get(&key) {
            Some(node) => Known::Found(Arc::clone(node)),
            None => Known::Unknown,
        }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By what a page is remembered. `path`: that of its folder.
fn key(by_path: bool, page: &ChunkId, path: &[u8]) -> u128 {
    let mut key = [0; 16];
    if by_path {
        let mut hasher = blake3::Hasher::new();
        hasher.update(page.as_bytes()).update(path);
        key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    } else {
        key.copy_from_slice(&page.as_bytes()[..16]);
    }
    u128::from_le_bytes(key)
}

/// Keys are parts of hashes, so they need no hashing.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "half of a hash is one")]
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

/// A look at one page, with what is remembered.
struct Looking<'s> {
    wanted: &'s dyn Wanted,
    barren: &'s Barren,
    /// The path of the page's folder, and behind it a name.
    path: Vec<u8>,
    path_len: usize,
}

impl Looking<'_> {
    fn go_to(&mut self, name: &[u8]) {
        self.path.truncate(self.path_len);
        if !name.is_empty() {
            self.path.push(b'/');
            self.path.extend_from_slice(name);
        }
    }
}

impl Look for Looking<'_> {
    fn is_match(&mut self, name: &[u8]) -> bool {
        if !self.wanted.is_by_path() {
            return self.wanted.is_match(b"", name);
        }
        self.go_to(name);
        self.wanted.is_match(&self.path, name)
    }

    fn is_barren(&mut self, name: &[u8], page: &ChunkId) -> bool {
        let by_path = self.wanted.is_by_path();
        if by_path {
            self.go_to(name);
        }
        self.barren.contains(key(by_path, page, &self.path))
    }
}

/// Adds what was found below the innermost page.
fn keep(stack: &mut [Frame], node: Arc<Node>) {
    if let Some(Frame {
        parts: Some(parts),
        below,
        ..
    }) = stack.last_mut()
    {
        parts.push(Part::Below(std::mem::take(below), node));
    }
}

/// What is found in these pages cannot be remembered.
fn forget(stack: &mut [Frame]) {
    for frame in stack {
        frame.parts = None;
    }
}

fn tell_one(entry: &Bytes, path: &mut Vec<u8>, findings: &mut dyn Findings) -> ControlFlow<()> {
    // It was looked at before, so it decodes.
    let Ok(entry) = Entry::decode(entry.clone()) else {
        return ControlFlow::Continue(());
    };
    let len = path.len();
    path.push(b'/');
    path.extend_from_slice(&entry.name);
    let flow = findings.found(path, &entry);
    path.truncate(len);
    flow
}

/// Tells all matches below a page.
fn tell(node: &Node, path: &mut Vec<u8>, findings: &mut dyn Findings) -> ControlFlow<()> {
    let begin = path.len();
    let mut open = vec![(node.parts.iter(), begin)];
    while let Some((parts, len)) = open.last_mut() {
        path.truncate(*len);
        match parts.next() {
            Some(Part::Match(entry)) => tell_one(entry, path, findings)?,
            Some(Part::Below(name, node)) => {
                if !name.is_empty() {
                    path.push(b'/');
                    path.extend_from_slice(name);
                }
                open.push((node.parts.iter(), path.len()));
            }
            None => {
                open.pop();
            }
        }
    }
    path.truncate(begin);
    ControlFlow::Continue(())
}

impl<S> std::fmt::Debug for Search<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Search")
            .field("looked_at", &self.looked_at)
            .finish_non_exhaustive()
    }
}
