//! Files that describe the system and lie outside of `/etc` and `/boot`: what the kernel and the firmware say, and the
//! users' crontabs.

use std::fs;
use std::io::Read;
use std::path::Path;

use super::Report;
use crate::failure::Failure;

/// Files, and where they go.
const FILES: &[(&str, &str)] = &[
    ("/proc/self/mountinfo", "disks/mountinfo.txt"),
    ("/proc/partitions", "disks/partitions.txt"),
    ("/proc/mdstat", "disks/mdstat.txt"),
    ("/proc/swaps", "disks/swaps.txt"),
    ("/proc/cmdline", "boot/cmdline.txt"),
    ("/proc/modules", "kernel/modules.txt"),
    ("/proc/cpuinfo", "kernel/cpuinfo.txt"),
    ("/proc/meminfo", "kernel/meminfo.txt"),
    ("/usr/lib/os-release", "os-release"),
    ("/etc/machine-id", "machine-id"),
    ("/sys/class/dmi/id/sys_vendor", "firmware/sys_vendor"),
    ("/sys/class/dmi/id/product_name", "firmware/product_name"),
    ("/sys/class/dmi/id/product_serial", "firmware/product_serial"),
    ("/sys/class/dmi/id/product_uuid", "firmware/product_uuid"),
    ("/sys/class/dmi/id/board_name", "firmware/board_name"),
    ("/sys/class/dmi/id/bios_vendor", "firmware/bios_vendor"),
    ("/sys/class/dmi/id/bios_version", "firmware/bios_version"),
    ("/sys/class/dmi/id/bios_date", "firmware/bios_date"),
];

/// Folders with small files, and where they go: crontabs of users, and keys of package sources.
const FOLDERS: &[(&str, &str)] = &[
    ("/var/spool/cron/crontabs", "users/crontabs"),
    ("/var/spool/cron", "users/crontabs"),
    ("/usr/share/keyrings", "packages/keyrings"),
    ("/etc/pki/rpm-gpg", "packages/rpm-gpg"),
];

/// Larger files are none of these.
const MAX_BYTES: u64 = 16 << 20;

/// Copies what is there.
pub(super) fn write(report: &mut Report) -> Result<(), Failure> {
    for (from, to) in FILES {
        copy(report, Path::new(from), to)?;
    }
    for (from, to) in FOLDERS {
        let Ok(entries) = fs::read_dir(from) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if let (Some(name), Ok(true)) = (name.to_str(), entry.file_type().map(|kind| kind.is_file())) {
                copy(report, &entry.path(), &format!("{to}/{name}"))?;
            }
        }
    }
    Ok(())
}

fn copy(report: &mut Report, from: &Path, to: &str) -> Result<(), Failure> {
    let mut content = Vec::new();
    // The files of the kernel have no size before they are read.
    let read = fs::File::open(from).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut content));
    match read {
        Ok(_) => report.file(to, &content),
        Err(error) => {
            report.note(to, &format!("{}: {error}", from.display()));
            Ok(())
        }
    }
}
