//! The autodiff state of a parameter, taken before an update and put back after it.
use burn::tensor::{GradientCheckpointingStrategy, Tensor};

/// Whether a parameter requires a gradient, and under which checkpointing strategy.
///
/// `Tensor::from_inner` lifts a tensor with the default strategy; a parameter made on a device with another one
/// would then meet its inputs under two strategies in the next forward pass, which autodiff refuses.
pub(crate) struct AutodiffContext {
    autodiff: bool,
    require_grad: bool,
    checkpointing: Option<GradientCheckpointingStrategy>,
}

impl AutodiffContext {
    pub(crate) fn capture<const D: usize>(parameter: &Tensor<D>) -> Self {
        Self {
            autodiff: parameter.is_autodiff(),
            require_grad: parameter.is_require_grad(),
            checkpointing: parameter.gradient_checkpointing_strategy(),
        }
    }

    pub(crate) fn restore<const D: usize>(&self, updated: Tensor<D>) -> Tensor<D> {
        if !self.autodiff {
            return updated;
        }
        let mut parameter = Tensor::from_inner(updated);
        if let Some(strategy) = self.checkpointing {
            parameter = parameter.with_gradient_checkpointing_strategy(strategy);
        }
        parameter.set_require_grad(self.require_grad)
    }
}
