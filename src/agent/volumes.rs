//! Which file systems can be backed up. A volume that cannot, or should not, is refused with the reason; a person can
//! allow it by name.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lockstone_host::boundaries::Shut;
use lockstone_host::volumes::devices::{removable, unmounted};
use lockstone_host::volumes::{Mount, mount_of, mounts};

use crate::agent::cache::rules::Storage;
use crate::failure::Failure;
use crate::text::render;

/// The file systems that are supported.
const SUPPORTED: &[&str] = &["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay"];

/// File systems whose files are on another machine.
const NETWORK: &[&str] = &[
    "afs",
    "ceph",
    "cifs",
    "coda",
    "davfs",
    "glusterfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "smb3",
    "smbfs",
];

/// File systems that a virtual machine or a container gets from its host. If the root is one, so are the others.
const OF_HOST: &[&str] = &["9p", "virtiofs", "fuse.virtiofs"];

/// Programs that show files of another machine, as file systems in user space.
const NETWORK_PROGRAMS: &[&str] = &[
    "ceph",
    "curlftpfs",
    "davfs",
    "gcsfuse",
    "glusterfs",
    "goofys",
    "rclone",
    "s3fs",
    "sshfs",
];

/// File systems that are images of something else.
const IMAGES: &[&str] = &["squashfs", "iso9660", "udf", "erofs", "cramfs", "romfs"];

/// Where the partition of the firmware is mounted. It is as much a part of the system as `/boot`.
const OF_FIRMWARE: &[&str] = &["/boot", "/boot/efi", "/boot/firmware", "/efi"];

/// A file system, and whether it can be backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    /// The folder that it is mounted on.
    pub(crate) mount: PathBuf,
    /// The device, or the word that the system has in place of one.
    pub(crate) device: String,
    pub(crate) fs: String,
    pub(crate) verdict: Verdict,
}

/// Whether a volume can be backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) eligible: bool,
    /// Why it can be backed up and how it is read, or why it cannot: in words.
    pub(crate) reason: String,
    /// It is empty after a restart.
    pub(crate) temporary: bool,
    /// A backup of what is around it leaves it out without a word.
    is_expected: bool,
}

impl Verdict {
    fn yes(reason: &str) -> Verdict {
        Verdict {
            eligible: true,
            reason: reason.to_owned(),
            temporary: false,
            is_expected: true,
        }
    }

    fn no(reason: impl Into<String>) -> Verdict {
        Verdict {
            eligible: false,
            reason: reason.into(),
            temporary: false,
            is_expected: false,
        }
    }
}

/// Decides about a mount. `all` are the mounts of the server; `removable` is why its device is removable, if it is.
fn judge(mount: &Mount, all: &[Mount], removable: Option<&str>) -> Verdict {
    let root = all.iter().rfind(|other| other.point == Path::new("/"));
    let is_root = mount.point == Path::new("/");
    let fs = mount.fs.as_str();
    let live = if fs == "btrfs" && !mount.read_only {
        "can be frozen by a snapshot"
    } else if mount.read_only {
        "read-only; read as it is"
    } else {
        "read live"
    };
    if mount.is_pseudo() {
        return Verdict {
            is_expected: true,
            ..Verdict::no("a view into the kernel: nothing there can be restored")
        };
    }
    if mount.is_memory() {
        let temporary = "temporary storage: in memory, and gone when the server restarts; read live";
        return Verdict {
            temporary: true,
            ..Verdict::yes(temporary)
        };
    }
    if is_root {
        return Verdict::yes(&format!("the root file system; {live}"));
    }
    if let Some(why) = removable {
        return Verdict::no(why);
    }
    let of_host = OF_HOST.contains(&fs);
    if of_host && root.is_some_and(|root| root.fs == fs) {
        return Verdict::yes("given by the machine's host, as the root file system is; read live");
    }
    if is_network(mount) {
        return Verdict::no(format!(
            "a network file system ({fs}): back it up on the machine that has it"
        ));
    }
    if IMAGES.contains(&fs) {
        return Verdict {
            is_expected: mount.device.starts_with("/dev/loop"),
            ..Verdict::no(format!("an image ({fs}): what is in it never changes"))
        };
    }
    let of_firmware = fs == "vfat" && OF_FIRMWARE.iter().any(|point| mount.point == Path::new(point));
    let as_root = root.is_some_and(|root| root.fs == fs);
    if !SUPPORTED.contains(&fs) && !of_firmware && !as_root {
        return Verdict::no(format!("{fs} is not one of the file systems that are supported"));
    }
    let is_writable_elsewhere =
        |other: &Mount| other.number == mount.number && (!other.read_only || other.point == Path::new("/"));
    if mount.read_only && !all.iter().any(is_writable_elsewhere) {
        return Verdict::no("read-only: what is on it does not change");
    }
    Verdict::yes(live)
}

/// Whether the files of a mount are on another machine, unless that is the host of this one.
fn is_network(mount: &Mount) -> bool {
    let fs = mount.fs.as_str();
    let program = fs.strip_prefix("fuse.").unwrap_or_default();
    let names_host = fs.starts_with("fuse.") && (mount.device.contains(":/") || mount.device.starts_with("//"));
    NETWORK.contains(&fs) || fs == "9p" || NETWORK_PROGRAMS.contains(&program) || names_host
}

/// What kind of storage a folder is on, and the number of the device. The root file system counts as fixed, whatever it
/// is: the machine does not run without it.
pub(crate) fn storage(folder: &Path) -> (Storage, Option<String>) {
    let all = mounts().unwrap_or_default();
    let Ok(Some(mount)) = mount_of(&all, folder) else {
        return (Storage::Fixed, None);
    };
    let number = number_of(mount);
    let root = all.iter().rfind(|other| other.point == Path::new("/"));
    let of_host = OF_HOST.contains(&mount.fs.as_str()) && root.is_some_and(|root| root.fs == mount.fs);
    let storage = if mount.is_memory() {
        Storage::Temporary(mount.fs.clone())
    } else if of_host || root.is_some_and(|root| root.number == mount.number) {
        Storage::Fixed
    } else if let Some(why) = removable(Path::new("/sys"), &number) {
        Storage::Removable(why.strip_prefix("removable: ").unwrap_or(why).to_owned())
    } else if is_network(mount) {
        Storage::Network(mount.fs.clone())
    } else {
        Storage::Fixed
    };
    (storage, Some(number))
}

/// The number of a mount's device. btrfs gives each mount a number of its own, which is no device's.
fn number_of(mount: &Mount) -> String {
    let device = Path::new(&mount.device);
    let node = std::fs::metadata(device).map(|stat| stat.rdev()).unwrap_or_default();
    if mount.number.starts_with("0:") && device.starts_with("/dev") && node != 0 {
        return format!("{}:{}", rustix::fs::major(node), rustix::fs::minor(node));
    }
    mount.number.clone()
}

/// The volumes of this server, in the order of their mount points, and after them those that are configured and not
/// mounted. A mount that a later one hides is left out.
pub(crate) fn list() -> io::Result<Vec<Volume>> {
    let all = mounts()?;
    let sys = Path::new("/sys");
    let describe = |mount: &Mount| Volume {
        mount: mount.point.clone(),
        device: mount.device.clone(),
        fs: mount.fs.clone(),
        verdict: judge(mount, &all, removable(sys, &mount.number)),
    };
    // Later mounts cover earlier ones at the same point.
    let mut volumes: Vec<Volume> = all.iter().rev().map(describe).collect();
    volumes.sort_by(|a, b| a.mount.cmp(&b.mount));
    volumes.dedup_by(|a, b| a.mount == b.mount);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let missing = unmounted(
        &read("/etc/fstab"),
        &read("/etc/crypttab"),
        |point| all.iter().any(|mount| mount.point == point),
        |volume| Path::new("/dev/mapper").join(volume).exists(),
    );
    volumes.extend(missing.into_iter().map(|missing| Volume {
        verdict: Verdict::no(match &missing.locked {
            Some(volume) => format!("locked: its LUKS volume {volume} is not open"),
            None => "offline: it is in /etc/fstab and not mounted".to_owned(),
        }),
        mount: missing.mount,
        device: missing.device,
        fs: missing.fs,
    }));
    Ok(volumes)
}

/// The mounts of this server, and which of them are allowed by name.
pub(crate) struct Volumes {
    /// Without `/proc`, as in a chroot, no mount is known.
    mounts: Vec<Mount>,
    allowed: Vec<PathBuf>,
}

/// What the volumes mean for one source.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The mounts below it that are left out.
    pub(crate) shut: Vec<Shut>,
    /// The mount points that only a person's word lets in.
    pub(crate) allowed: Vec<PathBuf>,
    /// It lies on temporary storage.
    pub(crate) temporary: bool,
    /// What the user should know.
    pub(crate) note: Option<String>,
}

impl Volumes {
    pub(crate) fn look(allowed: &[PathBuf]) -> Volumes {
        let trimmed = allowed.iter().map(|path| path.components().collect());
        Volumes {
            mounts: mounts().unwrap_or_default(),
            allowed: trimmed.collect(),
        }
    }

    /// Looks at the volumes of a source. Fails if the one that it begins on is not eligible.
    pub(crate) fn survey(&self, source: &Path, one_file_system: bool) -> Result<Survey, Failure> {
        let mut survey = Survey::default();
        let Ok(Some(mount)) = mount_of(&self.mounts, source) else {
            return Ok(survey);
        };
        let verdict = self.judge(mount);
        let shown = render::name(source.as_os_str().as_bytes());
        if verdict.temporary {
            survey.temporary = true;
            survey.note = Some(format!(
                "{shown} is on temporary storage ({}): it is empty after a restart",
                mount.fs
            ));
        }
        if !verdict.eligible && !mount.is_pseudo() {
            if !self.is_allowed(&mount.point) {
                let point = render::name(mount.point.as_os_str().as_bytes());
                return Err(Failure::failed(
                    "volume-not-eligible",
                    format!(
                        "{shown} is on the volume {point}, which is not eligible: {}",
                        verdict.reason
                    ),
                    format!("`--allow-volume {point}` backs it up all the same; `lockstone volumes` lists all"),
                ));
            }
            survey.allowed.push(mount.point.clone());
        }
        if one_file_system {
            return Ok(survey);
        }
        let own = mount.id;
        for (at, mount) in self.mounts.iter().enumerate() {
            let is_below = mount.id != own && mount.point != source && mount.point.starts_with(source);
            // A later mount on the same folder hides this one.
            let is_hidden = || self.mounts[at + 1..].iter().any(|later| later.point == mount.point);
            if !is_below || is_hidden() {
                continue;
            }
            let verdict = self.judge(mount);
            if verdict.eligible || mount.is_pseudo() {
                continue;
            }
            if self.is_allowed(&mount.point) {
                survey.allowed.push(mount.point.clone());
                continue;
            }
            let point = render::name(mount.point.as_os_str().as_bytes());
            survey.shut.push(Shut {
                mount: mount.point.clone(),
                complaint: (!verdict.is_expected).then(|| {
                    format!(
                        "the volume is left out: {}; `--allow-volume {point}` takes it, an exclude pattern leaves it out \
                         without this warning",
                        verdict.reason
                    )
                }),
            });
        }
        Ok(survey)
    }

    fn judge(&self, mount: &Mount) -> Verdict {
        judge(mount, &self.mounts, removable(Path::new("/sys"), &mount.number))
    }

    fn is_allowed(&self, mount: &Path) -> bool {
        self.allowed.iter().any(|allowed| allowed == mount)
    }
}

/// Whether a path lies on temporary storage. A path that is not there yet lies where the folder above it does.
pub(crate) fn is_temporary(path: &Path) -> bool {
    let Ok(mounts) = mounts() else { return false };
    let there = path.ancestors().find_map(|path| path.canonicalize().ok());
    let mount = there.and_then(|path| mount_of(&mounts, &path).ok().flatten());
    mount.is_some_and(Mount::is_memory)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn mount(point: &str, fs: &str, device: &str, number: &str, read_only: bool) -> Mount {
        Mount {
            id: 1,
            number: number.to_owned(),
            root: "/".into(),
            point: point.into(),
            fs: fs.to_owned(),
            device: device.to_owned(),
            read_only,
        }
    }

    /// Whether each of these is eligible on a server with this root, and why.
    fn decided(root: &Mount, mounts: &[Mount], removable: Option<&str>) -> Vec<Verdict> {
        let mut all = vec![root.clone()];
        all.extend_from_slice(mounts);
        mounts.iter().map(|mount| judge(mount, &all, removable)).collect()
    }

    #[test]
    fn each_kind_of_volume_is_told_apart() {
        let root = mount("/", "ext4", "/dev/sda1", "8:1", false);
        let of = |point: &str, fs: &str, device: &str| {
            decided(&root, &[mount(point, fs, device, "8:9", false)], None).remove(0)
        };
        for fs in ["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay"] {
            assert!(of("/srv", fs, "/dev/sdb").eligible, "{fs}");
        }
        assert!(of("/dev/shm", "tmpfs", "tmpfs").temporary);
        assert!(of("/boot/efi", "vfat", "/dev/sda2").eligible);
        for (fs, device, why) in [
            ("proc", "proc", "view into the kernel"),
            ("nfs4", "nas:/x", "network"),
            ("cifs", "//nas/x", "network"),
            ("9p", "share", "network"),
            ("fuse.sshfs", "me@nas:/x", "network"),
            ("fuse.odd", "nas:/x", "network"),
            ("fuse.ntfs-3g", "/dev/sdb1", "not one of the file systems"),
            ("virtiofs", "share", "not one of the file systems"),
            ("vfat", "/dev/sdb1", "not one of the file systems"),
            ("squashfs", "/dev/loop0", "image"),
        ] {
            let verdict = of("/srv", fs, device);
            assert!(!verdict.eligible && verdict.reason.contains(why), "{fs}: {verdict:?}");
        }
        assert!(of("/snap/x", "squashfs", "/dev/loop0").is_expected);
        assert!(!of("/mnt", "squashfs", "/dev/sr0").is_expected);
        let usb = decided(
            &root,
            &[mount("/mnt", "ext4", "/dev/sdb1", "8:17", false)],
            Some("removable: x"),
        );
        assert!(!usb[0].eligible && usb[0].reason.starts_with("removable"));
    }

    #[test]
    fn the_root_is_eligible_whatever_it_is_and_so_is_what_its_host_gives() {
        for fs in ["9p", "virtiofs", "overlay", "nfs4", "erofs"] {
            let root = mount("/", fs, "root", "0:20", fs == "erofs");
            let all = [root.clone()];
            assert!(judge(&root, &all, Some("removable")).eligible, "{fs}");
        }
        let root = mount("/", "9p", "root", "0:20", false);
        assert!(decided(&root, &[mount("/tmp", "9p", "tmp", "0:21", false)], None)[0].eligible);
        let root = mount("/", "nfs4", "nas:/root", "0:20", false);
        assert!(!decided(&root, &[mount("/home", "nfs4", "nas:/home", "0:21", false)], None)[0].eligible);
    }

    #[test]
    fn a_read_only_volume_is_refused_unless_it_is_another_view_of_a_writable_one() {
        let root = mount("/", "ext4", "/dev/sda1", "8:1", false);
        let alone = mount("/srv", "ext4", "/dev/sdb", "8:16", true);
        let bound = mount("/usr", "ext4", "/dev/sda1", "8:1", true);
        let twice = [alone.clone(), mount("/rw", "ext4", "/dev/sdb", "8:16", false)];
        assert!(!decided(&root, std::slice::from_ref(&alone), None)[0].eligible);
        assert!(decided(&root, &[bound], None)[0].eligible);
        assert!(decided(&root, &twice, None)[0].eligible);
    }

    #[test]
    fn a_source_is_refused_or_loses_what_is_not_eligible_below_it() {
        let lists = |allowed: &[&str]| Volumes {
            mounts: vec![
                mount("/", "ext4", "/dev/sda1", "8:1", false),
                Mount {
                    id: 0,
                    ..mount("/no such/nfs", "nfs4", "nas:/x", "0:9", false)
                },
            ],
            allowed: allowed.iter().map(PathBuf::from).collect(),
        };
        let mut known = lists(&[]);
        // The kernel tells the number of the mount; take that of this machine's root.
        known.mounts[0].id = mounts()
            .unwrap()
            .iter()
            .rfind(|mount| mount.point == Path::new("/"))
            .unwrap()
            .id;
        let survey = known.survey(Path::new("/"), false).unwrap();
        assert_eq!(survey.shut.len(), 1);
        assert!(survey.shut[0].complaint.as_ref().unwrap().contains("network"));
        assert!(known.survey(Path::new("/"), true).unwrap().shut.is_empty());
        known.allowed = vec!["/no such/nfs".into()];
        let survey = known.survey(Path::new("/"), false).unwrap();
        assert_eq!((survey.shut.len(), survey.allowed.len()), (0, 1));
        known.mounts[0].fs = "vfat".to_owned();
        known.mounts[0].point = "/mnt".into();
        let failure = known.survey(Path::new("/"), false).unwrap_err();
        assert!(
            failure.message.contains("/mnt") && failure.hint.contains("--allow-volume /mnt"),
            "{failure}"
        );
        known.allowed = vec!["/mnt".into()];
        assert_eq!(
            known.survey(Path::new("/"), false).unwrap().allowed,
            [PathBuf::from("/mnt")]
        );
    }

    #[test]
    fn this_machine_has_a_root_and_a_proc() {
        let volumes = list().unwrap();
        assert!(volumes.iter().any(|v| v.mount == Path::new("/") && v.verdict.eligible));
        assert!(
            volumes
                .iter()
                .any(|v| v.mount == Path::new("/proc") && !v.verdict.eligible)
        );
    }
}
