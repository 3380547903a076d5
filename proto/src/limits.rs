//! The limits of vault format 1: those that a writer keeps, and those beyond which a reader refuses an object before it
//! trusts anything in it. `docs/format.md` states the same numbers; a difference is a defect.

/// The version of the vault format that this program writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// Bytes in a KiB.
pub const KIB: u64 = 1024;
/// Bytes in a MiB.
pub const MIB: u64 = 1024 * 1024;
/// Bytes in a GiB.
pub const GIB: u64 = 1024 * 1024 * 1024;

/// The smallest chunk, in bytes. Only the last chunk of a file, or of a run between holes, may be smaller; a smaller
/// file is one chunk.
pub const CHUNK_MIN: usize = 256 * 1024;
/// The average distance of two cuts, in bytes: the mask of the gear hash has 20 bits.
pub const CHUNK_AVERAGE: usize = 1024 * 1024;
/// The largest chunk, in bytes.
pub const CHUNK_MAX: usize = 4 * 1024 * 1024;

/// A writer closes a frame once it holds this many raw bytes.
pub const FRAME_TARGET: usize = 1024 * 1024;
/// The largest raw length of a frame, in bytes. A reader refuses more.
pub const FRAME_MAX_RAW: usize = 8 * 1024 * 1024;
/// The most chunks in a frame.
pub const FRAME_MAX_CHUNKS: usize = 16 * 1024;

/// A writer closes a pack before it would grow beyond this many bytes.
pub const PACK_TARGET: usize = 32 * 1024 * 1024;
/// The largest pack that a reader accepts, in bytes.
pub const PACK_MAX: u64 = 256 * MIB;
/// The largest directory of a pack that a reader accepts, in bytes.
pub const DIRECTORY_MAX: usize = 64 * 1024 * 1024;
/// The most frames in a pack.
pub const PACK_MAX_FRAMES: usize = 64 * 1024;
/// The most chunks in a pack, so that its directory stays small even if the chunks are tiny.
pub const PACK_MAX_CHUNKS: usize = 256 * 1024;

/// A writer starts a new segment after this many chunks.
pub const SEGMENT_TARGET_CHUNKS: usize = 128 * 1024;
/// The largest segment that a reader accepts, in bytes.
pub const SEGMENT_MAX: u64 = 256 * MIB;
/// The largest segment after opening and decompressing, in bytes. A reader refuses more.
pub const SEGMENT_MAX_RAW: usize = 32 * 1024 * 1024;

/// The largest encoded tree page, in bytes.
pub const PAGE_MAX: usize = 1024 * 1024;
/// The most entries, and the most children, of a tree page.
pub const PAGE_MAX_ENTRIES: usize = 16 * 1024;
/// The deepest tree that a reader accepts: this many folders within one another.
pub const TREE_MAX_DEPTH: usize = 1 << 16;
/// The highest level of pages and content lists that a reader accepts.
pub const LEVEL_MAX: u32 = 8;
/// The most ids, and the most holes, in a content list.
pub const CONTENT_MAX_IDS: usize = 4096;

/// The largest log entry that a reader accepts, in bytes.
pub const LOG_ENTRY_MAX: u64 = 16 * MIB;
/// The largest key slot, registration, job record, order or descriptor that a reader accepts, in bytes.
pub const RECORD_MAX: u64 = MIB;

/// Length of the AES-256-GCM tag at the end of every sealed piece, in bytes.
pub const TAG_LEN: usize = 16;

/// The most Argon2id memory that a reader accepts, in KiB (2 GiB).
pub const ARGON_MAX_MEMORY_KIB: u32 = 2 * 1024 * 1024;
/// The most Argon2id passes that a reader accepts.
pub const ARGON_MAX_PASSES: u32 = 16;
/// The most Argon2id lanes that a reader accepts.
pub const ARGON_MAX_LANES: u32 = 16;

/// The length of the shortest passphrase, in characters.
pub const PASSPHRASE_MIN: usize = 16;
/// The length of the longest passphrase, in characters.
pub const PASSPHRASE_MAX: usize = 127;

/// The inode flags that a backup keeps: immutable 0x10, append-only 0x20, no-dump 0x40, no-copy-on-write 0x0080_0000
/// (`linux/fs.h`: `FS_IMMUTABLE_FL`, `FS_APPEND_FL`, `FS_NODUMP_FL`, `FS_NOCOW_FL`).
pub const KEPT_INODE_FLAGS: u32 = 0x10 | 0x20 | 0x40 | 0x0080_0000;

/// A reader skips fields it does not know from this number on. It refuses a message with an unknown field below it.
pub const IGNORABLE_FROM: u32 = 128;

/// The largest window that a zstd frame may ask for, in bytes.
pub const ZSTD_WINDOW_MAX: u64 = 8 * MIB;
