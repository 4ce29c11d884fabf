//! A GGUF file of a model: what it describes, and its weights in Hugging Face's order.

use std::collections::BTreeMap;
use std::path::Path;

use blockllm_tensors::StoredTensor;
use blockllm_tensors::gguf::GgufFile;
use burn::tensor::Device;

use super::config::{ROPE_FACTORS, config_of};
use super::names::key_of;
use super::tokenizer::tokenizer_files;
use crate::hf::companions::generation_config;
use crate::hf::module::load_module;
use crate::hf::pretrained::check_shapes;
use crate::hf::save::write_text;
use crate::hf::{WeightDtype, WeightFolder};
use crate::llama::{LlamaConfig, LlamaFamily, LlamaForCausalLM};
use crate::{ModelError, TokenizerFiles};

/// A GGUF file of the Llama family; no weight has been read.
///
/// Weights in F32, F16, BF16, `Q8_0`, `Q4_0` to `Q5_1` and the K-quantizations are read.
#[derive(Debug)]
pub struct GgufModel {
    file: GgufFile,
    config: LlamaConfig,
}

impl GgufModel {
    /// Reads what the file at `path` says of its model.
    ///
    /// # Errors
    ///
    /// When the file is no GGUF file or damaged, or its model is none of Llama's family; the error names file, key and what to
    /// do.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let file = GgufFile::open(path)?;
        let config = config_of(&file)?;
        Ok(Self { file, config })
    }

    /// Its configuration.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The model, its weights in that number format whatever they are in the file; the device must support it.
    ///
    /// All parameters require gradients when `device` is an autodiff device.
    ///
    /// # Errors
    ///
    /// When a tensor is missing, misshapen, one too many, or of a type that is not read.
    pub fn load(&self, dtype: WeightDtype, device: &Device) -> Result<LlamaForCausalLM, ModelError> {
        let mut folder = self.weights();
        let lazy = self.config.init_lazy(0, device);
        let model = load_module(lazy, &mut folder, dtype.into(), &str::to_owned)?;
        folder.finish(|key| key == ROPE_FACTORS)?;
        Ok(model)
    }

    /// Looks whether its tensors are those of its configuration; no number is read.
    ///
    /// # Errors
    ///
    /// When one is missing, misshapen, or one too many.
    pub fn check_weights(&self) -> Result<(), ModelError> {
        let mut folder = self.weights();
        check_shapes(&mut folder, &self.config)?;
        folder.finish(|key| key == ROPE_FACTORS)
    }

    /// Its tensors under Hugging Face's keys, in its order.
    fn weights(&self) -> WeightFolder {
        let mut tensors = BTreeMap::new();
        for (name, stored) in self.file.tensors() {
            let key = key_of(name).unwrap_or_else(|| name.clone());
            tensors.insert(key.clone(), self.in_order(&key, stored.clone()));
        }
        WeightFolder::of_tensors(self.file.path(), tensors)
    }

    /// The template of its chats, in Jinja, if it has one.
    ///
    /// # Errors
    ///
    /// When it is no text.
    pub fn chat_template(&self) -> Result<Option<&str>, ModelError> {
        Ok(self.file.metadata().text("tokenizer.chat_template")?)
    }

    /// Its tokenizer, a byte-level BPE or one of `SentencePiece`, as transformers has it; the chat template is with it.
    ///
    /// # Errors
    ///
    /// When the tokenizer is of another kind, or its lists do not fit together.
    pub fn tokenizer(&self) -> Result<TokenizerFiles, ModelError> {
        let positions = self.config.max_position_embeddings;
        Ok(tokenizer_files(self.file.metadata(), positions)?)
    }

    /// Writes `tokenizer.json`, `tokenizer_config.json` (with the chat template) and `generation_config.json` into `dir`, as
    /// transformers reads them beside the weights that [`save_pretrained`](crate::hf::save_pretrained) writes.
    ///
    /// # Errors
    ///
    /// As [`tokenizer`](Self::tokenizer), and when the folder cannot be written.
    pub fn save_tokenizer(&self, dir: &Path) -> Result<(), ModelError> {
        self.tokenizer()?.save(dir)?;
        self.save_generation(dir)
    }

    /// Writes `generation_config.json` into `dir`, so that transformers stops at the model's tokens.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written.
    pub fn save_generation(&self, dir: &Path) -> Result<(), ModelError> {
        write_text(
            &dir.join("generation_config.json"),
            &generation_config(&self.config),
        )
    }

    /// A tensor whose rows are read in Hugging Face's order: llama.cpp rotates adjacent rows of a Llama's queries and keys, in
    /// place of the halves of a head.
    fn in_order(&self, key: &str, stored: StoredTensor) -> StoredTensor {
        let is_rotated = ["q_proj", "k_proj"]
            .iter()
            .any(|part| key.contains(&format!(".self_attn.{part}.")));
        if is_rotated && self.config.family == LlamaFamily::Llama {
            stored.with_paired_heads(self.config.head_dim)
        } else {
            stored
        }
    }
}
