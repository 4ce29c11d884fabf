//! State arrays on the CPU, in f32 or in 8-bit codes: shared out to tasks, and given to a rule a piece at a time.

use std::ops::Range;

use super::super::{CODE_BLOCK, CODE_WORDS, Coding, EXCLUDED, SMALLEST_SCALE, code_blocks};
use super::rules::is_excluded;
use crate::host::entries::Rest;

/// Entries of a piece: whole blocks of codes.
pub const PIECE: usize = 4 * CODE_BLOCK;

/// `N` whole arrays that are shared out from their beginning on.
pub trait Shared<const N: usize> {
    /// What a task gets.
    type Stretch: Stretch<N>;

    /// The next `entries` of every array; but for the last ones a multiple of a block.
    fn take(&mut self, entries: usize) -> Self::Stretch;
}

/// `N` arrays over the entries of a task.
pub trait Stretch<const N: usize>: Send {
    /// Calls `work` with each piece of `len` entries, at most [`PIECE`] long, and keeps what it leaves in the arrays.
    fn pieces(self, len: usize, work: impl FnMut(Range<usize>, [&mut [f32]; N]));
}

impl<'a, const N: usize> Shared<N> for [Rest<'a, f32>; N] {
    type Stretch = [&'a mut [f32]; N];

    fn take(&mut self, entries: usize) -> Self::Stretch {
        self.each_mut().map(|array| array.take(entries))
    }
}

impl<const N: usize> Stretch<N> for [&mut [f32]; N] {
    #[inline(always)]
    fn pieces(mut self, len: usize, mut work: impl FnMut(Range<usize>, [&mut [f32]; N])) {
        for start in (0..len).step_by(PIECE) {
            let range = start..len.min(start + PIECE);
            work(
                range.clone(),
                self.each_mut().map(|array| &mut array[range.clone()]),
            );
        }
    }
}

/// Codes of an array: all that is left of them, or those of a task.
pub struct Codes<W, S> {
    pub words: W,
    pub scales: S,
    pub coding: Coding,
}

impl<'a, const N: usize> Shared<N> for [Codes<Rest<'a, i32>, Rest<'a, f32>>; N] {
    type Stretch = [Codes<&'a mut [i32], &'a mut [f32]>; N];

    fn take(&mut self, entries: usize) -> Self::Stretch {
        let blocks = code_blocks(entries);
        self.each_mut().map(|array| Codes {
            words: array.words.take(blocks * CODE_WORDS),
            scales: array.scales.take(blocks),
            coding: array.coding,
        })
    }
}

impl<const N: usize> Stretch<N> for [Codes<&mut [i32], &mut [f32]>; N] {
    #[inline(always)]
    fn pieces(mut self, len: usize, mut work: impl FnMut(Range<usize>, [&mut [f32]; N])) {
        let mut values = [[0.0_f32; PIECE]; N];
        for start in (0..len).step_by(PIECE) {
            let range = start..len.min(start + PIECE);
            let blocks = start / CODE_BLOCK..code_blocks(range.end);
            let words = blocks.start * CODE_WORDS..blocks.end * CODE_WORDS;
            for (codes, values) in self.iter().zip(&mut values) {
                let (words, scales) = (&codes.words[words.clone()], &codes.scales[blocks.clone()]);
                let values = values.as_chunks_mut::<CODE_BLOCK>().0.iter_mut();
                for ((words, scale), values) in words.chunks_exact(CODE_WORDS).zip(scales).zip(values) {
                    decode(words, *scale, codes.coding, values);
                }
            }
            work(
                range.clone(),
                values.each_mut().map(|array| &mut array[..range.len()]),
            );
            for (codes, values) in self.iter_mut().zip(&mut values) {
                // The last block is filled up with zeros.
                values[range.len()..].fill(0.0);
                let (words, scales) = (&mut codes.words[words.clone()], &mut codes.scales[blocks.clone()]);
                let values = values.as_chunks::<CODE_BLOCK>().0;
                for ((words, scale), values) in words.chunks_exact_mut(CODE_WORDS).zip(scales).zip(values) {
                    *scale = encode(values, codes.coding, words);
                }
            }
        }
    }
}

/// The values of a block of codes.
#[inline(always)]
fn decode(words: &[i32], scale: f32, coding: Coding, values: &mut [f32; CODE_BLOCK]) {
    for (quarter, values) in values.chunks_exact_mut(CODE_WORDS).enumerate() {
        for (value, word) in values.iter_mut().zip(words) {
            let code = ((*word as u32) >> (8 * quarter)) & 255;
            let code = code as f32;
            *value = if coding.is_of_fourth_roots() {
                let root = code / 255.0;
                let square = root * root;
                square * square * scale
            } else if coding.excluding && code == 0.0 {
                EXCLUDED
            } else {
                let root = (code - 128.0) / 127.0;
                root * root.abs() * scale
            };
        }
    }
}

/// Codes a block of values; its scale.
#[inline(always)]
fn encode(values: &[f32; CODE_BLOCK], coding: Coding, words: &mut [i32]) -> f32 {
    let is_out = |value: f32| coding.excluding && is_excluded(value);
    let mut scale = SMALLEST_SCALE;
    for value in values {
        let magnitude = if is_out(*value) { 0.0 } else { value.abs() };
        scale = if magnitude > scale { magnitude } else { scale };
    }
    let mut codes = [0_u32; CODE_BLOCK];
    for (code, value) in codes.iter_mut().zip(values) {
        let unit = if is_out(*value) { 0.0 } else { *value } / scale;
        *code = if coding.is_of_fourth_roots() {
            let cut = (unit.sqrt().sqrt() * 255.0 + coding.offset).floor();
            let least = if unit > 0.0 { 1.0 } else { 0.0 };
            (if cut > least { cut } else { least }) as u32
        } else if is_out(*value) {
            0
        } else {
            let cut = (unit.abs().sqrt() * 127.0 + coding.offset).floor();
            let signed = if unit > 0.0 {
                cut
            } else if unit < 0.0 {
                -cut
            } else {
                0.0
            };
            (signed + 128.0) as u32
        };
    }
    let [first, second, third, fourth] = std::array::from_fn(|quarter| &codes[quarter * CODE_WORDS..]);
    for (place, word) in words.iter_mut().enumerate() {
        let packed = first[place] | second[place] << 8 | third[place] << 16 | fourth[place] << 24;
        *word = packed as i32;
    }
    scale
}
