//! Layer normalization (Ba et al. 2016).
//!
//! With the mean `m` of each row of `D` numbers, `r = 1 / sqrt(mean((x - m)^2) + epsilon)` and `n = (x - m) r`:
//! `y = n w + b`, in f32 throughout and rounded to the type of `x` at the end. For the gradient `g` of `y`, and `h = g w`:
//! `dx = r (h - mean(h) - n mean(h n))`, `dw = sum over rows of g n` and `db = sum over rows of g`.

mod backward;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
#[cfg(feature = "cube")]
pub(crate) use cube::list_kernels;

use crate::composed::{cast, in_f32, rows_of, sum_of_rows};

/// `weight * (x - mean(x)) / sqrt(var(x) + epsilon) + bias` over the last dimension; the backward pass keeps `x` and
/// `weight`.
///
/// # Shapes
///
/// - x and output: `[.., D]`
/// - weight and bias: `[D]`
pub fn layer_norm<const R: usize>(
    x: Tensor<R>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
) -> Tensor<R> {
    Tensor::from_dispatch(Dispatch::layer_norm_rows(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        epsilon,
    ))
}

/// Backends with layer normalization; the defaults compose burn's operations.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Autodiff,
    Fusion: cfg(feature = "fusion")
)]
pub trait LayerNormBackend: Backend {
    /// `y`, `[.., D]`.
    #[fusion(dtype = x, shape = x)]
    fn layer_norm_rows(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let (dtype, shape) = (x.dtype(), x.shape());
        let (normed, _) = normed::<Self>(x, epsilon);
        let scaled = Self::float_mul(normed, one_row::<Self>(weight));
        let output = Self::float_add(scaled, one_row::<Self>(bias));
        Self::float_reshape(cast::<Self>(output, dtype), shape)
    }

    /// `dx`, `[.., D]`.
    #[fusion(dtype = x, shape = x)]
    fn layer_norm_input_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let (dtype, shape) = (x.dtype(), x.shape());
        let (normed, root) = normed::<Self>(x, epsilon);
        let grad = rows_of::<Self>(in_f32::<Self>(grad));
        let scaled = Self::float_mul(grad, one_row::<Self>(weight));
        let mean = Self::float_mean_dim(scaled.clone(), 1);
        let product = Self::float_mean_dim(Self::float_mul(scaled.clone(), normed.clone()), 1);
        let rest = Self::float_sub(scaled, mean);
        let rest = Self::float_sub(rest, Self::float_mul(normed, product));
        Self::float_reshape(cast::<Self>(Self::float_mul(rest, root), dtype), shape)
    }

    /// `dw` and `db`, both `[D]` and in the type of `weight`.
    #[fusion(meta = |_x, weight, _grad, _epsilon| (weight.clone(), weight.clone()))]
    fn layer_norm_parameter_grads(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (dtype, shape) = (weight.dtype(), weight.shape());
        let (normed, _) = normed::<Self>(x, epsilon);
        let grad = rows_of::<Self>(in_f32::<Self>(grad));
        let parameter = |sum| Self::float_reshape(cast::<Self>(sum, dtype), shape.clone());
        let weight_grad = sum_of_rows::<Self>(Self::float_mul(grad.clone(), normed));
        (parameter(weight_grad), parameter(sum_of_rows::<Self>(grad)))
    }
}

/// `n` and `r` in f32: `[.., D]` to `[N, D]` and `[N, 1]`.
fn normed<B: Backend>(x: FloatTensor<B>, epsilon: f64) -> (FloatTensor<B>, FloatTensor<B>) {
    let rows = rows_of::<B>(in_f32::<B>(x));
    let mean = B::float_mean_dim(rows.clone(), 1);
    let centered = B::float_sub(rows, mean);
    let variance = B::float_mean_dim(B::float_mul(centered.clone(), centered.clone()), 1);
    let root = B::float_recip(B::float_sqrt(B::float_add_scalar(variance, epsilon.into())));
    (B::float_mul(centered, root.clone()), root)
}

/// `[D]` as `[1, D]` in f32.
fn one_row<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    let width = tensor.shape().num_elements();
    B::float_reshape(in_f32::<B>(tensor), Shape::new([1, width]))
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::testing::assert_agreement;

    fn composed(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<2>) -> Tensor<2> {
        let dtype = x.dtype();
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.cast(DType::F32));
        let centered = x.clone() - x.mean_dim(1);
        let root = (centered.clone().square().mean_dim(1) + 1e-5).sqrt();
        (centered / root * weight + bias).cast(dtype)
    }

    #[test]
    fn values_and_gradients_are_those_of_the_composition() {
        for [rows, width] in [[1, 1], [5, 1], [1, 7], [3, 64], [70, 33], [130, 257], [9, 1000]] {
            assert_agreement(
                "layer_norm",
                &[[rows, width], [1, width], [1, width]],
                &|inputs| {
                    let [weight, bias] = [1, 2].map(|input: usize| inputs[input].clone().reshape([width]));
                    layer_norm(inputs[0].clone(), weight, bias, 1e-5)
                },
                &|inputs| composed(inputs[0].clone(), inputs[1].clone(), inputs[2].clone()),
            );
        }
    }

    #[test]
    fn a_mean_beyond_the_deviations_does_not_hide_them() {
        assert_agreement(
            "layer_norm of shifted rows",
            &[[20, 48], [1, 48], [1, 48]],
            &|inputs| {
                let [weight, bias] = [1, 2].map(|input: usize| inputs[input].clone().reshape([48]));
                layer_norm(inputs[0].clone() + 4.0, weight, bias, 1e-5)
            },
            &|inputs| composed(inputs[0].clone() + 4.0, inputs[1].clone(), inputs[2].clone()),
        );
    }
}
