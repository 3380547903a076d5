//! The system calls that `rustix` does not wrap: owner names by the C library, the `ioctl`s of btrfs
//! (`linux/btrfs.h`), I/O priorities (`linux/ioprio.h`), the settings of a terminal and of the allocator. All callers
//! are in this crate, and this is the only file of the project with `unsafe`.
#![allow(unsafe_code, reason = "this is the one file for it; each use has its proof")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::process::Pid;

// ---- Owner names ---------------------------------------------------------------------------------------------------

/// The largest record of the user or group database that is read, in bytes. An owner with a larger one has no name.
const OWNER_RECORD_MAX: usize = 1024 * 1024;

/// Calls with a growing buffer until `call` no longer answers `ERANGE`.
fn with_buffer<T>(mut call: impl FnMut(&mut [libc::c_char]) -> Result<Option<T>, libc::c_int>) -> Option<T> {
    let mut buffer: Vec<libc::c_char> = vec![0; 1024];
    loop {
        match call(&mut buffer) {
            Ok(found) => return found,
            Err(libc::ERANGE) if buffer.len() < OWNER_RECORD_MAX => buffer.resize(buffer.len() * 4, 0),
            Err(libc::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// The bytes of a C string, `None` for a null pointer.
///
/// # Safety
/// `text` is null or points to a string that ends with 0 and lives while this runs.
unsafe fn bytes_of(text: *const libc::c_char) -> Option<Vec<u8>> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, and by this function's condition a live string that ends with 0.
    Some(unsafe { std::ffi::CStr::from_ptr(text) }.to_bytes().to_vec())
}

/// A function of the C library that finds a record of type `R` by a key, such as `getpwuid_r(3)`.
type Lookup<K, R> = unsafe extern "C" fn(K, *mut R, *mut libc::c_char, libc::size_t, *mut *mut R) -> libc::c_int;

/// Finds a record and takes something from it; `None` if there is no such record.
///
/// # Safety
/// `lookup` is one of `getpwuid_r`, `getpwnam_r`, `getgrgid_r` and `getgrnam_r`. If `key` is a pointer, it points to a
/// string that ends with 0 and lives during the call.
unsafe fn find<K: Copy, R, T>(lookup: Lookup<K, R>, key: K, take: impl Fn(&R) -> Option<T>) -> Option<T> {
    with_buffer(|buffer| {
        let mut record = std::mem::MaybeUninit::<R>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: the record, the buffer with its true length and the result pointer are live and writable during the
        // whole call; the key is valid by this function's condition.
        let answer = unsafe {
            lookup(
                key,
                record.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        match answer {
            0 if found.is_null() => Ok(None),
            // SAFETY: on success with a result, `found` points to `record`, which is filled in and whose strings lie in
            // `buffer`; both outlive the borrow.
            0 => Ok(take(unsafe { &*found })),
            error => Err(error),
        }
    })
}

/// The name of a user id, `None` if it has no name.
pub(crate) fn user_name(uid: u32) -> Option<Vec<u8>> {
    // SAFETY: an id needs no string. The record's name is null or a string in the buffer that lives while the closure
    // runs.
    unsafe { find(libc::getpwuid_r, uid, |user: &libc::passwd| bytes_of(user.pw_name)) }
}

/// The name of a group id, `None` if it has no name.
pub(crate) fn group_name(gid: u32) -> Option<Vec<u8>> {
    // SAFETY: as in `user_name`.
    unsafe { find(libc::getgrgid_r, gid, |group: &libc::group| bytes_of(group.gr_name)) }
}

/// The id of the user with this name.
pub(crate) fn user_id(name: &[u8]) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name ends with 0 and lives until the end of this function.
    unsafe { find(libc::getpwnam_r, name.as_ptr(), |user: &libc::passwd| Some(user.pw_uid)) }
}

/// The id of the group with this name.
pub(crate) fn group_id(name: &[u8]) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: as in `user_id`.
    unsafe {
        find(libc::getgrnam_r, name.as_ptr(), |group: &libc::group| {
            Some(group.gr_gid)
        })
    }
}

// ---- btrfs
// -----------------------------------------------------------------------------------------------------------

/// Inode of every subvolume's root folder (`BTRFS_FIRST_FREE_OBJECTID`).
pub(crate) const SUBVOLUME_ROOT_INODE: u64 = 256;

const ARGS_LEN: usize = 4096;
/// `BTRFS_SUBVOL_RDONLY`.
const READ_ONLY: u64 = 1 << 1;
/// The tree of tree roots, and the type of its items that list the subvolumes nested in a tree.
const ROOT_TREE: u64 = 1;
const ROOT_REF_KEY: u32 = 156;

/// The argument of the btrfs calls here: 4096 bytes, whose fields are written and read at their offsets.
#[repr(C, align(8))]
struct Args([u8; ARGS_LEN]);

impl Args {
    fn new() -> Box<Self> {
        Box::new(Self([0; ARGS_LEN]))
    }

    fn put_u64(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }

    fn put_u32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    /// Writes a file name at an offset; the bytes after it are already 0, which ends the string.
    fn put_name(&mut self, at: usize, name: &[u8]) -> io::Result<()> {
        if name.is_empty() || name.len() > 255 || name.contains(&0) || name.contains(&b'/') {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        self.0[at..at + name.len()].copy_from_slice(name);
        Ok(())
    }

    fn u64(&self, at: usize) -> u64 {
        u64_at(&self.0, at).unwrap_or_default()
    }
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A request number: `_IOC(direction, 0x94, number, size)`. Direction 1 writes to the kernel, 2 reads from it, 3 does
/// both.
const fn request(direction: u64, number: u64, size: u64) -> u64 {
    direction << 30 | size << 16 | 0x94 << 8 | number
}

const SNAP_DESTROY: u64 = request(1, 15, ARGS_LEN as u64);
const TREE_SEARCH: u64 = request(3, 17, ARGS_LEN as u64);
const INO_LOOKUP: u64 = request(3, 18, ARGS_LEN as u64);
const SNAP_CREATE_V2: u64 = request(1, 23, ARGS_LEN as u64);
const SUBVOL_GETFLAGS: u64 = request(2, 25, 8);

/// Makes a btrfs call. `request` must be one of the four above with an argument of `ARGS_LEN` bytes.
fn call(fd: BorrowedFd<'_>, request: u64, args: &mut Args) -> io::Result<()> {
    // SAFETY: by the request number the kernel reads and writes at most `ARGS_LEN` bytes from the pointer on. `Args`
    // has that many, aligned as the kernel's structs need. The kernel keeps no pointer after the call, and the argument
    // holds no pointer itself, because no flag is set that would make the kernel read one.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), request as libc::Ioctl, std::ptr::from_mut(args)) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Takes a read-only snapshot of the subvolume whose root folder is `subvolume`, as `name` in the folder `parent`.
pub(crate) fn btrfs_snapshot(parent: BorrowedFd<'_>, name: &[u8], subvolume: BorrowedFd<'_>) -> io::Result<()> {
    let mut args = Args::new();
    args.put_u64(0, u64::from(subvolume.as_raw_fd().unsigned_abs()));
    args.put_u64(16, READ_ONLY);
    args.put_name(56, name)?;
    call(parent, SNAP_CREATE_V2, &mut args)
}

/// Removes the subvolume or snapshot `name` of the folder `parent`.
pub(crate) fn btrfs_destroy(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let mut args = Args::new();
    args.put_name(8, name)?;
    call(parent, SNAP_DESTROY, &mut args)
}

/// The id of the subvolume that holds the file or folder `fd`.
pub(crate) fn btrfs_tree_id(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut args = Args::new();
    args.put_u64(8, SUBVOLUME_ROOT_INODE);
    call(fd, INO_LOOKUP, &mut args)?;
    Ok(args.u64(0))
}

/// The path of the folder with inode `folder` in the subvolume `tree`, relative to the subvolume's root folder. The
/// root folder's path is empty; any other path ends with `/`.
pub(crate) fn btrfs_path_of(fd: BorrowedFd<'_>, tree: u64, folder: u64) -> io::Result<Vec<u8>> {
    if folder == SUBVOLUME_ROOT_INODE {
        return Ok(Vec::new());
    }
    let mut args = Args::new();
    args.put_u64(0, tree);
    args.put_u64(8, folder);
    call(fd, INO_LOOKUP, &mut args)?;
    Ok(args.0[16..].iter().copied().take_while(|&byte| byte != 0).collect())
}

/// Whether the subvolume with the root folder `fd` is read-only.
pub(crate) fn btrfs_is_read_only(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut flags = 0_u64;
    // SAFETY: the request writes 8 bytes from the pointer on, which points to a live `u64`.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), SUBVOL_GETFLAGS as libc::Ioctl, &raw mut flags) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(flags & READ_ONLY != 0)
    }
}

/// A nested subvolume, as the one around it lists it.
#[derive(Debug)]
pub(crate) struct NestedSubvolume {
    /// The id of the nested subvolume.
    pub(crate) tree: u64,
    /// Inode of the folder that holds it, in the subvolume around it.
    pub(crate) folder: u64,
    /// Its name in that folder.
    pub(crate) name: Vec<u8>,
}

/// The subvolumes directly inside the subvolume `tree`. Needs root.
pub(crate) fn btrfs_nested(fd: BorrowedFd<'_>, tree: u64) -> io::Result<Vec<NestedSubvolume>> {
    const KEY_LEN: usize = 104;
    const HEADER_LEN: usize = 32;
    let mut found = Vec::new();
    let mut from = 0_u64;
    loop {
        let mut args = Args::new();
        // struct btrfs_ioctl_search_key: tree, object ids, offsets, transaction ids, types, count.
        args.put_u64(0, ROOT_TREE);
        args.put_u64(8, tree);
        args.put_u64(16, tree);
        args.put_u64(24, from);
        args.put_u64(32, u64::MAX);
        args.put_u64(48, u64::MAX);
        args.put_u32(56, ROOT_REF_KEY);
        args.put_u32(60, ROOT_REF_KEY);
        args.put_u32(64, 4096);
        call(fd, TREE_SEARCH, &mut args)?;
        let count = u32_at(&args.0, 64).unwrap_or_default();
        if count == 0 {
            return Ok(found);
        }
        let mut rest = &args.0[KEY_LEN..];
        for _ in 0..count {
            // struct btrfs_ioctl_search_header: transaction, object id, offset, type, length. Then the item: struct
            // btrfs_root_ref: folder, sequence, name length (little endian), name.
            let item = (|| {
                let nested = u64_at(rest, 16)?;
                let len = usize::try_from(u32_at(rest, 28)?).ok()?;
                let (item, after) = rest.get(HEADER_LEN..)?.split_at_checked(len)?;
                let folder = u64::from_le_bytes(*item.first_chunk()?);
                let name_len = usize::from(u16::from_le_bytes(*item.get(16..)?.first_chunk()?));
                let name = item.get(18..18 + name_len)?.to_vec();
                rest = after;
                Some(NestedSubvolume {
                    tree: nested,
                    folder,
                    name,
                })
            })();
            let item = item.ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    "btrfs returned a malformed list of subvolumes",
                )
            })?;
            from = item.tree + 1;
            found.push(item);
        }
    }
}

/// Makes the C library's allocator map each piece of at least `large` bytes by itself, return it to the system when it
/// is freed, and keep at most `arenas` arenas; see [`crate::process::return_freed_memory`].
#[cfg(target_env = "gnu")]
pub(crate) fn tune_allocator(large: i32, arenas: i32) -> bool {
    // SAFETY: mallopt only stores a number for later allocations. It takes no pointer and allows any number.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, large) == 1 && libc::mallopt(libc::M_ARENA_MAX, arenas) == 1 }
}

/// Other C libraries have no such setting.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn tune_allocator(_large: i32, _arenas: i32) -> bool {
    false
}

/// Returns the free memory of all arenas to the system.
#[cfg(target_env = "gnu")]
pub(crate) fn trim_allocator() {
    // SAFETY: malloc_trim takes no pointer, and may be called at any time from any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries return it by themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn trim_allocator() {}

// ---- Terminals ------------------------------------------------------------------------------------------------------

/// Whether this process belongs to the program that has the terminal.
pub(crate) fn is_in_foreground(terminal: BorrowedFd<'_>) -> bool {
    // SAFETY: the handle is open during the call; neither call takes a pointer.
    unsafe { libc::tcgetpgrp(terminal.as_raw_fd()) == libc::getpgrp() }
}

/// Sets whether a terminal shows control keys, such as `^C`. Returns whether that changed something.
pub(crate) fn set_control_echo(terminal: BorrowedFd<'_>, on: bool) -> bool {
    let mut settings = std::mem::MaybeUninit::<libc::termios>::uninit();
    // SAFETY: the handle is open during the call, and the call fills the whole structure if it succeeds.
    if unsafe { libc::tcgetattr(terminal.as_raw_fd(), settings.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call above succeeded, so the structure is filled.
    let mut settings = unsafe { settings.assume_init() };
    let before = settings.c_lflag;
    if on {
        settings.c_lflag |= libc::ECHOCTL;
    } else {
        settings.c_lflag &= !libc::ECHOCTL;
    }
    if before == settings.c_lflag {
        return false;
    }
    let mut stop = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut old = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: all pointers lead to live structures. sigemptyset fills `stop`, and the first pthread_sigmask fills `old`
    // before the second reads it; with these arguments neither can fail. While SIGTTOU is blocked, a process in the
    // background may change the terminal and is not stopped.
    unsafe {
        libc::sigemptyset(stop.as_mut_ptr());
        libc::sigaddset(stop.as_mut_ptr(), libc::SIGTTOU);
        libc::pthread_sigmask(libc::SIG_BLOCK, stop.as_ptr(), old.as_mut_ptr());
        let set = libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &settings);
        libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), std::ptr::null_mut());
        set == 0
    }
}

// ---- I/O priorities -------------------------------------------------------------------------------------------------

const WHO_PROCESS: libc::c_int = 1;
const CLASS_SHIFT: u32 = 13;

/// Sets the I/O class and level of a thread.
pub(crate) fn set_io_priority(thread: Pid, class: u8, level: u8) -> Result<(), Errno> {
    let value = libc::c_int::from(class) << CLASS_SHIFT | libc::c_int::from(level);
    // SAFETY: the call takes numbers only, no pointer.
    let set = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, thread.as_raw_nonzero().get(), value) };
    if set == 0 { Ok(()) } else { Err(last_error()) }
}

/// The I/O class and level of a thread.
#[cfg(test)]
pub(crate) fn io_priority(thread: Pid) -> Result<(u8, u8), Errno> {
    // SAFETY: the call takes numbers only, no pointer.
    let found = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, thread.as_raw_nonzero().get()) };
    let part = |value: libc::c_long| u8::try_from(value).map_err(|_| last_error());
    Ok((part(found >> CLASS_SHIFT)?, part(found & 7)?))
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
