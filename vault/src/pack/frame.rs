//! Compression of frames, before they are sealed and after they are opened. A frame is compressed with zstd, or stored
//! as it is if zstd saves less than 3 %. Each worker of the pipeline keeps one `Compressor` or `Decompressor` for all
//! frames, because making a zstd context costs more than compressing a small frame.
//!
//! A payload of codec `Zstd` is exactly one zstd frame without dictionary, checksum (the seal is stronger) or content
//! size (the directory has it, and the seal covers it).

use lockstone_proto::limits::{FRAME_MAX_RAW, TAG_LEN, ZSTD_WINDOW_MAX};
use lockstone_proto::vault::Codec;
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, ErrorCode};

/// The default zstd level for new frames.
pub const DEFAULT_LEVEL: i32 = 3;

/// The sizes of the match finder's tables at level 3: half and a quarter of zstd's own. With a frame of 1 MiB, the
/// tables, the input and the output then fit a core's L2 cache. That is a tenth faster on source text, for 0.8 % more
/// bytes (docs/performance.md).
const SMALLER_TABLES: [CParameter; 2] = [CParameter::HashLog(16), CParameter::ChainLog(14)];

/// Frames shorter than this are compressed without taking samples first.
const SAMPLE_FROM: usize = 256 * 1024;
/// The distance between the starts of two samples, bytes.
const SAMPLE_EVERY: usize = 32 * 1024;
/// The length of a sample, bytes: long enough for words to repeat in text.
const SAMPLE: usize = 1024;

/// Why a frame could not be compressed or decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameBroken {
    /// The raw length is 0, or over the format's limit.
    #[error("a raw length of {raw_len} bytes is outside the format's limits")]
    Length {
        /// The length that was asked for, bytes.
        raw_len: usize,
    },
    /// The payload has more or fewer bytes than the directory says.
    #[error("it gives {found} bytes instead of {wanted}")]
    WrongLength {
        /// What the directory says, bytes.
        wanted: usize,
        /// The bytes found. For zstd, at most as many as fit.
        found: usize,
    },
    /// zstd reports an error.
    #[error("zstd: {0}")]
    Zstd(&'static str),
}

fn zstd_error(code: ErrorCode) -> FrameBroken {
    FrameBroken::Zstd(zstd_safe::get_error_name(code))
}

/// A zstd compression context and its output buffer, kept for many frames.
pub struct Compressor {
    context: CCtx<'static>,
    scratch: Vec<u8>,
    sample: Vec<u8>,
    last_was_stored: bool,
}

impl Compressor {
    /// A compressor with zstd level `level` (1 to 22; `DEFAULT_LEVEL` is 3).
    pub fn new(level: i32) -> Result<Self, FrameBroken> {
        let mut context = CCtx::try_create().ok_or(FrameBroken::Zstd("no memory for a context"))?;
        let mut parameters = vec![
            CParameter::CompressionLevel(level),
            CParameter::ChecksumFlag(false),
            CParameter::ContentSizeFlag(false),
        ];
        if level == DEFAULT_LEVEL {
            parameters.extend(SMALLER_TABLES);
        }
        for parameter in parameters {
            context.set_parameter(parameter).map_err(zstd_error)?;
        }
        Ok(Self {
            context,
            scratch: Vec::new(),
            sample: Vec::new(),
            last_was_stored: false,
        })
    }

    /// Replaces the content of `out` with the payload of a frame of these raw bytes, and leaves room for the seal's
    /// tag. `out` gets no more capacity than that, because it stays in memory until it is uploaded. Refuses an empty
    /// frame and one of more than `FRAME_MAX_RAW` bytes.
    pub fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<Codec, FrameBroken> {
        out.clear();
        let (payload, codec) = self.compress_here(raw)?;
        out.reserve_exact(payload.len() + TAG_LEN);
        out.extend_from_slice(payload);
        Ok(codec)
    }

    /// Like [`compress`](Self::compress), but leaves the payload in the compressor's own buffer and returns a slice of
    /// it.
    pub fn compress_here<'a>(&'a mut self, raw: &'a [u8]) -> Result<(&'a [u8], Codec), FrameBroken> {
        if raw.is_empty() || raw.len() > FRAME_MAX_RAW {
            return Err(FrameBroken::Length { raw_len: raw.len() });
        }
        // Incompressible frames usually follow each other, so samples are taken only after one was met.
        if self.last_was_stored && self.is_hopeless(raw) {
            return Ok((raw, Codec::Stored));
        }
        // zstd gives up as soon as its output is longer than 97 % of the input.
        let worthwhile = raw.len() - raw.len().div_ceil(33);
        if self.scratch.len() < worthwhile {
            self.scratch.resize(worthwhile, 0);
        }
        let compressed = self.context.compress2(&mut self.scratch[..worthwhile], raw);
        self.last_was_stored = compressed.is_err();
        Ok(match compressed {
            Ok(len) => (&self.scratch[..len], Codec::Zstd),
            // The only possible error is that the output does not fit. After any error the raw bytes are stored.
            Err(_) => (raw, Codec::Stored),
        })
    }

    /// Whether samples from all parts of the frame do not compress, as in media files, archives and encrypted volumes.
    /// zstd would need ten times as long to find that out.
    fn is_hopeless(&mut self, raw: &[u8]) -> bool {
        if raw.len() < SAMPLE_FROM {
            return false;
        }
        self.sample.clear();
        for stretch in raw.chunks_exact(SAMPLE_EVERY) {
            self.sample.extend_from_slice(&stretch[..SAMPLE]);
        }
        let len = self.sample.len();
        if self.scratch.len() < len {
            self.scratch.resize(len, 0);
        }
        self.context.compress2(&mut self.scratch[..len], &self.sample).is_err()
    }

    /// Compresses in any case, for segments. `raw` may have any length.
    pub(crate) fn compress_always(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), FrameBroken> {
        out.clear();
        out.reserve(zstd_safe::compress_bound(raw.len()) + TAG_LEN);
        self.context.compress2(out, raw).map_err(zstd_error)?;
        Ok(())
    }
}

/// A zstd decompression context, kept for many frames.
pub struct Decompressor {
    context: DCtx<'static>,
}

impl Decompressor {
    /// A decompressor.
    pub fn new() -> Result<Self, FrameBroken> {
        DCtx::try_create()
            .map(|context| Self { context })
            .ok_or(FrameBroken::Zstd("no memory for a context"))
    }

    /// Replaces the content of `out` with the raw bytes of the frame: exactly `raw_len` bytes, or an error. Refuses a
    /// `raw_len` above `FRAME_MAX_RAW` before it allocates.
    pub fn decompress(
        &mut self,
        codec: Codec,
        payload: &[u8],
        raw_len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), FrameBroken> {
        self.decompress_bounded(codec, payload, raw_len, FRAME_MAX_RAW, out)
    }

    /// The same into memory of the caller, which must be exactly as long as the raw bytes of the frame.
    pub fn decompress_into(&mut self, codec: Codec, payload: &[u8], out: &mut [u8]) -> Result<(), FrameBroken> {
        let wanted = out.len();
        if wanted == 0 || wanted > FRAME_MAX_RAW {
            return Err(FrameBroken::Length { raw_len: wanted });
        }
        let found = match codec {
            Codec::Stored => {
                if payload.len() == wanted {
                    out.copy_from_slice(payload);
                }
                payload.len()
            }
            Codec::Zstd => {
                check_zstd(payload, wanted)?;
                self.context.decompress(out, payload).map_err(zstd_error)?
            }
        };
        if found == wanted {
            Ok(())
        } else {
            Err(FrameBroken::WrongLength { wanted, found })
        }
    }

    pub(crate) fn decompress_bounded(
        &mut self,
        codec: Codec,
        payload: &[u8],
        raw_len: usize,
        max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), FrameBroken> {
        out.clear();
        if raw_len == 0 || raw_len > max {
            return Err(FrameBroken::Length { raw_len });
        }
        match codec {
            Codec::Stored if payload.len() == raw_len => {
                out.reserve_exact(raw_len);
                out.extend_from_slice(payload);
            }
            Codec::Stored => {
                return Err(FrameBroken::WrongLength {
                    wanted: raw_len,
                    found: payload.len(),
                });
            }
            Codec::Zstd => {
                check_zstd(payload, raw_len)?;
                out.reserve_exact(raw_len);
                self.context.decompress(out, payload).map_err(zstd_error)?;
                if out.len() != raw_len {
                    let found = out.len();
                    out.clear();
                    return Err(FrameBroken::WrongLength { wanted: raw_len, found });
                }
            }
        }
        Ok(())
    }
}

/// Checks that the payload is exactly one zstd frame that needs no dictionary and no window above the limit. zstd
/// itself limits the window only when it decompresses piece by piece, as another reader may have to.
fn check_zstd(payload: &[u8], raw_len: usize) -> Result<(), FrameBroken> {
    if zstd_safe::find_frame_compressed_size(payload).map_err(zstd_error)? != payload.len() {
        return Err(FrameBroken::Zstd("it is not exactly one zstd frame"));
    }
    // The header (RFC 8878): the magic number, a byte of flags, and the window's size unless the frame is one segment.
    let [0x28, 0xb5, 0x2f, 0xfd, flags, window, ..] = *payload else {
        return Err(FrameBroken::Zstd("it does not begin as a zstd frame"));
    };
    if flags & 0b11 != 0 {
        return Err(FrameBroken::Zstd("it wants a dictionary"));
    }
    let one_segment = flags & 0b10_0000 != 0;
    let window = if one_segment {
        raw_len as u64
    } else {
        let power = 1_u64 << (10 + (window >> 3));
        power + power / 8 * u64::from(window & 7)
    };
    if window > ZSTD_WINDOW_MAX {
        return Err(FrameBroken::Zstd("its window is larger than the format allows"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(raw: &[u8]) -> (Codec, usize) {
        let (mut payload, mut back) = (Vec::new(), vec![1, 2, 3]);
        let codec = Compressor::new(DEFAULT_LEVEL)
            .unwrap()
            .compress(raw, &mut payload)
            .unwrap();
        Decompressor::new()
            .unwrap()
            .decompress(codec, &payload, raw.len(), &mut back)
            .unwrap();
        assert_eq!(back, raw);
        let mut there = vec![7; raw.len()];
        let mut decompressor = Decompressor::new().unwrap();
        decompressor.decompress_into(codec, &payload, &mut there).unwrap();
        assert_eq!(there, raw);
        there.push(0);
        assert!(decompressor.decompress_into(codec, &payload, &mut there).is_err());
        (codec, payload.len())
    }

    /// Bytes that do not compress.
    pub(crate) fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn what_does_not_shrink_is_stored_as_it_is() {
        for len in [1, 100, 70_000, 1 << 20] {
            assert_eq!(round_trip(&noise(len)), (Codec::Stored, len));
        }
        assert_eq!(round_trip(&vec![0; 1 << 20]).0, Codec::Zstd);
    }

    #[test]
    fn a_saving_under_three_percent_is_not_taken() {
        let mut raw = noise(1 << 20);
        raw[..20_000].fill(0);
        assert_eq!(round_trip(&raw).0, Codec::Stored);
        raw[..40_000].fill(0);
        assert_eq!(round_trip(&raw).0, Codec::Zstd);
    }

    #[test]
    fn a_context_survives_a_frame_that_did_not_shrink() {
        let (mut compressor, mut first, mut again) = (Compressor::new(3).unwrap(), Vec::new(), Vec::new());
        let text = b"many words, many words, many words ".repeat(1000);
        compressor.compress(&text, &mut first).unwrap();
        assert_eq!(compressor.compress(&noise(5000), &mut again), Ok(Codec::Stored));
        assert_eq!(compressor.compress(&text, &mut again), Ok(Codec::Zstd));
        assert_eq!(first, again);
    }

    #[test]
    fn behind_a_stored_frame_what_compresses_is_still_found() {
        let (mut compressor, mut out) = (Compressor::new(3).unwrap(), Vec::new());
        let noise = noise(1 << 20);
        let words: Vec<u8> = (0..)
            .flat_map(|n| format!("word {n} and ").into_bytes())
            .take(100_000)
            .collect();
        for _ in 0..2 {
            assert_eq!(compressor.compress(&noise, &mut out), Ok(Codec::Stored));
            // Wherever in the frame they are.
            for at in [0, 300_000, (1 << 20) - words.len()] {
                assert_eq!(compressor.compress(&noise, &mut out), Ok(Codec::Stored));
                let mut mixed = noise.clone();
                mixed[at..at + words.len()].copy_from_slice(&words);
                assert_eq!(compressor.compress(&mixed, &mut out), Ok(Codec::Zstd), "at {at}");
            }
        }
        // Bytes without repeats of which some are more frequent than others.
        let base64: Vec<u8> = noise.iter().map(|byte| b'A' + byte % 64).collect();
        assert_eq!(compressor.compress(&noise, &mut out), Ok(Codec::Stored));
        assert_eq!(compressor.compress(&base64, &mut out), Ok(Codec::Zstd));
    }

    #[test]
    fn lengths_beyond_the_limits_are_refused() {
        let (mut compressor, mut out) = (Compressor::new(3).unwrap(), Vec::new());
        assert_eq!(
            compressor.compress(&[], &mut out),
            Err(FrameBroken::Length { raw_len: 0 })
        );
        assert!(compressor.compress(&vec![0; FRAME_MAX_RAW + 1], &mut out).is_err());
        let (mut decompressor, mut out) = (Decompressor::new().unwrap(), Vec::new());
        assert!(
            decompressor
                .decompress(Codec::Zstd, b"x", FRAME_MAX_RAW + 1, &mut out)
                .is_err()
        );
        assert_eq!(out.capacity(), 0, "refused before allocation");
    }

    #[test]
    fn a_bomb_is_cut_off_at_the_stated_length() {
        let mut bomb = Vec::new();
        Compressor::new(3)
            .unwrap()
            .compress(&vec![0; FRAME_MAX_RAW], &mut bomb)
            .unwrap();
        assert!(bomb.len() < 2000);
        let mut out = Vec::new();
        assert!(
            Decompressor::new()
                .unwrap()
                .decompress(Codec::Zstd, &bomb, 1000, &mut out)
                .is_err()
        );
        assert!(out.is_empty() && out.capacity() < 5000);
    }

    #[test]
    fn large_windows_and_dictionaries_are_refused() {
        // One raw block of one byte, behind a header that names the window. 8 MiB is 1 << (10 + 13).
        let frame = |flags: u8, window: u8| [0x28, 0xb5, 0x2f, 0xfd, flags, window, 0x09, 0, 0, b'x'];
        let mut out = Vec::new();
        let mut read = |payload: &[u8]| {
            Decompressor::new()
                .unwrap()
                .decompress(Codec::Zstd, payload, 1, &mut out)
        };
        assert_eq!(read(&frame(0, 13 << 3)), Ok(()));
        let large = Err(FrameBroken::Zstd("its window is larger than the format allows"));
        assert_eq!(read(&frame(0, 13 << 3 | 1)), large);
        assert_eq!(read(&frame(0, 17 << 3)), large);
        let dictionary = [0x28, 0xb5, 0x2f, 0xfd, 1, 13 << 3, 7, 0x09, 0, 0, b'x'];
        assert_eq!(read(&dictionary), Err(FrameBroken::Zstd("it wants a dictionary")));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut payload = Vec::new();
        Compressor::new(3).unwrap().compress(&[0; 1000], &mut payload).unwrap();
        let twice = [payload.as_slice(), payload.as_slice()].concat();
        let mut out = Vec::new();
        assert!(
            Decompressor::new()
                .unwrap()
                .decompress(Codec::Zstd, &twice, 2000, &mut out)
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(raw in proptest::collection::vec(any::<u8>(), 1..5000), repeat in 1usize..20) {
            round_trip(&raw.repeat(repeat));
        }

        #[test]
        fn rubbish_never_panics(payload: Vec<u8>, raw_len in 0usize..10_000) {
            let mut out = Vec::new();
            for codec in [Codec::Stored, Codec::Zstd] {
                if Decompressor::new().unwrap().decompress(codec, &payload, raw_len, &mut out).is_ok() {
                    prop_assert_eq!(out.len(), raw_len);
                }
            }
        }
    }
}
