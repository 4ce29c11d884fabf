//! A value whose gradient is known: for what computes its own backward pass while it goes forward, as the loss of a
//! language model's head does chunk by chunk.
//!
//! `y = value`, and for the gradient `g` of `y`: `d value = g`, `d input = g gradient`. What lives until backward is
//! `gradient`, which is scaled in its own memory.

mod backward;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
#[cfg(feature = "cube")]
pub(crate) use cube::list_kernels;

use crate::composed::cast;

/// `value`, which depends on `input` with the given `gradient`.
///
/// # Shapes
///
/// - value and output: `[1]`, in f32
/// - input, gradient: any, the same; the gradient outside autodiff
pub fn with_gradient<const R: usize>(value: Tensor<1>, input: Tensor<R>, gradient: Tensor<R>) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::with_gradient(
        value.into_dispatch(),
        input.into_dispatch(),
        gradient.into_dispatch(),
    ))
}

/// Backends that scale a tensor by a number of their own; the default composes burn's operations.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Autodiff,
    Fusion: cfg(feature = "fusion")
)]
pub trait GivenGradientBackend: Backend {
    /// `value`; only autodiff does more.
    #[fusion(dtype = value, shape = value)]
    fn with_gradient(
        value: FloatTensor<Self>,
        input: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let _ = (input, gradient);
        value
    }

    /// `tensor * factor`, in the memory of `tensor` where nobody else holds it; `factor` is `[1]`.
    #[fusion(dtype = tensor, shape = tensor)]
    fn scaled_by(tensor: FloatTensor<Self>, factor: FloatTensor<Self>) -> FloatTensor<Self> {
        let (dtype, shape) = (tensor.dtype(), tensor.shape());
        let flat = Self::float_reshape(tensor, [shape.num_elements()].into());
        Self::float_reshape(Self::float_mul(flat, cast::<Self>(factor, dtype)), shape)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::testing::{assert_close, devices, float_types, numbers, random};

    #[test]
    fn the_given_gradient_reaches_the_input_times_that_of_the_value() {
        for device in devices() {
            for (dtype, allowed) in float_types(&device) {
                let input = Tensor::from_inner(random([37, 41], 1, &device).cast(dtype)).require_grad();
                let gradient = random([37, 41], 2, &device).cast(dtype);
                let value = Tensor::from_inner(Tensor::<1>::ones([1], (&device, DType::F32)));
                for factor in [1.0, -3.0] {
                    let loss = with_gradient(value.clone(), input.clone(), gradient.clone()) * factor;
                    assert_eq!(numbers(loss.clone().inner()), [factor]);
                    let gradients = loss.backward();
                    let found = input.grad(&gradients).expect("the input is tracked");
                    let expected = gradient.clone().cast(DType::F32) * factor;
                    assert_close(
                        &format!("{dtype:?} {device:?}"),
                        &numbers(found),
                        &numbers(expected),
                        allowed,
                    );
                }
                // The gradient that was given is another's still, and stays as it was.
                let unchanged = numbers(random([37, 41], 2, &device).cast(dtype));
                assert_eq!(numbers(gradient), unchanged);
            }
        }
    }
}
