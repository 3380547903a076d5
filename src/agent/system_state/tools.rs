//! The tools that describe the system, and the file that each fills.

/// A tool and its file.
pub(super) struct Tool {
    /// The file in the folder of the system state.
    pub(super) file: &'static str,
    pub(super) command: &'static [&'static str],
    /// It may take minutes.
    pub(super) is_slow: bool,
}

const fn tool(file: &'static str, command: &'static [&'static str]) -> Tool {
    Tool {
        file,
        command,
        is_slow: false,
    }
}

/// The columns of [`super::disks`].
const LSBLK: &str = "NAME,PATH,PKNAME,TYPE,SIZE,FSTYPE,LABEL,UUID,PARTUUID,MOUNTPOINT,RO,RM,MODEL,SERIAL";

pub(super) const TOOLS: &[Tool] = &[
    // What the disks are made of.
    tool(super::disks::LIST, &["lsblk", "--pairs", "--bytes", "--output", LSBLK]),
    tool("disks/lsblk.txt", &["lsblk", "--fs"]),
    tool("disks/blkid.txt", &["blkid"]),
    tool("disks/swap.txt", &["swapon", "--show"]),
    tool("disks/mdadm.conf", &["mdadm", "--detail", "--scan"]),
    tool("disks/pvs.txt", &["pvs", "--all", "--units", "b"]),
    tool("disks/vgs.txt", &["vgs", "--units", "b"]),
    tool(
        "disks/lvs.txt",
        &["lvs", "--all", "--units", "b", "--options", "+devices"],
    ),
    tool("disks/btrfs.txt", &["btrfs", "filesystem", "show"]),
    tool("disks/zpool.txt", &["zpool", "status"]),
    tool("disks/zpool-properties.txt", &["zpool", "get", "all"]),
    tool("disks/zfs.txt", &["zfs", "get", "-s", "local", "all"]),
    // How it starts.
    tool("boot/efibootmgr.txt", &["efibootmgr", "--verbose"]),
    tool("boot/bootctl.txt", &["bootctl", "status", "--no-pager"]),
    // What is installed.
    tool(
        "packages/dpkg.txt",
        &[
            "dpkg-query",
            "--show",
            "--showformat=${Package}\\t${Version}\\t${Architecture}\\t${Status}\\n",
        ],
    ),
    tool("packages/selections.txt", &["dpkg", "--get-selections"]),
    tool("packages/holds.txt", &["apt-mark", "showhold"]),
    tool("packages/manual.txt", &["apt-mark", "showmanual"]),
    tool(
        "packages/rpm.txt",
        &[
            "rpm",
            "--query",
            "--all",
            "--queryformat",
            "%{NAME}\\t%{EVR}\\t%{ARCH}\\n",
        ],
    ),
    tool("packages/rpm-keys.txt", &["rpm", "--query", "--info", "gpg-pubkey"]),
    tool(
        "packages/dnf-repositories.txt",
        &["dnf", "--cacheonly", "repolist", "--verbose"],
    ),
    tool("packages/dnf-holds.txt", &["dnf", "--cacheonly", "versionlock", "list"]),
    tool("packages/snap.txt", &["snap", "list"]),
    tool("packages/flatpak.txt", &["flatpak", "list"]),
    // What runs.
    tool(
        "services/enabled.txt",
        &[
            "systemctl",
            "list-unit-files",
            "--state=enabled,masked",
            "--no-legend",
            "--no-pager",
        ],
    ),
    tool(
        "services/timers.txt",
        &["systemctl", "list-timers", "--all", "--no-pager"],
    ),
    tool(
        "services/failed.txt",
        &["systemctl", "list-units", "--failed", "--no-legend", "--no-pager"],
    ),
    // Who is known.
    tool("users/passwd.txt", &["getent", "passwd"]),
    tool("users/group.txt", &["getent", "group"]),
    // How it is reached.
    tool("network/addresses.txt", &["ip", "-details", "address"]),
    tool("network/routes.txt", &["ip", "route", "show", "table", "all"]),
    tool("network/routes6.txt", &["ip", "-6", "route", "show", "table", "all"]),
    tool("network/rules.txt", &["ip", "rule"]),
    tool("network/nftables.txt", &["nft", "list", "ruleset"]),
    tool("network/iptables.txt", &["iptables-save"]),
    tool(
        "network/sockets.txt",
        &["ss", "--listening", "--tcp", "--udp", "--numeric"],
    ),
    // How the kernel is set up.
    tool("kernel/uname.txt", &["uname", "-a"]),
    tool("kernel/sysctl.txt", &["sysctl", "--all", "--ignore"]),
];

/// Checks of what the packages installed. They give way to everything else.
pub(super) const PACKAGE_CHECKS: &[Tool] = &[
    Tool {
        file: "packages/dpkg-verify.txt",
        command: &["nice", "-n", "19", "dpkg", "--verify"],
        is_slow: true,
    },
    Tool {
        file: "packages/rpm-verify.txt",
        command: &["nice", "-n", "19", "rpm", "--verify", "--all"],
        is_slow: true,
    },
];
