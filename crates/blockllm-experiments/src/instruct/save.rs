//! What is kept of a tuned model beside its records.
use clap::ValueEnum;

/// The file of a delta, in the folder that it is saved in.
pub const DELTA: &str = "model.delta.safetensors";

/// What is kept.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Save {
    /// A folder that transformers loads
    Model,
    /// What training has changed of the base, as a file for `cargo xtask delta`
    Delta,
    /// Records alone
    Nothing,
}

impl Save {
    /// The folder below the run's that it is kept in.
    pub fn folder(self) -> Option<&'static str> {
        match self {
            Self::Model => Some("model"),
            Self::Delta => Some("delta"),
            Self::Nothing => None,
        }
    }
}
