//! The block optimizer behind the trait: dense `AdamW` and LoRA are this with the policy `all`.
use super::{BackwardInParts, TrainingOptimizer};
use crate::TrainError;
use blockllm_optim::{BlockOptimizer, GradientsParams, OptimizerRecord, Parameter, SelectionEvent, Step};
use blockllm_policy::Reason;
use burn::module::Module;
use burn::tensor::Device;

impl<M: Module + 'static> TrainingOptimizer<M> for BlockOptimizer {
    fn prepare_with(
        &mut self,
        module: M,
        gradients_of: &mut dyn FnMut(&M) -> GradientsParams,
    ) -> Result<M, TrainError> {
        Ok(Self::prepare_with(self, module, gradients_of)?)
    }

    fn prepare_in_parts(
        &mut self,
        module: M,
        backward: &mut BackwardInParts<'_, M>,
    ) -> Result<M, TrainError> {
        Self::prepare_in_parts(self, module, backward)
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

    fn take_selection_event(&mut self) -> Option<SelectionEvent> {
        Self::take_selection_event(self)
    }

    fn record(&self) -> Result<OptimizerRecord, TrainError> {
        Ok(Self::record(self)?)
    }

    fn restore(&mut self, record: OptimizerRecord, device: &Device) -> Result<(), TrainError> {
        Ok(Self::restore(self, record, device)?)
    }

    fn parameters(&self) -> &[Parameter] {
        Self::parameters(self)
    }

    fn changed_parameters(&self) -> Vec<&str> {
        Self::changed_parameters(self)
    }

    fn trainable_parameters(&self) -> Vec<&str> {
        Self::trainable_parameters(self)
    }

    fn block_names(&self) -> Vec<String> {
        let blocks = self.selector().blocks().iter();
        blocks.map(|block| block.name.clone()).collect()
    }

    fn selections(&self) -> u64 {
        self.visits().selections()
    }

    fn trained_entries(&self) -> u64 {
        Self::trained_entries(self)
    }

    fn gradient_entries(&self) -> u64 {
        Self::gradient_entries(self)
    }

    fn state_bytes(&self) -> u64 {
        Self::state_bytes(self)
    }

    fn estimated_state_bytes(&self) -> u64 {
        Self::estimated_state_bytes(self)
    }
}
