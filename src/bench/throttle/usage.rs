//! How much time and memory a run used.

use std::fs;
use std::time::{Duration, Instant};

use rustix::time::ClockId;

use super::sink::cpu_time;

/// A measurement that has begun.
#[derive(Debug)]
pub(super) struct Usage {
    begun: Instant,
    cpu: Duration,
}

/// What was used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    /// Elapsed time.
    pub(super) wall: Duration,
    /// Processor time of this process.
    pub(super) cpu: Duration,
    /// The peak of resident memory, in bytes; `None` if the system does not report it.
    pub(super) peak: Option<u64>,
}

impl Usage {
    /// Begins to measure.
    pub(super) fn begin() -> Usage {
        // "5" resets the peak to the current memory. If that is not allowed, the peak is that of the whole process.
        let _ = fs::write("/proc/self/clear_refs", "5");
        Usage {
            begun: Instant::now(),
            cpu: cpu_time(ClockId::ProcessCPUTime),
        }
    }

    /// What was used since the beginning.
    pub(super) fn end(&self) -> Used {
        Used {
            wall: self.begun.elapsed(),
            cpu: cpu_time(ClockId::ProcessCPUTime).saturating_sub(self.cpu),
            peak: peak(&fs::read_to_string("/proc/self/status").unwrap_or_default()),
        }
    }
}

/// The peak in the text of `/proc/self/status`, in bytes.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_the_status_file() {
        assert_eq!(peak("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        assert_eq!(peak("Name:\tx\n"), None);
    }
}
