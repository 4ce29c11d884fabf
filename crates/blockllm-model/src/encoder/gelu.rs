//! The exact GELU (Hendrycks and Gimpel 2016), with its exact derivative on every backend.

use std::f64::consts::FRAC_1_SQRT_2;

use burn::tensor::{Device, Tensor, activation};

/// `x / 2 * (1 + erf(x / sqrt(2)))`.
///
/// burn 0.22.1's own has this value everywhere, but only on flex this derivative: the other backends take that of
/// the tanh approximation, which is off by up to 9e-4. There we let autodiff derive the formula, at the price of
/// a few more activations kept.
///
/// # Shapes
///
/// - input and output: any
pub fn gelu<const D: usize>(input: Tensor<D>) -> Tensor<D> {
    let device = input.device();
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
