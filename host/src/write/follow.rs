//! Symbolic links on the way to what is restored. They are followed beneath the target only, as if the target were the
//! root of the file system: an absolute link begins there, and `..` leads no higher. Each name is looked up and opened
//! on its own, without following it, so no change in the meantime leads anywhere else.
//!
//! A link of another user is followed only to a folder of that user. Otherwise a user could lead root's restore of the
//! user's files into a folder of the system.

use std::io;
use std::os::fd::AsFd;

use lockstone_proto::vault::EntryKind;
use rustix::io::Errno;
use rustix::process::geteuid;

use super::Dir;
use crate::stat::Stat;

/// As many links are followed as the kernel does (`MAXSYMLINKS`).
const LINKS_MAX: usize = 40;

impl Dir {
    /// The folder that `name` leads to, through any symbolic links.
    ///
    /// # Errors
    /// It leads to no folder, or this process may not open one on the way.
    pub fn follow(&self, name: &[u8]) -> io::Result<Self> {
        let mut at = self.clone();
        // The names that are still to be resolved, the next one last.
        let mut ahead = vec![name.to_vec()];
        let mut links = 0;
        let mut owners = Vec::new();
        while let Some(name) = ahead.pop() {
            match &name[..] {
                b"" | b"." => continue,
                b".." => {
                    at = at.above().cloned().unwrap_or(at);
                    continue;
                }
                _ => {}
            }
            let there = at.lookup(&name)?.ok_or(Errno::NOENT)?;
            if there.is_folder() {
                at = at.open_folder(&name, 0)?;
            } else if there.kind() == EntryKind::Symlink {
                links += 1;
                owners.push(there.uid);
                if links > LINKS_MAX {
                    return Err(Errno::LOOP.into());
                }
                let to = at.read_link(&name)?;
                if to.starts_with(b"/") {
                    while let Some(above) = at.above() {
                        at = above.clone();
                    }
                }
                ahead.extend(to.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec));
            } else {
                return Err(Errno::NOTDIR.into());
            }
        }
        let (this, owner) = (geteuid().as_raw(), Stat::of(at.handle()?.as_fd())?.uid);
        if owners.iter().any(|link| ![0, this, owner].contains(link)) {
            return Err(io::Error::other("it belongs to another user than what it leads to"));
        }
        Ok(at)
    }
}
