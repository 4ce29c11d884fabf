//! What a block optimizer holds at the moment: names, entries, bytes.
use super::BlockOptimizer;
use crate::Parameter;
use blockllm_policy::{Block, BlockId, Role, Selector, Visits};

impl BlockOptimizer {
    /// Names of the selected blocks, in block order.
    pub fn selected_blocks(&self) -> Vec<&str> {
        self.selector
            .selected()
            .iter()
            .map(|id| self.selector.block(*id).name.as_str())
            .collect()
    }

    /// The selection side: blocks, budget, visits.
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Visit counts.
    pub fn visits(&self) -> &Visits {
        self.selector.visits()
    }

    /// The module's parameters, in visiting order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Entries that have optimizer state, counted.
    pub fn trained_entries(&self) -> u64 {
        self.states.trained_entries()
    }

    /// Bytes of optimizer state held, counted from the tensors.
    pub fn state_bytes(&self) -> u64 {
        self.states.bytes() + self.momenta.bytes() + self.recovered.bytes()
    }

    /// What [`state_bytes`](Self::state_bytes) should be: 8 bytes per entry or 12 per trained entry with
    /// `AdamW`, whichever is less for each parameter.
    pub fn estimated_state_bytes(&self) -> u64 {
        self.states.estimated_bytes()
            + self.momenta.estimated_bytes(&self.parameters)
            + self.recovered.bytes()
    }

    /// Entries whose gradients exist in the current step: `S`, `P`, `A`, and what moves by the inactive rule.
    pub fn gradient_entries(&self) -> u64 {
        let params = self.params_with_gradients().into_iter();
        params.map(|param| self.parameters[param].info.numel).sum()
    }

    /// Paths of the parameters that may no longer have the bits with which the optimizer was given them: those of every block
    /// that was ever selected or is always trained, or of all blocks where unselected ones move too.
    pub fn changed_parameters(&self) -> Vec<&str> {
        if self.config.inactive.is_some() {
            return self.trainable_parameters();
        }
        let visits = self.visits();
        self.paths_of_blocks(|id, block| block.role == Role::Always || visits.count(id) > 0)
    }

    /// Paths of the parameters that may ever change.
    pub fn trainable_parameters(&self) -> Vec<&str> {
        self.paths_of_blocks(|_, block| block.role != Role::Never)
    }

    fn paths_of_blocks(&self, holds: impl Fn(BlockId, &Block) -> bool) -> Vec<&str> {
        let blocks = self.selector.blocks().iter().enumerate();
        blocks
            .filter(|(index, block)| holds(BlockId(*index), block))
            .flat_map(|(_, block)| &block.params)
            .map(|param| self.parameters[*param].info.path.as_str())
            .collect()
    }
}
