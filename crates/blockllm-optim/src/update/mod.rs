//! Update rules on the trained entries: flat state arrays in, the change of the weights out.
mod adamw;
mod built_in;
mod lion;
mod rule;
mod sgd;

pub use adamw::AdamW;
pub use lion::Lion;
pub use rule::{StepContext, UpdateRule};
pub use sgd::Sgd;

use crate::OptimError;
use blockllm_kernels::FusedRule;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

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
}

/// Whichever it is.
impl UpdateRule for Update {
    fn state_arrays(&self) -> usize {
        self.rule().state_arrays()
    }

    fn update(
        &self,
        context: StepContext<'_>,
        weight: Tensor<1>,
        gradient: Tensor<1>,
        state: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        self.rule().update(context, weight, gradient, state)
    }

    fn processed(&self, state_step: u64, state: &[Tensor<1>]) -> Tensor<1> {
        self.rule().processed(state_step, state)
    }

    fn joining(&self, state_step: u64, gradient: Tensor<1>) -> Vec<Tensor<1>> {
        self.rule().joining(state_step, gradient)
    }

    fn fused(&self) -> Option<FusedRule> {
        self.rule().fused()
    }

    fn validate(&self) -> Result<(), OptimError> {
        self.rule().validate()
    }

    fn without_decay(&self) -> Option<Box<dyn UpdateRule>> {
        self.rule().without_decay()
    }

    fn settings(&self) -> serde_json::Value {
        self.rule().settings()
    }

    fn is_non_negative(&self, array: usize) -> bool {
        self.rule().is_non_negative(array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_by_itself_is_recorded_as_the_update_that_it_is() {
        let rules = [
            Update::from(AdamW::default()),
            Sgd::default().into(),
            Lion::default().into(),
        ];
        for update in rules {
            assert_eq!(update.settings(), serde_json::to_value(update).unwrap());
        }
    }
}
