//! The trait that all optimizers share: whatever implements it is trained, saved, metered and compared.
mod block;
mod low_rank;

use crate::TrainError;
use blockllm_optim::{GradientsParams, OptimizerRecord, Parameter, SelectionEvent, Step, TakeGradients};
use blockllm_policy::Reason;
use burn::module::Module;
use burn::tensor::Device;
use std::any::Any;
use std::fmt::Debug;

/// A backward pass that gives its gradients in parts, such as a layer's: the module goes in and comes back, and each part
/// is handed to the taker.
pub type BackwardInParts<'a, M> = dyn FnMut(M, &mut TakeGradients<'_, M>) -> Result<M, TrainError> + 'a;

/// An optimizer, as the trainer uses it. Per step: [`prepare_with`](Self::prepare_with) (or
/// [`prepare_in_parts`](Self::prepare_in_parts)), forward and backward, [`take`](Self::take) for each part of the gradients
/// where they come layer by layer, [`step`](Self::step), [`observe`](Self::observe).
///
/// An optimizer that trains every parameter, needs no selection and uses gradients as they come implements the functions
/// without a default; see `examples/own_method.rs`.
pub trait TrainingOptimizer<M: Module + 'static>: Any + Debug {
    /// Lets gradients exist only for what the coming step needs; `gradients_of` gives the averaged gradients of its
    /// micro-batches, for an optimizer that must measure before it chooses. By default the module stays as it is.
    ///
    /// # Errors
    /// When a choice fails, or the module is not the one that the optimizer was made for.
    fn prepare_with(
        &mut self,
        module: M,
        gradients_of: &mut dyn FnMut(&M) -> GradientsParams,
    ) -> Result<M, TrainError> {
        let _ = gradients_of;
        Ok(module)
    }

    /// The same for a backward pass that gives its gradients in parts.
    ///
    /// # Errors
    /// As [`prepare_with`](Self::prepare_with), and those of `backward`.
    fn prepare_in_parts(
        &mut self,
        module: M,
        backward: &mut BackwardInParts<'_, M>,
    ) -> Result<M, TrainError> {
        let _ = backward;
        Ok(module)
    }

    /// Takes a part of the step's gradients, averaged over the micro-batches; no parameter's gradient comes twice.
    ///
    /// # Errors
    /// When the gradients do not fit; the module is lost then.
    fn take(&mut self, module: M, gradients: GradientsParams, learning_rate: f64) -> Result<M, TrainError>;

    /// Whether a part's gradients are used and dropped as they come. By default they are.
    fn uses_parts_at_once(&self) -> bool {
        true
    }

    /// Bytes of the gradients that wait for the end of the step.
    fn waiting_gradient_bytes(&self) -> u64 {
        0
    }

    /// Updates what is trained, with the gradients that [`take`](Self::take) was not given, and ends the step.
    ///
    /// # Errors
    /// When the gradients do not fit; the module is lost then.
    fn step(
        &mut self,
        module: M,
        gradients: GradientsParams,
        learning_rate: f64,
    ) -> Result<Step<M>, TrainError>;

    /// Tells the loss of the step; the reason, if it makes the next step select again.
    ///
    /// # Errors
    /// When it is not finite, and the optimizer cannot go on from there.
    fn observe(&mut self, loss: f64) -> Result<Option<Reason>, TrainError> {
        let _ = loss;
        Ok(None)
    }

    /// The selection that the last preparation made, if it made one; taken once.
    fn take_selection_event(&mut self) -> Option<SelectionEvent> {
        None
    }

    /// Everything that a resume needs.
    ///
    /// # Errors
    /// When the device fails.
    fn record(&self) -> Result<OptimizerRecord, TrainError>;

    /// Goes on from a record, with the bits that it would have had without a stop.
    ///
    /// # Errors
    /// When the record is of something else.
    fn restore(&mut self, record: OptimizerRecord, device: &Device) -> Result<(), TrainError>;

    /// The module's parameters, in visiting order.
    fn parameters(&self) -> &[Parameter];

    /// Paths of the parameters that training may have changed so far; all others have the bits that they began with. By
    /// default those that training may ever change.
    fn changed_parameters(&self) -> Vec<&str> {
        self.trainable_parameters()
    }

    /// Paths of the parameters that training may ever change; by default all.
    fn trainable_parameters(&self) -> Vec<&str> {
        let paths = self
            .parameters()
            .iter()
            .map(|parameter| parameter.info.path.as_str());
        paths.collect()
    }

    /// Names of all blocks, in order; by default the trainable parameters.
    fn block_names(&self) -> Vec<String> {
        self.trainable_parameters()
            .into_iter()
            .map(ToOwned::to_owned)
            .collect()
    }

    /// Selections made so far.
    fn selections(&self) -> u64 {
        0
    }

    /// Entries that the current step changes; by default all of the parameters.
    fn trained_entries(&self) -> u64 {
        self.parameters()
            .iter()
            .map(|parameter| parameter.info.numel)
            .sum()
    }

    /// Entries whose gradients exist in the current step; by default those that are trained.
    fn gradient_entries(&self) -> u64 {
        self.trained_entries()
    }

    /// Bytes of optimizer state held, counted from the tensors.
    fn state_bytes(&self) -> u64;

    /// What [`state_bytes`](Self::state_bytes) should be.
    fn estimated_state_bytes(&self) -> u64;
}

impl<M: Module + 'static> dyn TrainingOptimizer<M> {
    /// The optimizer itself, if it is of that type.
    pub fn get<O: Any>(&self) -> Option<&O> {
        (self as &dyn Any).downcast_ref()
    }
}
