//! What a scale of the GLUE experiment decides, after the command line: epochs, batches, lengths, rows.
use crate::cli::RowOrder;
use crate::{Cli, Scale};
use anyhow::{Result, bail};
use blockllm_data::glue::GlueTask;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// What a scale decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The scale.
    pub scale: Scale,
    /// Passes over the training rows.
    pub epochs: u64,
    /// Rows of an optimizer step; `CoLA` has twice as many at the paper's scale.
    pub batch_size: usize,
    /// Micro-batches of a step, of equal size but for the last of an epoch.
    pub grad_accum_steps: usize,
    /// Optimizer steps, at most, whatever the epochs.
    pub steps: Option<u64>,
    /// Tokens of a row, at most.
    pub max_length: usize,
    /// Training rows of a task, at most; 0 takes all.
    pub max_train_rows: usize,
    /// Validation rows of a task, at most; 0 takes all.
    pub max_validation_rows: usize,
    /// `m`: patience, in steps.
    pub patience: usize,
    /// Share of the steps over which the rate rises.
    pub warmup: f64,
    /// Epochs without a better score after which a run stops; 0 never stops it.
    pub stop_after: u64,
    /// The order of the training rows.
    pub order: RowOrder,
}

impl Settings {
    /// The settings of a scale.
    pub fn of(scale: Scale) -> Self {
        let cpu = Self {
            scale,
            epochs: 3,
            batch_size: 16,
            grad_accum_steps: 1,
            steps: None,
            max_length: 128,
            max_train_rows: 10_000,
            max_validation_rows: 0,
            patience: 50,
            warmup: 0.0,
            stop_after: 0,
            order: RowOrder::Shuffled,
        };
        match scale {
            Scale::Quick => Self {
                epochs: 2,
                max_length: 64,
                max_train_rows: 768,
                max_validation_rows: 192,
                patience: 15,
                ..cpu
            },
            Scale::Cpu => cpu,
            // GaLore, table 4, and BlockLLM's own runs.
            Scale::Paper => Self {
                epochs: 30,
                max_length: 512,
                max_train_rows: 0,
                patience: 100,
                ..cpu
            },
        }
    }

    pub(super) fn overridden(mut self, cli: &Cli) -> Result<Self> {
        self.epochs = cli.epochs.unwrap_or(self.epochs);
        self.patience = cli.patience.map_or(self.patience, |patience| patience as usize);
        self.max_length = cli.max_length.unwrap_or(self.max_length);
        self.stop_after = cli.stop_after;
        self.warmup = cli.warmup.unwrap_or(self.warmup);
        self.order = cli.order;
        self.steps = cli.steps;
        self.grad_accum_steps = cli.grad_accum_steps as usize;
        if !self.batch_size.is_multiple_of(self.grad_accum_steps) {
            bail!(
                "--grad-accum-steps {} does not divide a step's {} rows: use 1, 2, 4, 8 or 16",
                self.grad_accum_steps,
                self.batch_size
            );
        }
        Ok(self)
    }

    /// Rows of a micro-batch of `task`.
    pub(super) fn micro_batch_of(&self, task: GlueTask) -> usize {
        let doubled = self.scale == Scale::Paper && task == GlueTask::Cola;
        self.batch_size / self.grad_accum_steps * if doubled { 2 } else { 1 }
    }

    /// How long and in what batches, in words.
    pub(super) fn describe(&self) -> String {
        let mut text = match self.steps {
            Some(steps) => format!("at most {steps} steps of {} epochs", self.epochs),
            None => format!("{} epochs", self.epochs),
        };
        if self.stop_after > 0 {
            write!(text, ", stopped after {} without a better score", self.stop_after)
                .expect("a string takes all");
        }
        write!(text, "; batches of {}", self.batch_size).expect("a string takes all");
        if self.scale == Scale::Paper {
            text.push_str(" (CoLA 32)");
        }
        if self.grad_accum_steps > 1 {
            write!(text, " in {} micro-batches", self.grad_accum_steps).expect("a string takes all");
        }
        text
    }
}
