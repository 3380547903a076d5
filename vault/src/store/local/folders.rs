//! Listings of a store in a folder. Entries whose names cannot be those of objects are left out: names that are not
//! UTF-8 or have characters that no object has, staged objects (`NAME#1`), links that lead nowhere, pipes and devices.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::{Path as FilePath, PathBuf};
use std::time::SystemTime;

use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{ObjectMeta, Result};

use super::{aside, failed};

/// Folders of a vault are not deeper than this. Links that lead back to a folder above them would never end.
const MAX_DEPTH: usize = 16;

/// A listing under way.
struct Walk {
    /// Folders that are not read yet, and their names as prefixes.
    ahead: Vec<(PathBuf, Path)>,
    objects: VecDeque<ObjectMeta>,
}

/// All objects below a folder, which has the name `prefix`. Holds the names of one folder at a time.
pub(super) fn list(folder: PathBuf, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
    let walk = Walk {
        ahead: vec![(folder, prefix.cloned().unwrap_or_default())],
        objects: VecDeque::new(),
    };
    futures::stream::try_unfold(walk, |mut walk| async move {
        loop {
            if let Some(object) = walk.objects.pop_front() {
                return Ok::<_, object_store::Error>(Some((object, walk)));
            }
            let Some((folder, prefix)) = walk.ahead.pop() else {
                return Ok(None);
            };
            let at = prefix.clone();
            let parent = folder.clone();
            let found = aside(move || read(&folder, &prefix)).await;
            let (objects, folders) = found.map_err(|error| failed(&at, error))?;
            walk.objects.extend(objects);
            for folder in folders {
                if let (Some(name), true) = (folder.filename(), folder.parts().count() < MAX_DEPTH) {
                    walk.ahead.push((parent.join(name), folder.clone()));
                }
            }
        }
    })
    .boxed()
}

/// The objects and folders right in a folder. A folder that is not there is empty.
pub(super) fn read(folder: &FilePath, prefix: &Path) -> io::Result<(Vec<ObjectMeta>, Vec<Path>)> {
    let (mut objects, mut folders) = (Vec::new(), Vec::new());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok((objects, folders));
        }
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(location) = name.to_str().and_then(|name| named(prefix, name)) else {
            tracing::debug!(folder = %folder.display(), ?name, "this cannot be an object, and is left alone");
            continue;
        };
        // Follows links. An entry that vanished meanwhile, or a link that leads nowhere, is no object.
        let Ok(stat) = std::fs::metadata(entry.path()) else {
            continue;
        };
        if stat.is_dir() {
            folders.push(location);
        } else if stat.is_file() {
            objects.push(ObjectMeta {
                location,
                last_modified: stat.modified().unwrap_or(SystemTime::UNIX_EPOCH).into(),
                size: stat.len(),
                e_tag: None,
                version: None,
            });
        }
    }
    Ok((objects, folders))
}

/// The name of an entry as an object or folder below a prefix. `None` if it cannot be one.
fn named(prefix: &Path, name: &str) -> Option<Path> {
    let staged = |(_, number): (&str, &str)| number.bytes().all(|c| c.is_ascii_digit());
    if name.rsplit_once('#').is_some_and(staged) {
        return None;
    }
    let path = match prefix.as_ref() {
        "" => name.to_owned(),
        prefix => format!("{prefix}/{name}"),
    };
    Path::parse(&path).ok().filter(|parsed| parsed.as_ref() == path)
}
