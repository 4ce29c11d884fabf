//! `AdamW`: Adam with decoupled weight decay (arXiv 1711.05101), on the trained entries only.
use super::built_in::{built_in, decayed, not_negative, recorded, unit};
use super::rule::{StepContext, UpdateRule};
use crate::OptimError;
use blockllm_kernels::FusedRule;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// `m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= lr (m^ / (sqrt(v^) + eps) + decay w)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled decay, of trained entries and of no others. An optimizer spares gains and biases, unless its groups have
    /// [`Decay::All`](crate::Decay::All); embeddings and all other matrices decay.
    pub weight_decay: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
        }
    }
}

impl AdamW {
    fn check(&self) -> Result<(), OptimError> {
        unit("beta_1", self.beta_1)?;
        unit("beta_2", self.beta_2)?;
        not_negative("epsilon", self.epsilon)?;
        not_negative("weight_decay", self.weight_decay)
    }

    /// `scale m̂ / (sqrt(v̂) + eps)`.
    fn direction(&self, scale: f64, state_step: u64, first: &Tensor<1>, second: &Tensor<1>) -> Tensor<1> {
        let (correction_1, correction_2) = self.corrections(state_step);
        let denominator = second
            .clone()
            .sqrt()
            .div_scalar(correction_2.sqrt())
            .add_scalar(self.epsilon);
        (first.clone() / denominator).mul_scalar(scale / correction_1)
    }

    /// `1 - b1^t` and `1 - b2^t`.
    fn corrections(&self, state_step: u64) -> (f64, f64) {
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(state_step as f64);
        (correction(self.beta_1), correction(self.beta_2))
    }
}

impl UpdateRule for AdamW {
    built_in!("adamw");

    fn state_arrays(&self) -> usize {
        2
    }

    fn update(
        &self,
        context: StepContext<'_>,
        weight: Tensor<1>,
        gradient: Tensor<1>,
        state: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        let [first, second]: [Tensor<1>; 2] = state
            .try_into()
            .expect("the optimizer keeps as many arrays as `state_arrays` says");
        let (beta_1, beta_2) = (f64::from(self.beta_1), f64::from(self.beta_2));
        let first = first.mul_scalar(beta_1) + gradient.clone().mul_scalar(1.0 - beta_1);
        let second = second.mul_scalar(beta_2) + gradient.square().mul_scalar(1.0 - beta_2);
        let change = self.direction(-context.learning_rate, context.state_step, &first, &second);
        let change = decayed(change, weight, context.learning_rate, self.weight_decay);
        (change, vec![first, second])
    }

    fn processed(&self, state_step: u64, state: &[Tensor<1>]) -> Tensor<1> {
        self.direction(1.0, state_step, &state[0], &state[1])
    }

    fn fused(&self) -> Option<FusedRule> {
        Some(FusedRule::AdamW {
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            epsilon: self.epsilon,
            weight_decay: self.weight_decay,
        })
    }

    /// The moments that this gradient, seen at every step so far, would have left.
    fn joining(&self, state_step: u64, gradient: Tensor<1>) -> Vec<Tensor<1>> {
        let (share_1, share_2) = self.corrections(state_step);
        vec![
            gradient.clone().mul_scalar(share_1),
            gradient.square().mul_scalar(share_2),
        ]
    }

    fn is_non_negative(&self, array: usize) -> bool {
        array == 1
    }
}
