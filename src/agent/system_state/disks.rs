//! The disks of the machine: what `lsblk` lists, and what only a tool for each of them tells.

use std::path::Path;

use super::Report;
use crate::failure::Failure;

/// The file with the list.
pub(super) const LIST: &str = "disks/lsblk-pairs.txt";

/// A line of `lsblk`: a disk, a partition, a RAID, an encrypted or logical volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) path: String,
    /// `disk`, `part`, `raid1`, `crypt`, `lvm`, …
    pub(super) kind: String,
    pub(super) size: u64,
    pub(super) fs: String,
    pub(super) label: String,
    pub(super) uuid: String,
    pub(super) mount: String,
}

/// The devices in the order of `lsblk`.
#[derive(Debug, Default)]
pub(super) struct Disks {
    pub(super) devices: Vec<Device>,
}

impl Disks {
    /// Reads the list that `lsblk` wrote. It is empty without it.
    pub(super) fn read(folder: &Path) -> Disks {
        Disks::parse(&std::fs::read_to_string(folder.join(LIST)).unwrap_or_default())
    }

    fn parse(text: &str) -> Disks {
        let mut devices: Vec<Device> = Vec::new();
        for line in text.lines() {
            let mut device = Device::default();
            for (key, value) in pairs(line) {
                match key {
                    "NAME" => device.name = value,
                    "PATH" => device.path = value,
                    "TYPE" => device.kind = value,
                    "SIZE" => device.size = value.parse().unwrap_or(0),
                    "FSTYPE" => device.fs = value,
                    "LABEL" => device.label = value,
                    "UUID" => device.uuid = value,
                    "MOUNTPOINT" => device.mount = value,
                    _ => {}
                }
            }
            // A device with several parents is listed below each of them.
            if !device.path.is_empty() && !devices.iter().any(|known| known.path == device.path) {
                devices.push(device);
            }
        }
        Disks { devices }
    }

    /// The disks that can have a partition table.
    pub(super) fn whole(&self) -> impl Iterator<Item = &Device> {
        let is_real = |device: &&Device| {
            let made = ["loop", "ram", "zram", "sr", "fd"];
            device.kind == "disk" && device.size > 0 && !made.iter().any(|prefix| device.name.starts_with(prefix))
        };
        self.devices.iter().filter(is_real)
    }

    /// The devices that are encrypted.
    pub(super) fn encrypted(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|device| device.fs == "crypto_LUKS")
    }

    pub(super) fn has_lvm(&self) -> bool {
        self.devices.iter().any(|device| device.fs == "LVM2_member")
    }

    pub(super) fn has_raid(&self) -> bool {
        self.devices.iter().any(|device| device.fs == "linux_raid_member")
    }
}

/// The pairs of a line of `lsblk --pairs`: `NAME="sda" SIZE="10"`. It writes a quote within a value as `\x22`.
fn pairs(line: &str) -> impl Iterator<Item = (&str, String)> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let (key, after) = rest.split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        rest = after;
        Some((key.trim(), value.replace("\\x22", "\"").replace("\\x20", " ")))
    })
}

/// Writes what needs a tool for each device: partition tables, layouts of encrypted volumes, groups of logical volumes.
pub(super) fn write(report: &mut Report, disks: &Disks) -> Result<(), Failure> {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<String>>();
    for disk in disks.whole() {
        let file = format!("disks/partitions/{}.sfdisk", file_name(&disk.name));
        report.run_words(&file, &words(&["sfdisk", "--dump", &disk.path]), false)?;
    }
    for device in disks.encrypted() {
        // The layout only: the header with the wrapped keys stays on the disk.
        let file = format!("disks/luks/{}.txt", file_name(&device.name));
        report.run_words(&file, &words(&["cryptsetup", "luksDump", &device.path]), false)?;
    }
    if disks.has_lvm() {
        let folder = report.sub_folder("disks/lvm")?.join("%s.vg");
        let folder = folder.to_string_lossy();
        report.run_words(
            "disks/vgcfgbackup.txt",
            &words(&["vgcfgbackup", "--file", &folder]),
            false,
        )?;
    }
    Ok(())
}

/// A device's name as the name of a file.
pub(super) fn file_name(device: &str) -> String {
    device.replace('/', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_devices_is_read() {
        let text = "NAME=\"sda\" PATH=\"/dev/sda\" TYPE=\"disk\" SIZE=\"100\" FSTYPE=\"\" LABEL=\"\" UUID=\"\" MOUNTPOINT=\"\"\n\
                    NAME=\"sda1\" PATH=\"/dev/sda1\" TYPE=\"part\" SIZE=\"50\" FSTYPE=\"crypto_LUKS\" LABEL=\"a\\x22b\" UUID=\"u\"\n\
                    NAME=\"c\" PATH=\"/dev/mapper/c\" TYPE=\"crypt\" SIZE=\"50\" FSTYPE=\"ext4\" MOUNTPOINT=\"/\"\n\
                    NAME=\"c\" PATH=\"/dev/mapper/c\" TYPE=\"crypt\" SIZE=\"50\" FSTYPE=\"ext4\" MOUNTPOINT=\"/\"\n\
                    NAME=\"loop0\" PATH=\"/dev/loop0\" TYPE=\"disk\" SIZE=\"9\"\nnonsense\n";
        let disks = Disks::parse(text);
        assert_eq!(disks.devices.len(), 4);
        assert_eq!(disks.devices[1].label, "a\"b");
        let whole: Vec<&str> = disks.whole().map(|device| &*device.path).collect();
        assert_eq!(whole, ["/dev/sda"]);
        assert_eq!(disks.encrypted().count(), 1);
        assert!(!disks.has_lvm() && !disks.has_raid());
    }
}
