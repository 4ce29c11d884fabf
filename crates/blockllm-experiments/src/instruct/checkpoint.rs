//! What instruction tuning starts from: a model on disk, or a small Llama from random weights where none is given.
use crate::tokenizer_files;
use anyhow::{Result, bail};
use blockllm_data::Tokenizer;
use blockllm_data::instruct::{ChatTemplate, Example, InstructData};
use blockllm_model::hf::{SaveOptions, save_pretrained_with};
use blockllm_model::llama::{LlamaConfig, LlamaForCausalLM};
use blockllm_train::{PretrainedLm, WeightType};
use burn::tensor::Device;
use std::path::Path;
use std::sync::Arc;

/// Vocabulary of the tokenizer that is trained where no checkpoint brings one.
const VOCAB_SIZE: usize = 1024;
/// Positions of a small model from random weights, at most: its rotary tables are made for all of them.
const MAX_POSITIONS: usize = 1 << 15;

/// What is tuned.
#[derive(Debug)]
pub enum Checkpoint {
    /// A folder or a GGUF file.
    Pretrained(Box<PretrainedLm>),
    /// A small Llama from random weights, with a tokenizer of the data's own text.
    Scratch {
        /// Its shape.
        config: Box<LlamaConfig>,
        /// Its tokenizer.
        tokenizer: Arc<Tokenizer>,
    },
}

impl Checkpoint {
    /// A small Llama that learns `data` from nothing, for rows of `max_length` tokens.
    ///
    /// # Errors
    /// When the tokenizer cannot be trained or read.
    pub fn scratch(data: &InstructData, tokenizer: Option<&Path>, max_length: usize) -> Result<Self> {
        if max_length > MAX_POSITIONS {
            bail!(
                "--max-length {max_length} is more than a small model from random weights has positions for: use at most \
                 {MAX_POSITIONS}, or name a model"
            );
        }
        let tokenizer = match tokenizer {
            Some(path) => Tokenizer::from_file(path)?,
            None => Tokenizer::train_byte_level_bpe(texts(data), VOCAB_SIZE)?,
        };
        let preset = LlamaConfig::preset("tiny")?;
        let positions = preset.max_position_embeddings.max(max_length);
        let config = LlamaConfig {
            bos_token_id: tokenizer.bos_id(),
            eos_token_id: tokenizer.eos_id().into_iter().collect(),
            pad_token_id: tokenizer.pad_id(),
            ..preset
                .with_vocab_size(tokenizer.vocab_size())
                .with_max_position_embeddings(positions)
        };
        config.validate()?;
        let tokenizer = Arc::new(tokenizer.fitted(config.vocab_size)?);
        Ok(Self::Scratch {
            config: Box::new(config),
            tokenizer,
        })
    }

    /// Its shape.
    pub fn config(&self) -> &LlamaConfig {
        match self {
            Self::Pretrained(model) => model.config(),
            Self::Scratch { config, .. } => config,
        }
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        match self {
            Self::Pretrained(model) => model.tokenizer(),
            Self::Scratch { tokenizer, .. } => tokenizer,
        }
    }

    /// Whether it was trained before.
    pub fn is_pretrained(&self) -> bool {
        matches!(self, Self::Pretrained(_))
    }

    /// The model, as it is before training.
    ///
    /// # Errors
    /// When its files are broken, or the device cannot compute in that type.
    pub fn load(&self, seed: u64, weights: WeightType, device: &Device) -> Result<LlamaForCausalLM> {
        weights.check(device)?;
        Ok(match self {
            Self::Pretrained(model) => model.load(weights, device)?,
            Self::Scratch { config, .. } => config.init_as(seed, weights.into(), device),
        })
    }

    /// Writes `model` as a folder that transformers loads, and `template` with it.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(
        &self,
        model: &LlamaForCausalLM,
        template: &ChatTemplate,
        weights: WeightType,
        dir: &Path,
    ) -> Result<()> {
        match self {
            Self::Pretrained(pretrained) => pretrained.save(model, weights, dir)?,
            Self::Scratch { config, tokenizer } => {
                save_pretrained_with(model, config, dir, &SaveOptions::of(weights.into()))?;
                tokenizer_files::write(tokenizer, config.max_position_embeddings, dir)?;
                std::fs::write(dir.join("chat_template.jinja"), template.source())?;
            }
        }
        Ok(())
    }

    /// The folder of safetensors that a delta is against, or adapters belong to.
    ///
    /// # Errors
    /// When there is none.
    pub fn base(&self) -> Result<&PretrainedLm> {
        match self {
            Self::Pretrained(model) if model.path().is_dir() => Ok(model),
            Self::Pretrained(model) => bail!(
                "{} is no folder of safetensors, which a delta or an adapter is beside; use --save model",
                model.path().display()
            ),
            Self::Scratch { .. } => {
                bail!("a model from random weights has no base; use --save model")
            }
        }
    }

    /// One line for the report.
    pub fn describe(&self) -> String {
        match self {
            Self::Pretrained(model) => model.describe(),
            Self::Scratch { config, .. } => format!(
                "a small Llama from random weights ({:.2} M parameters), not pretrained",
                config.num_parameters() as f64 / 1e6
            ),
        }
    }

    /// Of its files, where it has any.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn sha256(&self) -> Result<Option<String>> {
        match self {
            Self::Pretrained(model) => Ok(Some(model.sha256()?)),
            Self::Scratch { .. } => Ok(None),
        }
    }
}

/// All that the training examples say.
fn texts(data: &InstructData) -> impl Iterator<Item = String> + '_ {
    let examples = data.train.iter().flat_map(|source| &source.examples);
    examples.flat_map(|placed| match &placed.example {
        Example::Conversation(messages) => messages
            .iter()
            .map(|message| message.content.clone())
            .collect::<Vec<_>>(),
        Example::Completion { prompt, completion } => vec![format!("{prompt}{completion}")],
        Example::Text(text) => vec![text.clone()],
    })
}
