//! `RESTORE.md`: how to set the machine up again, in its own values.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::disks::{Device, Disks, file_name};
use crate::text::render;

/// The text. What is not known of the machine is left out.
pub(super) fn text(disks: &Disks) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, disks);
    text
}

fn write(text: &mut String, disks: &Disks) -> std::fmt::Result {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let host = read("/proc/sys/kernel/hostname");
    let release = read("/usr/lib/os-release");
    let system = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or("Linux")
        .trim_matches('"');
    writeln!(text, "# How to set {host} up again\n")?;
    writeln!(
        text,
        "{system}, kernel {}, {}.\n",
        read("/proc/sys/kernel/osrelease"),
        std::env::consts::ARCH
    )?;
    text.push_str(
        "These files describe the machine as it was when the backup was made. They are for reading, and never apply \
         themselves.\nThe commands below erase disks: check each name against the new machine before you run it. \
         `NOTES.txt` says what could\nnot be found out.\n\n",
    );
    text.push_str("1. Start a rescue system of the same architecture, and put `lockstone` on it.\n");
    write_disks(text, disks)?;
    write_file_systems(text, disks)?;
    text.push_str(
        "6. Mount them below `/mnt` as `/mnt/etc/fstab` will have it (`disks/mountinfo.txt`), and restore:\n\n   ```\n   \
         lockstone restore latest --target /mnt --credentials FILE --source-server NAME\n   ```\n\n   The folders `/mnt/system \
         state`, `/mnt/commands` and `/mnt/stdin` are not part of the system.\n",
    );
    let efi = Path::new("/sys/firmware/efi").exists();
    let how = if efi {
        "by UEFI (`boot/efibootmgr.txt`)"
    } else {
        "by BIOS"
    };
    writeln!(
        text,
        "7. The machine started {how}, with the kernel's command line\n\n   ```\n   {}\n   ```\n",
        read("/proc/cmdline")
    )?;
    write_boot_loader(text, disks, efi)?;
    write_packages(text)?;
    text.push_str(
        "9. Compare what runs: `services/enabled.txt`, `users/passwd.txt`, `users/crontabs/`, `network/addresses.txt`, \
         `network/routes.txt`,\n   `kernel/sysctl.txt`. Their settings are in `/etc`, which was restored.\n\
         10. If the old machine still runs, give the new one its own `/etc/machine-id` and addresses.\n",
    );
    Ok(())
}

fn write_disks(text: &mut String, disks: &Disks) -> std::fmt::Result {
    text.push_str("2. Give the disks their partitions (`disks/partitions/`):\n\n   ```\n");
    for disk in disks.whole() {
        let size = render::bytes(disk.size);
        writeln!(
            text,
            "   sfdisk {} < 'disks/partitions/{}.sfdisk'    # {size}",
            disk.path,
            file_name(&disk.name)
        )?;
    }
    text.push_str("   ```\n\n");
    if disks.has_raid() {
        text.push_str(
            "3. Make the RAIDs as `disks/mdadm.conf` and `disks/mdstat.txt` describe them (`mdadm --create`).\n",
        );
    } else {
        text.push_str("3. There was no software RAID.\n");
    }
    if disks.encrypted().next().is_some() {
        text.push_str(
            "4. Make the encrypted volumes anew. Their keys are not in this backup, so they get new ones:\n\n   ```\n",
        );
        for device in disks.encrypted() {
            let Device { path, uuid, .. } = device;
            let file = file_name(&device.name);
            writeln!(
                text,
                "   cryptsetup luksFormat --uuid {uuid} {path}    # layout: disks/luks/{file}.txt"
            )?;
        }
        text.push_str("   ```\n\n");
    } else {
        text.push_str("4. There was no encrypted volume.\n");
    }
    if disks.has_lvm() {
        text.push_str(
            "   Make the physical volumes with their old UUIDs (`pvcreate --uuid … --restorefile disks/lvm/GROUP.vg DEVICE`), \
             then the\n   groups (`vgcfgrestore --file disks/lvm/GROUP.vg GROUP`).\n",
        );
    }
    Ok(())
}

fn write_file_systems(text: &mut String, disks: &Disks) -> std::fmt::Result {
    let is_known = |device: &Device| !device.fs.is_empty();
    if !disks.devices.iter().any(is_known) {
        text.push_str("5. Make the file systems that `disks/mountinfo.txt` and `disks/blkid.txt` name.\n");
        return Ok(());
    }
    text.push_str("5. Make the file systems with their old names:\n\n   ```\n");
    for device in &disks.devices {
        let Device { path, uuid, mount, .. } = device;
        let label = |option: &str| {
            let label = &device.label;
            if label.is_empty() {
                String::new()
            } else {
                format!(" {option} '{label}'")
            }
        };
        let command = match device.fs.as_str() {
            fs @ ("ext2" | "ext3" | "ext4") => format!("mkfs.{fs} -U {uuid}{} {path}", label("-L")),
            "xfs" => format!("mkfs.xfs -m uuid={uuid}{} {path}", label("-L")),
            "btrfs" => format!("mkfs.btrfs -U {uuid}{} {path}", label("-L")),
            "f2fs" => format!("mkfs.f2fs -U {uuid}{} {path}", label("-l")),
            "vfat" => format!("mkfs.vfat -i {}{} {path}", uuid.replace('-', ""), label("-n")),
            "swap" => format!("mkswap -U {uuid}{} {path}", label("-L")),
            _ => continue,
        };
        let place = if mount.is_empty() {
            String::new()
        } else {
            format!("    # was mounted on {mount}")
        };
        writeln!(text, "   {command}{place}")?;
    }
    text.push_str("   ```\n\n");
    Ok(())
}

fn write_boot_loader(text: &mut String, disks: &Disks, efi: bool) -> std::fmt::Result {
    let disk = disks.whole().next().map_or("DISK", |disk| disk.path.as_str());
    let install = if Path::new("/usr/sbin/grub2-install").exists() {
        "grub2-install"
    } else {
        "grub-install"
    };
    text.push_str("   Put the boot loader back from within the restored system:\n\n   ```\n");
    text.push_str("   for d in dev proc sys run; do mount --rbind /$d /mnt/$d; done\n   chroot /mnt\n");
    if efi {
        writeln!(text, "   {install} --target={}-efi", std::env::consts::ARCH)?;
    } else {
        writeln!(text, "   {install} {disk}")?;
    }
    let update = if install == "grub-install" {
        "update-initramfs -u -k all && update-grub"
    } else {
        "dracut --regenerate-all --force && grub2-mkconfig -o /boot/grub2/grub.cfg"
    };
    writeln!(text, "   {update}\n   ```\n")
}

fn write_packages(text: &mut String) -> std::fmt::Result {
    let how = if Path::new("/var/lib/dpkg/status").exists() {
        "`dpkg --set-selections < packages/selections.txt && apt-get dselect-upgrade`, then `apt-mark manual $(cat \
         packages/manual.txt)`"
    } else {
        "`dnf install $(cut -f1 packages/rpm.txt)`"
    };
    writeln!(
        text,
        "8. If only the state of the system was backed up, or to start from a fresh installation: the packages by {how}.\n   \
         Their sources are in `/etc`, their keys also in `packages/`. What differed from the packages is in \
         `packages/*-verify.txt`."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instructions_have_the_values_of_the_machine() {
        let device = |name: &str, kind: &str, fs: &str, mount: &str| Device {
            name: name.to_owned(),
            path: format!("/dev/{name}"),
            kind: kind.to_owned(),
            size: 1 << 30,
            fs: fs.to_owned(),
            label: if fs == "ext4" { "root".to_owned() } else { String::new() },
            uuid: "1234-ABCD".to_owned(),
            mount: mount.to_owned(),
        };
        let disks = Disks {
            devices: vec![
                device("sda", "disk", "", ""),
                device("sda1", "part", "vfat", "/boot/efi"),
                device("sda2", "part", "crypto_LUKS", ""),
                device("sda3", "part", "LVM2_member", ""),
                device("root", "lvm", "ext4", "/"),
            ],
        };
        let text = text(&disks);
        for said in [
            "sfdisk /dev/sda < 'disks/partitions/sda.sfdisk'    # 1.00 GiB",
            "cryptsetup luksFormat --uuid 1234-ABCD /dev/sda2",
            "vgcfgrestore",
            "mkfs.ext4 -U 1234-ABCD -L 'root' /dev/root    # was mounted on /",
            "mkfs.vfat -i 1234ABCD /dev/sda1",
            "There was no software RAID",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        // It is also good where nothing is known of the disks.
        assert!(super::text(&Disks::default()).contains("lockstone restore"));
    }
}
