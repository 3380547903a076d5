//! The numbers of vault format 1: what a writer keeps to, and what a reader refuses before it believes anything.
//! `docs/format.md` states the same numbers; where they differ, that is a defect.

/// The format this program writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// Bytes in a KiB.
pub const KIB: u64 = 1024;
/// Bytes in a MiB.
pub const MIB: u64 = 1024 * 1024;
/// Bytes in a GiB.
pub const GIB: u64 = 1024 * 1024 * 1024;

/// No chunk but the last of a file (or of a run between holes) is smaller. Files below it are one chunk.
pub const CHUNK_MIN: usize = 256 * 1024;
/// Cuts come this often on average: the gear hash's mask has 20 bits.
pub const CHUNK_AVERAGE: usize = 1024 * 1024;
/// No chunk is larger.
pub const CHUNK_MAX: usize = 4 * 1024 * 1024;

/// A frame is closed once it holds this many raw bytes.
pub const FRAME_TARGET: usize = 1024 * 1024;
/// No frame's raw length is larger; a reader refuses more.
pub const FRAME_MAX_RAW: usize = 8 * 1024 * 1024;
/// A frame never holds more chunks.
pub const FRAME_MAX_CHUNKS: usize = 16 * 1024;

/// A pack is closed once it would grow beyond this many bytes.
pub const PACK_TARGET: usize = 32 * 1024 * 1024;
/// A reader refuses larger packs.
pub const PACK_MAX: u64 = 256 * MIB;
/// A reader refuses larger pack directories.
pub const DIRECTORY_MAX: usize = 64 * 1024 * 1024;
/// A pack never holds more frames.
pub const PACK_MAX_FRAMES: usize = 64 * 1024;
/// A pack never holds more chunks, so that its directory stays small however tiny the chunks are.
pub const PACK_MAX_CHUNKS: usize = 256 * 1024;

/// A writer starts a new segment beyond this many chunks.
pub const SEGMENT_TARGET_CHUNKS: usize = 128 * 1024;
/// A reader refuses larger segment objects.
pub const SEGMENT_MAX: u64 = 256 * MIB;
/// A segment is never longer when opened and decompressed; a reader refuses more.
pub const SEGMENT_MAX_RAW: usize = 32 * 1024 * 1024;

/// A tree page's encoded length never exceeds this.
pub const PAGE_MAX: usize = 1024 * 1024;
/// A tree page never holds more entries, nor more children.
pub const PAGE_MAX_ENTRIES: usize = 16 * 1024;
/// A reader refuses trees that are deeper (folders within folders).
pub const TREE_MAX_DEPTH: usize = 1 << 16;
/// A reader refuses page and content levels above this.
pub const LEVEL_MAX: u32 = 8;
/// A content list never holds more ids, nor more holes.
pub const CONTENT_MAX_IDS: usize = 4096;

/// A reader refuses larger log entries.
pub const LOG_ENTRY_MAX: u64 = 16 * MIB;
/// A reader refuses larger key slots, registrations, job records and descriptors.
pub const RECORD_MAX: u64 = MIB;

/// Length of the AES-256-GCM tag behind every sealed piece.
pub const TAG_LEN: usize = 16;

/// Largest Argon2id memory a reader accepts, in KiB (2 GiB).
pub const ARGON_MAX_MEMORY_KIB: u32 = 2 * 1024 * 1024;
/// Most Argon2id passes a reader accepts.
pub const ARGON_MAX_PASSES: u32 = 16;
/// Most Argon2id lanes a reader accepts.
pub const ARGON_MAX_LANES: u32 = 16;

/// Shortest passphrase, in characters.
pub const PASSPHRASE_MIN: usize = 16;

/// The inode flags that are kept: immutable 0x10, append-only 0x20, no-dump 0x40, no-copy-on-write 0x0080_0000
/// (`linux/fs.h`: `FS_IMMUTABLE_FL`, `FS_APPEND_FL`, `FS_NODUMP_FL`, `FS_NOCOW_FL`).
pub const KEPT_INODE_FLAGS: u32 = 0x10 | 0x20 | 0x40 | 0x0080_0000;
