//! What a run tells: one record per step, selection and evaluation, and a result at the end.
use crate::evaluate::number;
use crate::{Divergence, Evaluation, MemoryReport, Method, SelfCheck, TrainConfig, TrainError, Trained};
use blockllm_data::Skipped;
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
    /// [`memory_sample_every`](TrainConfig::memory_sample_every).
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
        eprintln!("warning: {message}");
    }
}

/// The outcome of a run: `result.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The method's label.
    pub method: String,
    /// Seed of the run.
    pub seed: u64,
    /// What was trained.
    pub method_config: Method,
    /// How it was trained.
    pub train_config: TrainConfig,
    /// The device's name.
    pub device: String,
    /// The evaluation before training.
    pub untrained: EvaluationRecord,
    /// The last one.
    pub last: EvaluationRecord,
    /// The best one after training began, as the objective ranks them.
    pub best: EvaluationRecord,
    /// Optimizer steps, as planned; `last.step` is how many were made, fewer when the run stopped early.
    pub steps: u64,
    /// Input tokens seen.
    pub tokens_seen: u64,
    /// Median wall time of a step, in milliseconds, without evaluations.
    pub step_ms: f64,
    /// Input tokens per second over all steps and their waiting for data, without evaluations.
    pub tokens_per_second: f64,
    /// The share of that time that was spent waiting for data.
    #[serde(default)]
    pub wait_share: f64,
    /// The step whose weights are the trained model: the last, or the best of a run that may stop early.
    #[serde(default)]
    pub weights_step: u64,
    /// How often batches were left out because their loss or gradient norm is not a number.
    #[serde(default)]
    pub skipped: u64,
    /// Documents and shards that were left out because they are broken, over all epochs.
    #[serde(default)]
    pub left_out: Skipped,
    /// Parameters of the model.
    pub parameters: u64,
    /// The most entries that were trained at once.
    pub trained_entries: u64,
    /// `trained_entries / parameters`.
    pub trained_share: f64,
    /// How many selections were made.
    pub selections: u64,
    /// Names of all blocks of the partition, in order.
    pub blocks: Vec<String>,
    /// Memory, measured and estimated.
    pub memory: MemoryReport,
    /// What the device and flex said of one small batch; absent where nothing was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_check: Option<SelfCheck>,
}

impl RunResult {
    /// The result of `trained`, on the device called `device`.
    pub fn new<M>(method: &Method, config: &TrainConfig, device: &str, trained: &Trained<M>) -> Self {
        Self {
            method: method.label.clone(),
            seed: config.seed,
            method_config: method.clone(),
            train_config: config.clone(),
            device: device.to_owned(),
            untrained: trained.untrained.clone(),
            last: trained.last.clone(),
            best: trained.best.clone(),
            steps: config.steps,
            tokens_seen: trained.tokens_seen,
            step_ms: trained.step_ms,
            tokens_per_second: trained.tokens_per_second,
            wait_share: trained.wait_share,
            weights_step: trained.weights_step,
            skipped: trained.skipped,
            left_out: trained.left_out,
            parameters: trained.parameters,
            trained_entries: trained.trained_entries,
            trained_share: trained.trained_entries as f64 / trained.parameters as f64,
            selections: trained.selections,
            blocks: trained.blocks.clone(),
            memory: trained.memory,
            self_check: trained.self_check.clone(),
        }
    }
}
