//! Keyed BLAKE3 of many short messages at once. `Keys::chunk_ids` calls it for the chunks of a buffer or a frame.
//!
//! BLAKE3 is fast when it can hash 16 pieces of 1 KiB side by side in the SIMD lanes of the processor. A file of 3 KiB
//! has only three pieces, so hashing it alone takes four times as long for each byte as hashing a large file. Here the
//! lanes are filled from many messages: first with pieces that have the same place in their messages, then, level by
//! level, with the nodes above them. The last piece of a message if it is not full, messages of one piece, and long
//! messages are hashed in the ordinary way.
//!
//! Promise: each hash equals `blake3::keyed_hash` of the message. The SIMD code is that of the `blake3` crate. Its
//! `platform` module is public but not documented, so the tests compare every shape with the documented function. A
//! BLAKE3 *chunk* is called a piece here, because a chunk is something else in this program. Other names and flags are
//! those of the BLAKE3 paper, sections 2.1 to 2.4.

use blake3::IncrementCounter;
use blake3::platform::Platform;

/// The length of a piece, bytes.
const PIECE: usize = blake3::CHUNK_LEN;
/// The length of a block, bytes. A piece has 16 blocks, a node has one.
const BLOCK: usize = blake3::BLOCK_LEN;
/// Longer messages fill the lanes alone.
const LONGEST: usize = 16 * PIECE;

const CHUNK_START: u8 = 1 << 0;
const CHUNK_END: u8 = 1 << 1;
const PARENT: u8 = 1 << 2;
const ROOT: u8 = 1 << 3;
const KEYED_HASH: u8 = 1 << 4;

/// A chaining value, and at the root a hash.
type Value = [u8; 32];

/// A message that is hashed together with others.
struct Short<'a> {
    bytes: &'a [u8],
    /// Its index among the messages.
    index: usize,
    /// Where its values begin in the list of all values of a level.
    at: usize,
    /// How many values it has on this level. When it has one, that is its hash.
    count: usize,
}

/// The keyed BLAKE3 of each message, in order.
pub(crate) fn keyed_hashes(key: &[u8; 32], messages: &[&[u8]]) -> Vec<Value> {
    let mut hashes = vec![[0; 32]; messages.len()];
    let mut short = Vec::with_capacity(messages.len());
    let mut values = 0;
    for (index, &bytes) in messages.iter().enumerate() {
        if bytes.len() > PIECE && bytes.len() <= LONGEST {
            let count = bytes.len().div_ceil(PIECE);
            let at = values;
            values += count;
            short.push(Short {
                bytes,
                index,
                at,
                count,
            });
        } else {
            hashes[index] = *blake3::keyed_hash(key, bytes).as_bytes();
        }
    }
    let lanes = Lanes {
        platform: Platform::detect(),
        key: words(key),
    };
    let mut level = vec![[0; 32]; values];
    let mut above = level.clone();
    lanes.pieces(&short, &mut level);
    while !short.is_empty() {
        lanes.parents(&mut short, &level, &mut above);
        std::mem::swap(&mut level, &mut above);
        short.retain(|message| {
            if message.count == 1 {
                hashes[message.index] = level[message.at];
            }
            message.count > 1
        });
    }
    hashes
}

/// The processor's lanes and the key.
struct Lanes {
    platform: Platform,
    key: [u32; 8],
}

impl Lanes {
    /// The values of all pieces.
    fn pieces(&self, messages: &[Short<'_>], level: &mut [Value]) {
        let most = messages.iter().map(|message| message.count).max().unwrap_or(0);
        let (mut full, mut places) = (Vec::with_capacity(messages.len()), Vec::with_capacity(messages.len()));
        for number in 0..most {
            for message in messages.iter().filter(|message| number < message.count) {
                let piece = &message.bytes[number * PIECE..];
                match piece.first_chunk::<PIECE>() {
                    Some(piece) => {
                        full.push(piece);
                        places.push(message.at + number);
                    }
                    None => level[message.at + number] = self.last_piece(piece, number as u64),
                }
            }
            self.side_by_side(
                &full,
                number as u64,
                (KEYED_HASH, CHUNK_START, CHUNK_END),
                &places,
                level,
            );
            full.clear();
            places.clear();
        }
    }

    /// The value of the last piece if it is not full.
    fn last_piece(&self, mut piece: &[u8], number: u64) -> Value {
        let mut value = self.key;
        let mut flags = KEYED_HASH | CHUNK_START;
        while let Some((block, rest)) = piece.split_first_chunk::<BLOCK>()
            && !rest.is_empty()
        {
            self.platform
                .compress_in_place(&mut value, block, BLOCK as u8, number, flags);
            flags = KEYED_HASH;
            piece = rest;
        }
        let mut block = [0; BLOCK];
        block[..piece.len()].copy_from_slice(piece);
        self.platform
            .compress_in_place(&mut value, &block, piece.len() as u8, number, flags | CHUNK_END);
        bytes(&value)
    }

    /// Goes one level up: a node for each pair of values. A value without a partner moves up unchanged.
    fn parents(&self, messages: &mut [Short<'_>], level: &[Value], above: &mut [Value]) {
        let (mut nodes, mut places) = (Vec::with_capacity(level.len() / 2), Vec::with_capacity(level.len() / 2));
        for at_root in [false, true] {
            for message in messages.iter().filter(|message| (message.count == 2) == at_root) {
                let (pairs, single) = level[message.at..message.at + message.count].as_chunks::<2>();
                for (index, pair) in pairs.iter().enumerate() {
                    if let Some(node) = pair.as_flattened().first_chunk::<BLOCK>() {
                        nodes.push(node);
                        places.push(message.at + index);
                    }
                }
                if let Some(single) = single.first() {
                    above[message.at + pairs.len()] = *single;
                }
            }
            let flags = KEYED_HASH | PARENT | if at_root { ROOT } else { 0 };
            self.side_by_side(&nodes, 0, (flags, 0, 0), &places, above);
            nodes.clear();
            places.clear();
        }
        for message in messages {
            message.count = message.count.div_ceil(2);
        }
    }

    /// Compresses inputs of one length and number, and puts each one's value into its place. `flags`: of all blocks, of
    /// the first, and of the last.
    fn side_by_side<const N: usize>(
        &self,
        inputs: &[&[u8; N]],
        number: u64,
        flags: (u8, u8, u8),
        places: &[usize],
        values: &mut [Value],
    ) {
        let mut found = vec![[0; 32]; inputs.len()];
        self.platform.hash_many(
            inputs,
            &self.key,
            number,
            IncrementCounter::No,
            flags.0,
            flags.1,
            flags.2,
            found.as_flattened_mut(),
        );
        for (place, value) in places.iter().zip(found) {
            values[*place] = value;
        }
    }
}

fn words(bytes: &[u8; 32]) -> [u32; 8] {
    let (words, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|n| u32::from_le_bytes(words[n]))
}

fn bytes(words: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn assert_as_documented(key: &[u8; 32], messages: &[&[u8]]) {
        let found = keyed_hashes(key, messages);
        assert_eq!(found.len(), messages.len());
        for (message, found) in messages.iter().zip(found) {
            assert_eq!(
                blake3::Hash::from(found),
                blake3::keyed_hash(key, message),
                "of {} bytes",
                message.len()
            );
        }
    }

    #[test]
    fn every_length_near_an_edge_alone_and_among_others() {
        let bytes = noise(LONGEST + 2 * PIECE);
        let key = [0xa5; 32];
        let mut all: Vec<&[u8]> = Vec::new();
        for edge in (0..=LONGEST + PIECE).step_by(BLOCK) {
            for len in [edge.saturating_sub(1), edge, edge + 1] {
                let message = &bytes[len % 7..len % 7 + len];
                assert_as_documented(&key, &[message]);
                all.push(message);
            }
        }
        assert_as_documented(&key, &all);
        assert_as_documented(&key, &[]);
    }

    proptest! {
        #[test]
        fn any_mix_of_lengths(key: [u8; 32], lens in proptest::collection::vec(0usize..20 * PIECE, 0..60)) {
            let bytes = noise(20 * PIECE);
            let messages: Vec<&[u8]> = lens.iter().map(|len| &bytes[bytes.len() - len..]).collect();
            assert_as_documented(&key, &messages);
        }
    }
}
