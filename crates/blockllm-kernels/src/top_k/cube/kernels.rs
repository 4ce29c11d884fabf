//! The kernels of the search for the largest magnitudes.

#![allow(
    clippy::too_many_arguments,
    reason = "a kernel has a parameter for each buffer and each number"
)]

use cubecl::prelude::*;

use super::super::BLOCK;
use super::super::histogram::BINS;
use crate::device::UNITS;
use crate::device::reduce::sum_before;

/// Entries of a block that one unit looks at, one behind the other.
const UNIT_ENTRIES: usize = BLOCK / UNITS as usize;

/// Entries that one cube counts before it adds to the histogram of all.
pub const STRETCH: usize = 1 << 14;

/// Bits of `|value|`.
#[cube]
fn magnitude<F: Float>(value: F) -> u32 {
    u32::reinterpret(f32::cast_from(value)) & 0x7fff_ffffu32
}

/// The histogram of each stretch, added to that of all.
#[cube(launch)]
pub fn count_magnitudes<F: Float>(
    values: &[F],
    histogram: &[Atomic<u32>],
    len: usize,
    stretches: usize,
    row: usize,
    known: u32,
    known_shift: u32,
    shift: u32,
    mask: u32,
    #[define(F)] _dtype: ElemType,
) {
    let cube = CUBE_POS;
    if cube >= stretches {
        terminate!();
    }
    let counts = Shared::<[Atomic<u32>]>::new_slice(comptime!(BINS));
    let mut bin = UNIT_POS as usize;
    while bin < comptime!(BINS) {
        counts[bin].store(0u32);
        bin += CUBE_DIM as usize;
    }
    sync_cube();
    let end = min((cube + 1) * comptime!(STRETCH), len);
    let mut i = cube * comptime!(STRETCH) + UNIT_POS as usize;
    while i < end {
        let bits = magnitude::<F>(values[i]);
        if bits >> known_shift == known {
            let bin = usize::cast_from((bits >> shift) & mask);
            counts[bin].fetch_add(1u32);
        }
        i += CUBE_DIM as usize;
    }
    sync_cube();
    let mut bin = UNIT_POS as usize;
    while bin < comptime!(BINS) {
        let count = counts[bin].load();
        if count > 0u32 {
            histogram[row * comptime!(BINS) + bin].fetch_add(count);
        }
        bin += CUBE_DIM as usize;
    }
}

/// How many of a unit's entries are above the threshold, and in the upper half of the bits how many equal it: a block has
/// room for both.
#[cube]
fn count_of_unit<F: Float>(values: &[F], first: usize, end: usize, bits: u32) -> u32 {
    let mut counts = 0u32;
    let mut i = first;
    while i < end {
        let found = magnitude::<F>(values[i]);
        if found > bits {
            counts += 1u32;
        }
        if found == bits {
            counts += 65536u32;
        }
        i += 1;
    }
    counts
}

/// What each block has above the threshold and equal to it.
#[cube(launch)]
pub fn count_blocks<F: Float>(
    values: &[F],
    before: &mut [u32],
    len: usize,
    blocks: usize,
    bits: u32,
    #[define(F)] _dtype: ElemType,
) {
    let block = CUBE_POS;
    if block >= blocks {
        terminate!();
    }
    let mut scratch = Shared::<[u32]>::new_slice(comptime!(UNITS as usize));
    let first = block * comptime!(BLOCK) + UNIT_POS as usize * comptime!(UNIT_ENTRIES);
    let counts = count_of_unit::<F>(values, first, min(first + comptime!(UNIT_ENTRIES), len), bits);
    let others = sum_before(counts, &mut scratch);
    if UNIT_POS == CUBE_DIM - 1 {
        let sum = others + counts;
        before[block * 2] = sum & 0xffffu32;
        before[block * 2 + 1] = sum >> 16u32;
    }
}

/// Counts of blocks into counts of what is before them; one cube, a unit for each stretch of blocks.
#[cube(launch)]
pub fn add_blocks(before: &mut [u32], totals: &mut [u32], blocks: usize, slot: usize) {
    let mut scratch = Shared::<[u32]>::new_slice(comptime!(UNITS as usize));
    let stretch = blocks.div_ceil(CUBE_DIM as usize);
    let first = min(UNIT_POS as usize * stretch, blocks);
    let end = min(first + stretch, blocks);
    let mut above = 0u32;
    let mut equal = 0u32;
    for block in first..end {
        above += before[block * 2];
        equal += before[block * 2 + 1];
    }
    let mut above_before = sum_before(above, &mut scratch);
    let mut equal_before = sum_before(equal, &mut scratch);
    if UNIT_POS == CUBE_DIM - 1 {
        totals[slot * 2] = above_before + above;
        totals[slot * 2 + 1] = equal_before + equal;
    }
    for block in first..end {
        let above = before[block * 2];
        let equal = before[block * 2 + 1];
        before[block * 2] = above_before;
        before[block * 2 + 1] = equal_before;
        above_before += above;
        equal_before += equal;
    }
}

/// The index of each kept entry, at its place among them.
#[cube(launch)]
pub fn list_kept<F: Float>(
    values: &[F],
    before: &[u32],
    indices: &mut [i32],
    len: usize,
    blocks: usize,
    bits: u32,
    ties: u32,
    #[define(F)] _dtype: ElemType,
) {
    let block = CUBE_POS;
    if block >= blocks {
        terminate!();
    }
    let mut scratch = Shared::<[u32]>::new_slice(comptime!(UNITS as usize));
    let first = block * comptime!(BLOCK) + UNIT_POS as usize * comptime!(UNIT_ENTRIES);
    let end = min(first + comptime!(UNIT_ENTRIES), len);
    let counts = count_of_unit::<F>(values, first, end, bits);
    let others = sum_before(counts, &mut scratch);
    let mut above = before[block * 2] + (others & 0xffffu32);
    let mut equal = before[block * 2 + 1] + (others >> 16u32);
    let mut i = first;
    while i < end {
        let found = magnitude::<F>(values[i]);
        let is_tie = found == bits && equal < ties;
        if found > bits || is_tie {
            indices[usize::cast_from(above + min(equal, ties))] = i32::cast_from(i as u32);
        }
        if found > bits {
            above += 1u32;
        }
        if found == bits {
            equal += 1u32;
        }
        i += 1;
    }
}

/// A zero for each kept entry, `excluded` for the others.
#[cube(launch)]
pub fn mark_kept<F: Float>(
    values: &[F],
    before: &[u32],
    marked: &mut [f32],
    len: usize,
    blocks: usize,
    bits: u32,
    ties: u32,
    excluded: f32,
    #[define(F)] _dtype: ElemType,
) {
    let block = CUBE_POS;
    if block >= blocks {
        terminate!();
    }
    let mut scratch = Shared::<[u32]>::new_slice(comptime!(UNITS as usize));
    let first = block * comptime!(BLOCK) + UNIT_POS as usize * comptime!(UNIT_ENTRIES);
    let end = min(first + comptime!(UNIT_ENTRIES), len);
    let counts = count_of_unit::<F>(values, first, end, bits);
    let others = sum_before(counts, &mut scratch);
    let mut equal = before[block * 2 + 1] + (others >> 16u32);
    let mut i = first;
    while i < end {
        let found = magnitude::<F>(values[i]);
        let mut mark = excluded;
        if found > bits || (found == bits && equal < ties) {
            mark = 0.0f32;
        }
        marked[i] = mark;
        if found == bits {
            equal += 1u32;
        }
        i += 1;
    }
}
