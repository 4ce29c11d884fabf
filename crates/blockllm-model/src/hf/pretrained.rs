//! Llama folders: `config.json` and weights, under the names that transformers gives them.

use std::fs;
use std::path::Path;

use burn::tensor::Device;

use super::dtype::WeightDtype;
use super::folder::WeightFolder;
use super::module::{load_module, merged_tensors};
use super::save::{SaveOptions, save_tensors, write_text};
use crate::llama::{LlamaConfig, LlamaForCausalLM};
use crate::{ModelError, config_file};

/// Loads a Llama, or a model of its family, from a Hugging Face folder, its weights in f32 whatever their format on disk.
///
/// All parameters require gradients when `device` is an autodiff device.
///
/// # Errors
///
/// When a file is missing or corrupt, the configuration is of another family than Llama's, or the weights do not
/// belong to it; the error names file, field or tensor, and what to do.
pub fn load_pretrained(dir: &Path, device: &Device) -> Result<(LlamaForCausalLM, LlamaConfig), ModelError> {
    load_pretrained_as(dir, WeightDtype::F32, device)
}

/// [`load_pretrained`] with the weights in another number format, which the device must support.
///
/// # Errors
///
/// As [`load_pretrained`].
pub fn load_pretrained_as(
    dir: &Path,
    dtype: WeightDtype,
    device: &Device,
) -> Result<(LlamaForCausalLM, LlamaConfig), ModelError> {
    let config = LlamaConfig::from_file(&config_file::in_folder(dir)?)?;
    let mut folder = WeightFolder::open(dir)?;
    let model = load_module(
        config.init_lazy(0, device),
        &mut folder,
        dtype.into(),
        &str::to_owned,
    )?;
    folder.finish(|key| {
        let tied_head = config.tie_word_embeddings && key == "lm_head.weight";
        tied_head || key.ends_with("rotary_emb.inv_freq")
    })?;
    Ok((model, config))
}

/// Saves a Llama as a Hugging Face folder in f32, in shards above 5 GB.
///
/// Adapters of LoRA are merged into the weights, one layer at a time.
///
/// # Errors
///
/// When the folder cannot be written.
pub fn save_pretrained(model: &LlamaForCausalLM, config: &LlamaConfig, dir: &Path) -> Result<(), ModelError> {
    save_pretrained_with(model, config, dir, &SaveOptions::default())
}

/// [`save_pretrained`] with another number format or shard size.
///
/// # Errors
///
/// As [`save_pretrained`].
pub fn save_pretrained_with(
    model: &LlamaForCausalLM,
    config: &LlamaConfig,
    dir: &Path,
    options: &SaveOptions,
) -> Result<(), ModelError> {
    fs::create_dir_all(dir).map_err(ModelError::io(dir, "create"))?;
    save_tensors(merged_tensors(model, &str::to_owned)?, dir, options)?;
    let dtype = options.dtype.torch_name();
    let text = config_file::with_keys(&config.to_json(), [("torch_dtype", dtype.into())]);
    write_text(&config_file::path_in(dir), &text)
}
