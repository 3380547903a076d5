//! What is put: packs of frames, as a backup makes them, generated or from files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lockstone_vault::pack::frame::Compressor;
use lockstone_vault::store::PutPayload;
use tokio::sync::{Mutex, mpsc};

/// Raw bytes of a frame.
const FRAME: usize = 1 << 20;
/// zstd level of a backup.
const LEVEL: i32 = 3;

/// Where packs come from. Cheap to clone; whoever asks gets the next one.
#[derive(Debug, Clone)]
pub enum Source {
    /// The same bytes again and again, each time in memory of their own, as those of a backup are.
    Generated(Bytes),
    /// Files, read, laid side by side and compressed; after the last one the first comes again.
    Files(Arc<Mutex<mpsc::Receiver<io::Result<Bytes>>>>),
}

impl Source {
    /// Bytes that do not compress.
    #[must_use]
    pub fn generated() -> Source {
        let mut state: u64 = 1;
        let mut bytes = Vec::with_capacity(FRAME);
        while bytes.len() < FRAME {
            // xorshift64: enough for bytes that only have to be different.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        Source::Generated(bytes.into())
    }

    /// The files at and below `path`. They are read on a thread of their own, which ends with the last of the sources.
    ///
    /// # Errors
    /// Where the path cannot be read, or nothing is in it.
    pub fn files(path: &Path) -> io::Result<Source> {
        let mut files = Vec::new();
        collect(path, &mut files)?;
        if files.is_empty() {
            return Err(io::Error::other("there is no file in it with anything to send"));
        }
        let (sender, receiver) = mpsc::channel(4);
        let thread = std::thread::Builder::new().name("bench-source".to_owned());
        thread.spawn(move || read_on(&files, &sender))?;
        Ok(Source::Files(Arc::new(Mutex::new(receiver))))
    }

    /// The next pack, of about `len` bytes: exactly so many of generated ones, and whole frames of files.
    ///
    /// # Errors
    /// Where the files cannot be read any more.
    pub async fn pack(&self, len: usize) -> io::Result<PutPayload> {
        let mut pack = Vec::new();
        let mut left = len;
        while left > 0 {
            let frame = match self {
                Source::Generated(bytes) => Bytes::copy_from_slice(&bytes[..left.min(bytes.len())]),
                Source::Files(frames) => {
                    let next = frames.lock().await.recv().await;
                    next.unwrap_or_else(|| Err(io::Error::other("the files are not read any more")))?
                }
            };
            left = left.saturating_sub(frame.len());
            pack.push(frame);
        }
        Ok(pack.into_iter().collect())
    }
}

/// The regular files that hold something. Symlinks are not followed; what vanishes meanwhile is no file.
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

/// Sends frames until nobody wants any.
fn read_on(files: &[PathBuf], frames: &mpsc::Sender<io::Result<Bytes>>) {
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
            // What cannot be read is left out here, and its backup would say so.
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

/// Reads on until the frame is full or the file ends; how much that was.
fn fill(file: &mut File, raw: &mut Vec<u8>) -> io::Result<usize> {
    file.take((FRAME - raw.len()) as u64).read_to_end(raw)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn generated_packs_have_exactly_the_length_that_is_wanted() {
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
