//! How fast the source's file system is: walking, reading large files, opening and reading small ones. The walker and
//! the reader are those of a backup.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use lockstone_host::read::OpenedFile;
use lockstone_host::snapshot::FrozenSource;
use lockstone_host::walk::{Folder, Rules, WalkEvent, Walker};

use super::meter::{Meter, Step, Unit};
use crate::bench::sample;

const SMALL_MAX: u64 = 64 << 10;
const LARGE_MIN: u64 = 8 << 20;
const PIECE: usize = 1 << 20;
/// At most this many files of a walk are remembered, so that a walk of millions needs little memory.
const MAX_KEPT_FILES: usize = 50_000;
/// The scratch tree has small files in folders, and one large file.
const FOLDERS: usize = 20;
const FILES_EACH: usize = 100;
const SCRATCH_FILE: usize = 64 << 20;

/// The names of files in one folder.
type Batch = (PathBuf, Vec<Vec<u8>>);

/// What a walk found.
#[derive(Default)]
struct Found {
    small: Vec<Batch>,
    large: Vec<Batch>,
}

pub(super) fn measure(meter: &mut Meter, path: Option<&Path>, scratch: &Path) -> Result<()> {
    let made = scratch.join("source");
    make(&made).context("cannot make files in the scratch folder")?;
    let own = found_in(&made)?;
    let (source, mut found) = match path {
        Some(path) => {
            let path = fs::canonicalize(path).with_context(|| format!("cannot look at {}", path.display()))?;
            let found = found_in(&path)?;
            (path, found)
        }
        None => (made, Found::default()),
    };
    // If the source has no files of a kind, those in the scratch folder are read.
    if found.small.is_empty() {
        found.small = own.small;
    }
    if found.large.is_empty() {
        found.large = own.large;
    }
    walk(meter, &source)?;
    meter.rate("read_large", "reading large files", Unit::Bytes, |number| {
        let (batches, mut at, mut buffer) = (&found.large, number, vec![0; PIECE]);
        Ok(move || {
            at += 1;
            let (folder, names) = &batches[at % batches.len()];
            let begun = Instant::now();
            let folder = open(folder)?;
            let name = &names[at / batches.len() % names.len()];
            let units = read(&folder, name, &mut buffer, SCRATCH_FILE as u64)?;
            Ok(Step {
                units,
                time: begun.elapsed(),
            })
        })
    })?;
    meter.rate("read_small", "opening and reading small files", Unit::Count, |number| {
        let (batches, mut at, mut buffer) = (&found.small, number, vec![0; PIECE]);
        Ok(move || {
            at += 1;
            let (folder, names) = &batches[at % batches.len()];
            Step::of(names.len() as u64, || {
                let folder = open(folder)?;
                for name in names {
                    read(&folder, name, &mut buffer, SMALL_MAX)?;
                }
                Ok(())
            })
        })
    })?;
    sync(meter, scratch)
}

/// Measures how long it takes until 4 KiB are durable.
fn sync(meter: &mut Meter, scratch: &Path) -> Result<()> {
    let path = scratch.join("synced");
    let mut file = File::create(&path).context("cannot write to the scratch folder")?;
    let block = sample::noise(4096);
    meter.latency("fsync", "4 KiB, durable in the scratch folder (fsync)", || {
        file.write_all(&block)?;
        file.sync_data().context("cannot sync a file in the scratch folder")
    })
}

/// Walks the source again and again. Each step continues where the last one ended.
fn walk(meter: &mut Meter, source: &Path) -> Result<()> {
    meter.rate("walk", "walking (entries with their attributes)", Unit::Count, |_| {
        let frozen = FrozenSource::live(source);
        let mut walker = Walker::new(&frozen, &Rules::default())?;
        Ok(move || {
            let begun = Instant::now();
            let mut units = 0;
            for _ in 0..1000 {
                match walker.next() {
                    Some(WalkEvent::Leave) => {}
                    Some(_) => units += 1,
                    None => {
                        walker = Walker::new(&frozen, &Rules::default())?;
                        break;
                    }
                }
            }
            Ok(Step {
                units,
                time: begun.elapsed(),
            })
        })
    })
}

fn open(folder: &Path) -> Result<std::sync::Arc<Folder>> {
    let (folder, _) = Folder::open(folder).with_context(|| format!("cannot open {}", folder.display()))?;
    Ok(folder)
}

/// Reads at most `max` bytes of a file. A file that has vanished counts as empty.
fn read(folder: &Folder, name: &[u8], buffer: &mut [u8], max: u64) -> Result<u64> {
    let Ok(file) = OpenedFile::open(folder, name) else {
        return Ok(0);
    };
    let mut at = 0;
    while at < max {
        match file.read_at(buffer, at) {
            Ok(0) => break,
            Ok(count) => at += count as u64,
            Err(error) => {
                let path = PathBuf::from(OsStr::from_bytes(&folder.join(name)).to_owned());
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
    }
    Ok(at)
}

/// The small and the large files below a folder that this process may read.
fn found_in(source: &Path) -> Result<Found> {
    let walker = Walker::new(&FrozenSource::live(source), &Rules::default())
        .with_context(|| format!("cannot walk {}", source.display()))?;
    let (mut small, mut large): (BTreeMap<PathBuf, Vec<_>>, BTreeMap<PathBuf, Vec<_>>) = Default::default();
    let mut kept = 0;
    for event in walker {
        let WalkEvent::Entry { folder, name, stat } = event else {
            continue;
        };
        let files = match stat.size {
            1..=SMALL_MAX if stat.is_file() => &mut small,
            LARGE_MIN.. if stat.is_file() && !stat.may_have_holes() => &mut large,
            _ => continue,
        };
        if OpenedFile::open(&folder, &name).is_err() {
            continue;
        }
        let at = PathBuf::from(OsStr::from_bytes(&folder.path().to_vec()));
        files.entry(at).or_default().push(name);
        kept += 1;
        if kept == MAX_KEPT_FILES {
            break;
        }
    }
    Ok(Found {
        small: small.into_iter().collect(),
        large: large.into_iter().collect(),
    })
}

fn make(folder: &Path) -> std::io::Result<()> {
    let text = sample::text(4096);
    for number in 0..FOLDERS {
        let inner = folder.join(format!("{number:04}"));
        fs::create_dir_all(&inner)?;
        for file in 0..FILES_EACH {
            fs::write(inner.join(format!("{file:04}")), &text)?;
        }
    }
    fs::write(folder.join("large"), sample::noise(SCRATCH_FILE))
}
