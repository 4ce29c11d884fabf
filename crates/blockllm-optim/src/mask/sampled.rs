//! The mask from a sampled quantile: cheaper to find than the exact top `k`, and off by a bounded share.
use super::{Mask, largest, largest_of_groups, masks, shares, sizes};
use crate::{MaskScope, OptimError};
use blockllm_kernels::{at_least, magnitude_thresholds};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Masks that keep about `keep` entries: those no smaller in magnitude than the matching quantile of `samples`
/// entries. The count differs from `keep` by at most [`tolerance`]; where sampling would miss that, as it does when
/// many entries are equal, the masks are the exact ones.
///
/// The histograms that find the threshold are over the sample only.
pub(crate) fn sampled(
    gradients: Vec<Tensor<1>>,
    keep: u64,
    scope: MaskScope,
    samples: usize,
    seed: u64,
) -> Result<Vec<Mask>, OptimError> {
    let sizes = sizes(&gradients);
    let total: u64 = sizes.iter().sum();
    if keep >= total || samples as u64 >= total {
        return exact(gradients, keep, scope);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let masks = match scope {
        MaskScope::Global | MaskScope::None => together(&gradients, keep, samples, &mut rng)?,
        MaskScope::PerParameter => {
            let mut masks = Vec::with_capacity(gradients.len());
            for (gradient, share) in gradients.iter().zip(shares(&sizes, keep)) {
                let samples = (samples as u64 * gradient.dims()[0] as u64).div_ceil(total) as usize;
                masks.extend(together(
                    std::slice::from_ref(gradient),
                    share,
                    samples,
                    &mut rng,
                )?);
            }
            masks
        }
    };
    let kept: u64 = masks
        .iter()
        .zip(&sizes)
        .map(|(mask, size)| mask.kept(*size))
        .sum();
    if kept == 0 || kept.abs_diff(keep) > tolerance(total, keep, samples) {
        return exact(gradients, keep, scope);
    }
    Ok(masks)
}

/// By how many entries a sampled mask may miss `keep` of `total`: four standard deviations of the sampled share.
pub(crate) fn tolerance(total: u64, keep: u64, samples: usize) -> u64 {
    let share = keep as f64 / total as f64;
    let deviation = (share * (1.0 - share) / samples as f64).sqrt();
    (4.0 * deviation * total as f64).ceil() as u64
}

fn exact(gradients: Vec<Tensor<1>>, keep: u64, scope: MaskScope) -> Result<Vec<Mask>, OptimError> {
    match scope {
        MaskScope::Global | MaskScope::None => largest(gradients, keep),
        MaskScope::PerParameter => {
            let shares = shares(&sizes(&gradients), keep);
            let alone = gradients.into_iter().map(|gradient| vec![gradient]);
            largest_of_groups(alone.zip(shares).collect())
        }
    }
}

/// One threshold over all `gradients`.
fn together(
    gradients: &[Tensor<1>],
    keep: u64,
    samples: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Mask>, OptimError> {
    let sizes = sizes(gradients);
    let total = sizes.iter().sum();
    if keep == 0 {
        return exact(gradients.to_vec(), 0, MaskScope::Global);
    }
    let sample = draw(gradients, total, samples.max(1), rng);
    let drawn: usize = sample.iter().map(|sample| sample.dims()[0]).sum();
    let wanted = (keep as f64 / total as f64 * drawn as f64).round() as u64;
    let thresholds = magnitude_thresholds(&[(sample, wanted.clamp(1, drawn as u64))])?;
    Ok(masks(at_least(gradients.to_vec(), thresholds[0])?, &sizes))
}

/// One entry from each of `samples` equal stretches of all gradients, laid end to end.
fn draw(gradients: &[Tensor<1>], total: u64, samples: usize, rng: &mut ChaCha8Rng) -> Vec<Tensor<1>> {
    let place =
        |stretch: usize, within: f64| ((stretch as f64 + within) / samples as f64 * total as f64) as u64;
    let mut places = (0..samples)
        .map(|stretch| place(stretch, rng.random::<f64>()).min(total - 1))
        .peekable();
    let (mut from, mut picked) = (0, Vec::new());
    for gradient in gradients {
        let to = from + gradient.dims()[0] as u64;
        let mut inside = Vec::new();
        while let Some(place) = places.next_if(|place| *place < to) {
            inside.push((place - from) as i32);
        }
        if !inside.is_empty() {
            picked.push(gradient.clone().select(0, indices(inside, &gradient.device())));
        }
        from = to;
    }
    picked
}

fn indices(values: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), (device, DType::I32))
}

#[cfg(test)]
mod tests {
    use super::super::tests::TopK;
    use super::*;
    use proptest::prelude::*;

    fn count(masks: &[Mask], sizes: &[usize]) -> u64 {
        masks
            .iter()
            .zip(sizes)
            .map(|(mask, size)| mask.kept(*size as u64))
            .sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_count_keeps_its_bound_and_the_kept_are_the_larger_ones(
            seed in 0u64..1000, share in 0.01f64..0.99, zeros in 0usize..4000, scope in 0usize..2,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let sizes = [3000usize, 40, 5000];
            let device = Device::flex();
            let values: Vec<Vec<f32>> = sizes.iter().map(|size| (0..*size).map(|index| {
                let value: f32 = rng.random();
                if index < zeros { 0.0 } else { value.powi(3) - 0.2 }
            }).collect()).collect();
            let tensors = || values.iter().map(|v| Tensor::from_floats(v.as_slice(), &device)).collect::<Vec<_>>();
            let keep = (share * 8040.0) as u64;
            let scope = [MaskScope::Global, MaskScope::PerParameter][scope];
            let masks = sampled(tensors(), keep, scope, 512, seed).unwrap();
            prop_assert!(count(&masks, &sizes).abs_diff(keep) <= tolerance(8040, keep, 512));
            for (mask, values) in masks.iter().zip(&values) {
                let TopK::Some(kept) = TopK::of(mask) else { continue };
                let is_kept = |index: usize| kept.binary_search(&(index as i32)).is_ok();
                let least = kept.iter().map(|index| values[*index as usize].abs()).fold(f32::MAX, f32::min);
                let most_left_out = (0..values.len()).filter(|index| !is_kept(*index)).map(|i| values[i].abs())
                    .fold(0.0, f32::max);
                prop_assert!(least >= most_left_out, "{least} {most_left_out}");
            }
        }
    }

    #[test]
    fn where_most_entries_are_equal_the_exact_mask_is_taken() {
        let device = Device::flex();
        let mut values = vec![0.0f32; 10_000];
        values[7] = 1.0;
        let gradients = || vec![Tensor::from_floats(values.as_slice(), &device)];
        let masks = sampled(gradients(), 500, MaskScope::Global, 256, 0).unwrap();
        let exact = largest(gradients(), 500).unwrap();
        assert_eq!(TopK::of(&masks[0]), TopK::of(&exact[0]));
        assert_eq!(masks[0].kept(10_000), 500);
    }
}
