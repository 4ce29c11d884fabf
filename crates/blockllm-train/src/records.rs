//! What a run tells: one record per step, selection and evaluation, and a result at the end.
pub use crate::run_result::RunResult;

use crate::evaluation::number;
use crate::tell_line;
use crate::{Divergence, Evaluation, TrainError};
use blockllm_optim::SelectionEvent;
use serde::{Deserialize, Serialize};

/// One optimizer step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// `t`, from 1.
    pub step: u64,
    /// Token-weighted mean loss over the micro-batches.
    pub loss: f64,
    /// Global gradient norm of the trained blocks, before clipping.
    pub grad_norm: f64,
    /// The learning rate used.
    pub learning_rate: f64,
    /// Input tokens seen so far.
    pub tokens_seen: u64,
    /// Wall time of the step, in milliseconds.
    pub step_ms: f64,
    /// Wall time for which the step waited for its batches before that, in milliseconds.
    #[serde(default)]
    pub wait_ms: f64,
    /// Entries with optimizer state.
    pub trained_entries: u64,
    /// Trained parameters that got no gradient, since the loss did not depend on them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub without_gradient: u64,
    /// Live bytes after the step; on a GPU as of the last step that looked at the pool, every
    /// [`memory_sample_every`](crate::TrainConfig::memory_sample_every).
    pub memory_bytes: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// Optimizer steps done; 0 is the untrained model.
    pub step: u64,
    /// Input tokens seen.
    pub tokens_seen: u64,
    /// The figures.
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

/// Batches that were left out because their loss or gradient norm is not a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SkippedRecord {
    /// The step that was then made with the next batches.
    pub step: u64,
    /// Their loss.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    /// The norm of their gradients.
    #[serde(deserialize_with = "number")]
    pub grad_norm: f64,
    /// The place in the data before them, as a checkpoint has it.
    pub cursor: serde_json::Value,
}

/// Documents that were left out because they are broken: told whenever there are more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutRecord {
    /// The step whose batches would have had the last of them.
    pub step: u64,
    /// Documents so far, over all epochs.
    pub documents: u64,
    /// Shards so far that were empty, or whose rest could not be read.
    pub shards: u64,
}

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Record {
    /// An optimizer step.
    Step(StepRecord),
    /// A selection.
    Selection(SelectionEvent),
    /// An evaluation.
    Evaluation(EvaluationRecord),
    /// Batches that were left out.
    Skipped(SkippedRecord),
    /// Documents that were left out.
    LeftOut(LeftOutRecord),
}

impl Record {
    /// Whether it was made during the first `steps` optimizer steps.
    pub fn belongs_to_first(&self, steps: u64) -> bool {
        match self {
            Self::Step(step) => step.step <= steps,
            // A selection is made before the first step that uses it.
            Self::Selection(event) => event.step < steps,
            Self::Evaluation(evaluation) => evaluation.step <= steps,
            Self::Skipped(skipped) => skipped.step <= steps,
            Self::LeftOut(left_out) => left_out.step <= steps,
        }
    }
}

/// Is told every record as it happens.
pub trait RunObserver {
    /// Takes one record.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn record(&mut self, record: &Record) -> Result<(), TrainError>;

    /// Takes what is known of a step that diverged; the run ends with it.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn diverged(&mut self, divergence: &Divergence) -> Result<(), TrainError> {
        let _ = divergence;
        Ok(())
    }

    /// Tells something that a user should know, such as a checkpoint that could not be made; on stderr.
    fn warn(&mut self, message: &str) {
        tell_line!("warning: {message}");
    }
}
