//! BERT and RoBERTa folders: `config.json` and weights, under the names that transformers gives them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;

use super::classifier::{Loaded, check_head};
use super::dtype::WeightDtype;
use super::folder::WeightFolder;
use super::module::{load_module_except, merged_tensors};
use super::save::{SaveOptions, save_tensors, write_text};
use crate::encoder::{EncoderConfig, EncoderForSequenceClassification, EncoderKind, EncoderModel, hf_key};
use crate::init::materialize;
use crate::{Labels, ModelError, config_file};

/// Loads a BERT or RoBERTa with a head for `num_labels` classes, or one score, from a Hugging Face folder, in f32.
///
/// The folder may hold a base model, one with another head (which is left aside, that of a classifier of tokens too), or a
/// classifier of texts.
/// A head or pooler that it lacks is drawn from `seed` and told in [`Loaded::fresh`].
///
/// # Errors
///
/// When a file is missing or corrupt, the configuration is none of a BERT or RoBERTa, the weights do not belong to
/// it, or the head there is for another number of classes; the error names file, field or tensor, and what to do.
///
/// # Panics
///
/// When `num_labels` is zero.
pub fn load_for_sequence_classification(
    dir: &Path,
    num_labels: usize,
    seed: u64,
    device: &Device,
) -> Result<Loaded<EncoderForSequenceClassification, EncoderConfig>, ModelError> {
    load_for_sequence_classification_as(dir, num_labels, seed, WeightDtype::F32, device)
}

/// [`load_for_sequence_classification`] with the weights in another number format, which the device must support.
///
/// # Errors
///
/// As [`load_for_sequence_classification`].
///
/// # Panics
///
/// When `num_labels` is zero.
pub fn load_for_sequence_classification_as(
    dir: &Path,
    num_labels: usize,
    seed: u64,
    dtype: WeightDtype,
    device: &Device,
) -> Result<Loaded<EncoderForSequenceClassification, EncoderConfig>, ModelError> {
    let mut config = EncoderConfig::from_folder(dir)?;
    let mut folder = WeightFolder::open(dir)?;
    let is_of_another_task = has_head_of_another_task(dir)?;
    if is_of_another_task {
        folder.leave_aside(|key| key.starts_with("classifier."));
    }
    if is_of_another_task || config.labels.count() != num_labels {
        config.labels = Labels::numbered(num_labels);
    }
    check_head(
        &folder,
        &hf_key(config.kind, "classifier.out_proj.weight"),
        num_labels,
    )?;
    let model = config.init_lazy(seed, device);
    let may_lack = |path: &str| path.starts_with("classifier.") || path.starts_with("base.pooler.");
    let (model, fresh) = load(model, config.kind, "", &mut folder, dtype, &may_lack)?;
    Ok(Loaded { model, config, fresh })
}

/// Whether the head is not of a classifier of texts: those of tokens and of multiple choice have the same keys.
fn has_head_of_another_task(dir: &Path) -> Result<bool, ModelError> {
    let classes = config_file::architectures(dir)?;
    let is_of_texts = |class: &String| class.ends_with("ForSequenceClassification");
    Ok(!classes.is_empty() && !classes.iter().any(is_of_texts))
}

/// Loads a BERT or RoBERTa below its head, with a pooler where the folder has one.
///
/// # Errors
///
/// As [`load_for_sequence_classification`].
pub fn load_encoder(dir: &Path, device: &Device) -> Result<(EncoderModel, EncoderConfig), ModelError> {
    let config = EncoderConfig::from_folder(dir)?;
    let mut folder = WeightFolder::open(dir)?;
    let pooler = folder.names().any(|name| name.ends_with("pooler.dense.weight"));
    let model = config.init_base_lazy(pooler, 0, device);
    let (model, _) = load(
        model,
        config.kind,
        "base.",
        &mut folder,
        WeightDtype::F32,
        &|_| false,
    )?;
    Ok((model, config))
}

/// Saves a classifier as a Hugging Face folder in f32, in shards above 5 GB.
///
/// Adapters of LoRA are merged into the weights, one layer at a time.
///
/// # Errors
///
/// When the folder cannot be written.
pub fn save_pretrained(
    model: &EncoderForSequenceClassification,
    config: &EncoderConfig,
    dir: &Path,
) -> Result<(), ModelError> {
    save_pretrained_with(model, config, dir, &SaveOptions::default())
}

/// [`save_pretrained`] with another number format or shard size.
///
/// # Errors
///
/// As [`save_pretrained`].
pub fn save_pretrained_with(
    model: &EncoderForSequenceClassification,
    config: &EncoderConfig,
    dir: &Path,
    options: &SaveOptions,
) -> Result<(), ModelError> {
    fs::create_dir_all(dir).map_err(ModelError::io(dir, "create"))?;
    let key_of = |path: &str| hf_key(config.kind, path);
    save_tensors(merged_tensors(model, &key_of)?, dir, options)?;
    let dtype = options.dtype.torch_name();
    let text = config_file::with_keys(&config.to_json(), [("torch_dtype", dtype.into())]);
    write_text(&config_file::path_in(dir), &text)
}

/// Fills `model`, whose paths lie below `root` in a classifier, from `folder`, and checks that nothing is left.
fn load<M: Module>(
    model: M,
    kind: EncoderKind,
    root: &str,
    folder: &mut WeightFolder,
    dtype: WeightDtype,
    may_lack: &dyn Fn(&str) -> bool,
) -> Result<(M, Vec<String>), ModelError> {
    let names: BTreeSet<String> = folder.names().map(str::to_owned).collect();
    let key_of = |path: &str| spelling_of(&hf_key(kind, &format!("{root}{path}")), kind, &names);
    let (model, fresh) = load_module_except(model, folder, dtype.into(), &key_of, may_lack)?;
    folder.finish(is_of_another_head)?;
    materialize(&model);
    Ok((model, fresh))
}

/// The spelling of `key` in this folder: base models leave out the prefix, and old files say `gamma` and `beta`.
///
/// A key that is there in no spelling is returned as it is.
fn spelling_of(key: &str, kind: EncoderKind, names: &BTreeSet<String>) -> String {
    let bare = key
        .strip_prefix(kind.name())
        .and_then(|rest| rest.strip_prefix('.'));
    let of_old = |key: &str| {
        key.replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta")
    };
    let spellings = [Some(key), bare].into_iter().flatten();
    let mut candidates = spellings.flat_map(|key| [key.to_owned(), of_old(key)]);
    candidates
        .find(|candidate| names.contains(candidate))
        .unwrap_or_else(|| key.to_owned())
}

/// Whether a tensor that was not read is no loss: a buffer, or a part above the layers that this model lacks.
fn is_of_another_head(key: &str) -> bool {
    let heads = ["cls.", "lm_head.", "classifier.", "qa_outputs."];
    key.ends_with("position_ids")
        || key.ends_with("token_type_ids")
        || key.contains("pooler.dense.")
        || heads.iter().any(|head| key.starts_with(head))
}
