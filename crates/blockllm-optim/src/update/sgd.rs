//! SGD with momentum, as `torch.optim.SGD` computes it, on the trained entries only.
use super::built_in::{built_in, decayed, not_negative, recorded, unit};
use super::rule::{StepContext, UpdateRule};
use crate::OptimError;
use blockllm_kernels::FusedRule;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// `b = momentum b + g;  w -= lr (b + decay w)`; the first `b` is `g`.
///
/// The decay is decoupled, as in `AdamW`, so that it never enters the momentum of a masked entry.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sgd {
    /// Decay of the momentum; 0 is plain SGD.
    pub momentum: f32,
    /// Decoupled decay, of the trained entries only.
    pub weight_decay: f32,
}

impl Default for Sgd {
    fn default() -> Self {
        Self {
            momentum: 0.9,
            weight_decay: 0.0,
        }
    }
}

impl Sgd {
    fn check(self) -> Result<(), OptimError> {
        unit("momentum", self.momentum)?;
        not_negative("weight_decay", self.weight_decay)
    }
}

impl UpdateRule for Sgd {
    built_in!("sgd");

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
        let momentum = momentum.mul_scalar(self.momentum) + gradient;
        let change = momentum.clone().mul_scalar(-context.learning_rate);
        let change = decayed(change, weight, context.learning_rate, self.weight_decay);
        (change, vec![momentum])
    }

    fn fused(&self) -> Option<FusedRule> {
        Some(FusedRule::Sgd {
            momentum: self.momentum,
            weight_decay: self.weight_decay,
        })
    }
}
