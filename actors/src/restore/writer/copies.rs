//! The names under which entries are restored beside what is in their place.

use std::io;

use bytes::Bytes;
use lockstone_host::write::Dir;

use super::open_files::FileOut;
use crate::progress::add;
use crate::restore::job::RestoreContext;

/// The longest name of a file, bytes (Linux's `NAME_MAX`).
const NAME_MAX: usize = 255;
/// This many names are tried.
const TRIES: u32 = 10_000;

impl RestoreContext {
    /// The names beside `name`, in the order in which they are tried: `name (lockstone 2026-11-22 03-00).ext`.
    pub(crate) fn copy_names<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = Bytes> + 'a {
        (1..TRIES).map(move |n| copy_name(name, &self.job.request.copy_stamp, n).into())
    }

    /// A free name beside `name`.
    pub(crate) fn free_copy_name(&self, dir: &Dir, name: &[u8]) -> io::Result<Bytes> {
        for copy in self.copy_names(name) {
            if dir.lookup(&copy)?.is_none() {
                return Ok(copy);
            }
        }
        Err(too_many())
    }

    /// Calls `put` with the name that was planned and, if that may not be replaced and is taken by now, with names
    /// beside it. On some file systems two names that differ are the same.
    pub(crate) fn put_or_beside(
        &self,
        file: &FileOut,
        name: &[u8],
        replace: bool,
        mut put: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let is_taken = |put: &io::Result<()>| {
            let kind = put.as_ref().err().map(io::Error::kind);
            kind == Some(io::ErrorKind::AlreadyExists)
        };
        let first = put(name);
        if replace || !is_taken(&first) {
            return first;
        }
        for copy in self.copy_names(&file.entry.name) {
            let again = put(&copy);
            if is_taken(&again) {
                continue;
            }
            if again.is_ok() {
                add(&self.job.progress.counters.copies, 1);
                self.job.warnings.add(file.path(), beside_message(&copy));
                file.beside.get_or_init(|| copy);
            }
            return again;
        }
        Err(too_many())
    }
}

/// What is said of an entry whose name the target gave to another one.
pub(crate) fn beside_message(copy: &[u8]) -> String {
    format!(
        "in the target, its name leads to something else that is restored or was made meanwhile; it was put beside \
         that, as {}",
        String::from_utf8_lossy(copy)
    )
}

pub(crate) fn too_many() -> io::Error {
    io::Error::other("there are too many copies of it already")
}

/// The name of the `n`th copy, cut to fit.
fn copy_name(name: &[u8], stamp: &str, n: u32) -> Vec<u8> {
    let dot = name.iter().rposition(|&byte| byte == b'.').filter(|&at| at > 0);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let mark = if n == 1 {
        format!(" (lockstone {stamp})")
    } else {
        format!(" (lockstone {stamp} {n})")
    };
    // An extension so long that nothing else would fit counts as part of the stem.
    let (stem, extension) = if extension.len() + mark.len() < NAME_MAX {
        (stem, extension)
    } else {
        (name, &b""[..])
    };
    let room = NAME_MAX - mark.len() - extension.len();
    [&stem[..stem.len().min(room)], mark.as_bytes(), extension].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_its_extension_and_fits_in_a_name() {
        let stamp = "2026-11-22 03-00";
        assert_eq!(
            copy_name(b"report.pdf", stamp, 1),
            b"report (lockstone 2026-11-22 03-00).pdf"
        );
        assert_eq!(copy_name(b"README", stamp, 1), b"README (lockstone 2026-11-22 03-00)");
        assert_eq!(
            copy_name(b".bashrc", stamp, 2),
            b".bashrc (lockstone 2026-11-22 03-00 2)"
        );
        assert!(copy_name(&[b'x'; 255], stamp, 1).len() <= NAME_MAX);
        let long_extension = [b"a.".to_vec(), vec![b'x'; 253]].concat();
        assert!(copy_name(&long_extension, stamp, 1).len() <= NAME_MAX);
    }
}
