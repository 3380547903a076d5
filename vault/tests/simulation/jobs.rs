//! What the machines do: the program's own code where it is in the vault's library, and small stand-ins for the
//! pipelines of backup and restore.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use lockstone_proto::ids::{ChunkId, PackId, PointId, SegmentId};
use lockstone_proto::vault::{ChunkKind, CommitBody, EntryKind, PackEntry, Segment};
use lockstone_vault::VaultError;
use lockstone_vault::collect::{self, CollectOptions, Inline};
use lockstone_vault::domain::{Domain, Frames, Relied};
use lockstone_vault::index::Standing;
use lockstone_vault::names;
use lockstone_vault::pack::segment::encode_segment;
use lockstone_vault::points::{TreeWalk, Walked};
use lockstone_vault::testing::seeded::Dice;
use lockstone_vault::testing::{Tree, pack, summary_of};
use lockstone_vault::tree::NewPage;

/// The files of a point: for each name the number of its content.
pub(crate) type Files = BTreeMap<&'static str, u8>;

const NAMES: [&str; 7] = ["/a", "/b", "/c/d", "/c/e", "/f", "/g/h/i", "/g/j"];
const CONTENTS: u8 = 12;

/// Some files, as the dice fall. Half of the times they are those of an earlier point, with one change.
pub(crate) fn some_files(dice: &mut Dice, before: Option<&Files>) -> Files {
    let mut files = match before.filter(|_| !dice.once_in(3)) {
        Some(before) => before.clone(),
        None => NAMES
            .into_iter()
            .filter(|_| dice.once_in(2))
            .map(|name| (name, 0))
            .collect(),
    };
    for content in files.values_mut() {
        if *content == 0 || dice.once_in(4) {
            *content = 1 + dice.below(CONTENTS.into()) as u8;
        }
    }
    let name = NAMES[dice.below(NAMES.len())];
    files.insert(name, 1 + dice.below(CONTENTS.into()) as u8);
    files
}

/// The content of that number: one to three chunks, of which others have some, too.
fn content(number: u8) -> Vec<u8> {
    let parts = (0..=number % 3).map(|part| vec![number / 2 + part; if part == number % 3 { 600 } else { 1000 }]);
    parts.flatten().collect()
}

fn contents(files: &Files) -> Vec<(&'static str, Vec<u8>)> {
    files.iter().map(|(name, number)| (*name, content(*number))).collect()
}

/// A point that was or will be committed.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) files: Files,
    pub(crate) chunks: Vec<ChunkId>,
}

/// What happened in all histories, so that a test can ask whether everything did.
pub(crate) type Deeds = BTreeMap<&'static str, u64>;

/// What the jobs of one history share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) made: HashMap<PointId, Made>,
    pub(crate) deeds: Deeds,
}

/// What a job needs beside a domain.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) shared: Arc<Mutex<Shared>>,
    /// What this server's clock shows when the job begins.
    pub(crate) now: Timestamp,
    pub(crate) dice: Dice,
}

impl Desk {
    pub(crate) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    pub(crate) fn did(&self, what: &'static str) {
        *self.shared().deeds.entry(what).or_default() += 1;
    }
}

/// Backs some files up. Begins anew if something that it relies on was collected.
pub(crate) async fn back_up(domain: Arc<Domain>, mut desk: Desk) -> Result<(), VaultError> {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&desk.dice.roll().to_le_bytes());
    let id = PointId(id);
    for _ in 0..4 {
        match back_up_once(&domain, &mut desk, id).await {
            Err(VaultError::LostRace { .. }) => desk.did("a commit lost a race with a collection"),
            other => {
                desk.did("a backup ended");
                return other;
            }
        }
    }
    Ok(())
}

async fn back_up_once(domain: &Domain, desk: &mut Desk, id: PointId) -> Result<(), VaultError> {
    let view = domain.refresh().await?;
    let latest = view.latest(domain.server().filter(|_| desk.dice.once_in(2)));
    let parent = latest.map(|point| point.id).filter(|_| !desk.dice.once_in(4));
    let before = parent.and_then(|parent| desk.shared().made.get(&parent).cloned());
    let files = some_files(&mut desk.dice, before.as_ref().map(|made| &made.files));
    let tree = Tree::build(domain.keys(), &contents(&files));
    let chunks: Vec<ChunkId> = tree.pages.iter().chain(&tree.data).map(|chunk| chunk.id).collect();
    let made = Made { files, chunks };
    desk.shared().made.insert(id, made);

    // What the parent has is taken over unseen, as a backup does with unchanged files.
    let taken: HashSet<ChunkId> = before.into_iter().flat_map(|made| made.chunks).collect();
    let mut relied = Relied::default();
    let data = missing(domain, &tree.data, &taken, &mut relied)?;
    let pages = missing(domain, &tree.pages, &HashSet::new(), &mut relied)?;
    let mut packs = Vec::new();
    for (kind, chunks) in [(ChunkKind::Data, data), (ChunkKind::Tree, pages)] {
        let Some((entry, object)) = pack(domain.keys(), kind, &chunks) else {
            continue;
        };
        let pack = PackId::try_from(entry.pack_id.as_ref()).unwrap();
        if !domain
            .store()
            .create_own(&names::pack(domain.id(), &pack), object)
            .await?
        {
            return Ok(());
        }
        relied.own.push(pack);
        packs.push(entry);
    }
    let segment = list(domain, &packs).await?;
    let mut body = CommitBody {
        root: Bytes::copy_from_slice(tree.root.as_ref().map_or(&[][..], |root| root.as_bytes().as_slice())),
        sources: vec![Bytes::from_static(b"/")],
        index_position: view.head.n,
        parents: parent
            .iter()
            .map(|parent| Bytes::copy_from_slice(parent.as_bytes()))
            .collect(),
        ..CommitBody::default()
    };
    // The last segment of a backup is named by its Commit, earlier ones by checkpoints.
    if let Some(segment) = segment {
        if desk.dice.once_in(2) {
            domain.append_segments(vec![segment], &packs, desk.now).await?;
            packs.clear();
        } else {
            body.segment_ids.push(Bytes::copy_from_slice(segment.as_bytes()));
        }
    }
    domain
        .commit(summary_of(id, desk.now), body, &packs, &relied, desk.now)
        .await?;
    desk.did("a point was committed");
    if parent.is_some() {
        desk.did("a point took chunks over from its parent");
    }
    Ok(())
}

/// The chunks that have to be stored, each once. Notes the packs that have the others.
fn missing(
    domain: &Domain,
    chunks: &[NewPage],
    taken: &HashSet<ChunkId>,
    relied: &mut Relied,
) -> Result<Vec<NewPage>, VaultError> {
    let wanted: Vec<&NewPage> = chunks.iter().filter(|chunk| !taken.contains(&chunk.id)).collect();
    let ids: Vec<ChunkId> = wanted.iter().map(|chunk| chunk.id).collect();
    let mut seen = HashSet::new();
    let mut missing = Vec::new();
    for (chunk, place) in wanted.into_iter().zip(domain.index().lookup(&ids)?) {
        match place {
            Some(place) => {
                relied.known.insert(place.pack);
            }
            None if seen.insert(chunk.id) => missing.push(chunk.clone()),
            None => {}
        }
    }
    Ok(missing)
}

/// Stores a segment that lists these packs.
async fn list(domain: &Domain, packs: &[PackEntry]) -> Result<Option<SegmentId>, VaultError> {
    if packs.is_empty() {
        return Ok(None);
    }
    let segment = Segment { packs: packs.to_vec() };
    let (id, object) = encode_segment(domain.keys(), &segment).expect("it is small");
    domain
        .store()
        .create_own(&names::segment(domain.id(), &id), object)
        .await?;
    Ok(Some(id))
}

/// Restores one point, and reads the log again where something is not found. Every chunk has to be there at last.
pub(crate) async fn restore(domain: Arc<Domain>, mut desk: Desk) -> Result<(), VaultError> {
    let mut view = domain.refresh().await?;
    let alive: Vec<PointId> = view.alive().map(|point| point.id).collect();
    let Some(id) = desk.dice.one_of(&alive) else {
        return Ok(());
    };
    let made = desk.shared().made[&id].clone();
    let wanted: BTreeMap<Vec<u8>, Vec<u8>> = contents(&made.files)
        .into_iter()
        .map(|(name, content)| (name.as_bytes().to_vec(), content))
        .collect();
    loop {
        let Some(point) = view.point(&id) else {
            // It was deleted for ever meanwhile.
            return Ok(());
        };
        match read_point(&domain, point.root()).await? {
            Some(found) => {
                assert!(found == wanted, "point {id} has other files");
                desk.did("a point was restored");
                return Ok(());
            }
            None => desk.did("a restore read the log again"),
        }
        let head = view.head;
        view = domain.refresh().await?;
        assert!(
            view.head != head || view.point(&id).is_none(),
            "point {id} cannot be restored, and the log explains nothing"
        );
    }
}

/// The files of a tree; `None` if one of its chunks is not found.
pub(crate) async fn read_point(
    domain: &Domain,
    root: Option<ChunkId>,
) -> Result<Option<BTreeMap<Vec<u8>, Vec<u8>>>, VaultError> {
    let mut files = BTreeMap::new();
    let mut frames = Frames::default();
    let mut walk = TreeWalk::new(domain, root, Vec::new());
    while let Some(step) = walk.next().await? {
        let (path, entry) = match step {
            Walked::Entry { path, entry } if entry.kind() == EntryKind::File => (path, entry),
            Walked::Damaged { .. } => return Ok(None),
            _ => continue,
        };
        let ids = entry.content.iter().flat_map(|list| list.ids.chunks(ChunkId::LEN));
        let ids: Vec<ChunkId> = ids.map(|id| ChunkId::try_from(id).unwrap()).collect();
        let read = domain.read_data(&ids, &mut frames).await?;
        let Some(parts) = read.into_iter().collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        files.insert(path, parts.concat());
    }
    Ok(Some(files))
}

/// Deletes a point.
pub(crate) async fn forget(domain: Arc<Domain>, mut desk: Desk) -> Result<(), VaultError> {
    let view = domain.refresh().await?;
    let alive: Vec<PointId> = view.alive().map(|point| point.id).collect();
    let Some(id) = desk.dice.one_of(&alive) else {
        return Ok(());
    };
    match domain.forget(&[id], desk.now).await {
        // It was made gone meanwhile.
        Err(VaultError::NoSuchPoint(_)) => Ok(()),
        done => done.map(|_| desk.did("a point was forgotten")),
    }
}

/// Brings a point back.
pub(crate) async fn undelete(domain: Arc<Domain>, mut desk: Desk) -> Result<(), VaultError> {
    // Sometimes what it knows is old.
    let view = if desk.dice.once_in(2) {
        domain.view()
    } else {
        domain.refresh().await?
    };
    let forgotten = view.points.iter().filter(|point| point.forgotten.is_some());
    let forgotten: Vec<PointId> = forgotten.map(|point| point.id).collect();
    let Some(id) = desk.dice.one_of(&forgotten) else {
        return Ok(());
    };
    match domain.undelete(&[id], desk.now).await {
        Err(VaultError::TooLate(_) | VaultError::NoSuchPoint(_)) => desk.did("an undelete came too late"),
        done => {
            done?;
            desk.did("a point was brought back");
        }
    }
    Ok(())
}

/// Frees space.
pub(crate) async fn collect(domain: Arc<Domain>, mut desk: Desk) -> Result<(), VaultError> {
    let hours = |dice: &mut Dice| SignedDuration::from_hours([0, 2, 24][dice.below(3)]);
    let options = CollectOptions {
        grace: hours(&mut desk.dice),
        unfinished: hours(&mut desk.dice),
        repack_below: [60, 95][desk.dice.below(2)],
        pack_target: [2_000, 40_000][desk.dice.below(2)],
        ..CollectOptions::usual(desk.now)
    };
    let (asked, patience) = (AtomicUsize::new(0), desk.dice.below(40));
    let is_cancelled = desk.dice.once_in(6);
    let cancelled = move || is_cancelled && asked.fetch_add(1, Ordering::Relaxed) >= patience;
    let report = match collect::collect(&domain, &options, &Inline, &|_| {}, &cancelled).await {
        Err(VaultError::LostRace { .. }) => {
            desk.did("a collection lost a race");
            return Ok(());
        }
        done => done?,
    };
    for (what, count) in [
        ("points became gone", report.points_gone),
        ("packs were condemned", report.packs_condemned),
        ("orphans were condemned", report.orphans),
        ("packs were repacked", report.packs_repacked),
        ("packs were deleted", report.packs_deleted),
        ("packs of unfinished backups were spared", report.packs_spared),
        ("a collection was cancelled", report.cancelled.into()),
        ("a collection ended", 1),
    ] {
        if count > 0 {
            desk.did(what);
        }
    }
    Ok(())
}

/// Condemns what no point needed when it looked, however long ago that was.
pub(crate) async fn collect_carelessly(domain: Arc<Domain>, desk: Desk) -> Result<(), VaultError> {
    let view = domain.refresh().await?;
    let mut needed: HashSet<u32> = HashSet::new();
    for point in &view.points {
        let chunks = desk.shared().made[&point.id].chunks.clone();
        let places = domain.index().lookup(&chunks)?;
        needed.extend(places.into_iter().flatten().map(|place| place.pack));
    }
    let mut dead = Vec::new();
    for first in 0..=u8::MAX {
        domain.index().packs_beginning(first, &mut |id, number| {
            if !needed.contains(&number) && domain.index().standing(number) != Standing::Condemned {
                dead.push(id);
            }
            true
        })?;
    }
    if !dead.is_empty() {
        domain.append_condemn(&[], &dead, desk.now).await?;
    }
    Ok(())
}
