//! The path of a socket, however deep it lies. The system takes paths of sockets of up to 107 bytes only.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

/// The longest path of a socket, bytes.
const MAX_LEN: usize = 107;

/// A path by which a socket can be bound or connected.
#[derive(Debug)]
pub(crate) struct SocketPath {
    path: PathBuf,
    #[expect(dead_code, reason = "the short path leads through this handle")]
    folder: Option<File>,
}

impl SocketPath {
    /// The path itself, or a short one that leads to the same place while this lives.
    pub(crate) fn to(socket: &Path) -> std::io::Result<SocketPath> {
        if socket.as_os_str().len() <= MAX_LEN {
            return Ok(SocketPath {
                path: socket.to_owned(),
                folder: None,
            });
        }
        let (Some(above), Some(name)) = (socket.parent(), socket.file_name()) else {
            return Err(std::io::ErrorKind::InvalidInput.into());
        };
        let folder = File::from(open(
            above,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?);
        let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
        Ok(SocketPath {
            path,
            folder: Some(folder),
        })
    }

    pub(crate) fn as_path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_socket_may_lie_as_deep_as_any_file() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let socket = deep.join("agent.sock");
        assert!(UnixListener::bind(&socket).is_err());
        let path = SocketPath::to(&socket).unwrap();
        let _listener = UnixListener::bind(path.as_path()).unwrap();
        assert!(socket.exists());
        UnixStream::connect(path.as_path()).unwrap();
        assert_eq!(
            SocketPath::to(Path::new("/run/a.sock")).unwrap().as_path(),
            Path::new("/run/a.sock")
        );
        assert!(SocketPath::to(&folder.path().join("n".repeat(120)).join("a")).is_err());
    }
}
