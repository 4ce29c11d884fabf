//! A model that a command line names, and where its weights are to be: what `generate`, `chat` and `evaluate` share.
use crate::model_path;
use anyhow::{Error, Result};
use blockllm_model::ModelError;
use blockllm_model::hf::load_adapter;
use blockllm_model::llama::LlamaForCausalLM;
use blockllm_train::tell_line;
use blockllm_train::{DeviceChoice, PretrainedLm, TrainError, WeightType};
use burn::module::Module;
use burn::tensor::Device;
use clap::Args;
use std::path::{Path, PathBuf};

/// The model.
#[derive(Args, Clone, Debug)]
pub struct ModelOptions {
    /// The model: a Hugging Face folder of Llama's family, a .gguf file, or a repository of the hub
    /// as owner/name, which is downloaded where the cache lacks it
    #[arg(long, value_name = "DIR|FILE|REPO")]
    pub model: String,
    /// A tokenizer.json, or a tokenizer file of llama2.c (.bin), instead of the model's
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// A folder of LoRA adapters beside it, as PEFT or `finetune --save adapter` keeps them
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Where to compute: flex, wgpu or cuda, as far as they are built in, or auto for the best that is here
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// In what the weights are kept
    #[arg(long, default_value = "f32", value_name = "f32|bf16")]
    pub weights: WeightType,
}

impl ModelOptions {
    /// The files and folders that are read, by their options.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Path)> {
        let tokenizer = self.tokenizer.as_deref().map(|file| ("--tokenizer", file));
        let adapter = self.adapter.as_deref().map(|folder| ("--adapter", folder));
        std::iter::once(("--model", Path::new(&self.model)))
            .chain(tokenizer)
            .chain(adapter)
    }

    /// Finds the model; no weights are read.
    ///
    /// # Errors
    /// When it or its tokenizer is not there, or broken.
    pub fn find(&self) -> Result<PretrainedLm> {
        let path = model_path::find(&self.model)?;
        Ok(PretrainedLm::open(&path, self.tokenizer.as_deref())?)
    }

    /// Reads the weights of `pretrained`, on the device that is asked for.
    ///
    /// # Errors
    /// When the device is missing, or weights are broken.
    pub fn load(&self, pretrained: &PretrainedLm) -> Result<(LlamaForCausalLM, Device)> {
        let device = self.device.resolve()?.choice;
        if self.device == DeviceChoice::Auto {
            tell_line!("device: {}", device.name());
        }
        let device = device.open()?;
        tell_line!("loading {}", self.describe(pretrained));
        let model = pretrained.load(self.weights, &device)?;
        let model = match &self.adapter {
            // Merged: what computes sees plain matrices.
            Some(folder) => load_adapter(model, folder)?.materialize(),
            None => model,
        };
        Ok((model, device))
    }

    /// `error`; where the model's logits are no numbers, with the place of its weights.
    pub fn named(&self, error: Error) -> Error {
        if !error.chain().any(is_of_logits) {
            return error;
        }
        let model = &self.model;
        error.context(match &self.adapter {
            Some(folder) => format!("--model {model} with the adapters of {}", folder.display()),
            None => format!("--model {model}"),
        })
    }

    /// One line for people: the model, and the adapters that go with it.
    pub fn describe(&self, pretrained: &PretrainedLm) -> String {
        match &self.adapter {
            Some(folder) => format!(
                "{} with the adapters of {}",
                pretrained.describe(),
                folder.display()
            ),
            None => pretrained.describe(),
        }
    }
}

/// Whether logits that are no numbers are the cause.
fn is_of_logits(cause: &(dyn std::error::Error + 'static)) -> bool {
    let of_model = match cause.downcast_ref::<TrainError>() {
        Some(TrainError::Logits) => return true,
        Some(TrainError::Model(error)) => Some(error),
        _ => cause.downcast_ref::<ModelError>(),
    };
    matches!(of_model, Some(ModelError::Config { field, .. }) if field == "logits")
}
