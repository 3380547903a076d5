//! Checking the trees of all points: whether every page and chunk they need is in a pack that is whole, as far as is
//! known.
//!
//! A folder without damage is noted by its top page and not checked again when another point shares it. A folder with
//! damage is checked for every point, so that the paths of each point are reported.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use lockstone_proto::ids::{ChunkId, PointId};
use lockstone_proto::vault::{Content, Entry, Page};

use super::listed::Packs;
use super::{Check, Damage, DamageKind, Lost, PATHS_MAX, SCRATCH};
use crate::domain::Domain;
use crate::error::VaultError;
use crate::index::ChunkPlace;
use crate::log::LogView;
use crate::points::{PageSource, TreeWalk, Walked, folder_page};
use crate::store::names;

/// How many chunks are looked up together.
const BATCH: usize = 4096;

/// Walks the points that are not forgotten, newest first, because those are needed most.
pub(super) async fn check_points(check: &mut Check<'_>, view: &LogView) -> Result<(), VaultError> {
    let points: Vec<_> = view.alive().rev().collect();
    for (at, point) in points.iter().enumerate() {
        if check.is_cancelled() {
            break;
        }
        check.progress("points", at as u64, points.len() as u64);
        check.report.points += 1;
        Walk {
            point: point.id,
            files: Vec::new(),
            queued: 0,
            folders: Vec::new(),
            whole: Vec::new(),
            damaged: Vec::new(),
        }
        .run(check, point.root())
        .await?;
    }
    check.progress("points", check.report.points, points.len() as u64);
    for damage in &mut check.report.damaged {
        damage
            .points
            .sort_by_key(|id| view.points.iter().position(|point| point.id == *id));
        damage.paths.sort_unstable();
        damage.paths.dedup();
    }
    Ok(())
}

/// Reads pages as a restore on a machine without a cache would: only from packs that are whole.
struct WholePages<'a> {
    domain: &'a Domain,
    lost: &'a HashMap<u32, Lost>,
    /// Damaged packs of which something is needed that is whole.
    relied: Mutex<Packs>,
}

impl WholePages<'_> {
    fn check(&self, id: &ChunkId) -> Result<(), VaultError> {
        let place = self.domain.index().best_places(std::slice::from_ref(id))?;
        match self.lost_at(id, place.into_iter().next().flatten())? {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// Why a chunk whose best place is `place` is lost. `None` if that place is whole, or another one.
    fn lost_at(&self, id: &ChunkId, place: Option<ChunkPlace>) -> Result<Option<VaultError>, VaultError> {
        let Some(place) = place else {
            return Ok(Some(VaultError::UnknownChunk(*id)));
        };
        let Some(lost) = self.lost.get(&place.pack) else {
            return Ok(None);
        };
        let is_lost = |place: &ChunkPlace| self.lost.get(&place.pack).is_some_and(|lost| lost.has(place.frame));
        let whole = match lost.has(place.frame) {
            true => self
                .domain
                .index()
                .places(id)?
                .into_iter()
                .find(|place| !is_lost(place)),
            false => Some(place),
        };
        if let Some(whole) = whole {
            if self.lost.contains_key(&whole.pack) {
                self.relied
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .add(whole.pack);
            }
            return Ok(None);
        }
        Ok(Some(
            lost_in(self.domain, place.pack)?.unwrap_or(VaultError::UnknownChunk(*id)),
        ))
    }
}

fn lost_in(domain: &Domain, pack: u32) -> Result<Option<VaultError>, VaultError> {
    let pack = domain.index().pack(pack)?;
    Ok(pack.map(|pack| {
        VaultError::damaged(
            DamageKind::Pack,
            names::pack(domain.id(), &pack.id),
            "a part of it is lost",
        )
    }))
}

#[async_trait]
impl PageSource for WholePages<'_> {
    async fn page(&self, id: &ChunkId) -> Result<Page, VaultError> {
        self.check(id)?;
        self.domain.page(id).await
    }

    async fn content(&self, id: &ChunkId, level: u32, base: u64, len: u64) -> Result<Content, VaultError> {
        self.check(id)?;
        self.domain.content(id, level, base, len).await
    }
}

/// The walk of one point.
struct Walk {
    point: PointId,
    /// Files whose chunks were not looked up yet.
    files: Vec<(Vec<u8>, Bytes)>,
    queued: usize,
    /// The open folders: top page, length of the path, and whether something in the folder is damaged.
    folders: Vec<(Option<ChunkId>, usize, bool)>,
    /// Folders that were left and seem whole, with their paths. They are noted after their files were looked up.
    whole: Vec<(ChunkId, Vec<u8>)>,
    /// Damage that was found but not reported yet, with the path it costs.
    damaged: Vec<(Damage, Vec<u8>)>,
}

impl Walk {
    async fn run(&mut self, check: &mut Check<'_>, root: Option<ChunkId>) -> Result<(), VaultError> {
        let domain = check.domain;
        let lost = std::mem::take(&mut check.lost);
        let pages = WholePages {
            domain,
            lost: &lost,
            relied: Mutex::new(std::mem::take(&mut check.relied)),
        };
        let result = self.walk(check, &pages, root).await;
        check.relied = pages.relied.into_inner().unwrap_or_else(PoisonError::into_inner);
        check.lost = lost;
        for (damage, path) in std::mem::take(&mut self.damaged) {
            self.report(check, damage, path);
        }
        result
    }

    async fn walk(
        &mut self,
        check: &mut Check<'_>,
        pages: &WholePages<'_>,
        root: Option<ChunkId>,
    ) -> Result<(), VaultError> {
        if let Some(root) = root
            && is_whole(pages.domain, &root)?
        {
            return Ok(());
        }
        let mut walk = TreeWalk::new(pages, root, Vec::new());
        self.folders.push((root, 0, false));
        let mut steps = 0_u32;
        while let Some(step) = walk.next().await? {
            steps = steps.wrapping_add(1);
            if steps.is_multiple_of(1024) && check.is_cancelled() {
                return Ok(());
            }
            match step {
                Walked::Entry { path, entry } => {
                    if let Some(page) = folder_page(&entry) {
                        if is_whole(pages.domain, &page)? {
                            walk.skip_folder();
                        } else {
                            self.folders.push((Some(page), path.len(), false));
                        }
                    } else {
                        check.folders_lost |= !self.file(pages, path, &entry).await?;
                    }
                }
                Walked::Leave { path } => self.leave(path),
                Walked::Damaged { path, error } => {
                    let path = if path.is_empty() { b"/".to_vec() } else { path };
                    self.spoil(&path);
                    check.folders_lost = true;
                    let damage = error.into_damage(DamageKind::Page, "a page")?;
                    self.damaged.push((damage, path));
                }
            }
            if self.queued >= BATCH || self.whole.len() >= BATCH {
                self.look_up(check, pages)?;
            }
        }
        self.look_up(check, pages)
    }

    fn leave(&mut self, path: Vec<u8>) {
        let Some((page, _, spoiled)) = self.folders.pop() else {
            return;
        };
        if spoiled {
            if let Some(above) = self.folders.last_mut() {
                above.2 = true;
            }
        } else if let Some(page) = page {
            self.whole.push((page, path));
        }
    }

    /// Marks the folders above that path as damaged.
    fn spoil(&mut self, path: &[u8]) {
        let is_above = |folder: &[u8]| path.starts_with(folder) && matches!(path.get(folder.len()), None | Some(b'/'));
        self.whole.retain(|(_, folder)| !is_above(folder));
        // All open folders lie on one path, so those whose path is a prefix are above the damage.
        for (_, len, spoiled) in &mut self.folders {
            if *len <= path.len() {
                *spoiled = true;
            }
        }
    }

    /// Queues the chunks of a file. Those of a large file are queued list by list. Returns whether all lists could be
    /// read.
    async fn file(&mut self, pages: &WholePages<'_>, path: Vec<u8>, entry: &Entry) -> Result<bool, VaultError> {
        let mut whole = true;
        let Some(content) = &entry.content else {
            return Ok(whole);
        };
        let mut lists = vec![(content.clone(), 0_u64)];
        while let Some((list, base)) = lists.pop() {
            if list.level == 0 {
                self.queued += list.lens.len();
                self.files.push((path.clone(), list.ids));
                continue;
            }
            let mut at = base;
            for (id, len) in list.ids.chunks(ChunkId::LEN).zip(&list.lens) {
                if let Ok(id) = ChunkId::try_from(id) {
                    match pages.content(&id, list.level - 1, at, *len).await {
                        Ok(below) if below.level == 0 => {
                            self.queued += below.lens.len();
                            self.files.push((path.clone(), below.ids));
                        }
                        Ok(below) => lists.push((below, at)),
                        Err(error) if error.is_damage() => {
                            self.spoil(&path);
                            whole = false;
                            let damage = error.into_damage(DamageKind::Page, "a content list")?;
                            self.damaged.push((damage, path.clone()));
                        }
                        Err(error) => return Err(error),
                    }
                }
                at = at.saturating_add(*len);
            }
        }
        Ok(whole)
    }

    /// Looks up the queued chunks, and notes the folders that are whole.
    fn look_up(&mut self, check: &mut Check<'_>, pages: &WholePages<'_>) -> Result<(), VaultError> {
        let files = std::mem::take(&mut self.files);
        self.queued = 0;
        let ids: Vec<ChunkId> = files
            .iter()
            .flat_map(|(_, ids)| ids.chunks(ChunkId::LEN).filter_map(|id| ChunkId::try_from(id).ok()))
            .collect();
        check.report.chunks += ids.len() as u64;
        let mut places = pages.domain.index().best_places(&ids)?.into_iter().zip(&ids);
        for (path, own) in &files {
            let mut worst = None;
            for (place, id) in places.by_ref().take(own.len() / ChunkId::LEN) {
                let Some(error) = pages.lost_at(id, place)? else {
                    continue;
                };
                let damage = error.into_damage(DamageKind::Chunk, "a chunk")?;
                if worst.as_ref() != Some(&damage.object) {
                    worst = Some(damage.object.clone());
                    self.damaged.push((damage, path.clone()));
                }
            }
            if worst.is_some() {
                self.spoil(path);
            }
        }
        let whole: Vec<(Vec<u8>, [u8; 0])> = std::mem::take(&mut self.whole)
            .into_iter()
            .map(|(page, _)| (scratch_key(&page), []))
            .collect();
        pages.domain.index().scratch_put(&whole)?;
        for (damage, path) in std::mem::take(&mut self.damaged) {
            self.report(check, damage, path);
        }
        Ok(())
    }

    /// Reports damage and what it costs. Chunks that no readable segment lists count as damage to the unreadable
    /// segment, if there is exactly one.
    fn report(&self, check: &mut Check<'_>, mut damage: Damage, path: Vec<u8>) {
        if damage.kind == DamageKind::Chunk {
            let mut segments = check
                .report
                .damaged
                .iter()
                .filter(|known| known.kind == DamageKind::Segment);
            damage = match (segments.next(), segments.next()) {
                (Some(only), None) => only.clone(),
                _ => Damage::new(
                    DamageKind::Chunk,
                    format!("{}/{}/segments", names::DOMAINS, check.domain.id()),
                    "chunks that points need are in no segment that can be read",
                ),
            };
        }
        let known = check.damage(damage);
        if !known.points.contains(&self.point) {
            known.points.push(self.point);
        }
        if known.paths.len() < PATHS_MAX && !known.paths.contains(&path) {
            known.paths.push(path);
        }
    }
}

fn scratch_key(page: &ChunkId) -> Vec<u8> {
    [SCRATCH, page.as_bytes()].concat()
}

fn is_whole(domain: &Domain, page: &ChunkId) -> Result<bool, VaultError> {
    Ok(domain
        .index()
        .scratch_get(&[scratch_key(page)])?
        .first()
        .is_some_and(Option::is_some))
}
