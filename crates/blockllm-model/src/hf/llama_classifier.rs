//! Llama folders for classification: the weights of a language model, and a head that it may lack.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::tensor::Device;
use serde::Deserialize;

use super::classifier::{Loaded, check_head};
use super::dtype::WeightDtype;
use super::folder::WeightFolder;
use super::module::{load_module_except, merged_tensors};
use super::save::{SaveOptions, save_tensors, write_text};
use crate::init::materialize;
use crate::llama::{LlamaConfig, LlamaForSequenceClassification};
use crate::{Labels, ModelError, config_file};

/// What transformers calls the classifier, behind the name of the family.
const CLASSIFIER: &str = "ForSequenceClassification";

/// The heads whose folders a classifier can start from.
const ACCEPTED: [&str; 3] = ["ForCausalLM", CLASSIFIER, "Model"];

/// The keys of `config.json` that name classes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LabelKeys {
    id2label: Option<BTreeMap<String, String>>,
    num_labels: Option<usize>,
}

/// Loads a Llama with a head for `num_labels` classes, or one score, from a Hugging Face folder, in f32.
///
/// The folder may hold a language model, whose own head is left aside, or a classifier. A head that it lacks is
/// drawn from `seed` and told in [`Loaded::fresh`].
///
/// # Errors
///
/// When a file is missing or corrupt, the configuration is of another family than Llama's, the weights do not belong to it,
/// or the head there is for another number of classes; the error names file, field or tensor, and what to do.
///
/// # Panics
///
/// When `num_labels` is zero.
pub fn load_llama_classifier(
    dir: &Path,
    num_labels: usize,
    seed: u64,
    device: &Device,
) -> Result<Loaded<LlamaForSequenceClassification, LlamaConfig>, ModelError> {
    load_llama_classifier_as(dir, num_labels, seed, WeightDtype::F32, device)
}

/// [`load_llama_classifier`] with the weights in another number format, which the device must support.
///
/// # Errors
///
/// As [`load_llama_classifier`].
///
/// # Panics
///
/// When `num_labels` is zero.
pub fn load_llama_classifier_as(
    dir: &Path,
    num_labels: usize,
    seed: u64,
    dtype: WeightDtype,
    device: &Device,
) -> Result<Loaded<LlamaForSequenceClassification, LlamaConfig>, ModelError> {
    let config = llama_classifier_config(dir)?;
    let mut folder = WeightFolder::open(dir)?;
    check_head(&folder, "score.weight", num_labels)?;
    // A folder of the bare decoder has its keys without `model.`.
    let bare = folder.contains("embed_tokens.weight");
    let key_of = |path: &str| match path.strip_prefix("model.") {
        Some(rest) if bare => rest.to_owned(),
        _ => path.to_owned(),
    };
    let (model, fresh) = load_module_except(
        config.init_classifier_lazy(num_labels, seed, device),
        &mut folder,
        dtype.into(),
        &key_of,
        &|path| path.starts_with("score."),
    )?;
    folder.finish(|key| key == "lm_head.weight" || key.ends_with("rotary_emb.inv_freq"))?;
    materialize(&model);
    Ok(Loaded { model, config, fresh })
}

/// The configuration of a folder that [`load_llama_classifier`] takes.
///
/// # Errors
///
/// When the file is missing or corrupt, or is of another family than Llama's.
pub fn llama_classifier_config(dir: &Path) -> Result<LlamaConfig, ModelError> {
    LlamaConfig::from_file_of(&config_file::in_folder(dir)?, &ACCEPTED)
}

/// The classes that the `config.json` of a folder names; two, as transformers has it, when it names none.
///
/// # Errors
///
/// When the file is missing or no JSON.
pub fn llama_labels(dir: &Path) -> Result<Labels, ModelError> {
    let keys: LabelKeys = config_file::read(&config_file::in_folder(dir)?)?;
    Ok(Labels::from_json(keys.id2label, keys.num_labels))
}

/// Saves a classifier as a Hugging Face folder in f32, in shards above 5 GB; adapters are merged.
///
/// transformers finds the last token of a text by `config.pad_token_id`, so set that for batches.
///
/// # Errors
///
/// When the folder cannot be written, or `labels` are not as many as the head has.
pub fn save_llama_classifier(
    model: &LlamaForSequenceClassification,
    config: &LlamaConfig,
    labels: &Labels,
    dir: &Path,
) -> Result<(), ModelError> {
    save_llama_classifier_with(model, config, labels, dir, &SaveOptions::default())
}

/// [`save_llama_classifier`] with another number format or shard size.
///
/// # Errors
///
/// As [`save_llama_classifier`].
pub fn save_llama_classifier_with(
    model: &LlamaForSequenceClassification,
    config: &LlamaConfig,
    labels: &Labels,
    dir: &Path,
    options: &SaveOptions,
) -> Result<(), ModelError> {
    let [_, classes] = model.score.weight.shape().dims();
    if classes != labels.count() {
        let mend = "name every class of the head";
        let found = labels.count();
        return Err(ModelError::config(
            "Labels",
            "labels",
            format!("{classes} names"),
            found,
            mend,
        ));
    }
    fs::create_dir_all(dir).map_err(ModelError::io(dir, "create"))?;
    save_tensors(merged_tensors(model, &str::to_owned)?, dir, options)?;
    let keys = labels.json_keys().into_iter().chain([
        ("architectures", vec![config.family.class(CLASSIFIER)].into()),
        ("torch_dtype", options.dtype.torch_name().into()),
    ]);
    write_text(
        &config_file::path_in(dir),
        &config_file::with_keys(&config.to_json(), keys),
    )
}
