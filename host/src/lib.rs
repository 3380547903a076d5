//! The protected server: which volumes it has, how a source is frozen, walked, read and cut into chunks, how metadata is
//! taken and given back, and how files are written beneath a target. A plain library without threads of its own: the
//! actors call it from theirs.

pub mod chunk;
pub mod manners;
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

/// Makes freed buffers leave the process: by default the C library keeps them, one arena for each thread, and a pipeline
/// of many threads keeps a hundred MiB that nobody uses. To be called once, before threads are started. False where the
/// C library has no such setting.
#[must_use]
pub fn give_memory_back() -> bool {
    // Frames, windows and packs are larger; what is smaller is reused often enough where it lies.
    const LARGE: i32 = 256 * 1024;
    const ARENAS: i32 = 4;
    sys::tune_allocator(LARGE, ARENAS)
}

/// Whether this process runs with root's user id: then owners, devices and trusted attributes can be given back.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod testing {
    //! What tests of several modules need.

    /// Runs something without root's rights: on a thread of its own, as those are a thread's in Linux.
    pub(crate) fn without_rights<T: Send>(run: impl FnOnce() -> T + Send) -> T {
        use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
        let none = CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        };
        let body = || {
            set_capabilities(None, none).unwrap();
            run()
        };
        std::thread::scope(|scope| scope.spawn(body).join().unwrap())
    }

    /// Is this run by root? If not, says loudly what is not tested.
    pub(crate) fn root_for(what: &str) -> bool {
        if !crate::is_root() {
            eprintln!("SKIPPED: {what} needs root");
        }
        crate::is_root()
    }

    /// Runs a program that must succeed.
    pub(crate) fn run(program: &str, args: &[&std::ffi::OsStr]) -> Vec<u8> {
        let output = std::process::Command::new(program).args(args).output().unwrap();
        assert!(
            output.status.success(),
            "{program} {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// Something mounted, until it is dropped.
    pub(crate) struct Mounted(pub(crate) std::path::PathBuf);

    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg(&self.0).status();
        }
    }
}
