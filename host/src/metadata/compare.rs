//! Whether an existing entry has the attributes that a restore would give it. What this process or the file system
//! could not set anyway is no difference: otherwise each further restore would find it again.

use bytes::Bytes;
use lockstone_proto::limits::KEPT_INODE_FLAGS;
use lockstone_proto::vault::{Entry, EntryKind};

use super::apply::{mode_without_acl, owner_of};
use super::{ACL_ACCESS, ACL_DEFAULT, ApplyOptions, CAPABILITY, OwnerNames, PROTECTING_FLAGS};
use crate::process::is_root;

/// Whether two entries of the same kind have the same attributes. `wanted` is what a restore would set, and `there` was
/// captured from what exists. Content is not compared, except for the target of a link and the number of a device.
#[must_use]
pub fn same_attributes(wanted: &Entry, there: &Entry, options: &ApplyOptions, names: &OwnerNames) -> bool {
    let is_device = matches!(wanted.kind(), EntryKind::CharDevice | EntryKind::BlockDevice);
    let device = |entry: &Entry| (entry.rdev_major, entry.rdev_minor);
    wanted.kind == there.kind
        && wanted.link_target == there.link_target
        && (!is_device || device(wanted) == device(there))
        && same_owner_and_mode(wanted, there, options, names)
        && same_time((wanted.mtime_s, wanted.mtime_ns), (there.mtime_s, there.mtime_ns))
        && same_xattrs(wanted, there, options)
        && same_flags(wanted, there)
}

fn same_owner_and_mode(wanted: &Entry, there: &Entry, options: &ApplyOptions, names: &OwnerNames) -> bool {
    let owner = owner_of(wanted, options, names);
    // Without root, a file that a restore writes belongs to this user.
    let is_as_owned = owner == (there.uid, there.gid);
    let may_not_own = !is_root() && there.uid == rustix::process::geteuid().as_raw() && owner.0 != there.uid;
    if !is_as_owned && !may_not_own {
        return false;
    }
    let mut mode = if options.acls {
        wanted.mode
    } else {
        mode_without_acl(wanted)
    } & 0o7777;
    if !is_as_owned {
        mode &= !0o6000;
    }
    wanted.kind() == EntryKind::Symlink || mode == there.mode & 0o7777
}

/// Whether `there` is the time `wanted`, (seconds, nanoseconds), as a file system keeps it that cuts off what it has no
/// room for.
#[must_use]
pub fn same_time(wanted: (i64, u32), there: (i64, u32)) -> bool {
    /// The last seconds that file systems keep: with 32 bits (signed and unsigned), and with the 34 bits of ext4.
    const LAST: [i64; 3] = [i32::MAX as i64, u32::MAX as i64, 0x3_7fff_ffff];
    let (s, ns) = wanted;
    let units = [1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000];
    let is_cut = s == there.0 && units.iter().any(|unit| ns - ns % unit == there.1);
    // FAT keeps even seconds only.
    let is_even = there.1 == 0 && there.0 % 2 == 0 && s.abs_diff(there.0) < 2;
    let is_late = s > there.0 && LAST.contains(&there.0);
    let is_early = s < there.0 && [i64::from(i32::MIN), 0].contains(&there.0);
    is_cut || is_even || is_late || is_early
}

fn same_xattrs(wanted: &Entry, there: &Entry, options: &ApplyOptions) -> bool {
    let value_in = |entry: &Entry, name: &Bytes| -> Option<Bytes> {
        let found = entry.xattrs.iter().find(|xattr| xattr.name == *name);
        found.map(|xattr| xattr.value.clone())
    };
    let is_acl = |name: &[u8]| name == ACL_ACCESS || name == ACL_DEFAULT;
    let counts = |name: &[u8]| match name {
        _ if is_acl(name) => options.acls,
        _ if name == CAPABILITY || name.starts_with(b"trusted.") => is_root(),
        _ => name.starts_with(b"user."),
    };
    let has_all = wanted
        .xattrs
        .iter()
        .filter(|xattr| counts(&xattr.name))
        .all(|xattr| value_in(there, &xattr.name).as_ref() == Some(&xattr.value));
    // A restore removes others, except trusted ones: they belong to this machine.
    let has_no_others = there
        .xattrs
        .iter()
        .filter(|xattr| counts(&xattr.name) && !xattr.name.starts_with(b"trusted."))
        .all(|xattr| value_in(wanted, &xattr.name).is_some());
    has_all && has_no_others
}

fn same_flags(wanted: &Entry, there: &Entry) -> bool {
    let mask = if is_root() {
        KEPT_INODE_FLAGS
    } else {
        KEPT_INODE_FLAGS & !PROTECTING_FLAGS
    };
    wanted.flags & mask == there.flags & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_was_cut_off_is_the_same_time() {
        for (wanted, there) in [
            ((10, 123_456_789), (10, 123_456_789)),
            ((10, 123_456_789), (10, 0)),
            ((10, 123_456_789), (10, 123_456_700)),
            ((11, 5), (10, 0)),
            ((4_102_444_800, 0), (i64::from(i32::MAX), 0)),
            ((-2_524_521_600, 0), (i64::from(i32::MIN), 0)),
        ] {
            assert!(same_time(wanted, there), "{wanted:?} {there:?}");
        }
        for (wanted, there) in [
            ((10, 123_456_789), (10, 123_456_788)),
            ((10, 0), (12, 0)),
            ((10, 0), (10, 1)),
            ((9, 0), (11, 0)),
        ] {
            assert!(!same_time(wanted, there), "{wanted:?} {there:?}");
        }
    }
}
