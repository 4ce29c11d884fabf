//! Checkpoints: everything that a run needs to go on as if it had never stopped, under `checkpoints/step-N/`.
mod files;
mod load;
mod seal;
mod snapshot;
mod writing;

use crate::trainer::Course;
use crate::{Interrupt, Method, TrainConfig, TrainError, TrainingOptimizer};
use blockllm_data::atomic_file::sync_folder;
use blockllm_optim::OptimizerRecord;
use blockllm_tensors::TensorFile;
use burn::module::Module;
use burn::tensor::Device;
use files::{FILES, OPTIMIZER, STATE};
use seal::damage;
use serde::{Deserialize, Serialize};
use snapshot::Digests;
pub(crate) use snapshot::Snapshot;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;
pub(crate) use writing::Writing;

/// Where checkpoints are kept, when one is made, and which of them stay.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    every: u64,
    every_time: Option<Duration>,
    kept: usize,
    keeps_best: bool,
    saves_last: bool,
    interrupt: Interrupt,
    digests: Digests,
    /// The step of a checkpoint that was found whole: hashing it once is enough.
    whole: Cell<Option<u64>>,
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
    /// One in `run_folder` after every `every` optimizer steps (0: none by steps); the newest two are kept.
    pub fn new(run_folder: &Path, every: u64) -> Self {
        Self {
            folder: run_folder.join("checkpoints"),
            every,
            every_time: None,
            kept: 2,
            keeps_best: false,
            saves_last: false,
            interrupt: Interrupt::default(),
            digests: Digests::default(),
            whole: Cell::new(None),
        }
    }

    /// Makes one too when the last one is this long ago.
    #[must_use]
    pub fn and_every(mut self, time: Option<Duration>) -> Self {
        self.every_time = time;
        self
    }

    /// Keeps the newest `count`, at least one.
    #[must_use]
    pub fn keeping(mut self, count: usize) -> Self {
        self.kept = count.max(1);
        self
    }

    /// Makes one at every best evaluation and keeps it: its weights are those of the trained model. A run that may stop
    /// early does so in any case.
    #[must_use]
    pub fn keeping_the_best(mut self, keeps: bool) -> Self {
        self.keeps_best = keeps;
        self
    }

    /// Makes one after the last step: with it a run can be made longer, and its weights saved later.
    #[must_use]
    pub fn with_the_last(mut self, saves: bool) -> Self {
        self.saves_last = saves;
        self
    }

    /// Lets `interrupt` stop the run: after the step that it is in, with a checkpoint.
    #[must_use]
    pub fn stopping_on(mut self, interrupt: Interrupt) -> Self {
        self.interrupt = interrupt;
        self
    }

    /// Whether a checkpoint is made after `step`, the last one being `since` ago.
    pub fn is_due(&self, step: u64, since: Duration) -> bool {
        (self.every > 0 && step.is_multiple_of(self.every))
            || self.every_time.is_some_and(|time| since >= time)
    }

    pub(crate) fn keeps_best(&self) -> bool {
        self.keeps_best
    }

    pub(crate) fn saves_last(&self) -> bool {
        self.saves_last
    }

    pub(crate) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// The step of the newest checkpoint, whole or not.
    pub fn newest(&self) -> Option<u64> {
        self.steps().last().copied()
    }

    /// The step of the newest checkpoint whose files are all as they were written. Damaged ones are set aside as
    /// `damaged-step-N`, which `tell` is told.
    ///
    /// # Errors
    /// When a damaged one cannot be set aside.
    pub fn newest_whole(&self, tell: &mut dyn FnMut(&str)) -> Result<Option<u64>, TrainError> {
        for step in self.steps().into_iter().rev() {
            if self.whole.get() == Some(step) {
                return Ok(Some(step));
            }
            let path = self.path(step);
            let Some(damage) = damage(&path, &FILES) else {
                self.whole.set(Some(step));
                return Ok(Some(step));
            };
            let aside = self.folder.join(format!("damaged-step-{step}"));
            if aside.exists() {
                std::fs::remove_dir_all(&aside).map_err(|source| self.error(source))?;
            }
            std::fs::rename(&path, &aside).map_err(|source| self.error(source))?;
            tell(&format!(
                "the checkpoint of step {step} is damaged ({damage}): it is set aside as {}, and an older one is taken",
                aside.display()
            ));
        }
        Ok(None)
    }

    /// Deletes all checkpoints.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub fn clear(&self) -> Result<(), TrainError> {
        self.whole.set(None);
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder).map_err(|source| self.error(source))?;
        }
        Ok(())
    }

    /// Deletes all checkpoints but that of `step`, whose weights are those of a complete run, and the newest one.
    ///
    /// # Errors
    /// When a folder cannot be removed.
    pub fn clear_but(&self, step: u64) -> Result<(), TrainError> {
        self.keep_only(1, Some(step))
    }

    /// Takes a copy of the checkpoint of `step` in the run of `from`, without its tensors being read.
    ///
    /// # Errors
    /// When a file cannot be copied.
    pub fn adopt(&self, from: &Path, step: u64) -> Result<(), TrainError> {
        let source = Self::new(from, 0).path(step);
        let unfinished = self.make_unfinished()?;
        for entry in std::fs::read_dir(&source).map_err(|source| self.error(source))? {
            let entry = entry.map_err(|source| self.error(source))?;
            std::fs::copy(entry.path(), unfinished.join(entry.file_name()))
                .map_err(|source| self.error(source))?;
        }
        self.rename_unfinished(&unfinished, step)
    }

    /// Begins to write `snapshot`, `beside` training or in line: under a temporary name, sealed with the hashes of its files,
    /// then renamed; those that are no longer kept are dropped. When it fails, the older ones are all still there.
    pub(crate) fn save(&self, snapshot: Snapshot, best: Option<u64>, beside: bool) -> Writing {
        let all = self.clone();
        Writing::start(snapshot.step, beside, move || all.write(snapshot, best))
    }

    /// Notes the end of a writing: what this process has written and synced need not be read again.
    pub(crate) fn finish(&self, writing: Writing) -> Result<(), TrainError> {
        let step = writing.step();
        writing.finish()?;
        self.whole.set(Some(step));
        Ok(())
    }

    fn write(&self, snapshot: Snapshot, best: Option<u64>) -> Result<(), TrainError> {
        let step = snapshot.step;
        let unfinished = self.make_unfinished()?;
        let written = snapshot
            .write(&unfinished, &self.digests)
            .and_then(|()| self.rename_unfinished(&unfinished, step));
        if written.is_err() {
            // Half a checkpoint is of no use, and may be what fills the disk; the first error is the one to tell.
            let _ = std::fs::remove_dir_all(&unfinished);
        }
        written?;
        self.keep_only(self.kept, best)
    }

    fn make_unfinished(&self) -> Result<PathBuf, TrainError> {
        let unfinished = self.folder.join("unfinished");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).map_err(|source| self.error(source))?;
        }
        std::fs::create_dir_all(&unfinished).map_err(|source| self.error(source))?;
        Ok(unfinished)
    }

    fn rename_unfinished(&self, unfinished: &Path, step: u64) -> Result<(), TrainError> {
        let path = self.path(step);
        let renamed = sync_folder(unfinished)
            .and_then(|()| {
                if path.exists() {
                    std::fs::remove_dir_all(&path)?;
                }
                std::fs::rename(unfinished, &path)
            })
            .and_then(|()| sync_folder(&self.folder));
        renamed.map_err(|source| self.error(source))
    }

    /// Drops all but the newest `count` and that of the step `best`.
    fn keep_only(&self, count: usize, best: Option<u64>) -> Result<(), TrainError> {
        let steps = self.steps();
        let older = steps.len().saturating_sub(count);
        for step in steps[..older].iter().filter(|step| Some(**step) != best) {
            std::fs::remove_dir_all(self.path(*step)).map_err(|source| self.error(source))?;
        }
        Ok(())
    }

    /// Puts weights and optimizer back as they were after `step`.
    pub(crate) fn load<M: Module + 'static, T: for<'de> Deserialize<'de>>(
        &self,
        step: u64,
        model: M,
        optimizer: &mut dyn TrainingOptimizer<M>,
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
        let model = self.load_weights(step, model)?;
        let tensors = TensorFile::open(&path.join(OPTIMIZER))?.into_tensors();
        let record = OptimizerRecord {
            meta: state.optimizer.clone(),
            tensors: tensors
                .into_iter()
                .map(|(name, stored)| (name, stored.into()))
                .collect(),
        };
        optimizer.restore(record, device)?;
        Ok((model, state))
    }

    /// `model`, [adapted](crate::Method::adapt) and in the run's type of weights, with the weights after `step`.
    ///
    /// # Errors
    /// When there is no such checkpoint, or it is of another model.
    pub(crate) fn load_weights<M: Module>(&self, step: u64, model: M) -> Result<M, TrainError> {
        load::load_weights(model, &self.path(step))
    }

    /// `model`, as it was before training, with the weights that `method` gave it by `step`; verified first.
    ///
    /// # Errors
    /// When there is no such checkpoint, or it is damaged or of another model.
    pub fn trained<M: Module + 'static>(
        &self,
        model: M,
        method: &Method,
        config: &TrainConfig,
        step: u64,
    ) -> Result<M, TrainError> {
        self.verify(step)?;
        self.load_weights(step, config.weights.cast(method.adapt(model, config)?)?)
    }

    /// Checks that the checkpoint of `step` is as it was written.
    ///
    /// # Errors
    /// Names what is damaged.
    pub fn verify(&self, step: u64) -> Result<(), TrainError> {
        let path = self.path(step);
        match damage(&path, &FILES) {
            None => Ok(()),
            Some(message) => Err(TrainError::Record { path, message }),
        }
    }

    /// Whether there is a checkpoint of `step`.
    pub fn has(&self, step: u64) -> bool {
        self.steps().contains(&step)
    }

    fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step}"))
    }

    /// The steps of all checkpoints, ascending.
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
