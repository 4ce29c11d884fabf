//! Rotary position embedding (Su et al. 2021) as Hugging Face computes it: the two halves `a`, `b` of a head rotate.
//!
//! At position `t` and for `i` below half the head: `a' = a cos - b sin` and `b' = b cos + a sin` with the tables' row `t`.
//! The gradient rotates back, by the same tables with the sines negated. Computed in f32 and rounded once.
//!
//! Shapes: `B` batch, `T` sequence, `H` heads, `K` numbers of a head.

mod backward;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Slice, Tensor};
#[cfg(feature = "cube")]
pub(crate) use cube::list_kernels;

use crate::composed::{cast, in_f32};

/// Queries or keys rotated by their positions, in their own memory if nobody else holds it. The backward pass keeps
/// nothing but the tables, which are constants.
///
/// # Shapes
///
/// - x and output: `[B, T, H, K]`
/// - cos and sin: `[T, K / 2]` in f32, outside autodiff
///
/// # Panics
///
/// When the tables have other positions or another width.
pub fn rotary(x: Tensor<4>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<4> {
    let [_, positions, _, width] = x.dims();
    let expected = [positions, width / 2];
    assert!(
        width.is_multiple_of(2) && cos.dims() == expected && sin.dims() == expected,
        "heads of {width} at {positions} positions are rotated by tables of {expected:?}, not {:?} and {:?}",
        cos.dims(),
        sin.dims()
    );
    Tensor::from_dispatch(Dispatch::rotary(
        x.into_dispatch(),
        cos.into_dispatch(),
        sin.into_dispatch(),
        false,
    ))
}

/// Backends with rotary embedding; the defaults compose burn's operations.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Autodiff,
    Fusion: cfg(feature = "fusion")
)]
pub trait RotaryBackend: Backend {
    /// The halves of `[B, T, H, K]` rotated by the tables, or back where `inverse` is true.
    #[fusion(dtype = x, shape = x)]
    fn rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        inverse: bool,
    ) -> FloatTensor<Self> {
        let (dtype, shape) = (x.dtype(), x.shape());
        let (positions, half) = (shape[1], shape[3] / 2);
        let table = |table| {
            let table = in_f32::<Self>(table);
            Self::float_reshape(table, Shape::new([1, positions, 1, half]))
        };
        let (cos, sin) = (table(cos), table(sin));
        let sin = if inverse { Self::float_neg(sin) } else { sin };
        let x = in_f32::<Self>(x);
        let part = |x: FloatTensor<Self>, from: usize| {
            let all = Slice::from(..);
            let range = Slice::from(from..from + half);
            Self::float_slice(x, &[all, all, all, range])
        };
        let (first, second) = (part(x.clone(), 0), part(x, half));
        let times = Self::float_mul;
        let rotated_first = Self::float_sub(
            times(first.clone(), cos.clone()),
            times(second.clone(), sin.clone()),
        );
        let rotated_second = Self::float_add(times(second, cos), times(first, sin));
        cast::<Self>(Self::float_cat(vec![rotated_first, rotated_second], 3), dtype)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, TensorData};

    use super::*;
    use crate::testing::{assert_agreement, assert_close, devices, numbers, random};

    fn tables([positions, half]: [usize; 2], device: &Device) -> [Tensor<2>; 2] {
        [f64::cos, f64::sin].map(|function| {
            let entry = |entry| function((entry / half) as f64 * 0.7_f64.powi((entry % half) as i32)) as f32;
            let entries: Vec<f32> = (0..positions * half).map(entry).collect();
            Tensor::from_data(
                TensorData::new(entries, [positions, half]),
                (&device.clone().inner(), DType::F32),
            )
        })
    }

    /// As the Llama's layer was composed of burn's operations, with heads before positions.
    fn composed(x: Tensor<4>) -> Tensor<4> {
        let [_, positions, _, width] = x.dims();
        let half = width / 2;
        let [cos, sin] = tables([positions, half], &x.device())
            .map(|table| table.cast(x.dtype()).reshape([1, 1, positions, half]));
        let heads = x.swap_dims(1, 2);
        let first = heads.clone().narrow(3, 0, half);
        let second = heads.narrow(3, half, half);
        let rotated_first = first.clone() * cos.clone() - second.clone() * sin.clone();
        let rotated_second = second * cos + first * sin;
        Tensor::cat(vec![rotated_first, rotated_second], 3).swap_dims(1, 2)
    }

    fn rotated(x: Tensor<4>) -> Tensor<4> {
        let [_, positions, _, width] = x.dims();
        let [cos, sin] = tables([positions, width / 2], &x.device());
        rotary(x, cos, sin)
    }

    #[test]
    fn values_and_gradients_are_those_of_the_composition() {
        for [batch, positions, heads, width] in [
            [1, 1, 1, 2],
            [2, 5, 3, 2],
            [1, 7, 1, 6],
            [3, 33, 2, 16],
            [2, 40, 4, 64],
        ] {
            let shape = [batch * positions * heads, width];
            let heads = |inputs: &[Tensor<2>]| {
                inputs[0]
                    .clone()
                    .mul_scalar(1.5)
                    .reshape([batch, positions, heads, width])
            };
            assert_agreement(
                "rotary",
                &[shape],
                &|inputs| rotated(heads(inputs)).reshape(shape),
                &|inputs| composed(heads(inputs)).reshape(shape),
            );
        }
    }

    #[test]
    fn what_others_hold_stays_as_it_is() {
        for device in devices() {
            let x = random([12, 8], 5, &device).reshape([1, 3, 4, 8]);
            let before = numbers(x.clone());
            let shared = numbers(rotated(x.clone()));
            assert_close("held", &numbers(x.clone()), &before, 0.0);
            assert_close("in place", &numbers(rotated(x)), &shared, 0.0);
        }
    }
}
