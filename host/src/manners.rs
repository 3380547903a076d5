//! Manners beside other programs: how soon this process gets the processor (`nice`) and the disks (`ionice`), for all of its
//! threads at once. Linux keeps both for each thread; threads that start later have those of the thread that starts them.

use std::io;
use std::str::FromStr;

use rustix::io::Errno;
use rustix::process::{Pid, setpriority_process};

use crate::sys;

/// A class of the I/O scheduler, with its level (`ioprio_set(2)`). Schedulers without priorities take no notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoPriority {
    /// Only what nobody else wants.
    Idle,
    /// By level: 0 goes first, 7 last; 4 is what everybody has.
    BestEffort(u8),
}

impl FromStr for IoPriority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').unwrap_or((text, "4")) {
            ("idle", _) if text == "idle" => Ok(Self::Idle),
            ("best-effort", level) => match level.parse() {
                Ok(level @ 0..=7) => Ok(Self::BestEffort(level)),
                _ => Err(format!("{level:?} is no level: 0 to 7")),
            },
            _ => Err(format!("{text:?} is no class: idle, or best-effort:0 to best-effort:7")),
        }
    }
}

/// Sets the niceness, 0 to 19.
///
/// # Errors
/// Only root may become less nice.
pub fn set_nice(nice: u8) -> io::Result<()> {
    each_thread(|thread| setpriority_process(Some(thread), nice.into()))
}

/// Sets the priority of reading and writing.
///
/// # Errors
/// The kernel has no such priorities.
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
            // It has ended meanwhile.
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
    fn every_thread_steps_back() {
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
            // The name may have spaces; niceness is the 17th field behind it.
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
