//! Update rules on the trained entries: flat state arrays in, the change of the weights out.
mod adamw;

pub use adamw::AdamW;

use burn::tensor::Tensor;

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
}
