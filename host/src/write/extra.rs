//! Removing what a restore does not want to have in a folder. Nothing outside the folder is touched: no link is
//! followed, and no other file system or mount below it is entered.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::temporary::is_temporary;
use super::{Dir, check};
use crate::metadata::path_of_handle;

/// A folder that is being removed: what is in it and was not looked at yet, and whether all of it could be removed.
struct Removing {
    dir: Dir,
    name: Bytes,
    left: Vec<(Bytes, bool)>,
    is_empty: bool,
}

impl Dir {
    /// The folder's path as the system knows it now, without symbolic links.
    ///
    /// # Errors
    /// There is no `/proc`.
    pub fn real_path(&self) -> io::Result<PathBuf> {
        let handle = self.handle()?;
        let path = path_of_handle(handle.as_fd());
        std::fs::read_link(PathBuf::from(String::from_utf8_lossy(&path).into_owned()))
    }

    /// Calls `each` with the names in the folder and whether they are folders, but not with the temporary names of
    /// restores. The order is that of the file system.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn each_name(&self, each: &mut dyn FnMut(&[u8], bool)) -> io::Result<()> {
        let handle = self.handle()?;
        for entry in rustix::fs::Dir::read_from(&*handle)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || is_temporary(name) {
                continue;
            }
            let is_folder = match entry.file_type() {
                FileType::Directory => true,
                FileType::Unknown => self.lookup(name)?.is_some_and(|stat| stat.is_folder()),
                _ => false,
            };
            each(name, is_folder);
        }
        Ok(())
    }

    /// Removes a folder with everything in it, but for what `spares` says. Its paths begin with the folder's own name;
    /// the second argument is whether it is a folder. What cannot be removed, and what is mounted below, stays, and
    /// `kept` is told why. Returns whether all of it is gone.
    ///
    /// # Errors
    /// The folder itself cannot be opened.
    pub fn remove_folder(
        &self,
        name: &[u8],
        spares: &dyn Fn(&[u8], bool) -> bool,
        kept: &mut dyn FnMut(&[u8], &io::Error),
    ) -> io::Result<bool> {
        let mut open = vec![self.begin(name)?];
        let mut path = name.to_vec();
        loop {
            let Some(folder) = open.last_mut() else {
                return Ok(false);
            };
            if let Some((name, is_folder)) = folder.left.pop() {
                let len = path.len();
                path.push(b'/');
                path.extend_from_slice(&name);
                if spares(&path, is_folder) {
                    folder.is_empty = false;
                    path.truncate(len);
                    continue;
                }
                let done = if is_folder {
                    folder.dir.begin(&name).map(Some)
                } else {
                    folder.dir.remove(&name).map(|()| None)
                };
                match done {
                    Ok(Some(below)) => {
                        open.push(below);
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => {
                        folder.is_empty = false;
                        kept(&path, &error);
                    }
                }
                path.truncate(len);
                continue;
            }
            let Some(Removing {
                dir, name, is_empty, ..
            }) = open.pop()
            else {
                return Ok(false);
            };
            drop(dir);
            let above = open.last().map_or(self, |above| &above.dir);
            let removed = if is_empty { above.remove_empty(&name) } else { Ok(()) };
            if let Err(error) = &removed {
                kept(&path, error);
            }
            let is_gone = is_empty && removed.is_ok();
            path.truncate(path.len().saturating_sub(name.len() + 1));
            match open.last_mut() {
                Some(above) => above.is_empty &= is_gone,
                None => return Ok(is_gone),
            }
        }
    }

    /// Opens a folder that is to be removed, and lists it.
    fn begin(&self, name: &[u8]) -> io::Result<Removing> {
        self.must_not_be_mounted(name)?;
        let dir = self.open_folder(name, 0)?;
        let mut left = Vec::new();
        let handle = dir.handle()?;
        for entry in rustix::fs::Dir::read_from(&*handle)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let is_folder = match entry.file_type() {
                FileType::Directory => true,
                FileType::Unknown => dir.lookup(name)?.is_some_and(|stat| stat.is_folder()),
                _ => false,
            };
            left.push((Bytes::copy_from_slice(name), is_folder));
        }
        Ok(Removing {
            dir,
            name: Bytes::copy_from_slice(name),
            left,
            is_empty: true,
        })
    }

    /// Fails if something is mounted at this name.
    fn must_not_be_mounted(&self, name: &[u8]) -> io::Result<()> {
        let (at, name) = (self.handle()?, check(name)?);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let mounted = || io::Error::other("something is mounted there");
        match rustix::fs::openat2(&at, name, flags, Mode::empty(), resolve) {
            Ok(_) => Ok(()),
            Err(Errno::XDEV) => Err(mounted()),
            Err(Errno::NOSYS) => {
                let own = self.identity()?.0;
                let there = self.lookup(name)?;
                match there {
                    Some(there) if there.device_raw != own => Err(mounted()),
                    _ => Ok(()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn remove_empty(&self, name: &[u8]) -> io::Result<()> {
        let (at, name) = (self.handle()?, check(name)?);
        Ok(self.writing(|| rustix::fs::unlinkat(&at, name, AtFlags::REMOVEDIR))?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_is_removed_with_what_is_in_it_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("extra/a/b")).unwrap();
        fs::write(root.join("extra/a/b/file"), "x").unwrap();
        fs::create_dir(root.join("precious")).unwrap();
        fs::write(root.join("precious/file"), "x").unwrap();
        for link in ["extra/link", "extra/a/link"] {
            std::os::unix::fs::symlink(root.join("precious"), root.join(link)).unwrap();
        }
        std::os::unix::fs::symlink("precious", root.join("alias")).unwrap();
        let dir = Dir::open_root(root).unwrap();
        assert_eq!(dir.real_path().unwrap(), root.canonicalize().unwrap());
        let mut names = Vec::new();
        dir.each_name(&mut |name, is_folder| names.push((name.to_vec(), is_folder)))
            .unwrap();
        names.sort();
        let wanted = [("alias", false), ("extra", true), ("precious", true)];
        assert_eq!(
            names,
            wanted.map(|(name, is_folder)| (name.as_bytes().to_vec(), is_folder))
        );
        let mut kept = |path: &[u8], error: &io::Error| panic!("{}: {error}", path.escape_ascii());
        let none = |_: &[u8], _: bool| false;
        assert!(
            !dir.remove_folder(b"extra", &|path, _| path == b"extra/link", &mut kept)
                .unwrap()
        );
        assert_eq!(
            fs::read_dir(root.join("extra")).unwrap().count(),
            1,
            "what is spared stays"
        );
        assert!(dir.remove_folder(b"extra", &none, &mut kept).unwrap());
        assert!(!root.join("extra").exists());
        assert_eq!(fs::read(root.join("precious/file")).unwrap(), b"x");
        // A link is no folder, and a name leads nowhere else.
        assert!(dir.remove_folder(b"alias", &none, &mut kept).is_err());
        assert!(dir.remove_folder(b"..", &none, &mut kept).is_err());
        assert!(root.join("precious/file").exists());
    }

    #[test]
    fn a_deep_folder_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let root = Dir::open_root(folder.path()).unwrap();
        let mut dir = root.make_folder(b"d").unwrap();
        for _ in 0..2000 {
            dir = dir.make_folder(b"d").unwrap();
        }
        drop(dir);
        assert!(
            root.remove_folder(b"d", &|_, _| false, &mut |_, error| panic!("{error}"))
                .unwrap()
        );
        assert!(!folder.path().join("d").exists());
    }
}
