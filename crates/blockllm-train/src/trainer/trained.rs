//! What a run leaves: the trained model, and what it cost.
use crate::{EvaluationRecord, MemoryReport, SelfCheck};
use blockllm_data::Skipped;

/// A trained model and what it cost.
#[derive(Debug)]
pub struct Trained<M> {
    /// The model, still on its autodiff device.
    pub model: M,
    /// The step whose weights it has: the last, or the best one where that was kept.
    pub weights_step: u64,
    /// The last evaluation.
    pub last: EvaluationRecord,
    /// The best evaluation after training began, as the objective ranks them.
    pub best: EvaluationRecord,
    /// The evaluation before training.
    pub untrained: EvaluationRecord,
    /// Input tokens seen.
    pub tokens_seen: u64,
    /// Median wall time of a step, in milliseconds.
    pub step_ms: f64,
    /// Input tokens per second, waiting for data included, evaluations not.
    pub tokens_per_second: f64,
    /// The share of that time that was spent waiting for data.
    pub wait_share: f64,
    /// How often batches were left out because their loss or gradient norm is not a number.
    pub skipped: u64,
    /// Documents and shards that were left out because they are broken, over all epochs.
    pub left_out: Skipped,
    /// Parameters of the model.
    pub parameters: u64,
    /// The most entries that were trained at once.
    pub trained_entries: u64,
    /// Selections made.
    pub selections: u64,
    /// Names of all blocks of the partition, in order.
    pub blocks: Vec<String>,
    /// Memory, measured and estimated.
    pub memory: MemoryReport,
    /// What the device and flex said of one small batch, where they were compared.
    pub self_check: Option<SelfCheck>,
}
