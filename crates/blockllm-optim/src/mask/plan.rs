//! Which masks a step makes: over which parameters together, and how many entries each keeps.
use super::{Mask, largest_of_groups, sampled, shares};
use crate::{MaskScope, MaskThreshold, OptimError};
use burn::tensor::Tensor;
use std::collections::BTreeMap;

/// Selected parameters that share a number of entries to keep: the whole selection, or a block with a budget of its own.
#[derive(Clone, Debug)]
pub(crate) struct MaskGroup {
    /// Entries of each parameter, by position.
    pub sizes: BTreeMap<usize, u64>,
    /// Entries to keep of all.
    pub keep: u64,
}

/// Which masks to make.
#[derive(Clone, Debug)]
pub(crate) struct MaskPlan {
    /// All selected parameters.
    pub groups: Vec<MaskGroup>,
    pub scope: MaskScope,
    pub threshold: MaskThreshold,
    /// Seed of a sampled threshold.
    pub seed: u64,
}

impl MaskPlan {
    /// The masks of some selected parameters, by their `scores`: of all of a group unless each parameter is masked alone.
    pub fn masks(&self, scores: &BTreeMap<usize, Tensor<1>>) -> Result<BTreeMap<usize, Mask>, OptimError> {
        let mut params = Vec::new();
        let mut masks = Vec::new();
        let mut wanted = Vec::new();
        let total: u64 = self.groups.iter().flat_map(|group| group.sizes.values()).sum();
        for group in &self.groups {
            let present: Vec<usize> = group
                .sizes
                .keys()
                .copied()
                .filter(|param| scores.contains_key(param))
                .collect();
            let of = |param: &usize| scores[param].clone();
            match (self.threshold, self.scope) {
                (MaskThreshold::Sampled(samples), scope) => {
                    let entries: u64 = group.sizes.values().sum();
                    let samples = (samples as u64 * entries).div_ceil(total.max(1)) as usize;
                    let tensors = present.iter().map(of).collect();
                    masks.extend(sampled(tensors, group.keep, scope, samples, self.seed)?);
                }
                // Without a mask all are to be kept, and nothing is read back.
                (MaskThreshold::Exact, MaskScope::Global | MaskScope::None) => {
                    wanted.push((present.iter().map(of).collect(), group.keep));
                }
                (MaskThreshold::Exact, MaskScope::PerParameter) => {
                    let sizes: Vec<u64> = group.sizes.values().copied().collect();
                    let shares: BTreeMap<_, _> = group.sizes.keys().zip(shares(&sizes, group.keep)).collect();
                    wanted.extend(present.iter().map(|param| (vec![of(param)], shares[param])));
                }
            }
            params.extend(present);
        }
        masks.extend(largest_of_groups(wanted)?);
        Ok(params.into_iter().zip(masks).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::tests::TopK;
    use burn::tensor::Device;

    /// Two blocks, of parameters 0 and 2, and of 1.
    fn plan(scope: MaskScope, threshold: MaskThreshold) -> MaskPlan {
        let group = |sizes: &[(usize, u64)], keep| MaskGroup {
            sizes: sizes.iter().copied().collect(),
            keep,
        };
        MaskPlan {
            groups: vec![group(&[(0, 3), (2, 2)], 2), group(&[(1, 4)], 1)],
            scope,
            threshold,
            seed: 0,
        }
    }

    #[test]
    fn every_block_keeps_its_own_budget() {
        let values: [&[f32]; 3] = [&[0.5, -0.1, 0.2], &[9.0, 8.0, 7.0, 6.0], &[0.3, -0.6]];
        let scores = (0..)
            .zip(values)
            .map(|(param, values)| (param, Tensor::from_floats(values, &Device::flex())));
        let scores: BTreeMap<usize, Tensor<1>> = scores.collect();
        for (scope, threshold, expected) in [
            (
                MaskScope::Global,
                MaskThreshold::Exact,
                [vec![0], vec![0], vec![1]],
            ),
            (
                MaskScope::PerParameter,
                MaskThreshold::Exact,
                [vec![0], vec![0], vec![1]],
            ),
            // Fewer entries than samples: the exact ones.
            (
                MaskScope::Global,
                MaskThreshold::Sampled(256),
                [vec![0], vec![0], vec![1]],
            ),
        ] {
            let masks = plan(scope, threshold).masks(&scores).unwrap();
            let kept: Vec<_> = masks.values().map(TopK::of).collect();
            assert_eq!(kept, expected.map(TopK::Some), "{scope:?} {threshold:?}");
        }
    }
}
