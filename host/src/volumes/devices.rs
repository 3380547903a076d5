//! What is known about the devices behind file systems: whether they are removable, by `sysfs`, and which of those that
//! are configured are not mounted, by `/etc/fstab` and `/etc/crypttab`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How deep devices may lie on devices: a file system on LVM on LUKS on RAID on a disk.
const MAX_DEPTH: usize = 8;

/// Why the device with this number (`8:1`) is removable; `None` if it is not, or if that is not known. `sys` is where
/// `sysfs` is mounted.
#[must_use]
pub fn removable(sys: &Path, number: &str) -> Option<&'static str> {
    let device = sys.join("dev/block").join(number).canonicalize().ok()?;
    removable_device(&device, MAX_DEPTH)
}

fn removable_device(device: &Path, depth: usize) -> Option<&'static str> {
    let depth = depth.checked_sub(1)?;
    let is_usb = |part: &std::ffi::OsStr| {
        let number = part.to_str().and_then(|part| part.strip_prefix("usb"));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if device.iter().any(is_usb) {
        return Some("removable: it is connected by USB");
    }
    // A partition lies in the folder of its disk.
    let says_so = |folder: &Path| std::fs::read(folder.join("removable")).is_ok_and(|text| text.starts_with(b"1"));
    if says_so(device) || (device.join("partition").exists() && device.parent().is_some_and(says_so)) {
        return Some("removable: its device says so");
    }
    let below = std::fs::read_dir(device.join("slaves")).ok()?;
    below
        .filter_map(|below| below.ok()?.path().canonicalize().ok())
        .find_map(|below| removable_device(&below, depth))
}

/// The sparse file that the device with this number lies in, through a loop device; `None` if there is none, or if that
/// is not known.
#[must_use]
pub fn sparse_file(sys: &Path, number: &str) -> Option<PathBuf> {
    find_below(sys, number, &|device| {
        let text = std::fs::read(device.join("loop/backing_file")).ok()?;
        let file = PathBuf::from(OsString::from_vec(text.trim_ascii_end().to_vec()));
        let stat = std::fs::metadata(&file).ok()?;
        let is_sparse = stat.is_file() && stat.blocks().saturating_mul(512) < stat.len();
        is_sparse.then_some(file)
    })
}

/// Whether the device with this number is known to store equal blocks once (VDO, alone or as a part of LVM).
#[must_use]
pub fn deduplicates(sys: &Path, number: &str) -> bool {
    let found = find_below(sys, number, &|device| {
        let uuid = std::fs::read_to_string(device.join("dm/uuid")).ok()?;
        let uuid = uuid.trim_end();
        (uuid.starts_with("VDO-") || uuid.ends_with("-vpool")).then_some(())
    });
    found.is_some()
}

/// Asks the device with this number, the disk that it is a part of, and the devices that it lies on. Returns the first
/// answer.
fn find_below<T>(sys: &Path, number: &str, ask: &dyn Fn(&Path) -> Option<T>) -> Option<T> {
    let device = sys.join("dev/block").join(number).canonicalize().ok()?;
    find_in(&device, MAX_DEPTH, ask)
}

fn find_in<T>(device: &Path, depth: usize, ask: &dyn Fn(&Path) -> Option<T>) -> Option<T> {
    let depth = depth.checked_sub(1)?;
    // A partition lies in the folder of its disk.
    let disk = device.parent().filter(|_| device.join("partition").exists());
    if let Some(answer) = ask(device).or_else(|| find_in(disk?, depth, ask)) {
        return Some(answer);
    }
    let below = std::fs::read_dir(device.join("slaves")).ok()?;
    below
        .filter_map(|below| below.ok()?.path().canonicalize().ok())
        .find_map(|below| find_in(&below, depth, ask))
}

/// A file system that is configured and not mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmounted {
    /// Where it would be mounted.
    pub mount: PathBuf,
    /// Its device as `/etc/fstab` names it.
    pub device: String,
    /// Its type by `/etc/fstab`.
    pub fs: String,
    /// The name of its LUKS volume, if that is not open.
    pub locked: Option<String>,
}

/// The file systems of `fstab` that are not mounted. `is_mounted` and `is_open` say what is there: a mount point, and a
/// volume in `/dev/mapper`.
#[must_use]
pub fn unmounted(
    fstab: &str,
    crypttab: &str,
    is_mounted: impl Fn(&Path) -> bool,
    is_open: impl Fn(&str) -> bool,
) -> Vec<Unmounted> {
    let encrypted: Vec<&str> = lines(crypttab).filter_map(|mut fields| fields.next()).collect();
    let mut found = Vec::new();
    for mut fields in lines(fstab) {
        let (Some(device), Some(mount), Some(fs)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let mount = PathBuf::from(unescape(mount));
        if !mount.is_absolute() || is_mounted(&mount) {
            continue;
        }
        let device = unescape(device);
        let volume = device.strip_prefix("/dev/mapper/");
        let locked = volume.filter(|volume| encrypted.contains(volume) && !is_open(volume));
        found.push(Unmounted {
            locked: locked.map(str::to_owned),
            mount,
            fs: fs.to_owned(),
            device,
        });
    }
    found
}

fn lines(text: &str) -> impl Iterator<Item = std::str::SplitWhitespace<'_>> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::split_whitespace)
}

/// `fstab` writes a space as `\040`, as the kernel does.
fn unescape(field: &str) -> String {
    String::from_utf8_lossy(&super::unescape(field.as_bytes())).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A `sysfs` with these devices: the number, the folder, what `removable` says, and what it lies on.
    fn sys(devices: &[(&str, &str, &str, &[&str])]) -> tempfile::TempDir {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir_all(top.path().join("dev/block")).unwrap();
        for (number, folder, removable, below) in devices {
            let folder = top.path().join("devices").join(folder);
            fs::create_dir_all(folder.join("slaves")).unwrap();
            if !removable.is_empty() {
                fs::write(folder.join("removable"), removable).unwrap();
            }
            for (at, below) in below.iter().enumerate() {
                symlink(
                    top.path().join("devices").join(below),
                    folder.join(format!("slaves/{at}")),
                )
                .unwrap();
            }
            symlink(&folder, top.path().join("dev/block").join(number)).unwrap();
        }
        top
    }

    #[test]
    fn a_device_is_removable_if_it_or_what_it_lies_on_is() {
        let sys = sys(&[
            ("8:0", "pci0000:00/ata1/block/sda", "0\n", &[]),
            ("8:16", "pci0000:00/usb2/2-1/host6/block/sdb", "0\n", &[]),
            ("8:17", "pci0000:00/usb2/2-1/host6/block/sdb/sdb1", "", &[]),
            ("8:32", "pci0000:00/ata2/block/sdc", "1\n", &[]),
            ("8:33", "pci0000:00/ata2/block/sdc/sdc1", "", &[]),
            ("253:0", "virtual/block/dm-0", "0\n", &["pci0000:00/ata1/block/sda"]),
            (
                "253:1",
                "virtual/block/dm-1",
                "0\n",
                &["pci0000:00/usb2/2-1/host6/block/sdb/sdb1"],
            ),
            ("253:2", "virtual/block/dm-2", "0\n", &["virtual/block/dm-1"]),
            ("253:3", "virtual/block/dm-3", "0\n", &["virtual/block/dm-3"]),
            ("7:0", "usbcore/block/loop0", "0\n", &[]),
        ]);
        fs::write(sys.path().join("devices/pci0000:00/ata2/block/sdc/sdc1/partition"), "1").unwrap();
        let why = |number| removable(sys.path(), number);
        for fixed in ["8:0", "253:0", "253:3", "7:0", "9:9", "0:5"] {
            assert_eq!(why(fixed), None, "{fixed}");
        }
        for usb in ["8:16", "8:17", "253:1", "253:2"] {
            assert!(why(usb).unwrap().contains("USB"), "{usb}");
        }
        for removable in ["8:32", "8:33"] {
            assert!(why(removable).unwrap().contains("device says so"), "{removable}");
        }
    }

    #[test]
    fn a_sparse_file_and_a_device_that_deduplicates_are_found_below_others() {
        let sys = sys(&[
            ("7:0", "virtual/block/loop0", "0\n", &[]),
            ("259:0", "virtual/block/loop0/loop0p1", "", &[]),
            ("253:0", "virtual/block/dm-0", "0\n", &["virtual/block/loop0/loop0p1"]),
            ("253:1", "virtual/block/dm-1", "0\n", &["virtual/block/dm-0"]),
            ("7:1", "virtual/block/loop1", "0\n", &[]),
        ]);
        let at = |name: &str| sys.path().join("devices/virtual/block").join(name);
        let (sparse, full) = (sys.path().join("sparse"), sys.path().join("full"));
        fs::File::create(&sparse).unwrap().set_len(1 << 20).unwrap();
        fs::write(&full, vec![1; 1 << 16]).unwrap();
        for (device, file) in [("loop0", &sparse), ("loop1", &full)] {
            fs::create_dir(at(device).join("loop")).unwrap();
            fs::write(at(device).join("loop/backing_file"), format!("{}\n", file.display())).unwrap();
        }
        fs::write(at("loop0/loop0p1").join("partition"), "1").unwrap();
        fs::create_dir(at("dm-0").join("dm")).unwrap();
        fs::write(at("dm-0").join("dm/uuid"), "VDO-1234\n").unwrap();
        for number in ["7:0", "259:0", "253:0", "253:1"] {
            assert_eq!(sparse_file(sys.path(), number).as_ref(), Some(&sparse), "{number}");
            assert_eq!(deduplicates(sys.path(), number), number.starts_with("253"), "{number}");
        }
        for number in ["7:1", "9:9"] {
            assert_eq!(sparse_file(sys.path(), number), None, "{number}");
            assert!(!deduplicates(sys.path(), number));
        }
    }

    #[test]
    fn what_is_configured_and_not_mounted_is_found() {
        let fstab = "# comment\nUUID=1 / ext4 defaults 0 1\n/dev/mapper/secret /srv/a\\040b xfs noauto 0 0\n\
                     /dev/mapper/vg-data /data ext4 x 0 0\nUUID=2 none swap sw 0 0\nserver:/x /mnt nfs\nbroken\n";
        let found = unmounted(
            fstab,
            "secret UUID=9 none luks\n",
            |mount| mount == Path::new("/"),
            |_| false,
        );
        let found: Vec<(&str, &str, Option<&str>)> = found
            .iter()
            .map(|one| (one.mount.to_str().unwrap(), &*one.fs, one.locked.as_deref()))
            .collect();
        assert_eq!(
            found,
            [
                ("/srv/a b", "xfs", Some("secret")),
                ("/data", "ext4", None),
                ("/mnt", "nfs", None)
            ]
        );
    }
}
