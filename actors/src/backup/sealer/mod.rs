//! The Sealer: chunks into frames, frames into packs.
//!
//! An *assembler* for each lane collects chunks into frames. *Workers* take the frames of both lanes. On the pool, a
//! worker compresses a frame and seals it; then it opens what it sealed, decompresses it and computes every chunk id
//! again, so that nothing is uploaded that could not be read back. Between compressing and sealing, a frame gets its
//! place in a pack: the ordinal is its nonce. A pack goes to the Uploader when it is closed and its last frame is
//! there.
//!
//! Bytes in a partly filled frame or pack must never keep a reader from reading. So an assembler passes on what it has
//! after a while (`Tuning::flush_after`), and earlier if a stage waits for the budget (`docs/ARCHITECTURE.md`, "Flow
//! rules").

mod assembler;
mod packs;
mod worker;

pub(super) use assembler::Assembler;
pub(super) use packs::Packs;
pub(super) use worker::Worker;
