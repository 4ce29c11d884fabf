//! What is kept of a tuned model beside its records.
use super::Checkpoint;
use anyhow::{Context, Result, bail};
use blockllm_train::{BlockMethod, LoraMethod, Method};
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

    /// Refuses to keep what there will be none of, or not all of what is trained.
    pub(super) fn check(self, checkpoint: &Checkpoint, methods: &[Method]) -> Result<()> {
        if !matches!(self, Self::Delta | Self::Adapter) {
            return Ok(());
        }
        checkpoint
            .base()
            .with_context(|| format!("--save {}", self.name()))?;
        if self == Self::Delta {
            return Ok(());
        }
        for method in methods {
            let label = &method.label;
            let Some(lora) = method.algorithm.get::<LoraMethod>() else {
                bail!(
                    "--save adapter: `{label}` makes no LoRA adapters; take --method lora:8, or --save delta for what it changes"
                );
            };
            if !lora.always.is_empty() {
                bail!(
                    "--save adapter: `{label}` trains more than adapters ({}), which would be lost; take --save delta or model",
                    lora.always.join(", ")
                );
            }
        }
        Ok(())
    }

    /// What one should know of a delta of `methods`: where all weights move, it saves nothing.
    pub(super) fn note(self, methods: &[Method]) -> Option<String> {
        if self != Self::Delta {
            return None;
        }
        let moves_all = |method: &&Method| {
            let blocks = method.algorithm.get::<BlockMethod>();
            method.algorithm.trains_all() || blocks.is_some_and(|blocks| blocks.inactive.is_some())
        };
        let method = methods.iter().find(moves_all)?;
        Some(format!(
            "`{}` moves all weights, so that its delta is about as large as the model; that of --method blockllm:0.95 is small",
            method.label
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_of_all_weights_is_told_and_adapters_are_not_all() {
        let noted = |save: Save, name: &str| save.note(&[Method::parse(name).unwrap()]).is_some();
        for (name, is_told) in [
            ("adamw", true),
            ("galore:8", true),
            ("blockllm-sgd:0.95", true),
            ("blockllm:0.95", false),
            ("lora:8", false),
        ] {
            assert_eq!(noted(Save::Delta, name), is_told, "{name}");
            assert!(!noted(Save::Model, name), "{name}");
        }
    }
}
