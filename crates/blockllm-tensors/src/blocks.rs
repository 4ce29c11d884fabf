//! Numbers in blocks that share scales: the quantizations of GGUF, back to f32.

use crate::super_blocks::{self, half};

/// Numbers in a block of the simple kinds.
const BLOCK: usize = 32;
/// Numbers in the largest block.
const LARGEST: usize = super_blocks::COUNT;

/// How a block of numbers is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocks {
    /// A scale in f16 and 32 signed bytes: `d q`.
    Q8_0,
    /// A scale in f16 and 32 codes of four bits: `d (q - 8)`.
    Q4_0,
    /// A scale and a minimum in f16 and 32 codes of four bits: `d q + m`.
    Q4_1,
    /// A scale in f16, the fifth bits of 32 codes, and their lower four: `d (q - 16)`.
    Q5_0,
    /// A scale and a minimum in f16, the fifth bits of 32 codes, and their lower four: `d q + m`.
    Q5_1,
    /// 256 codes of two bits, in groups of 16.
    Q2K,
    /// 256 codes of three bits, in groups of 16.
    Q3K,
    /// 256 codes of four bits, in groups of 32.
    Q4K,
    /// 256 codes of five bits, in groups of 32.
    Q5K,
    /// 256 codes of six bits, in groups of 16.
    Q6K,
}

impl Blocks {
    /// Numbers in a block.
    pub(crate) const fn count(self) -> usize {
        match self {
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 => BLOCK,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K => super_blocks::COUNT,
        }
    }

    /// Bytes of a block.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Q8_0 => 2 + BLOCK,
            Self::Q4_0 => 2 + BLOCK / 2,
            Self::Q4_1 => 4 + BLOCK / 2,
            Self::Q5_0 => 6 + BLOCK / 2,
            Self::Q5_1 => 8 + BLOCK / 2,
            Self::Q2K => super_blocks::Q2K_BYTES,
            Self::Q3K => super_blocks::Q3K_BYTES,
            Self::Q4K => super_blocks::Q4K_BYTES,
            Self::Q5K => super_blocks::Q5K_BYTES,
            Self::Q6K => super_blocks::Q6K_BYTES,
        }
    }

    /// llama.cpp's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q2K => "Q2_K",
            Self::Q3K => "Q3_K",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        }
    }

    /// Fills `out` from whole blocks, each number through `number`.
    pub(crate) fn decode<T>(self, bytes: &[u8], out: &mut [T], number: impl Fn(f32) -> T) {
        let blocks = bytes.chunks_exact(self.bytes());
        debug_assert!(
            blocks.remainder().is_empty() && blocks.len() * self.count() == out.len(),
            "pieces hold whole blocks"
        );
        let mut numbers = [0.0; LARGEST];
        let numbers = &mut numbers[..self.count()];
        for (block, out) in blocks.zip(out.chunks_exact_mut(self.count())) {
            self.decode_block(block, numbers);
            for (out, value) in out.iter_mut().zip(&*numbers) {
                *out = number(*value);
            }
        }
    }

    /// The numbers of one block.
    fn decode_block(self, block: &[u8], out: &mut [f32]) {
        let scale = || half(block, 0);
        match self {
            Self::Q8_0 => {
                let scale = scale();
                for (out, code) in out.iter_mut().zip(&block[2..]) {
                    *out = scale * f32::from(*code as i8);
                }
            }
            Self::Q4_0 => {
                let scale = scale();
                codes(&block[2..], None, out, |code| scale * f32::from(code as i8 - 8));
            }
            Self::Q4_1 => {
                let (scale, least) = (scale(), half(block, 2));
                codes(&block[4..], None, out, |code| scale * f32::from(code) + least);
            }
            Self::Q5_0 => {
                let scale = scale();
                codes(&block[6..], Some(&block[2..]), out, |code| {
                    scale * f32::from(code as i8 - 16)
                });
            }
            Self::Q5_1 => {
                let (scale, least) = (scale(), half(block, 2));
                codes(&block[8..], Some(&block[4..]), out, |code| {
                    scale * f32::from(code) + least
                });
            }
            Self::Q2K => super_blocks::q2k(block, out),
            Self::Q3K => super_blocks::q3k(block, out),
            Self::Q4K => super_blocks::q4k(block, out),
            Self::Q5K => super_blocks::q5k(block, out),
            Self::Q6K => super_blocks::q6k(block, out),
        }
    }
}

/// The codes of 16 bytes: the low halves are the first 16 numbers, the high ones the others. Where there are fifth bits, four
/// bytes hold one for each number.
fn codes(bytes: &[u8], fifth: Option<&[u8]>, out: &mut [f32], number: impl Fn(u8) -> f32) {
    let fifth = |place: usize| fifth.map_or(0, |bits| (bits[place / 8] >> (place % 8) & 1) << 4);
    let (low, high) = out.split_at_mut(BLOCK / 2);
    for (place, ((low, high), byte)) in low.iter_mut().zip(high).zip(bytes).enumerate() {
        *low = number(byte & 15 | fifth(place));
        *high = number(byte >> 4 | fifth(place + BLOCK / 2));
    }
}
