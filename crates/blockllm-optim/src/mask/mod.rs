//! The mask: the exact `k` largest `|gradient|` of a selection (ALGORITHM, "select", point 4).
mod sampled;

pub(crate) use sampled::sampled;

use crate::OptimError;
use crate::precision::in_f32;
use burn::tensor::{Tensor, TensorData, Transaction};

/// For each tensor, which of its entries are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopK {
    /// Every entry.
    All,
    /// These entries, ascending.
    Some(Vec<i32>),
}

impl TopK {
    /// Whether no entry is kept.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Some(kept) if kept.is_empty())
    }

    /// How many of `numel` entries are kept.
    pub fn kept(&self, numel: u64) -> u64 {
        match self {
            Self::All => numel,
            Self::Some(kept) => kept.len() as u64,
        }
    }
}

/// The `keep` entries of largest magnitude over all `gradients` together, exactly; among equals the earlier
/// tensor, then the earlier entry wins, so the result is the same on every backend that gives the same gradients.
///
/// Everything is read back once. A radix selection over two 65,536-bin histograms finds the threshold, so that
/// no copy of the gradients is sorted.
pub(crate) fn largest(gradients: Vec<Tensor<1>>, keep: u64) -> Result<Vec<TopK>, OptimError> {
    let total: u64 = gradients.iter().map(|gradient| gradient.dims()[0] as u64).sum();
    if keep >= total {
        return Ok(vec![TopK::All; gradients.len()]);
    }
    let data = read_back(gradients)?;
    let slices: Vec<&[f32]> = data
        .iter()
        .map(|data| data.as_slice::<f32>().expect("the gradients were cast to f32"))
        .collect();
    let mut threshold = threshold_of(&slices, keep);
    Ok(slices.iter().map(|slice| pick(slice, &mut threshold)).collect())
}

/// The same share of each tensor's largest entries, rounded so that the shares add up to `keep`.
pub(crate) fn largest_of_each(gradients: Vec<Tensor<1>>, keep: u64) -> Result<Vec<TopK>, OptimError> {
    let sizes: Vec<_> = gradients
        .iter()
        .map(|gradient| gradient.dims()[0] as u64)
        .collect();
    let shares = shares(&sizes, keep);
    if shares == sizes {
        return Ok(vec![TopK::All; sizes.len()]);
    }
    let data = read_back(gradients)?;
    let pick_share = |(data, share): (&TensorData, u64)| {
        let slice = data.as_slice::<f32>().expect("the gradients were cast to f32");
        pick(slice, &mut threshold_of(&[slice], share))
    };
    Ok(data.iter().zip(shares).map(pick_share).collect())
}

/// `keep` in proportion to `sizes`, each rounded down or up.
fn shares(sizes: &[u64], keep: u64) -> Vec<u64> {
    let total: u128 = sizes.iter().copied().map(u128::from).sum();
    let (mut seen, mut kept) = (0, 0);
    let share = |size: &u64| {
        seen += u128::from(*size);
        let until_here = (u128::from(keep) * seen / total) as u64;
        let share = until_here - kept;
        kept = until_here;
        share
    };
    sizes.iter().map(share).collect()
}

fn read_back(gradients: Vec<Tensor<1>>) -> Result<Vec<TensorData>, OptimError> {
    gradients
        .into_iter()
        .fold(Transaction::default(), |transaction, gradient| {
            transaction.register(in_f32(gradient))
        })
        .try_execute()
        .map_err(|error| OptimError::Device {
            what: "gradients for the mask",
            message: error.to_string(),
        })
}

/// The `k`-th largest magnitude, and how many entries equal to it are kept.
struct Threshold {
    /// Bits of the magnitude; for non-negative floats they order as the floats do.
    bits: u32,
    /// Entries equal to the threshold that may still be taken.
    ties: u64,
}

/// Bits of `|value|`.
fn magnitude(value: f32) -> u32 {
    value.to_bits() & 0x7fff_ffff
}

fn threshold_of(slices: &[&[f32]], keep: u64) -> Threshold {
    let (high, remaining) = bin_of(slices, keep, |bits| Some(bits >> 16));
    let (low, ties) = bin_of(slices, remaining, |bits| {
        (bits >> 16 == high).then_some(bits & 0xffff)
    });
    Threshold {
        bits: high << 16 | low,
        ties,
    }
}

/// The bin of the `keep`-th largest key, and how many of that bin are still to be kept.
fn bin_of(slices: &[&[f32]], keep: u64, key: impl Fn(u32) -> Option<u32>) -> (u32, u64) {
    let mut histogram = vec![0u64; 1 << 16];
    for value in slices.iter().flat_map(|slice| slice.iter()) {
        if let Some(bin) = key(magnitude(*value)) {
            histogram[bin as usize] += 1;
        }
    }
    let mut remaining = keep;
    for (bin, &count) in histogram.iter().enumerate().rev() {
        if count >= remaining {
            return (bin as u32, remaining);
        }
        remaining -= count;
    }
    (0, 0)
}

/// The kept entries of one tensor. Every index is written and the place moves on only when it is kept: a branch
/// on random magnitudes would take several times as long.
fn pick(slice: &[f32], threshold: &mut Threshold) -> TopK {
    let mut kept = vec![0; slice.len()];
    let mut count = 0;
    for (index, &value) in slice.iter().enumerate() {
        let bits = magnitude(value);
        let is_tie = bits == threshold.bits && threshold.ties > 0;
        threshold.ties -= u64::from(is_tie);
        kept[count] = index as i32;
        count += usize::from(is_tie || bits > threshold.bits);
    }
    if count == slice.len() {
        return TopK::All;
    }
    kept.truncate(count);
    kept.shrink_to_fit();
    TopK::Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn largest_of(values: &[&[f32]], keep: u64) -> Vec<TopK> {
        let device = Device::flex();
        largest(
            values
                .iter()
                .map(|values| Tensor::from_floats(*values, &device))
                .collect(),
            keep,
        )
        .unwrap()
    }

    fn count(masks: &[TopK], values: &[&[f32]]) -> usize {
        let one = |(mask, values): (&TopK, &&[f32])| match mask {
            TopK::All => values.len(),
            TopK::Some(kept) => kept.len(),
        };
        masks.iter().zip(values).map(one).sum()
    }

    #[test]
    fn the_largest_magnitudes_are_kept_across_tensors() {
        let masks = largest_of(&[&[0.1, -5.0, 0.2], &[3.0, -0.3]], 3);
        assert_eq!(masks, [TopK::Some(vec![1]), TopK::All]);
    }

    #[test]
    fn ties_go_to_the_earlier_entry_and_the_budget_is_exact() {
        let values: [&[f32]; 2] = [&[1.0; 4], &[1.0; 4]];
        let masks = largest_of(&values, 5);
        assert_eq!(masks, [TopK::All, TopK::Some(vec![0])]);
        for keep in 1..=8 {
            assert_eq!(count(&largest_of(&values, keep), &values), keep as usize);
        }
    }

    #[test]
    fn the_threshold_equals_that_of_a_full_sort() {
        let values: Vec<f32> = (0..5000)
            .map(|i: i32| ((i * 7919) % 4999) as f32 * 1e-7 - 2e-4)
            .collect();
        let mut sorted: Vec<u32> = values.iter().map(|value| magnitude(*value)).collect();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        for keep in [1usize, 17, 2500, 4999] {
            let TopK::Some(kept) = &largest_of(&[&values], keep as u64)[0] else {
                panic!("not all are kept")
            };
            assert_eq!(kept.len(), keep);
            assert!(
                kept.iter()
                    .all(|&index| magnitude(values[index as usize]) >= sorted[keep - 1])
            );
        }
    }
}
