//! A run with its folder: not run again when complete, taken up where it was stopped, or begun.
use crate::Cli;
use anyhow::Result;
use blockllm_train::{Checkpoints, Progress, Record, RunFolder, RunObserver, RunResult, TrainError};
use serde::Serialize;
use std::path::PathBuf;

/// A complete run: its result, and its folder for the curves.
#[derive(Debug)]
pub struct CompleteRun {
    /// The figures.
    pub result: RunResult,
    /// Where its records are.
    pub folder: RunFolder,
}

impl CompleteRun {
    /// The run in `path` of this `config` on the data of this `manifest`: read from disk where the command line asks to
    /// resume and it is complete, else made by `train`, which finds the checkpoints to go on from.
    ///
    /// # Errors
    /// When the folder holds another run, cannot be written, or `train` fails.
    pub fn of(
        cli: &Cli,
        path: PathBuf,
        config: &impl Serialize,
        manifest: &impl Serialize,
        train: impl FnOnce(&mut RunFolder, &Checkpoints) -> Result<RunResult>,
    ) -> Result<Self> {
        let mut folder = RunFolder::new(path);
        if cli.resume
            && let Some(result) = folder.finished(config, manifest)?
        {
            eprintln!("{}: complete, not run again", folder.path().display());
            return Ok(Self { result, folder });
        }
        let checkpoints = Checkpoints::new(folder.path(), cli.checkpoint_every);
        let resumed = match checkpoints.newest().filter(|_| cli.resume) {
            Some(step) => folder.resume(config, manifest, step)?,
            None => false,
        };
        if !resumed {
            checkpoints.clear()?;
            folder.start(config, manifest)?;
        }
        let result = train(&mut folder, &checkpoints)?;
        folder.finish(&result)?;
        checkpoints.clear()?;
        Ok(Self { result, folder })
    }
}

/// Tells the run's folder and the terminal.
#[derive(Debug)]
pub struct FolderAndTerminal<'a> {
    /// Keeps every record.
    pub folder: &'a mut RunFolder,
    /// Shows some.
    pub progress: Progress,
}

impl RunObserver for FolderAndTerminal<'_> {
    fn record(&mut self, record: &Record) -> Result<(), TrainError> {
        self.folder.record(record)?;
        self.progress.record(record)
    }
}
