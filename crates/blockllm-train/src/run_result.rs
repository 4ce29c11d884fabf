//! The outcome of a run, as its folder keeps it.
use crate::{EvaluationRecord, MemoryReport, Method, SelfCheck, TrainConfig, Trained};
use blockllm_data::Skipped;
use serde::{Deserialize, Serialize};

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
