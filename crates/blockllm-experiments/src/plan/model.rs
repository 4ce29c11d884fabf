//! The model of a plan: a preset's shape, or that of a config.json, of a GGUF file, or of a repository of the hub.
use anyhow::{Context, Result, bail};
use blockllm_hub::{Cache, Repository};
use blockllm_model::encoder::EncoderConfig;
use blockllm_model::gguf::GgufModel;
use blockllm_model::hf::{llama_classifier_config, llama_labels};
use blockllm_model::llama::{LlamaConfig, PRESETS};
use blockllm_model::without_mark;
use blockllm_train::memory::ModelShape;
use blockllm_train::model_place;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The most bytes of a config.json; the largest there are have some 100 KB of labels.
const MOST_BYTES: u64 = 16 << 20;

/// What may be named.
const MODELS: &str =
    "a Hugging Face folder or its config.json, a .gguf file, or a repository of the hub as owner/name";

/// The model called `name`, and how to call it in text; of a folder only config.json is read, of a GGUF file what stands before
/// the weights.
///
/// # Errors
/// When there is neither a preset nor a file of that name, or the file describes another kind of model.
pub fn model_shape(name: &str) -> Result<(String, ModelShape)> {
    if !Path::new(name).exists()
        && let Ok(config) = LlamaConfig::preset(name)
    {
        let called = format!("Llama {}", name.trim_start_matches("llama-"));
        return Ok((called, ModelShape::Llama(config)));
    }
    let path = found(name)?;
    if path.is_dir() {
        model_place::check_folder(&path)?;
    }
    if model_place::is_gguf(&path) {
        let config = GgufModel::open(&path)?.config().clone();
        return Ok((called(&path, name), ModelShape::Llama(config)));
    }
    let file = if path.is_dir() {
        path.join("config.json")
    } else {
        path.clone()
    };
    let folder = file.parent().unwrap_or(Path::new("."));
    // A snapshot of the hub is called by its commit.
    let called = if path == Path::new(name) {
        called(folder, name)
    } else {
        name.to_owned()
    };
    Ok((called, of_config(&file, folder)?))
}

/// Where the model `name` lies; one of the hub must be in the cache, since a plan is no reason to download weights.
fn found(name: &str) -> Result<PathBuf> {
    if Path::new(name).exists() {
        return Ok(name.into());
    }
    if let Ok(repository) = name.parse::<Repository>() {
        return Cache::from_env()?.described(&repository).with_context(|| {
            format!(
                "there is no such file or folder, and {name} is not in the hub's cache; download its config.json and name that, or \
                 let `finetune --model {name} --dry-run` download all of it"
            )
        });
    }
    bail!(
        "`{name}` is neither a preset ({}) nor a model that is there; name {MODELS}",
        PRESETS.join(", ")
    );
}

/// The last part of a path, or else what it was called.
fn called(path: &Path, name: &str) -> String {
    path.file_name()
        .map_or_else(|| name.to_owned(), |last| last.to_string_lossy().into_owned())
}

/// What the config.json `file` of `folder` describes.
fn of_config(file: &Path, folder: &Path) -> Result<ModelShape> {
    let text = text_of(file)?;
    let text = without_mark(&text);
    let json: serde_json::Value = serde_json::from_str(text)
        .with_context(|| format!("{} is no JSON; name {MODELS}", file.display()))?;
    Ok(match json["model_type"].as_str().unwrap_or("llama") {
        "bert" | "roberta" => ModelShape::Encoder(EncoderConfig::from_folder(folder)?),
        _ if text.contains("ForSequenceClassification") => {
            ModelShape::LlamaClassifier(llama_classifier_config(folder)?, llama_labels(folder)?.count())
        }
        _ => ModelShape::Llama(LlamaConfig::from_file(file)?),
    })
}

/// The text of a config.json.
fn text_of(file: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|open| open.take(MOST_BYTES + 1).read_to_end(&mut bytes))
        .with_context(|| format!("reading {}", file.display()))?;
    let text = String::from_utf8(bytes).ok();
    let Some(text) = text.filter(|text| text.len() as u64 <= MOST_BYTES) else {
        bail!("{} is no config.json; name {MODELS}", file.display());
    };
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_go_by_either_name_and_an_unknown_one_lists_them() {
        for name in ["7b", "llama-7b", "Llama-7B"] {
            assert_eq!(model_shape(name).unwrap().1.num_parameters(), 6_738_415_616);
        }
        let error = model_shape("13b").unwrap_err().to_string();
        assert!(
            error.contains("`13b`") && error.contains("tiny, 60m, 130m"),
            "{error}"
        );
    }

    #[test]
    fn a_gguf_file_is_known_by_its_name_or_its_first_bytes() {
        let fixture =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../blockllm-model/tests/fixtures/gguf/smollm.gguf");
        let wanted = GgufModel::open(&fixture).unwrap().config().num_parameters();
        let folder = tempfile::tempdir().unwrap();
        let renamed = folder.path().join("model.bin");
        std::fs::copy(&fixture, &renamed).unwrap();
        for (path, named) in [(&fixture, "smollm.gguf"), (&renamed, "model.bin")] {
            let (called, shape) = model_shape(path.to_str().unwrap()).unwrap();
            assert_eq!((called.as_str(), shape.num_parameters()), (named, wanted));
        }
    }

    #[test]
    fn a_file_that_is_no_configuration_is_told_with_what_may_be_named() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [("model.safetensors", &[0xff, 0xfe, 0][..]), ("notes.txt", b"x")] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let error = model_shape(path.to_str().unwrap()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(".gguf file"), "{error}");
        }
        let error = model_shape("no/such/model").unwrap_err().to_string();
        assert!(
            error.contains("`no/such/model`") && error.contains("owner/name"),
            "{error}"
        );
    }

    #[test]
    fn a_folder_without_a_model_is_told_as_by_every_other_command() {
        let folder = tempfile::tempdir().unwrap();
        let told = || {
            let error = model_shape(folder.path().to_str().unwrap()).unwrap_err();
            error.to_string()
        };
        assert!(
            told().contains("has no config.json; that of a model"),
            "{}",
            told()
        );
        for name in ["config.json", "metrics.jsonl", "manifest.json"] {
            std::fs::write(folder.path().join(name), "{}").unwrap();
        }
        assert!(told().contains("this is the folder of a run"), "{}", told());
    }

    #[test]
    fn a_folder_s_config_is_enough() {
        let folder = tempfile::tempdir().unwrap();
        let config = LlamaConfig::new(96, 32, 40, 2, 4).with_tie_word_embeddings(true);
        let text = format!("\u{feff}{}", config.to_json());
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        for path in [folder.path().to_owned(), folder.path().join("config.json")] {
            let (_, shape) = model_shape(path.to_str().unwrap()).unwrap();
            assert_eq!(shape.num_parameters(), config.num_parameters());
        }
    }
}
