//! The largest magnitudes on GPUs: histograms in a cube's own memory, and places by sums over units and blocks.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use cubecl::prelude::*;

use super::backends::Pass;
use super::histogram::BINS;
use super::{BLOCK, TopKBackend};
use crate::device::reduce::sum_before;
use crate::device::{UNITS, contiguous, cubes, element, empty, owned, units};

/// Entries of a block that one unit looks at, one behind the other.
const UNIT_ENTRIES: usize = BLOCK / UNITS as usize;

/// Entries that one cube counts before it adds to the histogram of all.
const STRETCH: usize = 1 << 14;

/// Bits of `|value|`.
#[cube]
fn magnitude<F: Float>(value: F) -> u32 {
    u32::reinterpret(f32::cast_from(value)) & 0x7fff_ffffu32
}

#[cube(launch)]
fn count_magnitudes<F: Float>(
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
    let cube = CUBE_POS as usize;
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
fn count_blocks<F: Float>(
    values: &[F],
    before: &mut [u32],
    len: usize,
    blocks: usize,
    bits: u32,
    #[define(F)] _dtype: ElemType,
) {
    let block = CUBE_POS as usize;
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
fn add_blocks(before: &mut [u32], totals: &mut [u32], blocks: usize, slot: usize) {
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

#[cube(launch)]
fn list_kept<F: Float>(
    values: &[F],
    before: &[u32],
    indices: &mut [i32],
    len: usize,
    blocks: usize,
    bits: u32,
    ties: u32,
    #[define(F)] _dtype: ElemType,
) {
    let block = CUBE_POS as usize;
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

#[cube(launch)]
fn mark_kept<F: Float>(
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
    let block = CUBE_POS as usize;
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

impl TopKBackend for CubeBackend {
    fn with_magnitudes(histogram: IntTensor<Self>, values: FloatTensor<Self>, pass: Pass) -> IntTensor<Self> {
        let (histogram, values) = (owned(histogram), contiguous(values));
        let len = values.meta.num_elements();
        let stretches = len.div_ceil(STRETCH);
        if stretches > 0 {
            let (client, dtype) = (values.client.clone(), element(&values));
            count_magnitudes::launch(
                &client,
                cubes(stretches),
                units(UNITS),
                values.into_buffer_arg(),
                histogram.clone().into_buffer_arg(),
                len,
                stretches,
                pass.row,
                pass.known,
                pass.known_shift,
                pass.shift,
                (1 << (pass.known_shift - pass.shift)) - 1,
                dtype,
            );
        }
        histogram
    }

    fn ranks(
        values: FloatTensor<Self>,
        before: IntTensor<Self>,
        totals: IntTensor<Self>,
        bits: u32,
        slot: usize,
    ) -> (IntTensor<Self>, IntTensor<Self>) {
        let (values, before, totals) = (contiguous(values), owned(before), owned(totals));
        let len = values.meta.num_elements();
        let blocks = len.div_ceil(BLOCK).max(1);
        let (client, dtype) = (values.client.clone(), element(&values));
        count_blocks::launch(
            &client,
            cubes(blocks),
            units(UNITS),
            values.into_buffer_arg(),
            before.clone().into_buffer_arg(),
            len,
            blocks,
            bits,
            dtype,
        );
        add_blocks::launch(
            &client,
            cubes(1),
            units(UNITS),
            before.clone().into_buffer_arg(),
            totals.clone().into_buffer_arg(),
            blocks,
            slot,
        );
        (before, totals)
    }

    fn kept_indices(
        values: FloatTensor<Self>,
        before: IntTensor<Self>,
        bits: u32,
        ties: u32,
        count: usize,
    ) -> IntTensor<Self> {
        let (values, before) = (contiguous(values), contiguous(before));
        let indices = empty(&values, [count], DType::I32);
        let len = values.meta.num_elements();
        let blocks = len.div_ceil(BLOCK).max(1);
        if count > 0 {
            let (client, dtype) = (values.client.clone(), element(&values));
            list_kept::launch(
                &client,
                cubes(blocks),
                units(UNITS),
                values.into_buffer_arg(),
                before.into_buffer_arg(),
                indices.clone().into_buffer_arg(),
                len,
                blocks,
                bits,
                ties,
                dtype,
            );
        }
        indices
    }

    fn kept_marked(
        values: FloatTensor<Self>,
        before: IntTensor<Self>,
        bits: u32,
        ties: u32,
        excluded: f32,
    ) -> FloatTensor<Self> {
        let (values, before) = (contiguous(values), contiguous(before));
        let len = values.meta.num_elements();
        let marked = empty(&values, [len], DType::F32);
        let blocks = len.div_ceil(BLOCK);
        if blocks > 0 {
            let (client, dtype) = (values.client.clone(), element(&values));
            mark_kept::launch(
                &client,
                cubes(blocks),
                units(UNITS),
                values.into_buffer_arg(),
                before.into_buffer_arg(),
                marked.clone().into_buffer_arg(),
                len,
                blocks,
                bits,
                ties,
                excluded,
                dtype,
            );
        }
        marked
    }
}
