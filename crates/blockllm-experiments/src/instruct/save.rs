//! What is kept of a tuned model beside its records.
use clap::ValueEnum;

/// The file of a delta, in the folder that it is saved in.
pub const DELTA: &str = "model.delta.safetensors";

/// What is kept.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Save {
    /// A folder that transformers loads
    Model,
    /// The LoRA adapters alone, as PEFT loads them beside the base: of `--method lora:RANK`
    Adapter,
    /// What training has changed of the base, as a file for `cargo xtask delta`
    Delta,
    /// Records alone
    Nothing,
}

impl Save {
    /// As the command line calls it.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The folder below the run's that it is kept in.
    pub fn folder(self) -> Option<&'static str> {
        match self {
            Self::Model => Some("model"),
            Self::Adapter => Some("adapter"),
            Self::Delta => Some("delta"),
            Self::Nothing => None,
        }
    }
}
