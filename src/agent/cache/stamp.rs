//! The stamp of a cache folder: whose it is, and where it belongs. `agent.json` says the same. A cache that was copied,
//! moved by hand, or that belongs to another server is found because the two differ.
//!
//! The settings are written before the stamp. A run that is killed in between leaves a folder without a stamp, which is
//! no disagreement.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lockstone_proto::ids::ServerId;
use serde::{Deserialize, Serialize};

use crate::agent::ids::random;
use crate::agent::state::files::{private_folder, remove_if_there, write_atomically};
use crate::agent::state::folder::StateFolder;
use crate::agent::state::registration::Registration;
use crate::failure::Failure;

/// The stamp's name in the folder.
pub(super) const STAMP: &str = "cache.stamp";

/// The most bytes that are read of one.
const MAX_LEN: u64 = 64 << 10;

/// The layout of a stamp.
const VERSION: u32 = 1;

/// What the stamp says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// The layout of this file.
    version: u32,
    pub(super) server_id: ServerId,
    /// Where the folder was moved to, as `agent.json` says it. Null: it is in the state folder.
    pub(super) path: Option<PathBuf>,
    /// Drawn when the cache was made or moved.
    id: String,
}

/// How the stamp of a folder stands to the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    Agrees,
    /// There is none: the folder is new, or older than stamps.
    Missing,
    /// Why they differ.
    Differs(String),
}

impl Stamp {
    /// The stamp that the settings ask for.
    fn wanted(registration: &Registration, id: String) -> Stamp {
        Stamp {
            version: VERSION,
            server_id: registration.server_id,
            path: registration.cache.clone(),
            id,
        }
    }

    /// The stamp in a folder; `None` if there is none. The error says why it cannot be read.
    pub(super) fn read(folder: &Path) -> Result<Option<Stamp>, String> {
        use std::io::Read as _;
        let file = match std::fs::symlink_metadata(folder.join(STAMP)) {
            Ok(stat) if !stat.is_file() => return Err("it is not a regular file".to_owned()),
            Ok(_) => std::fs::File::open(folder.join(STAMP)),
            Err(error) => Err(error),
        };
        let mut text = Vec::new();
        match file.and_then(|file| file.take(MAX_LEN).read_to_end(&mut text)) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        }
        let stamp: Stamp = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        if stamp.version != VERSION {
            return Err(format!(
                "it is of version {}, this program knows {VERSION}",
                stamp.version
            ));
        }
        Ok(Some(stamp))
    }

    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        write_atomically(&folder.join(STAMP), &serde_json::to_vec_pretty(self)?, 0o600)
    }
}

/// Compares the stamp of the cache folder with the settings.
pub(crate) fn compare(folder: &Path, registration: &Registration) -> Standing {
    let stamp = match Stamp::read(folder) {
        Ok(Some(stamp)) => stamp,
        Ok(None) => return Standing::Missing,
        Err(why) => return Standing::Differs(format!("its stamp ({STAMP}) cannot be read: {why}")),
    };
    if stamp.server_id != registration.server_id {
        return Standing::Differs(format!("it belongs to another server ({})", stamp.server_id));
    }
    if stamp.path != registration.cache {
        let was = match &stamp.path {
            Some(path) => path.display().to_string(),
            None => "the state folder".to_owned(),
        };
        return Standing::Differs(format!("it was copied or moved by hand: it belongs to {was}"));
    }
    match &registration.cache_id {
        Some(id) if *id != stamp.id => Standing::Differs("it is not the cache that agent.json means".to_owned()),
        _ => Standing::Agrees,
    }
}

/// Writes what is missing of the two records. The caller holds the job lock. A folder whose stamp differs stays as it
/// is.
pub(crate) fn settle(state: &StateFolder, registration: &mut Registration) -> Result<(), Failure> {
    let folder = registration.cache_folder(state);
    match compare(&folder, registration) {
        Standing::Missing => write_new(state, registration, &folder),
        Standing::Agrees if registration.cache_id.is_none() => {
            // The settings were put back from a time before the stamp.
            registration.cache_id = Stamp::read(&folder).ok().flatten().map(|stamp| stamp.id);
            Ok(registration.save(state)?)
        }
        Standing::Agrees | Standing::Differs(_) => Ok(()),
    }
}

fn write_new(state: &StateFolder, registration: &mut Registration, folder: &Path) -> Result<(), Failure> {
    let id = match &registration.cache_id {
        Some(id) => id.clone(),
        None => {
            let id = new_id()?;
            registration.cache_id = Some(id.clone());
            registration.save(state)?;
            id
        }
    };
    private_folder(folder).map_err(anyhow::Error::from)?;
    Ok(Stamp::wanted(registration, id).write(folder)?)
}

/// Makes the settings and the folder agree on a new cache.
pub(crate) fn renew(state: &StateFolder, registration: &mut Registration) -> Result<(), Failure> {
    let folder = registration.cache_folder(state);
    // Without a stamp nothing differs if this is interrupted.
    remove(&folder)?;
    registration.cache_id = None;
    write_new(state, registration, &folder)
}

/// Removes the stamp of a folder.
pub(crate) fn remove(folder: &Path) -> anyhow::Result<()> {
    remove_if_there(&folder.join(STAMP))
}

/// Stamps a folder that the cache is about to move to, and returns what the settings will say.
pub(super) fn stamp_new_place(
    registration: &Registration,
    cache: Option<PathBuf>,
    folder: &Path,
) -> Result<Registration, Failure> {
    let id = new_id()?;
    let moved = Registration {
        cache,
        cache_id: Some(id.clone()),
        ..registration.clone()
    };
    Stamp::wanted(&moved, id).write(folder)?;
    Ok(moved)
}

fn new_id() -> Result<String, Failure> {
    Ok(hex::encode(random::<16>()?))
}
