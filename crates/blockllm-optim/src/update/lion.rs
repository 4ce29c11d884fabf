//! Lion: the sign of an interpolated momentum (arXiv 2302.06675), on the trained entries only.
use super::built_in::{built_in, decayed, not_negative, recorded, unit};
use super::rule::{StepContext, UpdateRule};
use crate::OptimError;
use blockllm_kernels::FusedRule;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// `w -= lr (sign(b1 m + (1 - b1) g) + decay w);  m = b2 m + (1 - b2) g`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lion {
    /// Weight of the momentum in the step.
    pub beta_1: f32,
    /// Decay of the momentum.
    pub beta_2: f32,
    /// Decoupled decay, of the trained entries only.
    pub weight_decay: f32,
}

impl Default for Lion {
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.99,
            weight_decay: 0.0,
        }
    }
}

impl Lion {
    fn check(&self) -> Result<(), OptimError> {
        unit("beta_1", self.beta_1)?;
        unit("beta_2", self.beta_2)?;
        not_negative("weight_decay", self.weight_decay)
    }
}

impl UpdateRule for Lion {
    built_in!("lion");

    fn state_arrays(&self) -> usize {
        1
    }

    fn update(
        &self,
        context: StepContext<'_>,
        weight: Tensor<1>,
        gradient: Tensor<1>,
        state: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        let [momentum]: [Tensor<1>; 1] = state
            .try_into()
            .expect("the optimizer keeps as many arrays as `state_arrays` says");
        let (beta_1, beta_2) = (f64::from(self.beta_1), f64::from(self.beta_2));
        let direction = momentum.clone().mul_scalar(beta_1) + gradient.clone().mul_scalar(1.0 - beta_1);
        let change = direction.sign().mul_scalar(-context.learning_rate);
        let change = decayed(change, weight, context.learning_rate, self.weight_decay);
        let momentum = momentum.mul_scalar(beta_2) + gradient.mul_scalar(1.0 - beta_2);
        (change, vec![momentum])
    }

    fn fused(&self) -> Option<FusedRule> {
        Some(FusedRule::Lion {
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            weight_decay: self.weight_decay,
        })
    }
}
