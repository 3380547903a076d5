//! The packs that are put. Their frames are generated or come from files, compressed as in a backup.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lockstone_vault::pack::frame::Compressor;
use lockstone_vault::store::PutPayload;
use tokio::sync::{Mutex, mpsc};

/// The raw bytes of a frame.
const FRAME: usize = 1 << 20;
/// The zstd level of a backup.
const LEVEL: i32 = 3;

/// Where packs come from. Cheap to clone; the clones share the files, so each pack is handed out once.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// The same bytes again and again. Each pack is a copy in its own memory, as in a backup.
    Generated(Bytes),
    /// Frames of files that are read one after the other and compressed. After the last file the first is read again.
    Files(Arc<Mutex<mpsc::Receiver<io::Result<Bytes>>>>),
}

impl Source {
    /// A source of bytes that do not compress.
    pub(super) fn generated() -> Source {
        let mut state: u64 = 1;
        let mut bytes = Vec::with_capacity(FRAME);
        while bytes.len() < FRAME {
            // xorshift64: the bytes only have to differ from each other.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        Source::Generated(bytes.into())
    }

    /// A source of the files at and below `path`. A thread reads them until the last clone of the source is dropped.
    pub(super) fn files(path: &Path) -> io::Result<Source> {
        let mut files = Vec::new();
        collect(path, &mut files)?;
        if files.is_empty() {
            return Err(io::Error::other("there is no file in it that has content"));
        }
        let (sender, receiver) = mpsc::channel(4);
        let thread = std::thread::Builder::new().name("bench-source".to_owned());
        thread.spawn(move || read_repeatedly(&files, &sender))?;
        Ok(Source::Files(Arc::new(Mutex::new(receiver))))
    }

    /// The next pack. A generated pack has exactly `len` bytes; one of files has whole frames of about `len` bytes
    /// together.
    pub(super) async fn pack(&self, len: usize) -> io::Result<PutPayload> {
        let mut pack = Vec::new();
        let mut left = len;
        while left > 0 {
            let frame = match self {
                Source::Generated(bytes) => Bytes::copy_from_slice(&bytes[..left.min(bytes.len())]),
                Source::Files(frames) => {
                    let next = frames.lock().await.recv().await;
                    next.unwrap_or_else(|| Err(io::Error::other("the thread that reads the files has ended")))?
                }
            };
            left = left.saturating_sub(frame.len());
            pack.push(frame);
        }
        Ok(pack.into_iter().collect())
    }
}

/// Collects the regular files that have content. Symlinks are not followed. A file that vanishes meanwhile is left out.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?;
    if kind.is_file() && kind.len() > 0 {
        files.push(path.to_owned());
    } else if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            match collect(&entry?.path(), files) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// Sends frames until the receiver is gone.
fn read_repeatedly(files: &[PathBuf], frames: &mpsc::Sender<io::Result<Bytes>>) {
    let mut compressor = match Compressor::new(LEVEL) {
        Ok(compressor) => compressor,
        Err(error) => {
            let _ = frames.blocking_send(Err(io::Error::other(error.to_string())));
            return;
        }
    };
    let mut raw = Vec::with_capacity(FRAME);
    loop {
        let mut read = 0;
        for file in files {
            // A file that cannot be read is left out.
            let Ok(mut file) = File::open(file) else { continue };
            while let Ok(len) = fill(&mut file, &mut raw) {
                read += len;
                if raw.len() < FRAME {
                    break;
                }
                let mut frame = Vec::new();
                let sealed = compressor
                    .compress(&raw, &mut frame)
                    .map_err(|error| io::Error::other(error.to_string()));
                raw.clear();
                if frames.blocking_send(sealed.map(|_| Bytes::from(frame))).is_err() {
                    return;
                }
            }
        }
        if read == 0 {
            let _ = frames.blocking_send(Err(io::Error::other("none of the files can be read")));
            return;
        }
    }
}

/// Reads until the frame is full or the file ends. Returns the number of bytes.
fn fill(file: &mut File, raw: &mut Vec<u8>) -> io::Result<usize> {
    file.take((FRAME - raw.len()) as u64).read_to_end(raw)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn generated_packs_have_exactly_the_wanted_length() {
        let source = Source::generated();
        for len in [1, FRAME - 1, FRAME, 3 * FRAME + 7] {
            assert_eq!(source.pack(len).await.unwrap().content_length(), len);
        }
    }

    #[tokio::test]
    async fn files_are_packed_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        fs::write(folder.path().join("empty"), b"").unwrap();
        assert!(Source::files(folder.path()).is_err());
        fs::write(folder.path().join("below/small"), b"text of a few bytes").unwrap();
        let Source::Generated(noise) = Source::generated() else {
            unreachable!()
        };
        fs::write(folder.path().join("noise"), &noise[..FRAME / 2]).unwrap();
        let source = Source::files(folder.path()).unwrap();
        for _ in 0..3 {
            assert!(source.pack(2 * FRAME).await.unwrap().content_length() >= 2 * FRAME);
        }
        assert!(Source::files(&folder.path().join("missing")).is_err());
    }
}
