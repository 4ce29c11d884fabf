//! The optimizers that the trainer knows, behind one face.
use blockllm_optim::{
    BlockOptimizer, GaLoreOptimizer, GradientsParams, OptimError, OptimizerRecord, Parameter, SelectionEvent,
    Step, TakeGradients,
};
use blockllm_policy::Reason;
use burn::module::Module;
use burn::tensor::Device;

/// Any of them; each is used the same way: prepare, forward and backward, step, observe.
#[derive(Debug)]
pub enum TrainingOptimizer {
    /// Blocks of parameters at a time; dense `AdamW` and LoRA are this with the policy `all`.
    Blocks(Box<BlockOptimizer>),
    /// Gradients projected to a low rank.
    GaLore(Box<GaLoreOptimizer>),
}

/// Calls the same method on whichever optimizer it is.
macro_rules! either {
    ($self:expr, $optimizer:ident => $call:expr) => {
        match $self {
            Self::Blocks($optimizer) => $call,
            Self::GaLore($optimizer) => $call,
        }
    };
}

impl TrainingOptimizer {
    /// Lets gradients exist only for what the coming step needs; `gradients_of` gives the averaged gradients of its
    /// micro-batches, for an optimizer that must measure before it chooses.
    ///
    /// # Errors
    /// As the optimizer's own `prepare_with`.
    pub fn prepare_with<M: Module>(
        &mut self,
        module: M,
        gradients_of: impl FnMut(&M) -> GradientsParams,
    ) -> Result<M, OptimError> {
        match self {
            Self::Blocks(optimizer) => optimizer.prepare_with(module, gradients_of),
            Self::GaLore(optimizer) => Ok(optimizer.unfreeze(module)),
        }
    }

    /// The same for a backward pass that gives its gradients in parts.
    ///
    /// # Errors
    /// As the optimizer's own `prepare_in_parts`, and those of `backward`.
    pub fn prepare_in_parts<M: Module, E: From<OptimError>>(
        &mut self,
        module: M,
        backward: impl FnMut(M, &mut TakeGradients<'_, M>) -> Result<M, E>,
    ) -> Result<M, E> {
        match self {
            Self::Blocks(optimizer) => optimizer.prepare_in_parts(module, backward),
            Self::GaLore(optimizer) => Ok(optimizer.unfreeze(module)),
        }
    }

    /// Takes a part of the step's gradients.
    ///
    /// # Errors
    /// As the optimizer's own `take`.
    pub fn take<M: Module>(
        &mut self,
        module: M,
        gradients: GradientsParams,
        learning_rate: f64,
    ) -> Result<M, OptimError> {
        either!(self, optimizer => optimizer.take(module, gradients, learning_rate))
    }

    /// Whether a part's gradients are used and dropped as they come.
    pub fn uses_parts_at_once(&self) -> bool {
        either!(self, optimizer => optimizer.uses_parts_at_once())
    }

    /// Bytes of the gradients that wait for the end of the step.
    pub fn waiting_gradient_bytes(&self) -> u64 {
        either!(self, optimizer => optimizer.waiting_gradient_bytes())
    }

    /// Updates what is trained, with the gradients that [`take`](Self::take) was not given.
    ///
    /// # Errors
    /// As the optimizer's own `step`.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        gradients: GradientsParams,
        learning_rate: f64,
    ) -> Result<Step<M>, OptimError> {
        either!(self, optimizer => optimizer.step(module, gradients, learning_rate))
    }

    /// Tells the loss of the step.
    ///
    /// # Errors
    /// When it is not finite.
    pub fn observe(&mut self, loss: f64) -> Result<Option<Reason>, OptimError> {
        either!(self, optimizer => optimizer.observe(loss))
    }

    /// The selection that the last [`prepare_with`](Self::prepare_with) made, if it made one; taken once.
    pub fn take_selection_event(&mut self) -> Option<SelectionEvent> {
        match self {
            Self::Blocks(optimizer) => optimizer.take_selection_event(),
            Self::GaLore(_) => None,
        }
    }

    /// Everything that a resume needs.
    ///
    /// # Errors
    /// When the device fails.
    pub fn record(&self) -> Result<OptimizerRecord, OptimError> {
        match self {
            Self::Blocks(optimizer) => optimizer.record(),
            Self::GaLore(optimizer) => Ok(optimizer.record()),
        }
    }

    /// Goes on from a record.
    ///
    /// # Errors
    /// When the record is of something else.
    pub fn restore(&mut self, record: OptimizerRecord, device: &Device) -> Result<(), OptimError> {
        either!(self, optimizer => optimizer.restore(record, device))
    }

    /// The module's parameters, in visiting order.
    pub fn parameters(&self) -> &[Parameter] {
        either!(self, optimizer => optimizer.parameters())
    }

    /// Paths of the parameters that training may have changed so far; all others have the bits that they began with.
    pub fn changed_parameters(&self) -> Vec<&str> {
        either!(self, optimizer => optimizer.changed_parameters())
    }

    /// Paths of the parameters that training may ever change.
    pub fn trainable_parameters(&self) -> Vec<&str> {
        either!(self, optimizer => optimizer.trainable_parameters())
    }

    /// Names of all blocks, in order.
    pub fn block_names(&self) -> Vec<String> {
        match self {
            Self::Blocks(optimizer) => optimizer
                .selector()
                .blocks()
                .iter()
                .map(|block| block.name.clone())
                .collect(),
            Self::GaLore(optimizer) => optimizer
                .selected_blocks()
                .into_iter()
                .map(ToOwned::to_owned)
                .collect(),
        }
    }

    /// Selections made so far.
    pub fn selections(&self) -> u64 {
        match self {
            Self::Blocks(optimizer) => optimizer.visits().selections(),
            Self::GaLore(_) => 0,
        }
    }

    /// Entries that the current step changes.
    pub fn trained_entries(&self) -> u64 {
        either!(self, optimizer => optimizer.trained_entries())
    }

    /// Entries whose gradients exist in the current step.
    pub fn gradient_entries(&self) -> u64 {
        either!(self, optimizer => optimizer.gradient_entries())
    }

    /// Bytes of optimizer state held, counted from the tensors.
    pub fn state_bytes(&self) -> u64 {
        either!(self, optimizer => optimizer.state_bytes())
    }

    /// What [`state_bytes`](Self::state_bytes) should be.
    pub fn estimated_state_bytes(&self) -> u64 {
        either!(self, optimizer => optimizer.estimated_state_bytes())
    }
}
