//! The mask: the exact `k` entries of a selection that score highest, by `|gradient|` in the paper (ALGORITHM, "select", point 4).
mod plan;
mod sampled;
mod score;

pub(crate) use plan::{MaskGroup, MaskPlan};
pub(crate) use sampled::sampled;
pub(crate) use score::scores;
pub use score::{EntryScore, MaskScore, MaskUnit, ScoreContext};

use crate::OptimError;
use blockllm_kernels::{Kept, ReadBackError};
use burn::tensor::Tensor;

/// Which entries of a parameter are trained.
#[derive(Clone, Debug)]
pub(crate) enum Mask {
    /// Every entry.
    All,
    /// These, which are still on the device.
    Some(Box<Kept>),
}

impl Mask {
    /// Whether no entry is kept.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Some(kept) if kept.count() == 0)
    }

    /// How many of `numel` entries are kept.
    pub fn kept(&self, numel: u64) -> u64 {
        match self {
            Self::All => numel,
            Self::Some(kept) => kept.count(),
        }
    }
}

/// Of each group of tensors its `keep` entries of largest magnitude over all of them together, exactly; among equals the
/// earlier tensor, then the earlier entry wins, so the result is the same on every backend that gives the same scores. The
/// masks come in the order of the tensors.
///
/// The scores stay on their device; what is read back are histograms.
pub(crate) fn largest_of_groups(groups: Vec<(Vec<Tensor<1>>, u64)>) -> Result<Vec<Mask>, OptimError> {
    let sizes: Vec<_> = groups.iter().map(|(tensors, _)| sizes(tensors)).collect();
    let is_whole = |group: usize| groups[group].1 >= sizes[group].iter().sum();
    let is_whole: Vec<bool> = (0..groups.len()).map(is_whole).collect();
    let masked = groups
        .into_iter()
        .zip(&is_whole)
        .filter(|(_, is_whole)| !**is_whole);
    let masked: Vec<_> = masked.map(|(group, _)| group).collect();
    let mut kept = if masked.is_empty() {
        Vec::new()
    } else {
        blockllm_kernels::largest(masked)?
    }
    .into_iter();
    let mut all = Vec::new();
    for (sizes, is_whole) in sizes.iter().zip(is_whole) {
        if is_whole {
            all.extend(sizes.iter().map(|_| Mask::All));
        } else {
            all.extend(masks(kept.by_ref().take(sizes.len()).collect(), sizes));
        }
    }
    Ok(all)
}

/// [`largest_of_groups`] of one group.
pub(crate) fn largest(gradients: Vec<Tensor<1>>, keep: u64) -> Result<Vec<Mask>, OptimError> {
    largest_of_groups(vec![(gradients, keep)])
}

/// Entries of each tensor.
fn sizes(gradients: &[Tensor<1>]) -> Vec<u64> {
    gradients
        .iter()
        .map(|gradient| gradient.dims()[0] as u64)
        .collect()
}

fn masks(kept: Vec<Kept>, sizes: &[u64]) -> Vec<Mask> {
    let one = |(kept, size): (Kept, &u64)| {
        if kept.count() == *size {
            Mask::All
        } else {
            Mask::Some(Box::new(kept))
        }
    };
    kept.into_iter().zip(sizes).map(one).collect()
}

impl From<ReadBackError> for OptimError {
    fn from(error: ReadBackError) -> Self {
        Self::Device {
            what: "the mask",
            message: error.to_string(),
        }
    }
}

/// `keep` in proportion to `sizes`, each rounded down or up.
pub(crate) fn shares(sizes: &[u64], keep: u64) -> Vec<u64> {
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use burn::tensor::Device;

    /// A mask as the host sees it.
    #[derive(Debug, PartialEq, Eq)]
    pub(crate) enum TopK {
        All,
        Some(Vec<i32>),
    }

    impl TopK {
        pub(crate) fn of(mask: &Mask) -> Self {
            match mask {
                Mask::All => Self::All,
                Mask::Some(kept) => Self::Some(kept.indices().into_data().iter::<i32>().collect()),
            }
        }
    }

    /// Bits of `|value|`.
    fn magnitude(value: f32) -> u32 {
        value.to_bits() & 0x7fff_ffff
    }

    fn largest_of(values: &[&[f32]], keep: u64) -> Vec<TopK> {
        let device = Device::flex();
        let gradients = values.iter().map(|values| Tensor::from_floats(*values, &device));
        let masks = largest(gradients.collect(), keep).unwrap();
        masks.iter().map(TopK::of).collect()
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
