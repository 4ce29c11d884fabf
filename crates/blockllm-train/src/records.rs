//! What a run tells: one record per step, selection and evaluation, and a result at the end.
use crate::{Evaluation, MemoryReport, Method, TrainConfig, TrainError};
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
    /// Entries with optimizer state.
    pub trained_entries: u64,
    /// Live bytes after the step.
    pub memory_bytes: u64,
}

/// One evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// Optimizer steps done; 0 is the untrained model.
    pub step: u64,
    /// Input tokens seen.
    pub tokens_seen: u64,
    /// The figures.
    #[serde(flatten)]
    pub evaluation: Evaluation,
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
}

impl Record {
    /// Whether it was made during the first `steps` optimizer steps.
    pub fn belongs_to_first(&self, steps: u64) -> bool {
        match self {
            Self::Step(step) => step.step <= steps,
            // A selection is made before the first step that uses it.
            Self::Selection(event) => event.step < steps,
            Self::Evaluation(evaluation) => evaluation.step <= steps,
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
    /// Perplexity on the validation set at the end.
    pub validation_perplexity: f64,
    /// The same before training.
    pub untrained_perplexity: f64,
    /// Labels of the validation set.
    pub validation_labels: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// Input tokens seen.
    pub tokens_seen: u64,
    /// Median wall time of a step, in milliseconds, without evaluations.
    pub step_ms: f64,
    /// Input tokens per second over all steps, without evaluations.
    pub tokens_per_second: f64,
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
}
