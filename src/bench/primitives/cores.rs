//! How fast the cores do each step of a file's bytes.

use std::hint::black_box;

use anyhow::Result;
use lockstone_host::chunk::Chunker;
use lockstone_proto::ids::DomainId;
use lockstone_proto::vault::{ChunkKind, Codec};
use lockstone_vault::crypto::keys::{Keys, MasterKey};
use lockstone_vault::pack::frame::{Compressor, DEFAULT_LEVEL, Decompressor};
use lockstone_vault::pack::{FramePosition, PackSeal};

use super::meter::{Meter, Step, Unit};
use crate::bench::sample;

const FRAME: usize = 1 << 20;
const SMALL: usize = 4 << 10;
/// More than a core's caches hold, like data that was read some time ago.
const LARGE: usize = 16 << 20;

pub(super) fn measure(meter: &mut Meter) -> Result<()> {
    let keys = Keys::derive(&MasterKey::generate()?, DomainId([0; 16]));
    let (text, noise) = (sample::text(FRAME), sample::noise(LARGE));
    let frame = &noise[..FRAME];

    meter.rate("memcpy", "copying memory", Unit::Bytes, |_| {
        let (from, mut to) = (vec![1_u8; LARGE], vec![0_u8; LARGE]);
        Ok(move || {
            Step::of(LARGE as u64, || {
                to.copy_from_slice(black_box(&from));
                black_box(&mut to);
                Ok(())
            })
        })
    })?;
    let chunker = Chunker::new(&keys.chunker_table());
    meter.rate("cut", "cutting into chunks", Unit::Bytes, |_| {
        let (chunker, noise) = (&chunker, &noise);
        Ok(move || {
            Step::of(LARGE as u64, || {
                let mut rest = black_box(&noise[..]);
                while let Some(len) = chunker.cut(rest, true) {
                    rest = &rest[len..];
                }
                Ok(())
            })
        })
    })?;
    for (name, title, len) in [
        ("hash_1mib", "chunk ids (keyed BLAKE3), 1 MiB", FRAME),
        ("hash_4kib", "chunk ids (keyed BLAKE3), 4 KiB", SMALL),
    ] {
        meter.rate(name, title, Unit::Bytes, |_| {
            let keys = &keys;
            Ok(move || {
                Step::of(FRAME as u64, || {
                    let chunks: Vec<&[u8]> = frame.chunks(len).collect();
                    black_box(keys.chunk_ids(ChunkKind::Data, &chunks));
                    Ok(())
                })
            })
        })?;
    }
    compress(meter, "compress_1", "zstd 1, text", 1, &text)?;
    compress(meter, "compress_3", "zstd 3, text", DEFAULT_LEVEL, &text)?;
    compress(meter, "compress_noise", "zstd 3, random data", DEFAULT_LEVEL, frame)?;
    meter.rate("decompress", "zstd, decompressing text", Unit::Bytes, |_| {
        let mut payload = Vec::new();
        let codec = Compressor::new(DEFAULT_LEVEL)?.compress(&text, &mut payload)?;
        let (mut decompressor, mut raw) = (Decompressor::new()?, Vec::new());
        Ok(move || {
            Step::of(FRAME as u64, || {
                Ok(decompressor.decompress(codec, black_box(&payload), FRAME, &mut raw)?)
            })
        })
    })?;
    seal(meter, &keys, frame)
}

fn compress(meter: &mut Meter, name: &'static str, title: &'static str, level: i32, raw: &[u8]) -> Result<()> {
    meter.rate(name, title, Unit::Bytes, |_| {
        let (mut compressor, mut payload) = (Compressor::new(level)?, Vec::new());
        Ok(move || {
            Step::of(raw.len() as u64, || {
                compressor.compress(black_box(raw), &mut payload)?;
                Ok(())
            })
        })
    })
}

fn seal(meter: &mut Meter, keys: &Keys, frame: &[u8]) -> Result<()> {
    let at = FramePosition {
        ordinal: 0,
        raw_len: u32::try_from(frame.len())?,
        codec: Codec::Stored,
    };
    meter.rate("seal", "sealing (AES-256-GCM)", Unit::Bytes, |_| {
        let pack = PackSeal::create(keys, ChunkKind::Data)?;
        let mut buffer = frame.to_vec();
        Ok(move || {
            buffer.truncate(FRAME);
            Step::of(FRAME as u64, || Ok(pack.seal_frame(at, &mut buffer)?))
        })
    })?;
    meter.rate("open", "opening", Unit::Bytes, |_| {
        let pack = PackSeal::create(keys, ChunkKind::Data)?;
        let mut buffer = frame.to_vec();
        Ok(move || {
            // A frame must be sealed before it can be opened. The sealing is not timed.
            pack.seal_frame(at, &mut buffer)?;
            Step::of(FRAME as u64, || Ok(pack.open_frame(at, black_box(&mut buffer))?))
        })
    })
}
