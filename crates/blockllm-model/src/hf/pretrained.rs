//! Llama folders: `config.json` and weights, under the names that transformers gives them.

use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::Path;

use burn::tensor::{DType, Device};

use super::dtype::WeightDtype;
use super::folder::WeightFolder;
use super::module::{load_module, merged_tensors};
use super::save::{SaveOptions, save_tensors, write_text};
use crate::llama::{LlamaConfig, LlamaForCausalLM};
use crate::{ModelError, ParameterKind, config_file};

/// The key of the head.
const HEAD: &str = "lm_head.weight";

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
    let file = config_file::in_folder(dir)?;
    let config = LlamaConfig::from_file(&file)?;
    let mut folder = WeightFolder::open(dir)?;
    if config.tie_word_embeddings && folder.contains(HEAD) {
        check_tied_head(&config, &mut folder, &file)?;
    }
    let model = load_module(
        config.init_lazy(0, device),
        &mut folder,
        dtype.into(),
        &str::to_owned,
    )?;
    folder.finish(is_computed)?;
    Ok((model, config))
}

/// Looks at the headers of a folder's weights, whether they are those of `config`; no number is read.
///
/// # Errors
///
/// When a file is missing or cut off, or a tensor is missing, of another shape, or one too many.
pub fn check_pretrained(dir: &Path, config: &LlamaConfig) -> Result<(), ModelError> {
    let mut folder = WeightFolder::open(dir)?;
    check_shapes(&mut folder, config)?;
    // Whether a tied head is the embeddings is seen when both are read.
    folder.finish(|key| is_computed(key) || config.tie_word_embeddings && key == HEAD)
}

/// Checks that the tensors of a model of `config` are in `folder`, each in its shape.
pub(crate) fn check_shapes(folder: &mut WeightFolder, config: &LlamaConfig) -> Result<(), ModelError> {
    for mut parameter in config.parameter_shapes() {
        if parameter.kind == ParameterKind::Linear {
            parameter.shape.reverse();
        }
        folder.check(&parameter.path, &parameter.shape)?;
    }
    Ok(())
}

/// Whether a tensor of that key is computed from the configuration, and only older files have it.
fn is_computed(key: &str) -> bool {
    key.ends_with("rotary_emb.inv_freq")
}

/// Checks that a head which is in the files, although it is tied to the embeddings, is the embeddings.
fn check_tied_head(config: &LlamaConfig, folder: &mut WeightFolder, file: &Path) -> Result<(), ModelError> {
    let shape = [config.vocab_size, config.hidden_size];
    // One at a time on the host, so by their hashes.
    let mut hash_of = |key| -> Result<u64, ModelError> {
        let mut hasher = DefaultHasher::new();
        hasher.write(folder.read(key, &shape, DType::F32, false)?.as_bytes());
        Ok(hasher.finish())
    };
    if hash_of(HEAD)? == hash_of("model.embed_tokens.weight")? {
        return Ok(());
    }
    Err(ModelError::config(
        &file.display().to_string(),
        "tie_word_embeddings",
        format!("false, as {HEAD} in the weights is not the embeddings"),
        true,
        format!("set it to false, or remove {HEAD} from the weights, whichever the model was trained with"),
    ))
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
