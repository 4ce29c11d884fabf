//! Checkpoints: everything that a run needs to go on as if it had never stopped, under `checkpoints/step-N/`.
use crate::tensor_file::{read_tensors, write_tensors};
use crate::trainer::Course;
use crate::weights::{load_weights, weights};
use crate::{TrainError, TrainingOptimizer};
use blockllm_data::atomic_file::write_atomically;
use blockllm_optim::OptimizerRecord;
use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";

/// Where checkpoints are kept, and how often one is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    folder: PathBuf,
    every: u64,
}

/// What a checkpoint holds beside weights and optimizer tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckpointState<T> {
    /// Optimizer steps done.
    pub step: u64,
    /// The place in the data.
    pub cursor: serde_json::Value,
    /// What the evaluations have shown.
    pub course: Course,
    /// What the run has added up.
    pub tally: T,
    /// The most bytes that were live at once.
    pub peak_bytes: u64,
    /// Selection, visits, loss history, random numbers.
    pub optimizer: serde_json::Value,
}

impl Checkpoints {
    /// One in `run_folder` after every `every` optimizer steps; the newest is kept.
    pub fn new(run_folder: &Path, every: u64) -> Self {
        Self {
            folder: run_folder.join("checkpoints"),
            every,
        }
    }

    /// Whether a checkpoint is made after `step`.
    pub fn is_due(&self, step: u64) -> bool {
        self.every > 0 && step.is_multiple_of(self.every)
    }

    /// The step of the newest whole checkpoint.
    pub fn newest(&self) -> Option<u64> {
        self.steps().into_iter().max()
    }

    /// Deletes all checkpoints: those of a finished run, or of one that starts afresh.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub fn clear(&self) -> Result<(), TrainError> {
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder).map_err(|source| self.error(source))?;
        }
        Ok(())
    }

    /// Writes a checkpoint under a temporary name, renames it, and drops the older ones. Weights and optimizer
    /// state are copied to the host one after the other, never both at once.
    pub(crate) fn save<M: Module, T: Serialize>(
        &self,
        model: &M,
        optimizer: &TrainingOptimizer,
        state_with: impl FnOnce(serde_json::Value) -> CheckpointState<T>,
    ) -> Result<(), TrainError> {
        let unfinished = self.folder.join("unfinished");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).map_err(|source| self.error(source))?;
        }
        std::fs::create_dir_all(&unfinished).map_err(|source| self.error(source))?;
        write_tensors(&unfinished.join(MODEL), weights(model)?)?;
        let record = optimizer.record()?;
        write_tensors(&unfinished.join(OPTIMIZER), record.tensors)?;
        let state = state_with(record.meta);
        let text = serde_json::to_string_pretty(&state).expect("a checkpoint's state has only string keys");
        write_atomically(&unfinished.join(STATE), text.as_bytes())?;
        let older = self.steps();
        let path = self.path(state.step);
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(|source| self.error(source))?;
        }
        std::fs::rename(&unfinished, &path).map_err(|source| self.error(source))?;
        for step in older.into_iter().filter(|step| *step != state.step) {
            std::fs::remove_dir_all(self.path(step)).map_err(|source| self.error(source))?;
        }
        Ok(())
    }

    /// Puts weights and optimizer back as they were after `step`.
    pub(crate) fn load<M: Module, T: for<'de> Deserialize<'de>>(
        &self,
        step: u64,
        model: M,
        optimizer: &mut TrainingOptimizer,
        device: &Device,
    ) -> Result<(M, CheckpointState<T>), TrainError> {
        let path = self.path(step);
        let file = path.join(STATE);
        let text = std::fs::read_to_string(&file).map_err(|source| TrainError::File {
            path: file.clone(),
            source,
        })?;
        let state: CheckpointState<T> = serde_json::from_str(&text).map_err(|error| TrainError::Record {
            path: file,
            message: error.to_string(),
        })?;
        let model_file = path.join(MODEL);
        let model = load_weights(model, read_tensors(&model_file)?, &model_file)?;
        let record = OptimizerRecord {
            meta: state.optimizer.clone(),
            tensors: read_tensors(&path.join(OPTIMIZER))?,
        };
        optimizer.restore(record, device)?;
        Ok((model, state))
    }

    fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step}"))
    }

    /// The steps of all whole checkpoints, ascending.
    fn steps(&self) -> Vec<u64> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let step = |name: &str| name.strip_prefix("step-").and_then(|step| step.parse().ok());
        let mut steps: Vec<u64> = entries
            .filter_map(|entry| step(&entry.file_name().to_string_lossy()))
            .collect();
        steps.sort_unstable();
        steps
    }

    fn error(&self, source: std::io::Error) -> TrainError {
        TrainError::File {
            path: self.folder.clone(),
            source,
        }
    }
}
