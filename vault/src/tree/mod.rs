//! Trees: the entries of a folder in pages. The Cataloguer writes them with `FolderWriter`. Comparison with the last
//! point, listings, restore and `check` read them with `decode_page`.
//!
//! A page is a tree chunk: an encoded `Page`. Its entries are in strict byte order of their names. A page ends
//! * after an item (an entry, or a child of a page above level 0) once it has 32 KiB, if `end < item length × 65536`,
//!   with `end` the first four bytes (u32 LE) of keyed BLAKE3, under the subkey `page ends`, of level (u32 LE) ‖ the
//!   item's name (of a child: its first name), and the item's length as it is encoded in the page, tag and length
//!   prefix included. So pages end about every 64 KiB, whatever the size of the items, and an end stays where it is
//!   when entries are added or removed elsewhere;
//! * after its 16,384th item, and before an item that would make it longer than 1 MiB.
//!
//! If a level has several pages, pages one level up list them. The single page of the last level is the top page.
//! Readers need not know where pages end: they accept every page that `decode_page` accepts.
//!
//! Promise: in a page that decodes, names cannot leave the folder, are in order, and occur once. Kinds are known, ids
//! have the right length, and content lies within the file.

pub mod content;
mod error;
mod page;

pub use error::TreeError;
pub use page::{FolderWriter, check_child, decode_page};
pub(crate) use page::{check_end, check_root_folder, decode_own_page};

use bytes::Bytes;
use lockstone_proto::ids::ChunkId;

/// A tree chunk that has to be stored: a page, or a content list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPage {
    /// Its id, computed from the plaintext.
    pub id: ChunkId,
    /// Its plaintext.
    pub raw: Bytes,
}
