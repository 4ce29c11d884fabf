//! Sums of squares of many tensors in one buffer, and the norm over some of them: no number leaves the device.
//!
//! Numbers are added in an order that depends on nothing but how many there are, without atomics, so that the same tensors
//! give the same bits each time, which an exact resume of clipped steps needs.
//!
//! Shape legend: `P` tensors.

#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;
#[cfg(feature = "cube")]
pub(crate) use cube::list_kernels;

/// `sums` with the sum of squares of all entries of `of`, added in f32, in place `slot`.
///
/// # Shapes
///
/// - sums and output: `[P]`, f32
pub fn with_sum_of_squares<const R: usize>(sums: Tensor<1>, slot: usize, of: Tensor<R>) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::with_sum_of_squares(
        sums.into_dispatch(),
        of.into_dispatch(),
        slot,
    ))
}

/// The root of the sum of those `sums` for which `wanted` is not zero, and the factor that brings it down to
/// `max_norm` at most: `min(max_norm / (norm + 1e-6), 1)`, as `torch.nn.utils.clip_grad_norm_` computes it.
///
/// # Shapes
///
/// - sums and wanted: `[P]`, f32
/// - each output: `[1]`, f32
pub fn norm_and_factor(sums: Tensor<1>, wanted: Tensor<1>, max_norm: f64) -> (Tensor<1>, Tensor<1>) {
    let (norm, factor) = Dispatch::norm_and_factor(sums.into_dispatch(), wanted.into_dispatch(), max_norm);
    (Tensor::from_dispatch(norm), Tensor::from_dispatch(factor))
}

/// What a norm is raised by before the largest one is divided by it.
const NORM_EPSILON: f32 = 1e-6;

/// Backends with sums of squares.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Fusion: cfg(feature = "fusion")
)]
pub trait SumsBackend: Backend {
    /// `sums` with one more.
    #[fusion(dtype = sums, shape = sums)]
    fn with_sum_of_squares(sums: FloatTensor<Self>, of: FloatTensor<Self>, slot: usize) -> FloatTensor<Self>;

    /// The norm and the clip factor.
    #[fusion(meta = |sums, _wanted, _max_norm| {
        let mut scalar = sums.clone();
        scalar.shape = burn::tensor::Shape::new([1]);
        (scalar.clone(), scalar)
    })]
    fn norm_and_factor(
        sums: FloatTensor<Self>,
        wanted: FloatTensor<Self>,
        max_norm: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::DType;

    use crate::testing::{devices, float_types, numbers, random};

    fn exact(tensor: Tensor<2>) -> f64 {
        numbers(tensor).iter().map(|number| number * number).sum()
    }

    #[test]
    fn each_sum_lands_in_its_slot_and_is_exact_to_rounding() {
        for device in devices() {
            for (dtype, _) in float_types(&device) {
                let tensors: Vec<_> = [[1, 1], [3, 7], [70, 30], [1, 5000], [300, 401]]
                    .into_iter()
                    .enumerate()
                    .map(|(seed, shape)| random(shape, seed as u64, &device).cast(dtype))
                    .collect();
                let mut sums = Tensor::<1>::zeros([7], (&device, DType::F32));
                for (slot, tensor) in tensors.iter().enumerate() {
                    sums = with_sum_of_squares(sums, slot + 1, tensor.clone());
                }
                let sums = numbers(sums);
                assert!(sums[0] == 0.0 && sums[6] == 0.0);
                for (slot, tensor) in tensors.into_iter().enumerate() {
                    let exact = exact(tensor);
                    let (found, allowed) = (sums[slot + 1], 1e-6 * exact);
                    assert!(
                        (found - exact).abs() <= allowed,
                        "{device:?} {slot}: {found} {exact}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_transposed_tensor_and_a_part_of_one_have_their_own_sums() {
        for device in devices() {
            let tensor = random([40, 30], 3, &device);
            let sum_of = |tensor: Tensor<2>| {
                let sums = Tensor::<1>::zeros([1], (&device, DType::F32));
                numbers(with_sum_of_squares(sums, 0, tensor))[0]
            };
            for part in [tensor.clone().transpose(), tensor.narrow(1, 3, 11)] {
                let exact = exact(part.clone());
                assert!((sum_of(part) / exact - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn the_same_tensor_gives_the_same_bits_each_time() {
        for device in devices() {
            let tensor = random([512, 128], 5, &device);
            let bits = || {
                let sums = Tensor::<1>::zeros([1], (&device, DType::F32));
                with_sum_of_squares(sums, 0, tensor.clone())
                    .into_scalar::<f32>()
                    .to_bits()
            };
            let first = bits();
            assert!((0..20).all(|_| bits() == first));
        }
    }

    #[test]
    fn the_norm_is_over_the_wanted_and_the_factor_brings_it_down() {
        for device in devices() {
            let of = |numbers: &[f32]| Tensor::<1>::from_floats(numbers, &device);
            // What is not wanted may be anything.
            let sums = of(&[9.0, f32::NAN, 16.0, 1e30]);
            let wanted = of(&[1.0, 0.0, 1.0, 0.0]);
            let (norm, factor) = norm_and_factor(sums.clone(), wanted.clone(), 1.0);
            assert!((numbers(norm)[0] - 5.0).abs() < 1e-6);
            assert!((numbers(factor)[0] - 1.0 / (5.0 + 1e-6)).abs() < 1e-6);
            let (_, factor) = norm_and_factor(sums, wanted, 7.0);
            assert!((numbers(factor)[0] - 1.0).abs() < 1e-9);
        }
    }
}
