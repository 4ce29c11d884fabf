//! Dropout on the CPU, in the memory of its input.

use burn::backend::tensor::FloatTensor;
use burn_flex::Flex;

use super::{DropoutBackend, Mask};
use crate::host::elementwise::{in_chunks, numbers_mut, owned_in_f32};
use crate::host::in_dtype;

impl DropoutBackend for Flex {
    fn dropout_by_seed(x: FloatTensor<Self>, probability: f64, seed: u64) -> FloatTensor<Self> {
        let dtype = x.dtype();
        let mask = Mask::new(probability, seed);
        let mut x = owned_in_f32(x);
        in_chunks(
            numbers_mut(&mut x),
            #[inline(always)]
            |start, x| {
                for (lane, x) in x.iter_mut().enumerate() {
                    *x *= mask.factor(start as u32 + lane as u32);
                }
            },
        );
        in_dtype(x, dtype)
    }
}
