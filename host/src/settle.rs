//! Whether the time of an entry's last change (its ctime) tells the entry from every later change of it. A file system
//! keeps times in steps, so two changes within one step leave the same ctime. An entry that was read within the step of
//! its ctime may have changed afterwards without a trace; it has not *settled*.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::volumes::magic_of;

/// A moment: seconds since the epoch, and nanoseconds below 10⁹.
pub type Moment = (i64, u32);

/// The longest tick of a kernel's clock, in nanoseconds: 10 ms at 100 Hz.
const TICK_NS: u32 = 10_000_000;
/// The longest step of a file system that keeps whole seconds, in seconds. FAT keeps every second one.
const COARSE_STEP_S: i64 = 2;
/// How far the clock of a file server may lag behind this server's, in seconds.
const LAG_MAX_S: i64 = 24 * 60 * 60;

/// File systems whose times this kernel's clock makes, by `statfs.f_type` (`linux/magic.h` and their own sources).
const OUR_CLOCK: &[u32] = &[
    0x0000_137f, // minix
    0x0000_3434, // nilfs
    0x0000_482b, // hfsplus
    0x0000_4d44, // vfat
    0x0000_9660, // iso9660
    0x0000_ef53, // ext2, ext3, ext4
    0x0102_1994, // tmpfs
    0x1501_3346, // udf
    0x2011_bab0, // exfat
    0x2fc1_2fc1, // zfs
    0x3153_464a, // jfs
    0x5265_4973, // reiserfs
    0x5846_5342, // xfs
    0x7366_746e, // ntfs3
    0x7371_7368, // squashfs
    0x794c_7630, // overlay
    0x8584_58f6, // ramfs
    0x9123_683e, // btrfs
    0xca45_1a4e, // bcachefs
    0xe0f5_e1e2, // erofs
    0xf15f_0000, // ecryptfs
    0xf2f5_2010, // f2fs
];

/// Whether this kernel's clock makes the times on the file system behind a handle (an `O_PATH` one is enough). If not,
/// a file server's clock may make them.
///
/// # Errors
/// The system's error.
pub fn has_our_clock(handle: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(OUR_CLOCK.contains(&magic_of(handle)?))
}

/// The time now, by this server's clock.
#[must_use]
pub fn now() -> Moment {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_secs().cast_signed(), now.subsec_nanos())
}

/// Whether a change at `clock` or later, by the file system's clock, leaves another ctime than this one. A ctime
/// without nanoseconds is taken for one of a file system that keeps whole seconds.
#[must_use]
pub fn has_settled(ctime: Moment, clock: Moment) -> bool {
    let (s, ns) = ctime;
    if ns == 0 {
        return (s.saturating_add(COARSE_STEP_S), 0) <= clock;
    }
    let ns = ns.saturating_add(TICK_NS);
    let carried = ns >= 1_000_000_000;
    let over = if carried { 1_000_000_000 } else { 0 };
    (s.saturating_add(i64::from(carried)), ns - over) <= clock
}

/// The least that the clock of a file server shows at `now`, if a change at `seen` was found there. It may lag, but not
/// by more than a day.
#[must_use]
pub fn server_clock(seen: Moment, now: Moment) -> Moment {
    seen.min(now).max((now.0.saturating_sub(LAG_MAX_S), now.1))
}

/// Whether an entry that another run saw at `then` or before, with a ctime that had not settled, has settled at `now`:
/// the file system's clock has gone on since.
#[must_use]
pub fn has_settled_since(ctime: Moment, then: i64, now: Moment) -> bool {
    ctime <= now && has_settled((then, 0), now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_settles_after_a_tick_or_after_the_step_of_whole_seconds() {
        assert!(!has_settled((5, 1_000), (5, 9_000_000)));
        assert!(has_settled((5, 1_000), (5, 10_001_000)));
        assert!(!has_settled((5, 995_000_000), (6, 0)));
        assert!(has_settled((5, 995_000_000), (6, 5_000_000)));
        assert!(!has_settled((5, 0), (6, 999_999_999)));
        assert!(has_settled((5, 0), (7, 0)));
        assert!(!has_settled((i64::MAX, 0), (7, 0)));
    }

    #[test]
    fn a_server_whose_clock_lags_is_judged_by_what_it_wrote() {
        let now = (1_000_000, 5);
        assert_eq!(server_clock((999_990, 7), now), (999_990, 7));
        assert_eq!(server_clock((1_000_100, 0), now), now, "its clock is ahead");
        assert_eq!(
            server_clock((3, 0), now),
            (913_600, 5),
            "nothing was written there for long"
        );
    }

    #[test]
    fn what_was_seen_twice_has_settled_if_time_has_passed() {
        assert!(has_settled_since((90, 1), 100, (102, 0)));
        assert!(!has_settled_since((90, 1), 100, (101, 0)));
        assert!(!has_settled_since((200, 1), 100, (102, 0)), "its time is still to come");
    }
}
