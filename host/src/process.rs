//! Settings of this process as a whole: the limit of open files, how the allocator returns memory, and the priorities
//! for the processor (`nice`) and for the disks (`ionice`).
//!
//! Linux keeps both priorities for each thread. They are set for every thread that exists at the time of the call; a
//! thread that starts later inherits those of the thread that starts it.

use std::io;
use std::str::FromStr;

use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, getrlimit, set_dumpable_behavior, setpriority_process, setrlimit,
};

use crate::sys;

/// Raises the number of files that this process may hold open to the highest that the system allows, and returns that
/// number. The walk holds few handles, but the files that wait to be read hold their folders open.
///
/// # Errors
/// The system refuses to raise the limit; the old limit is still in force.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(limit.current.unwrap_or(u64::MAX))
}

/// How many files this process may hold open.
#[must_use]
pub fn open_files_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Whether an error says that this process, or the whole system, can open no more files.
#[must_use]
pub fn is_out_of_handles(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

/// Makes sure that a crash of this process leaves no image of its memory, where keys are. Programs that it starts
/// inherit the limit. Other processes of the same user can no longer read this one's memory either.
///
/// # Errors
/// The system refuses one of the two settings; the other may be in force.
pub fn forbid_core_dumps() -> io::Result<()> {
    // A core dump that goes to a program (`|` in core_pattern) ignores the limit, so both are needed.
    let none = Rlimit {
        current: Some(0),
        maximum: getrlimit(Resource::Core).maximum,
    };
    let limited = setrlimit(Resource::Core, none);
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(limited?)
}

/// Makes the allocator return freed buffers to the system. By default the GNU C library keeps them in one arena for
/// each thread, so a pipeline with many threads would hold a hundred MiB that it does not use. Call it once, before any
/// thread is started. Returns false if the C library has no such setting.
#[must_use]
pub fn return_freed_memory() -> bool {
    // Frames, read windows and packs are larger than this. Smaller pieces are soon used again by the arena they are in.
    const LARGE_BYTES: i32 = 256 * 1024;
    const ARENAS: i32 = 4;
    sys::tune_allocator(LARGE_BYTES, ARENAS)
}

/// Gives back to the system what the allocator holds free. For a process that goes on after a job: small pieces of what
/// the job used are scattered over the arenas.
pub fn trim_memory() {
    sys::trim_allocator();
}

/// Whether this process runs with root's user id. Only then can it restore owners, devices and trusted attributes.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user and the group that this process acts as: files that it makes belong to them.
#[must_use]
pub fn user() -> (u32, u32) {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    (user.as_raw(), group.as_raw())
}

/// A class of the I/O scheduler with its level (`ioprio_set(2)`). A scheduler without priorities ignores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoPriority {
    /// Gets the disk only when no other program wants it.
    Idle,
    /// Level 0 is served first, level 7 last; 4 is the level of every program by default.
    BestEffort(u8),
}

impl FromStr for IoPriority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').unwrap_or((text, "4")) {
            ("idle", _) if text == "idle" => Ok(Self::Idle),
            ("best-effort", level) => match level.parse() {
                Ok(level @ 0..=7) => Ok(Self::BestEffort(level)),
                _ => Err(format!("{level:?} is not a level: use 0 to 7")),
            },
            _ => Err(format!(
                "{text:?} is not a class: use idle, or best-effort:0 to best-effort:7"
            )),
        }
    }
}

/// Sets the niceness of every thread: 0 (normal) to 19 (gives way to every other program).
///
/// # Errors
/// The niceness is below the current one and the process does not run as root.
pub fn set_nice(nice: u8) -> io::Result<()> {
    each_thread(|thread| setpriority_process(Some(thread), nice.into()))
}

/// Sets the priority with which every thread reads and writes.
///
/// # Errors
/// The kernel has no I/O priorities.
pub fn set_io_priority(priority: IoPriority) -> io::Result<()> {
    let (class, level) = match priority {
        IoPriority::BestEffort(level) => (2, level),
        IoPriority::Idle => (3, 0),
    };
    each_thread(|thread| sys::set_io_priority(thread, class, level))
}

fn each_thread(set: impl Fn(Pid) -> Result<(), Errno>) -> io::Result<()> {
    for thread in std::fs::read_dir("/proc/self/task")? {
        let number = thread?.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(thread) = number.and_then(Pid::from_raw) else {
            continue;
        };
        match set(thread) {
            // The thread has ended in the meantime.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_read_as_ionice_writes_them() {
        assert_eq!("idle".parse(), Ok(IoPriority::Idle));
        assert_eq!("best-effort".parse(), Ok(IoPriority::BestEffort(4)));
        assert_eq!("best-effort:7".parse(), Ok(IoPriority::BestEffort(7)));
        for bad in ["", "idle:3", "best-effort:8", "best-effort:", "realtime", "realtime:0"] {
            assert!(bad.parse::<IoPriority>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_thread_gets_the_priority() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (said, thread) = std::sync::mpsc::channel();
        let this = || {
            let link = std::fs::read_link("/proc/thread-self").unwrap();
            link.file_name().unwrap().to_str().unwrap().parse::<i32>().unwrap()
        };
        let other = std::thread::spawn(move || {
            said.send(this()).unwrap();
            let _ = stopped.recv();
        });
        let thread = thread.recv().unwrap();
        set_nice(7).unwrap();
        let nice = |thread: i32| {
            let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
            // The name may contain spaces. Niceness is the 17th field after the name.
            let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
            fields[16].parse::<i32>().unwrap()
        };
        assert_eq!(nice(thread), 7);
        assert_eq!(nice(this()), 7);
        set_io_priority(IoPriority::Idle).unwrap();
        assert_eq!(sys::io_priority(Pid::from_raw(thread).unwrap()), Ok((3, 0)));
        drop(stop);
        other.join().unwrap();
    }
}
