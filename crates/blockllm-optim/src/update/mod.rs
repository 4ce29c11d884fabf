//! Update rules on the trained entries: flat state arrays in, the change of the weights out.
mod adamw;
mod lion;
mod sgd;

pub use adamw::AdamW;
pub use lion::Lion;
pub use sgd::Sgd;

use crate::{OptimError, Parameter};
use blockllm_kernels::FusedRule;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// What an update rule knows of the step.
#[derive(Clone, Copy, Debug)]
pub struct StepContext<'a> {
    /// Learning rate, with the parameter's multiplier.
    pub learning_rate: f64,
    /// Steps that these entries' state has seen, this one included: the `t` of the bias correction.
    pub state_step: u64,
    /// The parameter whose entries these are: its path, shape and [group](Parameter::group). A rule is given entries, masked
    /// and in pieces; it does not see where in the parameter they lie.
    pub parameter: &'a Parameter,
}

/// A rule that turns gradients of the trained entries into their change. One of your own goes into
/// [`BlockOptimizerConfig::with_update`](crate::BlockOptimizerConfig::with_update) by value: there is nothing to register.
///
/// ```
/// use blockllm_optim::{BlockOptimizerConfig, StepContext, UpdateRule};
/// use burn::tensor::Tensor;
///
/// /// Plain SGD, along half of the gradient in the head.
/// #[derive(Debug)]
/// struct Gentle;
///
/// impl UpdateRule for Gentle {
///     fn state_arrays(&self) -> usize {
///         1 // of which it makes no use
///     }
///     fn update(
///         &self,
///         context: StepContext<'_>,
///         _weight: Tensor<1>,
///         gradient: Tensor<1>,
///         state: Vec<Tensor<1>>,
///     ) -> (Tensor<1>, Vec<Tensor<1>>) {
///         let scale = if context.parameter.info.path.starts_with("lm_head") { 0.5 } else { 1.0 };
///         (gradient.mul_scalar(-context.learning_rate * scale), state)
///     }
/// }
///
/// let config = BlockOptimizerConfig::new(0.95).with_update(Gentle);
/// ```
pub trait UpdateRule: Send + Sync + std::fmt::Debug {
    /// How many f32 arrays of state it keeps per entry.
    fn state_arrays(&self) -> usize;

    /// The change of the weights, and the new state.
    ///
    /// # Shapes
    /// `weight`, `gradient`, each array of `state` and the change: `[k]`.
    fn update(
        &self,
        context: StepContext<'_>,
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

    /// Refuses settings that are out of their range.
    ///
    /// # Errors
    /// Names the setting and what to do.
    fn validate(&self) -> Result<(), OptimError> {
        Ok(())
    }

    /// The same rule without its weight decay, for parameters whose weights do not decay; `None` if it has none.
    fn without_decay(&self) -> Option<Box<dyn UpdateRule>> {
        None
    }

    /// Its name and settings, as records tell which rule made their state; what `Debug` shows unless it says otherwise.
    fn settings(&self) -> serde_json::Value {
        format!("{self:?}").into()
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

/// What the built-in rules share.
macro_rules! built_in {
    () => {
        fn validate(&self) -> Result<(), OptimError> {
            self.check()
        }

        fn without_decay(&self) -> Option<Box<dyn UpdateRule>> {
            let rule = Self {
                weight_decay: 0.0,
                ..*self
            };
            (self.weight_decay > 0.0).then(|| Box::new(rule) as Box<dyn UpdateRule>)
        }

        fn settings(&self) -> serde_json::Value {
            serde_json::to_value(Update::from(*self)).expect("a rule's settings have only string keys")
        }
    };
}
use built_in;

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
