//! The exact GELU (Hendrycks and Gimpel 2016), with its exact derivative on every backend.

use std::f64::consts::FRAC_1_SQRT_2;

use burn::tensor::{DType, Device, Tensor, TensorData, activation};

/// `x Phi(x)`, where `Phi` is the distribution function of the standard normal.
///
/// burn 0.22.1's own has this value everywhere, but only on flex this derivative: the other backends take that of
/// the tanh approximation, which is off by up to 9e-4. There we let autodiff derive the formula, at the price of
/// a few more activations kept. On flex it is right, but calls a scalar `erf` twice and an `exp` for each entry, which
/// was a sixth of a fine-tuning step; there value and derivative come from one loop that the compiler vectorizes.
///
/// # Shapes
///
/// - input and output: any
pub fn gelu<const D: usize>(input: Tensor<D>) -> Tensor<D> {
    let device = input.device();
    if is_flex(&device) && input.dtype() == DType::F32 {
        return gelu_on_the_host(input, &device);
    }
    if !device.is_autodiff() || is_flex(&device) {
        return activation::gelu(input);
    }
    let cdf = ((input.clone() * FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
    input * cdf
}

/// Whether this is the CPU backend; autodiff does not matter to the comparison.
#[cfg(feature = "flex")]
fn is_flex(device: &Device) -> bool {
    *device == Device::flex()
}

/// Without the CPU backend compiled in, no device is on it.
#[cfg(not(feature = "flex"))]
fn is_flex(_device: &Device) -> bool {
    false
}

/// The GELU where tensors are in the host's memory. Autodiff sees `d x + (y - d x)` with the derivative `d` and the value
/// `y` as constants, so that it keeps `d` for the backward pass and nothing else.
fn gelu_on_the_host<const D: usize>(input: Tensor<D>, device: &Device) -> Tensor<D> {
    let shape = input.shape();
    let plain = if input.is_autodiff() {
        input.clone().inner()
    } else {
        input.clone()
    };
    let mut values: Vec<f32> = plain
        .into_data()
        .try_into_vec::<f32>()
        .expect("the type of its entries was just asked for");
    let upload = |values| Tensor::from_data(TensorData::new(values, shape.clone()), (device, DType::F32));
    if !input.is_tracked() {
        for value in &mut values {
            *value = value_and_slope(*value).0;
        }
        return upload(values);
    }
    let mut slopes = vec![0.0_f32; values.len()];
    for (value, slope) in values.iter_mut().zip(&mut slopes) {
        let x = *value;
        let (y, derivative) = value_and_slope(x);
        (*value, *slope) = (y - derivative * x, derivative);
    }
    input * upload(slopes) + upload(values)
}

/// Of `erfc(z) exp(z^2) = t P(u)` with `t = 1 / (1 + 0.33 z)` and `u = t - 1`: `P` with the lowest power first. Found for
/// `z` from 0 to 9.5 by reweighted least squares over 4000 Chebyshev points. In powers of `u`, which is small where the
/// derivative of the GELU needs it most, the rounding of `t` does not grow; in powers of `t` it did, by 3.4.
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

/// `x Phi(x)` and `Phi(x) + x phi(x)`, without branches or calls.
#[inline]
fn value_and_slope(x: f32) -> (f32, f32) {
    const INV_SQRT_2PI: f32 = 0.398_942_3;
    const RATIO: f32 = 0.33 * std::f32::consts::FRAC_1_SQRT_2;
    let bell = exp_of_negative(-0.5 * x * x);
    let scaled = RATIO * x.abs();
    let t = 1.0 / (1.0 + scaled);
    let u = -scaled * t;
    let tail = TAIL.iter().rev().fold(0.0, |sum, power| sum * u + power);
    let upper = 0.5 * bell * t * tail; // Phi(-|x|)
    let cdf = if x < 0.0 { upper } else { 1.0 - upper };
    (x * cdf, cdf + x * INV_SQRT_2PI * bell)
}

/// `exp(x)` for `x` of 0 or less, to two units in the last place; NaN stays NaN.
#[inline]
fn exp_of_negative(x: f32) -> f32 {
    /// Adding and taking away 1.5 * 2^23 rounds to whole numbers.
    const ROUND: f32 = 12_582_912.0;
    // Below, the result would be subnormal: zero will do.
    let x = if x < -87.0 { -87.0 } else { x };
    let power = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    // ln 2 in two parts, of which the first times any power is exact.
    let rest = (x - power * 0.693_359_4) - power * -2.121_944_4e-4;
    // The Taylor series to the 7th power: |rest| is at most ln(2) / 2.
    let series = [
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let fraction = series.iter().fold(0.0, |sum, power| sum * rest + power);
    let scale = f32::from_bits(((power as i32 + 127) as u32) << 23);
    fraction * scale
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Gradients;

    use super::*;

    /// From -12 to 12, and what lies beyond.
    fn inputs() -> Vec<f32> {
        let ends = [-1e9_f32, -100.0, 100.0, 1e9, -0.0];
        (-6000..=6000)
            .map(|step| step as f32 * 0.002)
            .chain(ends)
            .collect()
    }

    fn gradient(of: &Tensor<1>, gradients: &Gradients) -> Tensor<1> {
        of.grad(gradients).expect("it requires a gradient")
    }

    fn vector(tensor: Tensor<1>) -> Vec<f64> {
        tensor.into_data().iter::<f64>().collect()
    }

    #[test]
    fn value_and_derivative_are_those_of_the_formula_in_f64() {
        let device = Device::flex();
        let tracked = |dtype| {
            let device = device.clone().autodiff();
            Tensor::<1>::from_data(inputs().as_slice(), (&device, DType::F32))
                .cast(dtype)
                .require_grad()
        };
        let (ours, precise) = (tracked(DType::F32), tracked(DType::F64));
        let (value, expected) = (gelu(ours.clone()), activation::gelu(precise.clone()));
        let gradients = (value.sum().backward(), expected.sum().backward());
        let pairs = [
            (
                gelu(ours.clone()).inner(),
                activation::gelu(precise.clone()).inner(),
            ),
            (gradient(&ours, &gradients.0), gradient(&precise, &gradients.1)),
            (gelu(ours.inner()), activation::gelu(precise.inner())),
        ];
        for (found, expected) in pairs {
            for ((found, expected), x) in vector(found).into_iter().zip(vector(expected)).zip(inputs()) {
                let allowed = 2e-7 * f64::from(x).abs().max(1.0);
                assert!((found - expected).abs() <= allowed, "{x}: {found} {expected}");
            }
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        assert!(value_and_slope(f32::NAN).0.is_nan() && value_and_slope(f32::NAN).1.is_nan());
    }
}
