//! Sums of squares on the CPU: blocks of a fixed size on all cores, and the blocks in their order.

use burn::backend::ops::FloatTensorOps;
use burn_flex::{Flex, FlexTensor};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::{NORM_EPSILON, SumsBackend};
use crate::host::entries::{Floats, owned};
use crate::host::{in_f32, numbers, simd, tensor};

/// Numbers that are added in f32 before their sum goes to the others in f64.
const BLOCK: usize = 1 << 14;

impl SumsBackend for Flex {
    fn with_sum_of_squares(sums: FlexTensor, of: FlexTensor, slot: usize) -> FlexTensor {
        let of = in_any_order(of);
        let floats = Floats::of(&of);
        let blocks: Vec<f32> = (0..floats.len().div_ceil(BLOCK))
            .into_par_iter()
            .map(|block| {
                let block = floats.stretch(block * BLOCK, BLOCK);
                simd::vectorized(
                    #[inline(always)]
                    || {
                        simd::sum_of(
                            block.len(),
                            #[inline(always)]
                            |i| block[i] * block[i],
                        )
                    },
                )
            })
            .collect();
        let mut sums = owned(sums);
        let sum: f64 = blocks.into_iter().map(f64::from).sum();
        sums.storage_mut::<f32>()[slot] = sum as f32;
        sums
    }

    fn norm_and_factor(sums: FlexTensor, wanted: FlexTensor, max_norm: f64) -> (FlexTensor, FlexTensor) {
        let (sums, wanted) = (in_f32(sums), in_f32(wanted));
        let pairs = numbers(&sums).iter().zip(numbers(&wanted));
        let sum: f64 = pairs
            .filter(|(_, wanted)| **wanted > 0.0)
            .map(|(sum, _)| f64::from(*sum))
            .sum();
        let norm = sum.sqrt() as f32;
        let share = max_norm as f32 / (norm + NORM_EPSILON);
        let factor = if share > 1.0 { 1.0 } else { share };
        let scalar = |number| tensor(vec![number], [1], burn::tensor::DType::F32);
        (scalar(norm), scalar(factor))
    }
}

/// `tensor` with its numbers one behind the other, in whatever order: a transposed one is left as it is in memory.
fn in_any_order(tensor: FlexTensor) -> FlexTensor {
    let layout = tensor.layout();
    if layout.contiguous_offsets().is_some() {
        return tensor;
    }
    let mut order: Vec<usize> = (0..layout.shape().num_dims()).collect();
    order.sort_by_key(|dim| std::cmp::Reverse(layout.strides()[*dim]));
    let sorted = Flex::float_permute(tensor, &order);
    if sorted.layout().contiguous_offsets().is_some() {
        sorted
    } else {
        sorted.to_contiguous()
    }
}
