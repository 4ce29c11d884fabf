//! The exact GELU (Hendrycks and Gimpel 2016): `y = x Phi(x)`, where `Phi` is the distribution function of the standard
//! normal, with its exact derivative `Phi(x) + x phi(x)` on every backend.
//!
//! burn 0.22.1's own has this derivative on flex only: the other backends take that of the tanh approximation, which is
//! off by up to 9e-4. The kernels share one polynomial for the tail, [`TAIL`].

mod backward;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

#[cfg(feature = "cube")]
pub(crate) use cube::list_kernels;
use std::f64::consts::{FRAC_1_SQRT_2, TAU};

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use crate::composed::{cast, in_f32};

/// `x Phi(x)`; the backward pass keeps `x` and nothing of its own.
///
/// # Shapes
///
/// - x and output: any
pub fn gelu<const R: usize>(x: Tensor<R>) -> Tensor<R> {
    Tensor::from_dispatch(Dispatch::gelu_exact(x.into_dispatch()))
}

/// Of `erfc(z) exp(z^2) = t P(u)` with `t = 1 / (1 + 0.33 z)` and `u = t - 1`: `P` with the lowest power first. Found for
/// `z` from 0 to 9.5 by reweighted least squares over 4000 Chebyshev points. In powers of `u`, which is small where the
/// derivative of the GELU needs it most, the rounding of `t` does not grow; in powers of `t` it did, by 3.4.
#[cfg(any(feature = "flex", feature = "cube"))]
const TAIL: [f32; 8] = [
    0.999_999_94,
    2.419_316_5,
    3.343_633_2,
    2.637_030_1,
    0.818_103_4,
    -0.433_937_2,
    -0.488_939_94,
    -0.135_979_95,
];

/// `0.33 / sqrt(2)`: [`TAIL`]'s `0.33 z` of `z = |x| / sqrt(2)`, per `|x|`.
#[cfg(any(feature = "flex", feature = "cube"))]
const RATIO: f32 = 0.33 * std::f32::consts::FRAC_1_SQRT_2;

/// `1 / sqrt(2 pi)`.
#[cfg(any(feature = "flex", feature = "cube"))]
const INV_SQRT_2PI: f32 = 0.398_942_3;

/// Backends with the exact GELU; the defaults compose burn's operations.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Autodiff,
    Fusion: cfg(feature = "fusion")
)]
pub trait GeluBackend: Backend {
    /// `y`, as large as `x`.
    #[fusion(dtype = x, shape = x)]
    fn gelu_exact(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let dtype = x.dtype();
        let x = in_f32::<Self>(x);
        cast::<Self>(Self::float_mul(x.clone(), normal_cdf::<Self>(x)), dtype)
    }

    /// `g (Phi(x) + x phi(x))` for the gradient `g` of `y`, as large as `x`.
    #[fusion(dtype = x, shape = x)]
    fn gelu_exact_grad(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let dtype = x.dtype();
        let (x, grad) = (in_f32::<Self>(x), in_f32::<Self>(grad));
        let square = Self::float_mul(x.clone(), x.clone());
        let bell = Self::float_exp(Self::float_mul_scalar(square, (-0.5).into()));
        let density = Self::float_mul_scalar(bell, TAU.sqrt().recip().into());
        let slope = Self::float_add(normal_cdf::<Self>(x.clone()), Self::float_mul(x, density));
        cast::<Self>(Self::float_mul(grad, slope), dtype)
    }
}

/// `Phi(x)`.
fn normal_cdf<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let erf = B::float_erf(B::float_mul_scalar(x, FRAC_1_SQRT_2.into()));
    B::float_mul_scalar(B::float_add_scalar(erf, 1.0.into()), 0.5.into())
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::*;
    use crate::testing::{assert_agreement, devices, numbers};

    #[test]
    fn values_and_gradients_are_those_of_the_composition() {
        for shape in [[1, 1], [5, 1], [1, 7], [70, 33], [130, 257]] {
            assert_agreement(
                "gelu",
                &[shape],
                &|inputs| gelu(inputs[0].clone() * 4.0),
                &|inputs| {
                    let x = inputs[0].clone() * 4.0;
                    let cdf = ((x.clone() * FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
                    x * cdf
                },
            );
        }
    }

    /// From -12 to 12, and what lies beyond.
    fn inputs() -> Vec<f32> {
        let ends = [-1e9_f32, -100.0, 100.0, 1e9, -0.0];
        (-6000..=6000)
            .map(|step| step as f32 * 0.002)
            .chain(ends)
            .collect()
    }

    /// Value and derivative of the formula in f64, which only flex has.
    #[cfg(feature = "flex")]
    fn precise() -> [Vec<f64>; 2] {
        let x = Tensor::<1>::from_data(inputs().as_slice(), (&Device::flex(), DType::F32)).cast(DType::F64);
        let cdf = ((x.clone() * FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
        let density = (x.clone().square() * -0.5).exp() / TAU.sqrt();
        [numbers(x.clone() * cdf.clone()), numbers(cdf + x * density)]
    }

    #[test]
    #[cfg(feature = "flex")]
    fn value_and_derivative_are_those_of_the_formula_in_f64() {
        let [values, slopes] = precise();
        for device in devices() {
            let plain = Tensor::<1>::from_data(inputs().as_slice(), (&device, DType::F32));
            let tracked = Tensor::from_inner(plain.clone()).require_grad();
            let output = gelu(tracked.clone());
            let gradients = output.clone().sum().backward();
            let gradient = tracked.grad(&gradients).expect("it requires a gradient");
            let pairs = [
                (output.inner(), &values),
                (gradient, &slopes),
                (gelu(plain), &values),
            ];
            for (found, expected) in pairs {
                for ((found, expected), x) in numbers(found).into_iter().zip(expected).zip(inputs()) {
                    let allowed = 2e-7 * f64::from(x).abs().max(1.0);
                    assert!(
                        (found - expected).abs() <= allowed,
                        "{x} on {device:?}: {found} {expected}"
                    );
                }
            }
        }
    }
}
