//! The largest magnitudes on the CPU: blocks on all cores, without a copy of the tensors.

use burn::tensor::{DType, Shape, TensorData};
use burn_flex::{Flex, FlexTensor};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::backends::Pass;
use super::histogram::BINS;
use super::{BLOCK, TopKBackend};
use crate::host::entries::{Floats, Rest, owned};
use crate::host::tensor;

/// Entries that one histogram is filled with before it is added to the others.
const STRETCH: usize = 1 << 18;

/// Blocks that one task lists.
const TASK_BLOCKS: usize = 16;

/// Bits of `|value|`.
#[inline(always)]
fn magnitude(value: f32) -> u32 {
    value.to_bits() & 0x7fff_ffff
}

fn contiguous(values: FlexTensor) -> FlexTensor {
    if values.layout().contiguous_offsets().is_some() {
        values
    } else {
        values.to_contiguous()
    }
}

impl TopKBackend for Flex {
    fn with_magnitudes(histogram: FlexTensor, values: FlexTensor, pass: Pass) -> FlexTensor {
        let values = contiguous(values);
        let floats = Floats::of(&values);
        let counted = (0..floats.len().div_ceil(STRETCH))
            .into_par_iter()
            .map(|stretch| {
                let mut counts = vec![0u32; BINS];
                for value in floats.stretch(stretch * STRETCH, STRETCH).iter() {
                    let bits = magnitude(*value);
                    if bits >> pass.known_shift == pass.known {
                        counts[(bits >> pass.shift) as usize & pass.mask()] += 1;
                    }
                }
                counts
            })
            .reduce(
                || vec![0; BINS],
                |mut one, other| {
                    one.iter_mut().zip(other).for_each(|(one, other)| *one += other);
                    one
                },
            );
        let mut histogram = owned(histogram);
        let row = &mut histogram.storage_mut::<i32>()[pass.row * BINS..][..BINS];
        for (count, more) in row.iter_mut().zip(counted) {
            *count = (*count as u32 + more) as i32;
        }
        histogram
    }

    fn ranks(
        values: FlexTensor,
        before: FlexTensor,
        totals: FlexTensor,
        bits: u32,
        slot: usize,
    ) -> (FlexTensor, FlexTensor) {
        let values = contiguous(values);
        let floats = Floats::of(&values);
        let counted: Vec<[u32; 2]> = (0..floats.len().div_ceil(BLOCK))
            .into_par_iter()
            .with_min_len(TASK_BLOCKS)
            .map(|block| {
                let (mut above, mut equal) = (0, 0);
                for value in floats.stretch(block * BLOCK, BLOCK).iter() {
                    above += u32::from(magnitude(*value) > bits);
                    equal += u32::from(magnitude(*value) == bits);
                }
                [above, equal]
            })
            .collect();
        let (mut before, mut totals) = (owned(before), owned(totals));
        let mut sum = [0u32; 2];
        for (before, counted) in before.storage_mut::<i32>().chunks_exact_mut(2).zip(counted) {
            before.copy_from_slice(&sum.map(|sum| sum as i32));
            sum = [sum[0] + counted[0], sum[1] + counted[1]];
        }
        totals.storage_mut::<i32>()[slot * 2..][..2].copy_from_slice(&sum.map(|sum| sum as i32));
        (before, totals)
    }

    fn kept_indices(
        values: FlexTensor,
        before: FlexTensor,
        bits: u32,
        ties: u32,
        count: usize,
    ) -> FlexTensor {
        let values = contiguous(values);
        let floats = Floats::of(&values);
        let before = pairs(&before);
        let kept_before = |block: usize| match before.get(block) {
            Some([above, equal]) => (*above + *equal.min(&ties)) as usize,
            None => count,
        };
        let mut indices = vec![0i32; count];
        let mut rest = Rest::of(&mut indices);
        let blocks = floats.len().div_ceil(BLOCK);
        let tasks: Vec<_> = (0..blocks)
            .step_by(TASK_BLOCKS)
            .map(|first| {
                let end = blocks.min(first + TASK_BLOCKS);
                let len = kept_before(if end == blocks { usize::MAX } else { end }) - kept_before(first);
                (first..end, Rest::of(rest.take(len)))
            })
            .collect();
        tasks.into_par_iter().for_each(|(blocks, mut out)| {
            // One more than a block, for what is written last and not kept.
            let mut kept = vec![0i32; BLOCK + 1];
            for block in blocks {
                let count = list(
                    &floats,
                    block,
                    bits,
                    ties.saturating_sub(before[block][1]),
                    &mut kept,
                );
                out.take(count).copy_from_slice(&kept[..count]);
            }
        });
        FlexTensor::from_data(TensorData::new(indices, [count]))
    }

    fn kept_marked(
        values: FlexTensor,
        before: FlexTensor,
        bits: u32,
        ties: u32,
        excluded: f32,
    ) -> FlexTensor {
        let values = contiguous(values);
        let floats = Floats::of(&values);
        let before = pairs(&before);
        let mut marked = vec![excluded; floats.len()];
        let blocks: Vec<_> = marked.chunks_mut(BLOCK).enumerate().collect();
        blocks
            .into_par_iter()
            .with_min_len(TASK_BLOCKS)
            .for_each(|(block, out)| {
                let mut left = ties.saturating_sub(before[block][1]);
                let values = floats.stretch(block * BLOCK, BLOCK);
                for (out, value) in out.iter_mut().zip(values.iter()) {
                    let is_tie = magnitude(*value) == bits && left > 0;
                    left -= u32::from(is_tie);
                    if is_tie || magnitude(*value) > bits {
                        *out = 0.0;
                    }
                }
            });
        tensor(marked, Shape::new([floats.len()]), DType::F32)
    }
}

impl Pass {
    /// The bits of a magnitude, once shifted, that are counted by.
    fn mask(&self) -> usize {
        (1 << (self.known_shift - self.shift)) - 1
    }
}

/// The kept entries of a block, of which `ties` may equal the threshold. Every index is written and the place moves on
/// only when it is kept: a branch on random magnitudes would take several times as long.
fn list(floats: &Floats<'_>, block: usize, bits: u32, mut ties: u32, kept: &mut [i32]) -> usize {
    let mut count = 0;
    let values = floats.stretch(block * BLOCK, BLOCK);
    for (index, value) in values.iter().enumerate() {
        let magnitude = magnitude(*value);
        let is_tie = magnitude == bits && ties > 0;
        ties -= u32::from(is_tie);
        kept[count] = (block * BLOCK + index) as i32;
        count += usize::from(is_tie || magnitude > bits);
    }
    count
}

fn pairs(before: &FlexTensor) -> Vec<[u32; 2]> {
    let numbers = before.storage::<i32>().chunks_exact(2);
    numbers.map(|pair| [pair[0] as u32, pair[1] as u32]).collect()
}
