//! Scaling by a number on the CPU.

use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_flex::Flex;
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSliceMut;

use super::GivenGradientBackend;
use crate::composed::cast;
use crate::host::{in_f32, numbers, simd::vectorized};

/// Numbers of one task.
const TASK: usize = 1 << 15;

impl GivenGradientBackend for Flex {
    fn scaled_by(tensor: FloatTensor<Self>, factor: FloatTensor<Self>) -> FloatTensor<Self> {
        let factor = numbers(&in_f32(factor))[0];
        if factor.to_bits() == 1.0_f32.to_bits() {
            return tensor;
        }
        let dtype = tensor.dtype();
        let mut tensor = in_f32(tensor);
        let range = tensor
            .layout()
            .contiguous_offsets()
            .expect("it was made contiguous");
        // Copied first where somebody else holds it.
        tensor.storage_mut::<f32>()[range.0..range.1]
            .par_chunks_mut(TASK)
            .for_each(|chunk| {
                vectorized(
                    #[inline(always)]
                    || {
                        for number in chunk.iter_mut() {
                            *number *= factor;
                        }
                    },
                );
            });
        if dtype == DType::F32 {
            tensor
        } else {
            cast::<Self>(tensor, dtype)
        }
    }
}
