//! The K-quantizations of GGUF: blocks of 256 numbers in groups with scales of their own, which share a scale again.
//!
//! A number is `d s q`, or `d s q - m t` where the groups have minima too: `d` and `m` are the block's, in f16, `s` and `t` the group's, in
//! four, six or eight bits, `q` is the number's code. The layouts are those of llama.cpp's `ggml-quants.c`.

use half::f16;

/// Numbers in a block.
pub(crate) const COUNT: usize = 256;
/// Bytes of a block of each kind: scales, codes, the block's one or two halves.
pub(crate) const Q2K_BYTES: usize = 16 + 64 + 4;
pub(crate) const Q3K_BYTES: usize = 32 + 64 + 12 + 2;
pub(crate) const Q4K_BYTES: usize = 4 + 12 + 128;
pub(crate) const Q5K_BYTES: usize = 4 + 12 + 32 + 128;
pub(crate) const Q6K_BYTES: usize = 128 + 64 + 16 + 2;

/// 16 groups of a scale and a minimum of four bits each; of every 32 bytes of codes the lowest two bits are 32 numbers, then the
/// next two.
pub(crate) fn q2k(block: &[u8], out: &mut [f32]) {
    let (scales, codes) = (&block[..16], &block[16..80]);
    let (scale, least) = (half(block, 80), half(block, 82));
    for (group, out) in out.chunks_exact_mut(16).enumerate() {
        let scale = scale * f32::from(scales[group] & 15);
        let least = least * f32::from(scales[group] >> 4);
        let place = Place::of_two_bits(group);
        for (out, code) in out.iter_mut().zip(&codes[place.first..]) {
            *out = scale * f32::from(code >> place.shift & 3) - least;
        }
    }
}

/// 16 groups of a scale of six bits; codes as in [`q2k`], and 32 bytes whose bits say for each where 4 is not taken away.
pub(crate) fn q3k(block: &[u8], out: &mut [f32]) {
    let (high, codes, scales) = (&block[..32], &block[32..96], &block[96..108]);
    let scale = half(block, 108);
    for (group, out) in out.chunks_exact_mut(16).enumerate() {
        let low = scales[group % 8] >> (4 * (group / 8)) & 15;
        let upper = scales[8 + group % 4] >> (2 * (group / 4)) & 3;
        let scale = scale * f32::from((low | upper << 4) as i8 - 32);
        let place = Place::of_two_bits(group);
        let codes = codes[place.first..].iter().zip(&high[group % 2 * 16..]);
        for (out, (code, high)) in out.iter_mut().zip(codes) {
            let taken = if high >> (group / 2) & 1 == 1 { 0 } else { 4 };
            *out = scale * f32::from((code >> place.shift & 3) as i8 - taken);
        }
    }
}

/// Eight groups of a scale and a minimum of six bits each; of every 32 bytes of codes the low halves are 32 numbers, then the high
/// ones.
pub(crate) fn q4k(block: &[u8], out: &mut [f32]) {
    four_bits_and_more(block, &block[16..], out, |_, _| 0);
}

/// As [`q4k`], with 32 bytes whose bits are the fifth ones of the groups' numbers.
pub(crate) fn q5k(block: &[u8], out: &mut [f32]) {
    four_bits_and_more(block, &block[48..], out, |group, number| {
        (block[16 + number] >> group & 1) << 4
    });
}

/// 16 groups of a signed scale of eight bits. Of each half of the block, 64 bytes hold the lower four bits of 128 codes and 32 bytes
/// the upper two.
pub(crate) fn q6k(block: &[u8], out: &mut [f32]) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let scale = half(block, 208);
    for (group, out) in out.chunks_exact_mut(16).enumerate() {
        let scale = scale * f32::from(scales[group] as i8);
        // A half of the block is four quarters of 32 numbers.
        let (side, quarter) = (group / 8, group / 2 % 4);
        let within = group % 2 * 16;
        let low = &low[side * 64 + quarter % 2 * 32 + within..];
        let high = &high[side * 32 + within..];
        for (out, (low, high)) in out.iter_mut().zip(low.iter().zip(high)) {
            let code = low >> (quarter / 2 * 4) & 15 | (high >> (quarter * 2) & 3) << 4;
            *out = scale * f32::from(code as i8 - 32);
        }
    }
}

/// Eight groups of 32 codes of four bits each in `codes`, and what `upper` has above them for a number of a group.
fn four_bits_and_more(block: &[u8], codes: &[u8], out: &mut [f32], upper: impl Fn(usize, usize) -> u8) {
    let (scale, least) = (half(block, 0), half(block, 2));
    let packed = &block[4..16];
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (s, t) = six_bits(packed, group);
        let (scale, least) = (scale * f32::from(s), least * f32::from(t));
        let codes = &codes[group / 2 * 32..];
        for (number, (out, code)) in out.iter_mut().zip(codes).enumerate() {
            let code = code >> (group % 2 * 4) & 15 | upper(group, number);
            *out = scale * f32::from(code) - least;
        }
    }
}

/// Scale and minimum of a group, six bits each, from the twelve bytes that hold those of eight groups.
fn six_bits(packed: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (packed[group] & 63, packed[group + 4] & 63);
    }
    (
        packed[group + 4] & 15 | packed[group - 4] >> 6 << 4,
        packed[group + 4] >> 4 | packed[group] >> 6 << 4,
    )
}

/// The f16 at byte `at` of a block.
pub(crate) fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Where the codes of a group lie.
struct Place {
    /// The first byte.
    first: usize,
    /// Bits below them.
    shift: usize,
}

impl Place {
    /// Of 16 codes of two bits: 32 bytes hold eight groups.
    fn of_two_bits(group: usize) -> Self {
        Self {
            first: group / 8 * 32 + group % 2 * 16,
            shift: group / 2 % 4 * 2,
        }
    }
}
