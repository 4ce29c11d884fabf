//! Numbers in blocks of 32 that share a scale: the simple quantizations of GGUF, back to f32.

use half::f16;

/// Numbers in a block.
pub(crate) const BLOCK: usize = 32;

/// How a block of 32 numbers is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocks {
    /// A scale in f16 and 32 signed bytes: `d q`.
    Q8_0,
    /// A scale in f16 and 32 halves of bytes: `d (q - 8)`.
    Q4_0,
    /// A scale and a minimum in f16 and 32 halves of bytes: `d q + m`.
    Q4_1,
}

impl Blocks {
    /// Bytes of a block.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Q8_0 => 2 + BLOCK,
            Self::Q4_0 => 2 + BLOCK / 2,
            Self::Q4_1 => 4 + BLOCK / 2,
        }
    }

    /// Fills `out` from whole blocks, each number through `number`.
    pub(crate) fn decode<T>(self, bytes: &[u8], out: &mut [T], number: impl Fn(f32) -> T) {
        let blocks = bytes.chunks_exact(self.bytes());
        debug_assert!(
            blocks.remainder().is_empty() && blocks.len() * BLOCK == out.len(),
            "pieces hold whole blocks"
        );
        for (block, out) in blocks.zip(out.chunks_exact_mut(BLOCK)) {
            let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
            let scale = half(0);
            match self {
                Self::Q8_0 => {
                    for (out, code) in out.iter_mut().zip(&block[2..]) {
                        *out = number(scale * f32::from(*code as i8));
                    }
                }
                Self::Q4_0 => halves(&block[2..], out, |code| number(scale * f32::from(code as i8 - 8))),
                Self::Q4_1 => {
                    let least = half(2);
                    halves(&block[4..], out, |code| number(scale * f32::from(code) + least));
                }
            }
        }
    }
}

/// The codes of 16 bytes: the low halves are the first 16 numbers, the high ones the others.
fn halves<T>(bytes: &[u8], out: &mut [T], number: impl Fn(u8) -> T) {
    let (low, high) = out.split_at_mut(BLOCK / 2);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
        *low = number(byte & 15);
        *high = number(byte >> 4);
    }
}
