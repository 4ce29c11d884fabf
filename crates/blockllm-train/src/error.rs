//! What can go wrong in a run.
use blockllm_optim::OptimError;
use blockllm_policy::PolicyError;
use std::path::PathBuf;
use thiserror::Error;

/// An error of the trainer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The data side refused.
    #[error(transparent)]
    Data(#[from] blockllm_data::DataError),
    /// The model side refused.
    #[error(transparent)]
    Model(#[from] blockllm_model::ModelError),
    /// A file of tensors could not be read or written.
    #[error(transparent)]
    Tensors(#[from] blockllm_tensors::TensorFileError),
    /// The optimizer refused, or training diverged.
    #[error(transparent)]
    Optim(#[from] OptimError),
    /// The policy side refused.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A method or an optimizer from another crate refused.
    #[error(transparent)]
    Own(Box<dyn std::error::Error + Send + Sync>),
    /// A setting is out of its range.
    #[error("`{field}` is {value}: {mend}")]
    Setting {
        /// The setting's name.
        field: &'static str,
        /// The value given.
        value: String,
        /// What to do.
        mend: String,
    },
    /// A file of the run could not be written or read.
    #[error("{}: {source}{}", path.display(), unwritable(source))]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A record of a run is not what this version writes.
    #[error("{}: {message}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Two folders of one run differ in configuration.
    #[error("{} holds a run with another configuration ({what}), which is left as it is: choose another --out", path.display())]
    OtherRun {
        /// The run's folder.
        path: PathBuf,
        /// The field that differs.
        what: String,
    },
    /// Another process has the run's folder.
    #[error("{} is being trained by another process: wait for it, or choose another --out", path.display())]
    Locked {
        /// The run's folder.
        path: PathBuf,
    },
    /// A request stopped the run; what is done is kept.
    #[error("stopped by {} after step {step}{}", signal_name(*signal), kept(*step, *saved))]
    Interrupted {
        /// The number of the signal that asked for it.
        signal: i32,
        /// Optimizer steps done.
        step: u64,
        /// The step of the newest checkpoint.
        saved: Option<u64>,
    },
    /// The device failed.
    #[error("reading {what} from the device failed: {message}")]
    Device {
        /// What was read.
        what: &'static str,
        /// The device's message.
        message: String,
    },
    /// A device that was asked for is not there.
    #[error("there is no device `{device}`: {missing}; {mend}")]
    NoDevice {
        /// The device's name.
        device: &'static str,
        /// What is missing.
        missing: String,
        /// What to do.
        mend: String,
    },
    /// The device's own thread failed, so numbers may have been read that nobody wrote.
    #[error("the device's thread failed, and what was read since cannot be trusted: {message}")]
    DeviceThread {
        /// What it said.
        message: String,
    },
    /// The device computes other numbers than the CPU.
    #[error(
        "the device does not compute this model as flex does: {message}; its kernels cannot be trusted (a build without \
         kernel fusion and autotuning may: `cargo xtask reproduce-paper --unfused`)"
    )]
    SelfCheck {
        /// What differs.
        message: String,
    },
    /// The model no longer says anything.
    #[error(
        "the model's logits are not finite: training diverged (lower the learning rate), its weights held NaN or infinity before, \
         or the arithmetic overflowed"
    )]
    Logits,
    /// So many steps were skipped that it cannot be the batches.
    #[error(
        "the batches of step {step} were skipped {skipped} times, one after the other: training has diverged"
    )]
    OnlyBadSteps {
        /// The step.
        step: u64,
        /// How often.
        skipped: u64,
    },
    /// An evaluation is not a number.
    #[error("the validation loss after step {step} is {loss}: {}", because(*step))]
    BadEvaluation {
        /// Optimizer steps done.
        step: u64,
        /// What was found.
        loss: f64,
    },
    /// A text of an evaluation cannot be scored by the model.
    #[error("{what} cannot be scored: {why}")]
    Unscorable {
        /// The text, by where it stands.
        what: String,
        /// What is in the way, and what to do.
        why: String,
    },
    /// No batch has a label.
    #[error("{what} holds no token to predict: give longer documents")]
    NoLabels {
        /// Which batches.
        what: &'static str,
    },
}

impl TrainError {
    /// Whether the run's own numbers ended it, at these settings; another run may still go well.
    pub fn is_divergence(&self) -> bool {
        matches!(
            self,
            Self::Logits
                | Self::BadEvaluation { .. }
                | Self::OnlyBadSteps { .. }
                | Self::Policy(PolicyError::BadMeasurement { .. })
                | Self::Optim(
                    OptimError::BadLoss { .. }
                        | OptimError::BadGradNorm { .. }
                        | OptimError::Policy(PolicyError::BadMeasurement { .. })
                )
        )
    }
}

/// What to look at; nothing where there is no room, which the program that tells the error says.
fn unwritable(source: &std::io::Error) -> &'static str {
    if blockllm_data::is_without_room(source.kind()) {
        ""
    } else {
        "; is the folder writable?"
    }
}

fn because(step: u64) -> &'static str {
    match step {
        0 => "the weights held NaN or infinity before training, or the arithmetic overflowed",
        _ => "training diverged (lower the learning rate)",
    }
}

fn signal_name(signal: i32) -> String {
    match signal {
        2 => "SIGINT".to_owned(),
        15 => "SIGTERM".to_owned(),
        other => format!("signal {other}"),
    }
}

fn kept(step: u64, saved: Option<u64>) -> String {
    match saved {
        Some(saved) if saved == step => ", with a checkpoint".to_owned(),
        Some(saved) => format!("; the newest checkpoint is that of step {saved}"),
        None => "; no checkpoint could be made".to_owned(),
    }
}
