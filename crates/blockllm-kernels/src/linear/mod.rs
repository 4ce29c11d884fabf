//! The linear layer: `y = x W + b`.
//!
//! For the gradient `g` of `y`: `dx = g W^T`, `dW = x^T g`, and `db` is the sum of the rows of `g`. Only what a gradient
//! that is wanted needs is kept: `W` for `dx`, `x` for `dW`. burn's own is the same on GPUs; on the CPU it clears each
//! result, writes it and copies it once more, which here is written once.

mod backward;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::ops::ModuleOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Shape, Tensor};

/// `layer` of `x`; [`linear`] with its weight and bias.
///
/// # Shapes
///
/// - x: `[.., I]`
/// - output: `[.., O]`
pub fn linear_layer<const R: usize>(layer: &Linear, x: Tensor<R>) -> Tensor<R> {
    linear(x, layer.weight.val(), layer.bias.as_ref().map(Param::val))
}

/// `x W + b`.
///
/// # Shapes
///
/// - x: `[.., I]`
/// - weight: `[I, O]`
/// - bias: `[O]`
/// - output: `[.., O]`
///
/// # Panics
///
/// When the widths do not fit together.
pub fn linear<const R: usize>(x: Tensor<R>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<R> {
    let ([inputs, outputs], width) = (weight.dims(), x.dims()[R - 1]);
    assert_eq!(
        width, inputs,
        "rows of {width} go through a weight [{inputs}, {outputs}]"
    );
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::linear_with_bias(x, weight, bias.into_dispatch()),
        None => Dispatch::linear_without_bias(x, weight),
    })
}

/// The product of two matrices outside autodiff.
///
/// # Shapes
///
/// - left: `[M, K]`, right: `[K, N]`, both of any strides
/// - output: `[M, N]`
pub fn product(left: Tensor<2>, right: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::plain_product(
        left.into_dispatch(),
        right.into_dispatch(),
    ))
}

/// Backends with linear layers; the defaults are burn's.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Autodiff,
    Fusion: cfg(feature = "fusion")
)]
pub trait LinearBackend: Backend {
    /// `x W`, `[.., O]`.
    #[fusion(dtype = x, shape = replaced_width(x, weight[1]))]
    fn linear_without_bias(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as ModuleOps<Self>>::linear(x, weight, None)
    }

    /// `x W + b`, `[.., O]`.
    #[fusion(dtype = x, shape = replaced_width(x, weight[1]))]
    fn linear_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        <Self as ModuleOps<Self>>::linear(x, weight, Some(bias))
    }

    /// `dx = g W^T`, `[.., I]`.
    #[fusion(dtype = grad, shape = replaced_width(grad, weight[0]))]
    fn linear_input_grad(grad: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as ModuleOps<Self>>::linear_x_backward(weight, grad)
    }

    /// `dW = x^T g`, `[I, O]`.
    #[fusion(dtype = x, shape = Shape::new([width(x), width(grad)]))]
    fn linear_weight_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as ModuleOps<Self>>::linear_weight_backward(x, grad)
    }

    /// `left right`, `[M, N]`.
    #[fusion(dtype = left, shape = replaced_width(left, right[1]))]
    fn plain_product(left: FloatTensor<Self>, right: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(left, right)
    }

    /// `db`, `[O]`.
    #[fusion(dtype = grad, shape = Shape::new([width(grad)]))]
    fn linear_bias_grad(grad: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as ModuleOps<Self>>::linear_bias_backward(grad)
    }
}

/// The last dimension.
fn width(shape: &Shape) -> usize {
    shape[shape.num_dims() - 1]
}

/// `shape` with another last dimension.
fn replaced_width(shape: &Shape, width: usize) -> Shape {
    let mut shape = shape.clone();
    let last = shape.num_dims() - 1;
    shape[last] = width;
    shape
}

#[cfg(test)]
mod tests {
    use burn::tensor::module;

    use super::*;
    use crate::testing::{assert_agreement, assert_close, devices, numbers, random};

    #[test]
    fn values_and_gradients_are_those_of_burn() {
        for [rows, inputs, outputs] in [[1, 1, 1], [5, 3, 2], [130, 65, 33], [2, 70, 129]] {
            assert_agreement(
                "linear",
                &[[rows, inputs], [inputs, outputs], [1, outputs]],
                &|input| {
                    let bias = input[2].clone().reshape([outputs]);
                    linear(input[0].clone(), input[1].clone(), Some(bias))
                },
                &|input| {
                    let bias = input[2].clone().reshape([outputs]);
                    module::linear(input[0].clone(), input[1].clone(), Some(bias))
                },
            );
            assert_agreement(
                "linear without bias",
                &[[rows, inputs], [inputs, outputs]],
                &|input| linear(input[0].clone(), input[1].clone(), None),
                &|input| module::linear(input[0].clone(), input[1].clone(), None),
            );
        }
    }

    #[test]
    fn rows_may_have_several_dimensions_and_matrices_any_strides() {
        for device in devices() {
            let (x, weight) = (random([6, 5], 1, &device), random([5, 4], 2, &device));
            let expected = numbers(x.clone().matmul(weight.clone()));
            let folded = linear(x.clone().reshape([2, 3, 5]), weight.clone(), None);
            assert_eq!(folded.dims(), [2, 3, 4]);
            assert_close("folded", &numbers(folded), &expected, 2e-6);
            let turned = linear(
                x.clone(),
                weight.clone().transpose().reshape([4, 5]).transpose(),
                None,
            );
            assert_close("turned", &numbers(turned), &expected, 2e-6);
            let plain = product(x.transpose().reshape([5, 6]).transpose(), weight);
            assert_close("product", &numbers(plain), &expected, 2e-6);
        }
    }
}
