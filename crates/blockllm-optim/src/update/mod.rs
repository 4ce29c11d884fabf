//! Update rules on the trained entries: flat state arrays in, the change of the weights out.
mod adamw;
mod lion;
mod sgd;

pub use adamw::AdamW;
pub use lion::Lion;
pub use sgd::Sgd;

use crate::OptimError;
use blockllm_kernels::FusedRule;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// What an update rule knows of the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepContext {
    /// Learning rate.
    pub learning_rate: f64,
    /// Steps that these entries' state has seen, this one included: the `t` of the bias correction.
    pub state_step: u64,
}

/// A rule that turns gradients of the trained entries into their change.
pub trait UpdateRule: Send + std::fmt::Debug {
    /// How many f32 arrays of state it keeps per entry.
    fn state_arrays(&self) -> usize;

    /// The change of the weights, and the new state.
    ///
    /// # Shapes
    /// `weight`, `gradient`, each array of `state` and the change: `[k]`.
    fn update(
        &self,
        context: StepContext,
        weight: Tensor<1>,
        gradient: Tensor<1>,
        state: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>);

    /// The processed gradient `G` that the latest update followed, from the state it left; its first array unless
    /// the rule says otherwise.
    ///
    /// # Shapes
    /// Each array of `state` and the result: `[k]`.
    fn processed(&self, state_step: u64, state: &[Tensor<1>]) -> Tensor<1> {
        let _ = state_step;
        state[0].clone()
    }

    /// State for entries that join others which have seen `state_step` steps; zeros unless the rule says otherwise.
    ///
    /// # Shapes
    /// `gradient`, the joining entries' first one, and each array of the result: `[k]`.
    fn joining(&self, state_step: u64, gradient: Tensor<1>) -> Vec<Tensor<1>> {
        let _ = state_step;
        vec![gradient.zeros_like(); self.state_arrays()]
    }

    /// The same update as one of those that have kernels, if it is one: the optimizer then calls the kernel, one pass
    /// over the trained entries, in place of [`update`](Self::update). It must keep as many arrays.
    fn fused(&self) -> Option<FusedRule> {
        None
    }

    /// Whether an array of the state holds no negative number, as Adam's second moment; it is then stored more
    /// finely where moments are quantized.
    fn is_non_negative(&self, array: usize) -> bool {
        let _ = array;
        false
    }
}

/// A built-in update rule with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "lowercase")]
pub enum Update {
    /// Adam with decoupled decay: two arrays per entry.
    AdamW(AdamW),
    /// SGD with momentum: one array per entry.
    Sgd(Sgd),
    /// Lion: one array per entry.
    Lion(Lion),
}

impl Default for Update {
    fn default() -> Self {
        Self::AdamW(AdamW::default())
    }
}

impl From<AdamW> for Update {
    fn from(rule: AdamW) -> Self {
        Self::AdamW(rule)
    }
}

impl From<Sgd> for Update {
    fn from(rule: Sgd) -> Self {
        Self::Sgd(rule)
    }
}

impl From<Lion> for Update {
    fn from(rule: Lion) -> Self {
        Self::Lion(rule)
    }
}

impl Update {
    /// The rule itself.
    pub fn rule(&self) -> &dyn UpdateRule {
        match self {
            Self::AdamW(rule) => rule,
            Self::Sgd(rule) => rule,
            Self::Lion(rule) => rule,
        }
    }

    /// With another decoupled decay.
    #[must_use]
    pub fn with_weight_decay(mut self, decay: f32) -> Self {
        match &mut self {
            Self::AdamW(rule) => rule.weight_decay = decay,
            Self::Sgd(rule) => rule.weight_decay = decay,
            Self::Lion(rule) => rule.weight_decay = decay,
        }
        self
    }

    pub(crate) fn validate(&self) -> Result<(), OptimError> {
        match self {
            Self::AdamW(rule) => rule.validate(),
            Self::Sgd(rule) => rule.validate(),
            Self::Lion(rule) => rule.validate(),
        }
    }
}

/// `change` with the decoupled decay of `weight`.
fn decayed(change: Tensor<1>, weight: Tensor<1>, learning_rate: f64, weight_decay: f32) -> Tensor<1> {
    if weight_decay > 0.0 {
        change - weight.mul_scalar(learning_rate * f64::from(weight_decay))
    } else {
        change
    }
}

fn unit(field: &'static str, value: f32) -> Result<(), OptimError> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(OptimError::Setting {
        field,
        value: value.to_string(),
        mend: "use a number in [0, 1)",
    })
}

fn not_negative(field: &'static str, value: f32) -> Result<(), OptimError> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(OptimError::Setting {
        field,
        value: value.to_string(),
        mend: "use a number of 0 or more",
    })
}
