//! Trees: a folder's entries in pages. The Cataloguer writes them with `FolderWriter`; comparison with the last point,
//! listing, restore and `check` read them with `decode_page`.
//!
//! A page is a tree chunk: an encoded `Page`. Entries stand in strict byte order of their names. A page ends
//! * behind an item (an entry, or a child of a page above level 0) once it has 32 KiB, where
//!   `end < item length × 65536`, with `end` the first four bytes (u32 LE) of keyed BLAKE3, under the subkey `page ends`,
//!   of level (u32 LE) ‖ the item's name (of a child: its first name), and the item's length as it is encoded in the page,
//!   tag and length prefix included: an end about every 64 KiB, whatever the items' size, and the same one after entries
//!   were added or removed elsewhere;
//! * behind its 16,384th item; and where the next item would take it beyond 1 MiB.
//!
//! A folder's only page of a level is its top page; while a level has several, they are listed on pages one level up.
//! Readers need not know these rules: any page that `decode_page` accepts will do.
//!
//! Promise: a page that decodes holds only names that cannot leave a folder, in order and each once, kinds that are known,
//! ids of the right length, and content that lies within the file.

pub mod content;
mod error;
mod page;

pub use error::TreeError;
pub use page::{FolderWriter, check_child, decode_page};

use bytes::Bytes;
use lockstone_proto::ids::ChunkId;

/// A tree chunk that has to be stored: a page, or a content list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPage {
    /// Its id, computed.
    pub id: ChunkId,
    /// Its plaintext.
    pub raw: Bytes,
}
