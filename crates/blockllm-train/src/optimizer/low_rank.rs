//! The optimizer of `GaLore` and APOLLO behind the trait: everything is trained at every step, and nothing is selected.
use super::{BackwardInParts, TrainingOptimizer};
use crate::TrainError;
use blockllm_optim::{GradientsParams, LowRankOptimizer, OptimizerRecord, Parameter, Step};
use blockllm_policy::Reason;
use burn::module::Module;
use burn::tensor::Device;

impl<M: Module + 'static> TrainingOptimizer<M> for LowRankOptimizer {
    fn prepare_with(&mut self, module: M, _: &mut dyn FnMut(&M) -> GradientsParams) -> Result<M, TrainError> {
        Ok(self.unfreeze(module))
    }

    fn prepare_in_parts(&mut self, module: M, _: &mut BackwardInParts<'_, M>) -> Result<M, TrainError> {
        Ok(self.unfreeze(module))
    }

    fn take(&mut self, module: M, gradients: GradientsParams, learning_rate: f64) -> Result<M, TrainError> {
        Ok(Self::take(self, module, gradients, learning_rate)?)
    }

    fn uses_parts_at_once(&self) -> bool {
        Self::uses_parts_at_once(self)
    }

    fn waiting_gradient_bytes(&self) -> u64 {
        Self::waiting_gradient_bytes(self)
    }

    fn step(
        &mut self,
        module: M,
        gradients: GradientsParams,
        learning_rate: f64,
    ) -> Result<Step<M>, TrainError> {
        Ok(Self::step(self, module, gradients, learning_rate)?)
    }

    fn observe(&mut self, loss: f64) -> Result<Option<Reason>, TrainError> {
        Ok(Self::observe(self, loss)?)
    }

    fn record(&self) -> Result<OptimizerRecord, TrainError> {
        Ok(Self::record(self))
    }

    fn restore(&mut self, record: OptimizerRecord, device: &Device) -> Result<(), TrainError> {
        Ok(Self::restore(self, record, device)?)
    }

    fn parameters(&self) -> &[Parameter] {
        Self::parameters(self)
    }

    fn trainable_parameters(&self) -> Vec<&str> {
        Self::trainable_parameters(self)
    }

    fn trained_entries(&self) -> u64 {
        Self::trained_entries(self)
    }

    fn state_bytes(&self) -> u64 {
        Self::state_bytes(self)
    }

    fn estimated_state_bytes(&self) -> u64 {
        Self::estimated_state_bytes(self)
    }
}
