//! What entries do that no update rule trains: they stand still, or follow their gradient by a rule with hardly any state.
use crate::record::mismatch;
use crate::whitened::{whitened, whitening_bytes};
use crate::{OptimError, OptimizerRecord, Parameter, ParameterGroup, Reach};
use blockllm_kernels::{
    Coding, FusedRule, NormalisedStep, Rounding, Stay, Trained, TrainedEntries, UpdateStep, decayed_sum,
    normalised_update, update,
};
use blockllm_policy::path_matches;
use blockllm_tensors::HeldTensor;
use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The way that an entry goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Against the sign of its gradient, as FRUGAL (arXiv 2411.07837) trains its state-free part.
    #[default]
    Sign,
    /// Against its gradient over the root mean square of its column, as SCALE (arXiv 2506.16659): of a weight matrix, over the
    /// inputs of each output; of an embedding, over the tokens; of a vector, over all of it.
    Normalised,
    /// The matrices of attention and MLP against their whitened gradient, whose singular values are all brought near one
    /// (SWAN, arXiv 2412.13148, by Muon's iteration), its columns then normalised; all else as [`Normalised`](Self::Normalised).
    Whitened,
}

/// **Choice:** what the entries do that no update rule trains, `w -= lr scale direction`. It keeps no state but the momenta that
/// are asked for; their gradients exist at every step: all at once in a whole backward pass, one layer's at a time where it
/// goes layer by layer. Weights in half precision are rounded up or down by chance: such small steps would be lost
/// otherwise. The clip does not act here: neither way depends on a gradient's length. Nor does a
/// weight decay, which is the update rule's: these entries do not decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InactiveRule {
    /// Which way.
    pub direction: Direction,
    /// Its learning rate as a multiple of the run's.
    pub scale: f64,
    /// Which blocks outside the selection move so.
    pub reach: Reach,
    /// Whether the entries of selected blocks move too that the mask leaves out; not by signs.
    pub masked_out: bool,
    /// Path patterns of the parameters whose direction is that of a momentum, a decayed sum of gradients: 4 bytes per
    /// entry. [`HEAD`](Self::HEAD) is the head, whatever it is called, or the embeddings where they are the head: SCALE keeps one
    /// of it alone, whose gradient is the noisiest.
    pub momentum: Vec<String>,
}

impl Default for InactiveRule {
    /// Sign-SGD of all blocks at a tenth of the rate.
    fn default() -> Self {
        Self {
            direction: Direction::Sign,
            scale: 0.1,
            reach: Reach::All,
            masked_out: false,
            momentum: Vec::new(),
        }
    }
}

impl InactiveRule {
    /// What a momentum is multiplied with at every step, as in SCALE.
    const MOMENTUM: f32 = 0.9;

    /// The pattern that means the group of the head.
    pub const HEAD: &str = "head";

    /// Normalised SGD at the run's rate of all that is not trained, without a momentum.
    pub fn normalised() -> Self {
        Self {
            direction: Direction::Normalised,
            scale: 1.0,
            masked_out: true,
            ..Self::default()
        }
    }

    /// With a momentum of the parameters at these paths.
    #[must_use]
    pub fn with_momentum<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.momentum = paths.into_iter().map(Into::into).collect();
        self
    }

    pub(crate) fn validate(&self) -> Result<(), OptimError> {
        let refuse = |field, value: String, mend| Err(OptimError::Setting { field, value, mend });
        if !(self.scale.is_finite() && self.scale > 0.0) {
            let mend = "use a positive number such as 0.1, or no inactive rule";
            return refuse("inactive.scale", self.scale.to_string(), mend);
        }
        if self.direction == Direction::Sign && self.masked_out {
            let mend = "masked-out entries move by the normalised direction only, or the whitened one";
            return refuse("inactive.masked_out", "true".into(), mend);
        }
        if self.direction == Direction::Sign && !self.momentum.is_empty() {
            let mend = "a momentum is kept for the normalised direction only, or the whitened one";
            return refuse("inactive.momentum", self.momentum.join("/"), mend);
        }
        Ok(())
    }

    /// Bytes that a step of the parameter at `path`, of this `shape`, needs for a moment beside weight and gradient.
    pub fn scratch_bytes(&self, path: &str, shape: &[usize]) -> u64 {
        match shape {
            [rows, columns] if self.whitens(ParameterGroup::of(path, shape)) => {
                whitening_bytes(*rows as u64, *columns as u64)
            }
            _ => 0,
        }
    }

    /// Whether it whitens the gradients of a group.
    fn whitens(&self, group: ParameterGroup) -> bool {
        self.direction == Direction::Whitened && group == ParameterGroup::Matrices
    }

    /// The positions of those of `parameters`, told by path and shape, that have a momentum.
    ///
    /// # Errors
    /// When a pattern matches none.
    pub fn with_momenta(&self, parameters: &[(&str, &[usize])]) -> Result<BTreeSet<usize>, OptimError> {
        let of = |is_meant: &dyn Fn(&str, &[usize]) -> bool| -> BTreeSet<usize> {
            let all = parameters.iter().enumerate();
            all.filter(|(_, (path, shape))| is_meant(path, shape))
                .map(|(position, _)| position)
                .collect()
        };
        let in_group = |group| of(&|path, shape| ParameterGroup::of(path, shape) == group);
        let mut with = BTreeSet::new();
        for pattern in &self.momentum {
            let mut found = if pattern == Self::HEAD {
                in_group(ParameterGroup::Head)
            } else {
                of(&|path, _| path_matches(pattern, path))
            };
            if pattern == Self::HEAD && found.is_empty() {
                found = in_group(ParameterGroup::Embeddings);
            }
            if found.is_empty() {
                return Err(OptimError::Setting {
                    field: "inactive.momentum",
                    value: pattern.clone(),
                    mend: "no parameter has this in its path; name parts of paths, such as lm_head, or head for whatever it is called",
                });
            }
            with.extend(found);
        }
        Ok(with)
    }
}

/// The momenta of some parameters: decayed sums of their gradients, made at the first of these.
#[derive(Debug, Default)]
pub(crate) struct Momenta {
    with: BTreeSet<usize>,
    kept: BTreeMap<usize, Tensor<1>>,
}

impl Momenta {
    /// For the parameters at these positions.
    pub fn of(with: BTreeSet<usize>) -> Self {
        Self {
            with,
            kept: BTreeMap::new(),
        }
    }

    /// Takes the momentum of a parameter of `entries` out, if it has one.
    fn take(&mut self, param: usize, entries: usize, device: &Device) -> Option<Tensor<1>> {
        self.with.contains(&param).then(|| {
            let kept = self.kept.remove(&param);
            kept.unwrap_or_else(|| Tensor::full([entries], 0.0, (device, DType::F32)))
        })
    }

    fn put(&mut self, param: usize, momentum: Tensor<1>) {
        self.kept.insert(param, momentum);
    }

    /// Bytes of the tensors held.
    pub fn bytes(&self) -> u64 {
        let tensors = self.kept.values();
        tensors
            .map(|kept| kept.dims()[0] as u64 * kept.dtype().size() as u64)
            .sum()
    }

    /// What [`bytes`](Self::bytes) should be.
    pub fn estimated_bytes(&self, parameters: &[Parameter]) -> u64 {
        self.kept
            .keys()
            .map(|param| parameters[*param].info.numel * 4)
            .sum()
    }

    /// Puts the tensors under names of their own; the positions they belong to.
    pub fn record(&self, tensors: &mut BTreeMap<String, HeldTensor>) -> Vec<usize> {
        for (param, kept) in &self.kept {
            tensors.insert(name(*param), HeldTensor::float(kept.clone()));
        }
        self.kept.keys().copied().collect()
    }

    /// The momenta of a record, which has those of the parameters at `kept`.
    ///
    /// # Errors
    /// When it has one of a parameter that shall have none.
    pub fn read(
        &self,
        kept: Vec<usize>,
        parameters: &[Parameter],
        record: &mut OptimizerRecord,
        device: &Device,
    ) -> Result<Self, OptimError> {
        let one = |param: usize| {
            if !self.with.contains(&param) {
                return Err(mismatch(
                    "momentum of parameter",
                    &param.to_string(),
                    &"none of it",
                ));
            }
            let values = record.take(&name(param), parameters[param].info.numel)?;
            Ok((param, Tensor::from_data(values, (device, DType::F32))))
        };
        Ok(Self {
            with: self.with.clone(),
            kept: kept.into_iter().map(one).collect::<Result<_, _>>()?,
        })
    }
}

/// The name of a parameter's momentum in a record.
fn name(param: usize) -> String {
    format!("momentum.{param}")
}

/// A parameter about to move, flat.
pub(crate) struct Moving {
    /// `[n_l]`.
    pub weight: Tensor<1>,
    /// `[n_l]`.
    pub gradient: Tensor<1>,
    /// Its last dimension; one for a vector.
    pub columns: usize,
    /// What it is.
    pub group: ParameterGroup,
    /// Its position.
    pub param: usize,
}

impl InactiveRule {
    /// The weight after all entries but those that `stay` have moved.
    pub(crate) fn moved(
        &self,
        moving: Moving,
        stay: Stay<'_>,
        learning_rate: f64,
        rounding: Rounding,
        momenta: &mut Momenta,
    ) -> Tensor<1> {
        let Moving {
            weight,
            gradient,
            columns,
            group,
            param,
        } = moving;
        let learning_rate = learning_rate * self.scale;
        if self.direction == Direction::Sign {
            return by_sign(weight, gradient, learning_rate, rounding);
        }
        let along = match momenta.take(param, weight.dims()[0], &weight.device()) {
            Some(kept) => {
                let sum = decayed_sum(kept, gradient, Self::MOMENTUM);
                momenta.put(param, sum.clone());
                sum
            }
            None => gradient,
        };
        let along = if self.whitens(group) {
            whitened(along, columns)
        } else {
            along
        };
        let step = NormalisedStep {
            columns,
            learning_rate,
            rounding,
        };
        normalised_update(weight, along, stay, step)
    }
}

/// `weight` moved against the sign of its gradient, `[n_l]` each.
fn by_sign(weight: Tensor<1>, gradient: Tensor<1>, learning_rate: f64, rounding: Rounding) -> Tensor<1> {
    let trained = Trained {
        weight,
        state: Vec::new(),
        master: None,
    };
    let step = UpdateStep {
        rule: FusedRule::Sign,
        learning_rate,
        state_step: 1,
        rounding,
        codings: [Coding::default(); 2],
    };
    update(trained, gradient, None, TrainedEntries::All, step).weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_found_by_what_it_is_and_the_embeddings_where_they_are_it() {
        const NORM: (&str, &[usize]) = ("model.norm.gamma", &[8]);
        const TABLE: (&str, &[usize]) = ("model.embed_tokens.weight", &[32, 8]);
        let positions = |patterns: &[&str], parameters: &[(&str, &[usize])]| {
            let rule = InactiveRule::normalised().with_momentum(patterns.to_vec());
            rule.with_momenta(parameters).map(Vec::from_iter)
        };
        let head: (&str, &[usize]) = ("lm_head.weight", &[8, 32]);
        let scores: (&str, &[usize]) = ("score.weight", &[8, 2]);
        assert_eq!(positions(&["head"], &[TABLE, NORM, head]).unwrap(), [2]);
        assert_eq!(positions(&["head"], &[TABLE, NORM, scores]).unwrap(), [2]);
        assert_eq!(positions(&["head"], &[TABLE, NORM]).unwrap(), [0]);
        assert_eq!(
            positions(&["norm", "lm_head"], &[TABLE, NORM, head]).unwrap(),
            [1, 2]
        );
        assert_eq!(positions(&[], &[TABLE, NORM]).unwrap(), [0; 0]);
        for missing in [&["head"][..], &["lm_head"]] {
            assert!(
                positions(missing, &[NORM])
                    .unwrap_err()
                    .to_string()
                    .contains(missing[0])
            );
        }
    }
}
