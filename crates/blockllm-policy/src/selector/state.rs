//! What a selector remembers across a resume.
use super::Selector;
use crate::{BlockId, PolicyError, PolicyRng, Visits};
use serde::{Deserialize, Serialize};

/// What a [`Selector`] must remember across a resume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectorState {
    policy: String,
    policy_state: serde_json::Value,
    block_sizes: Vec<u64>,
    visits: Visits,
    norms: Vec<Option<f64>>,
    measured_at: Vec<Option<u64>>,
    selected: Vec<BlockId>,
    history: Vec<f64>,
    step: u64,
    steps_since_selection: u64,
    rng: PolicyRng,
}

impl Selector {
    /// Everything that a resume needs.
    pub fn state(&self) -> SelectorState {
        SelectorState {
            policy: self.policy.name().to_owned(),
            policy_state: self.policy.state(),
            block_sizes: self.blocks.iter().map(|block| block.numel).collect(),
            visits: self.visits.clone(),
            norms: self.norms.clone(),
            measured_at: self.measured_at.clone(),
            selected: self.selected.clone(),
            history: self.history.clone(),
            step: self.step,
            steps_since_selection: self.steps_since_selection,
            rng: self.rng.clone(),
        }
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// When the state is of another policy or partition.
    pub fn restore(&mut self, state: SelectorState) -> Result<(), PolicyError> {
        if state.policy != self.policy.name() {
            return Err(PolicyError::StateMismatch {
                what: "policy",
                found: state.policy,
                expected: self.policy.name().to_owned(),
            });
        }
        let sizes: Vec<_> = self.blocks.iter().map(|block| block.numel).collect();
        if state.block_sizes != sizes {
            return Err(PolicyError::StateMismatch {
                what: "block sizes",
                found: summary(&state.block_sizes),
                expected: summary(&sizes),
            });
        }
        self.policy.restore(&state.policy_state)?;
        self.visits = state.visits;
        self.norms = state.norms;
        self.measured_at = state.measured_at;
        self.selected = state.selected;
        self.history = state.history;
        self.step = state.step;
        self.steps_since_selection = state.steps_since_selection;
        self.rng = state.rng;
        Ok(())
    }
}

fn summary(sizes: &[u64]) -> String {
    format!(
        "{} blocks with {} entries",
        sizes.len(),
        sizes.iter().sum::<u64>()
    )
}
