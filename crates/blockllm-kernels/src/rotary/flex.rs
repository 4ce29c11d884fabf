//! Rotary embedding on the CPU, in the memory of its input.

use burn::backend::tensor::FloatTensor;
use burn_flex::Flex;

use super::RotaryBackend;
use crate::host::elementwise::{in_chunks_of, numbers_mut, owned_in_f32, whole_rows};
use crate::host::{in_dtype, in_f32, numbers};

impl RotaryBackend for Flex {
    fn rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        inverse: bool,
    ) -> FloatTensor<Self> {
        let dtype = x.dtype();
        let (positions, head) = (x.layout().shape()[1], x.layout().shape()[3]);
        let (token, half) = (x.layout().shape()[2] * head, head / 2);
        let (mut x, cos, sin) = (owned_in_f32(x), in_f32(cos), in_f32(sin));
        let (cos, sin) = (numbers(&cos), numbers(&sin));
        let sign = if inverse { -1.0 } else { 1.0 };
        in_chunks_of(
            whole_rows(token),
            numbers_mut(&mut x),
            #[inline(always)]
            |start, tokens| {
                for (index, heads) in tokens.chunks_exact_mut(token).enumerate() {
                    let position = (start / token + index) % positions;
                    let cos = &cos[position * half..][..half];
                    let sin = &sin[position * half..][..half];
                    for head in heads.chunks_exact_mut(head) {
                        let (first, second) = head.split_at_mut(half);
                        for (((first, second), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                            let sin = sign * sin;
                            (*first, *second) = (*first * cos - *second * sin, *second * cos + *first * sin);
                        }
                    }
                }
            },
        );
        in_dtype(x, dtype)
    }
}
