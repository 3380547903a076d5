//! Entries that do not have their own name yet, and what killed restores left of such.
//!
//! A temporary name is `.lockstone-`, 16 hexadecimal digits, and `.part`. Four digits say on which machine it was made,
//! and in which boot and container; six digits are the process id; six are random. So a restore can tell what a process
//! left that is gone, and what belongs to a restore that runs.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rustix::fs::RenameFlags;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::Dir;
use crate::stat::Stat;

const PREFIX: &str = ".lockstone-";
const SUFFIX: &str = ".part";

/// How many temporary names are tried before the creation fails.
const TRIES: usize = 100;

/// What was made on another machine, or before this one was started, is left alone until nothing has changed it for
/// this long: on a shared file system, it may belong to a restore that runs elsewhere.
const FOREIGN_AGE: Duration = Duration::from_hours(1);

/// An entry that is not finished yet. Dropping it removes the entry, unless it was published.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) dir: Dir,
    /// A temporary name, or the entry's own name in a folder that the restore made.
    pub(super) name: Bytes,
    published: AtomicBool,
    is_link: bool,
}

impl Part {
    /// Creates an entry under a free temporary name.
    pub(super) fn create_beside<T>(dir: &Dir, make: impl Fn(&[u8]) -> Result<T, Errno>) -> io::Result<(Self, T)> {
        dir.sweep();
        for _ in 0..TRIES {
            if let Some(made) = Self::try_name(dir, new_name(), &make)? {
                return Ok(made);
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }

    /// Creates an entry under this name. `None` if the name exists already.
    pub(super) fn try_name<T>(
        dir: &Dir,
        name: Bytes,
        make: impl Fn(&[u8]) -> Result<T, Errno>,
    ) -> io::Result<Option<(Self, T)>> {
        match dir.writing(|| make(&name)) {
            Ok(made) => {
                let part = Self {
                    dir: dir.clone(),
                    name,
                    published: AtomicBool::new(false),
                    is_link: false,
                };
                Ok(Some((part, made)))
            }
            Err(Errno::EXIST) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// It is another name of a file.
    pub(super) fn into_link(mut self) -> Self {
        self.is_link = true;
        self
    }

    /// Gives the entry its final name. Without `replace`, that name must be free.
    pub(super) fn publish(&self, name: &[u8], replace: bool) -> io::Result<()> {
        if self.name == name {
            self.published.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let handle = self.dir.handle()?;
        let at = handle.as_fd();
        let rename = || {
            if replace {
                rustix::fs::renameat(at, &self.name[..], at, name)
            } else {
                match rustix::fs::renameat_with(at, &self.name[..], at, name, RenameFlags::NOREPLACE) {
                    // The file system cannot check and rename in one step.
                    Err(Errno::INVAL) => match Stat::at(at, name) {
                        Ok(_) => Err(Errno::EXIST),
                        Err(_) => rustix::fs::renameat(at, &self.name[..], at, name),
                    },
                    renamed => renamed,
                }
            }
        };
        match self.dir.writing(rename) {
            Err(Errno::PERM) if replace => {
                self.dir.unprotect(name)?;
                rename()?;
            }
            renamed => renamed?,
        }
        // By POSIX, renaming one name of a file over another name of the same file leaves both. Dropping then removes
        // the temporary one.
        let published = !self.is_link || Stat::at(at, &self.name[..]).is_err();
        self.published.store(published, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !*self.published.get_mut() {
            let _ = self.dir.remove(&self.name);
        }
    }
}

/// A new temporary name.
fn new_name() -> Bytes {
    // The keys of a new hasher are random enough: the name only has to be free, not secret.
    let random = std::hash::RandomState::new().build_hasher().finish() & 0x00ff_ffff;
    let place = u64::from(place());
    let process = u64::from(std::process::id()) & 0x00ff_ffff;
    Bytes::from(format!("{PREFIX}{:016x}{SUFFIX}", place << 48 | process << 24 | random))
}

/// Whether a file name is one of those that this program gives to unfinished entries.
pub(crate) fn is_temporary(name: &[u8]) -> bool {
    digits_of(name).is_some()
}

fn digits_of(name: &[u8]) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX.as_bytes())?.strip_suffix(SUFFIX.as_bytes())?;
    let are_digits = digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| are_digits)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Whether an entry with a temporary name was left by a restore that is gone.
pub(super) fn is_leftover(name: &[u8], stat: &Stat) -> bool {
    let Some(digits) = digits_of(name) else { return false };
    if stat.is_folder() {
        return false;
    }
    if digits >> 48 == u64::from(place()) {
        let process = i32::try_from(digits >> 24 & 0x00ff_ffff).ok();
        return match process.and_then(Pid::from_raw) {
            Some(process) => test_kill_process(process) == Err(Errno::SRCH),
            None => true,
        };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let changed = Duration::from_secs(u64::try_from(stat.ctime_s).unwrap_or(0));
    now.saturating_sub(changed) > FOREIGN_AGE
}

/// A number for this machine since it was started, and for the container whose process ids this process sees.
fn place() -> u16 {
    static PLACE: OnceLock<u16> = OnceLock::new();
    *PLACE.get_or_init(|| {
        let mut hasher = DefaultHasher::new();
        std::fs::read("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .hash(&mut hasher);
        std::fs::read_link("/proc/self/ns/pid")
            .unwrap_or_default()
            .hash(&mut hasher);
        u16::try_from(hasher.finish() & 0xffff).unwrap_or_default()
    })
}

/// A temporary name of a process that has ended.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(super) fn name_of_dead_process() -> String {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let digits = u64::from(place()) << 48 | u64::from(child.id()) << 24;
    format!("{PREFIX}{digits:016x}{SUFFIX}")
}
