//! Bytes to measure with: text that compresses about like source code, and noise that does not compress. Each call
//! gives the same bytes.

/// A small random generator, good enough for samples only.
#[derive(Debug)]
struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // The low bits of such a sequence repeat after a few steps.
        self.0 ^ (self.0 >> 29)
    }

    fn below(&mut self, bound: usize) -> usize {
        // The remainder has at most 32 bits, so it fits.
        usize::try_from((self.next() >> 32) % bound.max(1) as u64).unwrap_or(0)
    }
}

/// `len` bytes of C-like text: keywords, punctuation and short names.
#[must_use]
pub fn text(len: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "static ",
        "int ",
        "return ",
        "struct ",
        "if (",
        ") {\n\t",
        "->",
        "buffer",
        "size_t ",
        "err = ",
        ";\n",
        "\n\n/* ",
        " */\n",
        "unsigned ",
        "lock(&",
        "NULL",
    ];
    let mut generator = Generator(1);
    let mut text = Vec::with_capacity(len + 16);
    while text.len() < len {
        match generator.below(4) {
            0 => {
                for _ in 0..2 + generator.below(6) {
                    text.push(b'a' + u8::try_from(generator.below(26)).unwrap_or(0));
                }
            }
            _ => text.extend_from_slice(WORDS[generator.below(WORDS.len())].as_bytes()),
        }
    }
    text.truncate(len);
    text
}

/// `len` bytes that do not compress.
#[must_use]
pub fn noise(len: usize) -> Vec<u8> {
    let mut generator = Generator(2);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&generator.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use lockstone_proto::vault::Codec;
    use lockstone_vault::pack::frame::Compressor;

    #[test]
    fn text_compresses_like_source_and_noise_does_not() {
        let mut payload = Vec::new();
        let mut compressor = Compressor::new(3).unwrap();
        let codec = compressor.compress(&text(1 << 20), &mut payload).unwrap();
        assert_eq!(codec, Codec::Zstd);
        let ratio = (1 << 20) / payload.len();
        assert!((2..8).contains(&ratio), "{ratio}");
        assert_eq!(compressor.compress(&noise(1 << 20), &mut payload), Ok(Codec::Stored));
    }
}
