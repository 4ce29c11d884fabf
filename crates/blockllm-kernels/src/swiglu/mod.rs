//! The gated unit of Llama's feed-forward layer (Shazeer 2020): `y = silu(g) u` with `silu(g) = g s` and
//! `s = 1 / (1 + exp(-g))`.
//!
//! For the gradient `h` of `y`: `dg = h u s (1 + g (1 - s))` and `du = h g s`. Computed in f32 and rounded once.

mod backward;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

#[cfg(feature = "cube")]
pub(crate) use cube::list_kernels;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use crate::composed::{cast, in_f32};

/// `silu(gate) * up`; the backward pass keeps `gate` and `up`, nothing of its own.
///
/// # Shapes
///
/// - gate, up and output: `[.., D]`, all the same
pub fn swiglu<const R: usize>(gate: Tensor<R>, up: Tensor<R>) -> Tensor<R> {
    assert_eq!(gate.dims(), up.dims(), "gate and up are as large as each other");
    Tensor::from_dispatch(Dispatch::swiglu(gate.into_dispatch(), up.into_dispatch()))
}

/// Backends with the gated unit; the defaults compose burn's operations.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Autodiff,
    Fusion: cfg(feature = "fusion")
)]
pub trait SwigluBackend: Backend {
    /// `y`, `[.., D]`.
    #[fusion(dtype = gate, shape = gate)]
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let dtype = gate.dtype();
        let (gate, up) = (in_f32::<Self>(gate), in_f32::<Self>(up));
        let silu = Self::float_mul(gate.clone(), Self::sigmoid(gate));
        cast::<Self>(Self::float_mul(silu, up), dtype)
    }

    /// `dg` and `du`, both `[.., D]`.
    #[fusion(meta = |gate, up, _grad| (gate.clone(), up.clone()))]
    fn swiglu_grad(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let dtype = gate.dtype();
        let (gate, up, grad) = (in_f32::<Self>(gate), in_f32::<Self>(up), in_f32::<Self>(grad));
        let sigmoid = Self::sigmoid(gate.clone());
        let through_sigmoid = Self::float_mul(grad, sigmoid.clone());
        let up_grad = Self::float_mul(through_sigmoid.clone(), gate.clone());
        let rest = Self::float_add_scalar(Self::float_neg(sigmoid), 1.0.into());
        let slope = Self::float_add_scalar(Self::float_mul(gate, rest), 1.0.into());
        let gate_grad = Self::float_mul(Self::float_mul(through_sigmoid, up), slope);
        (cast::<Self>(gate_grad, dtype), cast::<Self>(up_grad, dtype))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::activation::silu;

    use crate::testing::assert_agreement;

    #[test]
    fn values_and_gradients_are_those_of_the_composition() {
        for shape in [[1, 1], [5, 1], [1, 7], [3, 64], [70, 33], [130, 257]] {
            assert_agreement(
                "swiglu",
                &[shape, shape],
                &|inputs| swiglu(inputs[0].clone() * 6.0, inputs[1].clone()),
                &|inputs| silu(inputs[0].clone() * 6.0) * inputs[1].clone(),
            );
        }
    }

    #[test]
    fn views_of_larger_tensors_are_read_where_they_lie() {
        assert_agreement(
            "swiglu of halves",
            &[[6, 10]],
            &|inputs| {
                let [gate, up] = [0, 5].map(|start| inputs[0].clone().narrow(1, start, 5));
                swiglu(gate.transpose(), up.transpose())
            },
            &|inputs| {
                let [gate, up] = [0, 5].map(|start| inputs[0].clone().narrow(1, start, 5));
                (silu(gate) * up).transpose()
            },
        );
    }
}
