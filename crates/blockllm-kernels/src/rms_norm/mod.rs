//! Root-mean-square normalization (Zhang and Sennrich 2019).
//!
//! With `r = 1 / sqrt(mean(x^2) + epsilon)` over each row of `D` numbers: `y = round(x r) * w`, where `round` is to the
//! type of `x`, as transformers rounds. For the gradient `g` of `y`, and `h = g w`:
//! `dx = r (h - x r^2 mean(h x))` and `dw = sum over rows of g x r`.

mod backward;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

#[cfg(feature = "cube")]
pub(crate) use cube::list_kernels;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use crate::composed::{cast, in_f32, rows_of, sum_of_rows};

/// `weight * x / sqrt(mean(x^2) + epsilon)` over the last dimension.
///
/// # Shapes
///
/// - x and output: `[.., D]`
/// - weight: `[D]`
pub fn rms_norm<const R: usize>(x: Tensor<R>, weight: Tensor<1>, epsilon: f64) -> Tensor<R> {
    Tensor::from_dispatch(Dispatch::rms_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        epsilon,
    ))
}

/// Backends with root-mean-square normalization; the defaults compose burn's operations.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Autodiff,
    Fusion: cfg(feature = "fusion")
)]
pub trait RmsNormBackend: Backend {
    /// `y`, `[.., D]`.
    #[fusion(dtype = x, shape = x)]
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f64) -> FloatTensor<Self> {
        let (dtype, shape) = (x.dtype(), x.shape());
        let rows = rows_of::<Self>(in_f32::<Self>(x));
        let root = inverse_root::<Self>(rows.clone(), epsilon);
        let normed = cast::<Self>(Self::float_mul(rows, root), dtype);
        let width = shape[shape.num_dims() - 1];
        let weight = Self::float_reshape(weight, Shape::new([1, width]));
        Self::float_reshape(Self::float_mul(normed, weight), shape)
    }

    /// `dx`, `[.., D]`.
    #[fusion(dtype = x, shape = x)]
    fn rms_norm_input_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let (dtype, shape) = (x.dtype(), x.shape());
        let width = shape[shape.num_dims() - 1];
        let rows = rows_of::<Self>(in_f32::<Self>(x));
        let root = inverse_root::<Self>(rows.clone(), epsilon);
        let weight = Self::float_reshape(in_f32::<Self>(weight), Shape::new([1, width]));
        let scaled = Self::float_mul(rows_of::<Self>(in_f32::<Self>(grad)), weight);
        let mean = Self::float_mean_dim(Self::float_mul(scaled.clone(), rows.clone()), 1);
        let square = Self::float_mul(root.clone(), root.clone());
        let along = Self::float_mul(rows, Self::float_mul(mean, square));
        let grad = Self::float_mul(Self::float_sub(scaled, along), root);
        Self::float_reshape(cast::<Self>(grad, dtype), shape)
    }

    /// `dw`, `[D]`, in the type of `weight`.
    #[fusion(dtype = weight, shape = weight)]
    fn rms_norm_weight_grad(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let rows = rows_of::<Self>(in_f32::<Self>(x));
        let root = inverse_root::<Self>(rows.clone(), epsilon);
        let normed = Self::float_mul(rows, root);
        let grad = rows_of::<Self>(in_f32::<Self>(grad));
        let sum = sum_of_rows::<Self>(Self::float_mul(grad, normed));
        Self::float_reshape(cast::<Self>(sum, weight.dtype()), weight.shape())
    }
}

/// `r` of rows in f32: `[N, D]` to `[N, 1]`.
fn inverse_root<B: Backend>(rows: FloatTensor<B>, epsilon: f64) -> FloatTensor<B> {
    let mean = B::float_mean_dim(B::float_mul(rows.clone(), rows), 1);
    B::float_recip(B::float_sqrt(B::float_add_scalar(mean, epsilon.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::DType;

    use crate::testing::assert_agreement;

    /// As the Llama's layer was composed of burn's operations.
    fn composed(x: Tensor<2>, weight: Tensor<1>, epsilon: f64) -> Tensor<2> {
        let dtype = x.dtype();
        let x = x.cast(DType::F32);
        let root = (x.clone().square().mean_dim(1) + epsilon).sqrt();
        (x / root).cast(dtype) * weight.unsqueeze()
    }

    #[test]
    fn values_and_gradients_are_those_of_the_composition() {
        for [rows, width] in [[1, 1], [5, 1], [1, 7], [3, 64], [70, 33], [130, 257], [9, 1000]] {
            assert_agreement(
                "rms_norm",
                &[[rows, width], [1, width]],
                &|inputs| rms_norm(inputs[0].clone(), inputs[1].clone().reshape([width]), 1e-5),
                &|inputs| composed(inputs[0].clone(), inputs[1].clone().reshape([width]), 1e-5),
            );
        }
    }
}
