//! The model of a plan: a preset's shape, or that of a config.json.
use anyhow::{Context, Result, bail};
use blockllm_model::encoder::EncoderConfig;
use blockllm_model::hf::{llama_classifier_config, llama_labels};
use blockllm_model::llama::{LlamaConfig, PRESETS};
use blockllm_train::memory::ModelShape;
use std::path::Path;

/// The model called `name`, and how to call it in text; of a folder only config.json is read.
///
/// # Errors
/// When there is neither a preset nor a file of that name, or the file describes another kind of model.
pub fn model_shape(name: &str) -> Result<(String, ModelShape)> {
    let path = Path::new(name);
    if !path.exists() {
        let preset = LlamaConfig::preset(name);
        return match preset {
            Ok(config) => Ok((
                format!("Llama {}", name.trim_start_matches("llama-")),
                ModelShape::Llama(config),
            )),
            Err(_) => bail!(
                "`{name}` is neither a preset ({}) nor a folder or config.json that is there",
                PRESETS.join(", ")
            ),
        };
    }
    let file = if path.is_dir() {
        path.join("config.json")
    } else {
        path.to_owned()
    };
    let folder = file.parent().unwrap_or(Path::new("."));
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let json: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
    let shape = match json["model_type"].as_str().unwrap_or("llama") {
        "bert" | "roberta" => ModelShape::Encoder(EncoderConfig::from_folder(folder)?),
        _ if text.contains("ForSequenceClassification") => {
            ModelShape::LlamaClassifier(llama_classifier_config(folder)?, llama_labels(folder)?.count())
        }
        _ => ModelShape::Llama(LlamaConfig::from_file(&file)?),
    };
    let called = folder
        .file_name()
        .map_or_else(|| name.to_owned(), |folder| folder.to_string_lossy().into_owned());
    Ok((called, shape))
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
    fn a_folder_s_config_is_enough() {
        let folder = tempfile::tempdir().unwrap();
        let config = LlamaConfig::new(96, 32, 40, 2, 4).with_tie_word_embeddings(true);
        std::fs::write(folder.path().join("config.json"), config.to_json()).unwrap();
        for path in [folder.path().to_owned(), folder.path().join("config.json")] {
            let (_, shape) = model_shape(path.to_str().unwrap()).unwrap();
            assert_eq!(shape.num_parameters(), config.num_parameters());
        }
    }
}
