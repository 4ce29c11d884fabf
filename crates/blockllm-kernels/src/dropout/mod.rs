//! Dropout (Srivastava et al. 2014) whose mask is a function of a seed and of the entry's index, the same on every
//! backend: it is drawn again in the backward pass instead of kept.
//!
//! An entry is dropped when `mix(mix(index ^ k0) + k1) < p 2^32`, all in 32 bits, with two keys `k0`, `k1` from the seed;
//! the others are divided by `1 - p`. `mix` is a bijection found by search for the least bias (Wellons, lowbias32).

mod backward;
#[cfg(feature = "cube")]
pub(crate) mod cube;
#[cfg(feature = "flex")]
mod flex;
mod seeds;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Tensor, TensorData};
#[cfg(feature = "cube")]
pub(crate) use cube::list_kernels;
pub use seeds::{dropout_state, next_dropout_seed, seed_dropout};

use crate::composed::{cast, in_f32};

/// `x` with a share `probability` of its entries dropped and the others divided by `1 - probability`; `x` itself where
/// that is 0. Equal seeds drop the same entries of tensors of one size.
///
/// # Shapes
///
/// - x and output: any
///
/// # Panics
///
/// When `probability` is not at least 0 and below 1, or `x` has more than 2^32 entries.
pub fn dropout<const R: usize>(x: Tensor<R>, probability: f64, seed: u64) -> Tensor<R> {
    assert!(
        (0.0..1.0).contains(&probability),
        "a share of at least 0 and below 1 is dropped, not {probability}"
    );
    assert!(
        x.shape().num_elements() as u64 <= 1 << 32,
        "the mask's indices have 32 bits"
    );
    if probability == 0.0 {
        return x;
    }
    Tensor::from_dispatch(Dispatch::dropout_by_seed(x.into_dispatch(), probability, seed))
}

/// Which entries are dropped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mask {
    pub keys: [u32; 2],
    /// Hashes below are dropped.
    pub threshold: u32,
    /// What the kept entries are multiplied by.
    pub scale: f32,
}

impl Mask {
    pub fn new(probability: f64, seed: u64) -> Self {
        // Splitmix64's finalizer, so that neighbouring seeds have keys that have nothing to do with each other.
        let mut key = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        key = (key ^ (key >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        key = (key ^ (key >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        key ^= key >> 31;
        Self {
            keys: [key as u32, (key >> 32) as u32],
            threshold: (probability * 2f64.powi(32)) as u32,
            scale: (1.0 / (1.0 - probability)) as f32,
        }
    }

    /// What the entry is multiplied by: 0 or the scale.
    #[inline(always)]
    pub fn factor(self, index: u32) -> f32 {
        let hash = mix(mix(index ^ self.keys[0]).wrapping_add(self.keys[1]));
        if hash < self.threshold { 0.0 } else { self.scale }
    }
}

/// A bijection of 32 bits in which every bit of the input flips every bit of the output about half the time.
#[inline(always)]
fn mix(mut bits: u32) -> u32 {
    bits ^= bits >> 16;
    bits = bits.wrapping_mul(0x7FEB_352D);
    bits ^= bits >> 15;
    bits = bits.wrapping_mul(0x846C_A68B);
    bits ^ (bits >> 16)
}

/// Backends with seeded dropout; the default makes the mask on the host.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Autodiff,
    Fusion: cfg(feature = "fusion")
)]
pub trait DropoutBackend: Backend {
    /// `x` with the entries of the mask dropped; of a gradient the same.
    #[fusion(dtype = x, shape = x)]
    fn dropout_by_seed(x: FloatTensor<Self>, probability: f64, seed: u64) -> FloatTensor<Self> {
        let (dtype, shape) = (x.dtype(), x.shape());
        let mask = Mask::new(probability, seed);
        let factors: Vec<f32> = (0..shape.num_elements())
            .map(|index| mask.factor(index as u32))
            .collect();
        let factors = Self::float_from_data(TensorData::new(factors, shape), &x.device());
        cast::<Self>(Self::float_mul(in_f32::<Self>(x), factors), dtype)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::testing::{assert_agreement, devices, numbers, random};

    fn dropped(len: usize, probability: f64, seed: u64) -> Vec<bool> {
        let mask = Mask::new(probability, seed);
        (0..len as u32).map(|index| mask.factor(index) == 0.0).collect()
    }

    #[test]
    fn values_and_gradients_are_those_of_a_multiplication_by_the_mask() {
        for shape in [[1, 1], [5, 1], [1, 7], [70, 33], [130, 257]] {
            assert_agreement(
                "dropout",
                &[shape],
                &|inputs| dropout(inputs[0].clone() * 2.0, 0.3, 11),
                &|inputs| {
                    let x = inputs[0].clone() * 2.0;
                    let mask = Mask::new(0.3, 11);
                    let len = shape[0] * shape[1];
                    let factors: Vec<f32> = (0..len as u32).map(|index| mask.factor(index)).collect();
                    let place = (&x.device().inner(), DType::F32);
                    let factors = Tensor::<2>::from_data(TensorData::new(factors, shape), place);
                    let factors = factors.cast(x.dtype());
                    if x.is_autodiff() {
                        x * Tensor::from_inner(factors)
                    } else {
                        x * factors
                    }
                },
            );
        }
    }

    #[test]
    fn every_backend_drops_the_same_entries() {
        let expected = dropped(1300 * 7, 0.1, u64::MAX - 5);
        for device in devices() {
            let x = random([1300, 7], 3, &device) + 3.0;
            let found = numbers(dropout(x, 0.1, u64::MAX - 5));
            let found: Vec<bool> = found.into_iter().map(|number| number == 0.0).collect();
            assert_eq!(found, expected, "{device:?}");
        }
    }

    #[test]
    fn nothing_is_dropped_at_a_share_of_zero() {
        for device in devices() {
            let x = random([3, 4], 3, &device);
            assert_eq!(numbers(dropout(x.clone(), 0.0, 1)), numbers(x));
        }
    }

    #[test]
    fn the_share_that_is_dropped_is_the_probability_within_four_deviations() {
        let len = 200_000;
        for (seed, probability) in [(0, 0.1), (1, 0.1), (2, 0.5), (3, 0.9), (u64::MAX, 0.02)] {
            let count = dropped(len, probability, seed)
                .into_iter()
                .filter(|dropped| *dropped);
            let share = count.count() as f64 / len as f64;
            let deviation = (probability * (1.0 - probability) / len as f64).sqrt();
            assert!(
                (share - probability).abs() < 4.0 * deviation,
                "seed {seed}: {share} of {probability}"
            );
        }
    }

    #[test]
    fn entries_are_dropped_without_regard_to_their_neighbours_and_to_other_seeds() {
        let len = 200_000;
        let both = |one: &[bool], other: &[bool]| {
            let pairs = one.iter().zip(other);
            pairs.filter(|(one, other)| **one && **other).count() as f64 / len as f64
        };
        let mask = dropped(len, 0.5, 7);
        let deviation = (0.25 * 0.75 / len as f64).sqrt();
        for distance in [1, 2, 3, 64, 384, 1536] {
            let share =
                both(&mask[distance..], &mask[..len - distance]) * len as f64 / (len - distance) as f64;
            assert!(
                (share - 0.25).abs() < 4.0 * deviation,
                "distance {distance}: {share}"
            );
        }
        for seed in [6, 8, 7 + (1 << 32), 7 << 1] {
            let share = both(&mask, &dropped(len, 0.5, seed));
            assert!((share - 0.25).abs() < 4.0 * deviation, "seed {seed}: {share}");
        }
    }
}
