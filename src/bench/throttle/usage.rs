//! What a run took of the machine.

use std::fs;
use std::time::{Duration, Instant};

use rustix::time::ClockId;

use super::sink::cpu_time;

/// A measure that was begun.
#[derive(Debug)]
pub struct Usage {
    begun: Instant,
    cpu: Duration,
}

/// What was used.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// Time on the wall.
    pub wall: Duration,
    /// Processor time of this process.
    pub cpu: Duration,
    /// The most memory that was resident, bytes; `None` where the system does not tell.
    pub peak: Option<u64>,
}

impl Usage {
    /// From here on.
    #[must_use]
    pub fn begin() -> Usage {
        // "5" sets the peak back to what is resident now. Where it is not allowed the peak is that of the whole process.
        let _ = fs::write("/proc/self/clear_refs", "5");
        Usage {
            begun: Instant::now(),
            cpu: cpu_time(ClockId::ProcessCPUTime),
        }
    }

    /// Until here.
    #[must_use]
    pub fn end(&self) -> Used {
        Used {
            wall: self.begun.elapsed(),
            cpu: cpu_time(ClockId::ProcessCPUTime).saturating_sub(self.cpu),
            peak: peak(&fs::read_to_string("/proc/self/status").unwrap_or_default()),
        }
    }
}

/// The peak in the text of `/proc/self/status`, bytes.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_the_systems_own_words() {
        assert_eq!(peak("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        assert_eq!(peak("Name:\tx\n"), None);
    }
}
