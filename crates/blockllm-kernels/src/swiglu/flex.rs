//! The gated unit on the CPU. Where nobody else holds the inputs the results take their memory: in a backward pass always.

use burn::backend::tensor::FloatTensor;
use burn_flex::Flex;

use super::SwigluBackend;
use crate::host::elementwise::{
    filled_chunks, in_chunk_pairs, in_chunks, is_owned, numbers_mut, owned_in_f32,
};
use crate::host::simd::sigmoid;
use crate::host::{in_dtype, in_f32, numbers, tensor};

impl SwigluBackend for Flex {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let (dtype, shape) = (gate.dtype(), gate.layout().shape().clone());
        let (mut gate, up) = (in_f32(gate), in_f32(up));
        let up = numbers(&up);
        if is_owned(&mut gate) {
            in_chunks(
                numbers_mut(&mut gate),
                #[inline(always)]
                |start, gate| {
                    for (gate, up) in gate.iter_mut().zip(&up[start..]) {
                        *gate = *gate * sigmoid(*gate) * up;
                    }
                },
            );
            return in_dtype(gate, dtype);
        }
        let gate = numbers(&gate);
        let output = filled_chunks(
            gate.len(),
            #[inline(always)]
            |start, out| {
                for ((out, gate), up) in out.iter_mut().zip(&gate[start..]).zip(&up[start..]) {
                    *out = gate * sigmoid(*gate) * up;
                }
            },
        );
        tensor(output, shape, dtype)
    }

    fn swiglu_grad(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let dtype = gate.dtype();
        let (mut gate, mut up, grad) = (owned_in_f32(gate), owned_in_f32(up), in_f32(grad));
        let grad = numbers(&grad);
        in_chunk_pairs(
            numbers_mut(&mut gate),
            numbers_mut(&mut up),
            #[inline(always)]
            |start, gate, up| {
                for ((gate, up), grad) in gate.iter_mut().zip(up).zip(&grad[start..]) {
                    let sigmoid = sigmoid(*gate);
                    let up_grad = grad * *gate * sigmoid;
                    *gate = grad * *up * sigmoid * (1.0 + *gate * (1.0 - sigmoid));
                    *up = up_grad;
                }
            },
        );
        (in_dtype(gate, dtype), in_dtype(up, dtype))
    }
}
