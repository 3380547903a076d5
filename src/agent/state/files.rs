//! How files get into the state folder: private, whole or not at all, and durable.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Makes a folder, and those above it, for its owner alone. A folder that exists stays as it is.
pub(crate) fn private_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Replaces the file at `path` with `content`. The file has either its old or its new content at any time, and the new
/// content is durable when this returns. Only a regular file is replaced: a device, a pipe, a folder or a symlink at
/// `path` stays as it is, and is an error.
pub(crate) fn write_atomically(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Some(name) = path.file_name() else {
        bail!("{} is not the name of a file", path.display())
    };
    if fs::symlink_metadata(path).is_ok_and(|stat| !stat.is_file()) {
        bail!("cannot write {}: it is not a regular file", path.display());
    }
    let (new, mut file) = new_file(folder, name, mode).with_context(|| format!("cannot write {}", path.display()))?;
    let written = (|| {
        // The mode above is only used for a new file, and the umask takes bits from it.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_folder(folder)?;
        anyhow::Ok(())
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// A new file in a folder, beside the file that it will replace. A name that is taken, by whatever, is passed over.
fn new_file(folder: &Path, name: &OsStr, mode: u32) -> std::io::Result<(PathBuf, File)> {
    let mut number = 0_u32;
    loop {
        let mut new_name = OsString::from(".");
        new_name.push(name);
        new_name.push(format!(".{}-{number}.new", std::process::id()));
        let new = folder.join(new_name);
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&new) {
            Ok(file) => return Ok((new, file)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && number < 100 => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// The most bytes of a text that a user wrote: a policy, patterns, credentials.
const TEXT_MAX: u64 = 4 << 20;

/// Reads a text that a user wrote. A file that is much too long is refused before it fills the memory: it may be a
/// device, or another file than was meant.
pub(crate) fn read_text(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(TEXT_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > TEXT_MAX {
        let message = format!("it is longer than {} MiB", TEXT_MAX >> 20);
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
    }
    let not_text = |_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not text in UTF-8");
    String::from_utf8(bytes).map_err(not_text)
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes a file. A missing file is not an error.
pub(crate) fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn only_a_regular_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join("precious");
        fs::write(&precious, "keep").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&precious, &link).unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [&link, &socket, &folder.path().to_owned()] {
            let before = fs::symlink_metadata(path).unwrap();
            let error = write_atomically(path, b"new", 0o600).unwrap_err();
            assert!(error.to_string().contains("not a regular file"), "{error:#}");
            assert_eq!(fs::symlink_metadata(path).unwrap().ino(), before.ino());
        }
        assert_eq!(fs::read(&precious).unwrap(), b"keep");
    }

    #[test]
    fn what_waits_under_the_name_of_the_new_file_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "keep").unwrap();
        let trap = folder.path().join(format!(".key.{}-0.new", std::process::id()));
        std::os::unix::fs::symlink(&victim, trap).unwrap();
        write_atomically(&folder.path().join("key"), b"new", 0o600).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"keep");
        assert_eq!(fs::read(folder.path().join("key")).unwrap(), b"new");
    }

    #[test]
    fn a_text_is_bounded_and_in_utf_8() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        let read = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            read_text(&path).map_err(|error| error.to_string())
        };
        assert_eq!(read("é\r\n".as_bytes()), Ok("é\r\n".to_owned()));
        assert_eq!(read(b"\xe9"), Err("it is not text in UTF-8".to_owned()));
        assert!(read(&vec![b'#'; TEXT_MAX as usize]).is_ok());
        assert_eq!(
            read(&vec![b'#'; TEXT_MAX as usize + 1]),
            Err("it is longer than 4 MiB".to_owned())
        );
        assert!(read_text(Path::new("/dev/zero")).is_err());
    }

    #[test]
    fn a_file_is_replaced_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        write_atomically(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
