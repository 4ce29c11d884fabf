//! Where a run's numbers stopped being numbers: the step, what was said, and the batches that it had in hand.
use serde::{Deserialize, Serialize};

/// `diverged.json`: the mark of a run that cannot be gone on with, and all that is needed to look at it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// The optimizer step, from 1, whose loss, gradient norm or evaluation is not finite; 0 where the evaluation before
    /// training is not, since the weights that were given are broken.
    pub step: u64,
    /// What was said.
    pub message: String,
    /// The place in the data before the step's batches, as a checkpoint has it.
    pub cursor: serde_json::Value,
    /// The micro-batches of the step, as their objective tells them.
    pub batches: Vec<serde_json::Value>,
}
