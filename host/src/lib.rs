//! The protected server: which volumes it has, how a source is frozen, walked, read and cut into chunks, how metadata is
//! taken and given back, and how files are written beneath a target. A plain library without threads of its own: the
//! actors call it from theirs.

pub mod chunk;
pub mod metadata;
pub mod read;
pub mod snapshot;
mod stat;
mod sys;
pub mod volumes;
pub mod walk;
pub mod write;

pub(crate) use stat::Stat;

/// Raises how many files this process may hold open to what the system allows it, and says what that is now. The walk
/// holds few, but batches of files waiting to be read hold their folders.
///
/// # Errors
/// What the system answered; the old bound then still stands.
pub fn raise_open_files() -> std::io::Result<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(limit.current.unwrap_or(u64::MAX))
}

/// Whether this process runs with root's user id: then owners, devices and trusted attributes can be given back.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
