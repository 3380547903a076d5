//! Writing a part of a recovery point to a stream: a file as it is, a folder as tar. Memory does not grow with either.
//!
//! Damage costs what it hit. Of a single file, nothing is written behind it. In an archive, a small file that is
//! damaged is left out; a large one, whose header was written before, has zeros from there on. Each is told.

mod archive;

use std::io::{self, Write};

use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{Entry, EntryKind};
use lockstone_vault::domain::Frames;
use lockstone_vault::points::{FileChunks, PlacedChunk, TreeWalk, Walked};

use self::archive::Archive;
use super::access::session::Session;
use crate::failure::Failure;

/// Chunks of at most this many bytes are read at once.
const WINDOW: u64 = 8 << 20;
/// A file of an archive up to this size is read before its header is written.
const SMALL: u64 = 4 << 20;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Why a dump ended early.
pub(crate) enum DumpError {
    /// The stream takes no more.
    Write(io::Error),
    /// The vault cannot be read.
    Read(Failure),
}

impl From<io::Error> for DumpError {
    fn from(error: io::Error) -> DumpError {
        DumpError::Write(error)
    }
}

impl<E: Into<Failure>> From<E> for DumpError {
    fn from(error: E) -> DumpError {
        DumpError::Read(error.into())
    }
}

/// A dump. `tell` is called for each path of which something is missing, and for what an archive cannot hold.
pub(crate) struct Dump<'d> {
    session: &'d Session,
    out: &'d mut (dyn Write + Send),
    tell: &'d mut (dyn FnMut(&[u8], String) + Send),
    frames: Frames,
    /// How many files or folders are damaged.
    pub(crate) damaged: u64,
}

/// How the content of a file ended.
enum Content {
    Whole,
    /// From this byte on it is damaged.
    DamagedAt(u64),
}

impl<'d> Dump<'d> {
    pub(crate) fn new(
        session: &'d Session,
        out: &'d mut (dyn Write + Send),
        tell: &'d mut (dyn FnMut(&[u8], String) + Send),
    ) -> Dump<'d> {
        Dump {
            session,
            out,
            tell,
            frames: Frames::default(),
            damaged: 0,
        }
    }

    /// Writes the content of a file.
    pub(crate) async fn file(&mut self, path: &[u8], entry: &Entry) -> Result<(), DumpError> {
        if let Content::DamagedAt(at) = self.content(entry).await? {
            self.is_damaged(
                path,
                format!("it is damaged from byte {at} on, and the rest was not written"),
            );
        }
        Ok(self.out.flush()?)
    }

    /// Writes a folder and everything in it as tar. `path` is its path in the point, `/` for the root. Names in the
    /// archive begin with the folder's own name.
    pub(crate) async fn folder(&mut self, path: &[u8], entry: &Entry, page: Option<ChunkId>) -> Result<(), DumpError> {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let above = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let mut archive = Archive::default();
        if !path.is_empty() {
            self.add(&mut archive, path, &path[above + 1..], entry).await?;
        }
        let session = self.session;
        let mut walk = TreeWalk::new(&*session.domain, page, path.to_vec());
        while let Some(walked) = walk.next().await? {
            match walked {
                Walked::Entry { path, entry } => {
                    let name = path.get(above + 1..).unwrap_or_default().to_vec();
                    self.add(&mut archive, &path, &name, &entry).await?;
                }
                Walked::Damaged { path, error } => {
                    self.is_damaged(&path, format!("what else is in this folder is missing: {error}"));
                }
                Walked::Leave { .. } => {}
            }
        }
        self.out.write_all(&Archive::END)?;
        Ok(self.out.flush()?)
    }

    /// Adds an entry to the archive.
    async fn add(&mut self, archive: &mut Archive, path: &[u8], name: &[u8], entry: &Entry) -> Result<(), DumpError> {
        let size = archive.content_len(entry);
        if size > 0 && size <= SMALL {
            // Its content comes first, so that a file that is damaged can be left out.
            let mut content: Vec<u8> = Vec::new();
            let whole = self.read_whole(entry, &mut content).await?;
            if let Content::DamagedAt(_) = whole {
                self.is_damaged(path, "it is damaged and was left out".to_owned());
                return Ok(());
            }
            self.out
                .write_all(&archive.header(name, entry, |problem| (self.tell)(path, problem))?)?;
            self.out.write_all(&content)?;
        } else {
            self.out
                .write_all(&archive.header(name, entry, |problem| (self.tell)(path, problem))?)?;
            if size > 0
                && let Content::DamagedAt(at) = self.content(entry).await?
            {
                self.zeros(size - at)?;
                self.is_damaged(path, format!("it is damaged and has zeros from byte {at} on"));
            }
        }
        Ok(self.out.write_all(Archive::padding(size))?)
    }

    async fn read_whole(&mut self, entry: &Entry, content: &mut Vec<u8>) -> Result<Content, DumpError> {
        let mut part = Dump {
            session: self.session,
            out: content,
            tell: &mut |_, _| {},
            frames: std::mem::take(&mut self.frames),
            damaged: 0,
        };
        let whole = part.content(entry).await;
        self.frames = part.frames;
        whole
    }

    /// Writes the content of a file, with zeros in its holes, as long as it is whole.
    async fn content(&mut self, entry: &Entry) -> Result<Content, DumpError> {
        if entry.kind() != EntryKind::File {
            return Ok(Content::Whole);
        }
        let session = self.session;
        let mut chunks = FileChunks::of(entry, &*session.domain);
        let mut at = 0;
        loop {
            let (mut window, mut bytes, mut list_lost) = (Vec::<PlacedChunk>::new(), 0, false);
            while bytes < WINDOW {
                match chunks.next().await {
                    Ok(Some(chunk)) => {
                        bytes += u64::from(chunk.len);
                        window.push(chunk);
                    }
                    Ok(None) => break,
                    Err(error) if error.is_damage() => {
                        list_lost = true;
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let ids: Vec<ChunkId> = window.iter().map(|chunk| chunk.id).collect();
            let content = session.domain.read_data(&ids, &mut self.frames).await?;
            for (chunk, content) in window.iter().zip(content) {
                let content = content.filter(|content| content.len() == chunk.len as usize);
                self.zeros(chunk.offset.saturating_sub(at))?;
                at = at.max(chunk.offset);
                let Some(content) = content else {
                    return Ok(Content::DamagedAt(at));
                };
                self.out.write_all(&content)?;
                at += u64::from(chunk.len);
            }
            if list_lost {
                return Ok(Content::DamagedAt(at));
            }
            if chunks.is_finished() {
                self.zeros(entry.size.saturating_sub(at))?;
                return Ok(Content::Whole);
            }
        }
    }

    fn zeros(&mut self, mut count: u64) -> Result<(), DumpError> {
        while count > 0 {
            let some = count.min(ZEROS.len() as u64);
            self.out
                .write_all(&ZEROS[..usize::try_from(some).unwrap_or(ZEROS.len())])?;
            count -= some;
        }
        Ok(())
    }

    fn is_damaged(&mut self, path: &[u8], message: String) {
        self.damaged += 1;
        (self.tell)(path, message);
    }
}
