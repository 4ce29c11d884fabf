//! What the entries of a selection are ranked by when a mask is made.
use crate::low_rank::{Sketch, SvdMethod, leading_basis};
use crate::precision::in_f32;
use crate::{OptimError, Parameter};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// A parameter whose mask is made.
#[derive(Clone, Copy, Debug)]
pub struct ScoreContext<'a> {
    /// Its path, shape and [group](Parameter::group).
    pub parameter: &'a Parameter,
    /// Seed of the run.
    pub seed: u64,
    /// Optimizer steps done.
    pub step: u64,
}

/// What entries are ranked by: those of the largest magnitude are trained. One of your own goes into
/// [`BlockOptimizerConfig::with_score`](crate::BlockOptimizerConfig::with_score) by value: there is nothing to register.
///
/// ```
/// use blockllm_optim::{BlockOptimizerConfig, EntryScore, ScoreContext};
/// use burn::tensor::Tensor;
///
/// /// The first-order change of the loss if an entry were zero.
/// #[derive(Debug)]
/// struct Saliency;
///
/// impl EntryScore for Saliency {
///     fn score(&self, _: ScoreContext<'_>, weight: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
///         weight * gradient
///     }
/// }
///
/// let config = BlockOptimizerConfig::new(0.95).with_score(Saliency);
/// ```
pub trait EntryScore: Send + Sync + Debug {
    /// The score of every entry; its sign does not matter.
    ///
    /// # Shapes
    /// `weight` and `gradient` (as the backward pass gave it, unclipped), in f32, and the result: `[n_l]`, row by row.
    fn score(&self, context: ScoreContext<'_>, weight: Tensor<1>, gradient: Tensor<1>) -> Tensor<1>;

    /// Refuses settings that are out of their range.
    ///
    /// # Errors
    /// Names the setting and what to do.
    fn validate(&self) -> Result<(), OptimError> {
        Ok(())
    }

    /// Whether it is the gradient itself, which then needs no copy.
    fn is_gradient(&self) -> bool {
        false
    }

    /// Its name and settings, as records tell under which score their masks were made; what `Debug` shows unless it says
    /// otherwise.
    fn settings(&self) -> serde_json::Value {
        format!("{self:?}").into()
    }
}

/// **Choice:** a built-in score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskScore {
    /// The gradient: the paper's rule.
    #[default]
    Gradient,
    /// The inverse of the weight: the smallest weights are trained (`NanoAdam`, `NeurIPS` 2025). For fine-tuning; among weights
    /// at random it chooses at random.
    SmallestWeights,
    /// The entry of the matrix's approximation of this rank: principal weights are trained (LIFT, ICML 2025). A vector's entries
    /// are their own.
    PrincipalWeights {
        /// Of the approximation; no more than the smaller side counts.
        rank: usize,
    },
}

impl MaskScore {
    /// The approximation's directions, by randomized power iterations: its leading ones are far apart in trained matrices.
    const SVD: SvdMethod = SvdMethod::Randomized {
        oversampling: 8,
        power_iterations: 2,
    };
}

impl EntryScore for MaskScore {
    fn score(&self, context: ScoreContext<'_>, weight: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        match self {
            Self::Gradient => gradient,
            Self::SmallestWeights => weight.recip(),
            Self::PrincipalWeights { rank } => match *context.parameter.info.shape {
                [inputs, outputs] => {
                    let sketch = Sketch {
                        seed: context.seed,
                        stream: context.step,
                    };
                    let matrix = weight.reshape([inputs, outputs]);
                    let rank = (*rank).min(inputs).min(outputs);
                    let basis = leading_basis(matrix.clone(), rank, Self::SVD, sketch); // [inputs, rank]
                    let inside = basis.clone().transpose().matmul(matrix); // [rank, outputs]
                    basis.matmul(inside).reshape([-1])
                }
                _ => weight,
            },
        }
    }

    fn validate(&self) -> Result<(), OptimError> {
        match self {
            Self::PrincipalWeights { rank: 0 } => Err(OptimError::Setting {
                field: "score.rank",
                value: "0".into(),
                mend: "use a rank of 1 or more",
            }),
            _ => Ok(()),
        }
    }

    fn is_gradient(&self) -> bool {
        *self == Self::Gradient
    }

    fn settings(&self) -> serde_json::Value {
        match self {
            // As in records that were made when there was no other.
            Self::Gradient => serde_json::Value::Null,
            _ => serde_json::to_value(self).expect("a score's settings have only string keys"),
        }
    }
}

/// **Choice:** what is trained or left out as one inside a selected matrix. A vector has entries only.
///
/// The budget holds to the entry: of the unit that crosses it the first entries are trained. State has an index for every entry
/// all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskUnit {
    /// Every entry for itself.
    #[default]
    Entry,
    /// All weights of one input, or of one token of an embedding, by the root mean square of their scores: a row in burn's
    /// layout.
    Input,
    /// All weights of one output, likewise: a column in burn's layout (S2FT, `NeurIPS` 2024, and SMT, ICLR 2025, train such
    /// channels).
    Output,
}

impl MaskUnit {
    /// The score of every entry, from those of its unit.
    fn of(self, parameter: &Parameter, scores: Tensor<1>) -> Tensor<1> {
        let axis = match self {
            Self::Entry => return scores,
            Self::Input => 1,
            Self::Output => 0,
        };
        let [inputs, outputs] = *parameter.info.shape else {
            return scores;
        };
        let squares = in_f32(scores).reshape([inputs, outputs]).square();
        let of_units: Tensor<2> = squares.mean_dim(axis).sqrt();
        of_units.expand([inputs, outputs]).reshape([-1])
    }
}

/// What one parameter's entries are ranked by, `[n_l]` each.
pub(crate) fn scores(
    score: &dyn EntryScore,
    unit: MaskUnit,
    context: ScoreContext<'_>,
    weight: impl FnOnce() -> Tensor<1>,
    gradient: &Tensor<1>,
) -> Tensor<1> {
    let scores = if score.is_gradient() {
        gradient.clone()
    } else {
        score.score(context, in_f32(weight()), in_f32(gradient.clone()))
    };
    unit.of(context.parameter, scores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::{largest, tests::TopK};
    use blockllm_policy::ParamInfo;
    use burn::module::ParamId;
    use burn::tensor::{DType, Device, TensorData};

    fn matrix(inputs: usize, outputs: usize) -> Parameter {
        Parameter {
            info: ParamInfo::shaped("weight", vec![inputs, outputs]),
            id: ParamId::new(),
            dtype: DType::F32,
        }
    }

    fn kept(
        score: &dyn EntryScore,
        unit: MaskUnit,
        shape: [usize; 2],
        weight: &[f32],
        gradient: &[f32],
        keep: u64,
    ) -> Vec<i32> {
        let parameter = matrix(shape[0], shape[1]);
        let context = ScoreContext {
            parameter: &parameter,
            seed: 3,
            step: 7,
        };
        let tensor = |values: &[f32]| {
            Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), &Device::flex())
        };
        let scores = scores(score, unit, context, || tensor(weight), &tensor(gradient));
        match TopK::of(&largest(vec![scores], keep).unwrap()[0]) {
            TopK::Some(kept) => kept,
            TopK::All => (0..weight.len() as i32).collect(),
        }
    }

    #[test]
    fn the_smallest_weights_are_kept_zeros_first() {
        let weight = [0.5, -0.1, 0.0, 3.0, -0.2, 1e-30];
        let gradient = [9.0, 0.0, 0.0, 9.0, 9.0, 9.0];
        let entries = |keep| {
            kept(
                &MaskScore::SmallestWeights,
                MaskUnit::Entry,
                [2, 3],
                &weight,
                &gradient,
                keep,
            )
        };
        assert_eq!(entries(1), [2]);
        assert_eq!(entries(3), [1, 2, 5]);
        assert_eq!(entries(4), [1, 2, 4, 5]);
    }

    #[test]
    fn principal_weights_are_those_of_the_truncation() {
        // [1, 2, 3]^T [4, -1] of rank one, and a large entry that another direction has.
        let mut weight = vec![4.0, -1.0, 8.0, -2.0, 12.0, -3.0];
        let gradient = [0.0; 6];
        let entries = |weight: &[f32], keep| {
            let score = MaskScore::PrincipalWeights { rank: 1 };
            kept(&score, MaskUnit::Entry, [3, 2], weight, &gradient, keep)
        };
        assert_eq!(entries(&weight, 2), [2, 4]);
        assert_eq!(entries(&weight, 4), [0, 2, 4, 5]);
        // Half of its first row's second entry lies outside the leading direction: by itself it would come before 0.
        weight[1] = 4.5;
        let by_size = |keep| {
            kept(
                &MaskScore::SmallestWeights,
                MaskUnit::Entry,
                [3, 2],
                &weight.iter().map(|w| 1.0 / w).collect::<Vec<_>>(),
                &gradient,
                keep,
            )
        };
        assert_eq!(by_size(3), [1, 2, 4]);
        assert_eq!(entries(&weight, 3), [0, 2, 4]);
    }

    #[test]
    fn units_are_taken_whole_and_the_budget_is_exact() {
        #[rustfmt::skip]
        let gradient = [
            1.0, 0.0, 3.0,
            1.0, 9.0, 3.0,
        ];
        let entries = |unit, keep| kept(&MaskScore::Gradient, unit, [2, 3], &[0.0; 6], &gradient, keep);
        // By single entries: 4, then 2 and 5. Columns: sums of squares 2, 81, 18. Rows: 10, 91.
        assert_eq!(entries(MaskUnit::Entry, 3), [2, 4, 5]);
        assert_eq!(entries(MaskUnit::Output, 2), [1, 4]);
        assert_eq!(entries(MaskUnit::Output, 3), [1, 2, 4]);
        assert_eq!(entries(MaskUnit::Output, 4), [1, 2, 4, 5]);
        assert_eq!(entries(MaskUnit::Input, 3), [3, 4, 5]);
        assert_eq!(entries(MaskUnit::Input, 4), [0, 3, 4, 5]);
    }

    #[test]
    fn a_rank_of_zero_is_refused() {
        let error = MaskScore::PrincipalWeights { rank: 0 }.validate().unwrap_err();
        assert!(error.to_string().contains("rank"), "{error}");
    }
}
