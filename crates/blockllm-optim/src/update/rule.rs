//! The trait of update rules, and what a rule knows of a step.
use crate::{OptimError, Parameter};
use blockllm_kernels::FusedRule;
use burn::tensor::Tensor;

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
