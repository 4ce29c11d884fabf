//! What can go wrong in a run.
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
    /// The optimizer refused, or training diverged.
    #[error(transparent)]
    Optim(#[from] blockllm_optim::OptimError),
    /// The policy side refused.
    #[error(transparent)]
    Policy(#[from] blockllm_policy::PolicyError),
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
    #[error("{}: {source}; is the folder writable, and is there room on the disk?", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A record of a run is not what this version writes.
    #[error("{}: {message}; delete the file, or run without --resume", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Two folders of one run differ in configuration.
    #[error("{} holds a run with another configuration ({what}): choose another --out, or delete it", path.display())]
    OtherRun {
        /// The run's folder.
        path: PathBuf,
        /// The field that differs.
        what: String,
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
        "the model's logits are not finite: training diverged (lower the learning rate), or its weights were broken before"
    )]
    Logits,
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
            Self::Logits | Self::Optim(blockllm_optim::OptimError::BadLoss { .. })
        )
    }
}
