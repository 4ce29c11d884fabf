//! `config.json` of a folder, whatever the architecture: finding, reading and completing it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ModelError;

/// The configuration file of a folder.
const CONFIG: &str = "config.json";

/// The largest size that each key may name, far above every model there is: memory is asked for by them before a weight
/// is looked at, so a file of a few bytes must not be able to ask for all of it.
const MOST: [(&str, u64); 13] = [
    ("vocab_size", 1 << 24),
    ("hidden_size", 1 << 20),
    ("intermediate_size", 1 << 24),
    ("num_hidden_layers", 1 << 14),
    ("num_attention_heads", 1 << 16),
    ("num_key_value_heads", 1 << 16),
    ("head_dim", 1 << 16),
    ("max_position_embeddings", 1 << 28),
    ("max_sequence_length", 1 << 28),
    ("original_max_position_embeddings", 1 << 28),
    ("sliding_window", 1 << 28),
    ("type_vocab_size", 1 << 24),
    ("num_labels", 1 << 20),
];

/// Where the configuration of the folder `dir` lies, or an error when it is not there.
pub(crate) fn in_folder(dir: &Path) -> Result<PathBuf, ModelError> {
    let path = path_in(dir);
    if path.is_file() {
        return Ok(path);
    }
    Err(ModelError::MissingFile {
        path,
        expected: "a Hugging Face folder holds it".to_owned(),
        mend: "name a folder that Hugging Face's `save_pretrained` has written".to_owned(),
    })
}

/// Where the configuration of the folder `dir` is written.
pub(crate) fn path_in(dir: &Path) -> PathBuf {
    dir.join(CONFIG)
}

/// The keys of the file at `path` that `T` knows.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    let text = fs::read_to_string(path).map_err(ModelError::io(path, "read"))?;
    let text = without_mark(&text);
    let broken = |message: String| ModelError::Json {
        path: path.to_path_buf(),
        message,
        mend: "mend the line, or fetch config.json again".to_owned(),
    };
    let json: Value = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
    if !json.is_object() {
        // A list would be read as the values of the first keys.
        return Err(broken(
            "it must be an object, {\"model_type\": .., ..}, and is none".to_owned(),
        ));
    }
    let keys = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
    check(&json, &path.display().to_string())?;
    Ok(keys)
}

/// The text without the byte-order mark that some editors begin a file with.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The keys that `T` knows of those that stand, under other names, in the file `origin`.
pub(crate) fn of_value<T: DeserializeOwned>(json: Value, origin: &str) -> Result<T, ModelError> {
    check(&json, origin)?;
    serde_json::from_value(json).map_err(|error| ModelError::Json {
        path: PathBuf::from(origin),
        message: error.to_string(),
        mend: "use another file of the model".to_owned(),
    })
}

/// The classes that the file of the folder `dir` says the model is of; none where it does not say.
pub(crate) fn architectures(dir: &Path) -> Result<Vec<String>, ModelError> {
    #[derive(serde::Deserialize)]
    struct Keys {
        #[serde(default)]
        architectures: Option<Vec<String>>,
    }
    Ok(read::<Keys>(&in_folder(dir)?)?.architectures.unwrap_or_default())
}

/// Refuses what no model here can be, whatever its architecture.
fn check(json: &Value, origin: &str) -> Result<(), ModelError> {
    for (key, most) in MOST {
        if let Some(found) = json[key].as_u64().filter(|found| *found > most) {
            let mend = "fetch config.json again: no model is that large";
            return Err(ModelError::config(
                origin,
                key,
                format!("at most {most}"),
                found,
                mend,
            ));
        }
    }
    if !json["quantization_config"].is_null() {
        let mend = "fetch the weights that are not quantized";
        return Err(ModelError::config(
            origin,
            "quantization_config",
            "none",
            "there",
            mend,
        ));
    }
    Ok(())
}

/// The text of a `config.json` with further keys set.
pub(crate) fn with_keys(text: &str, keys: impl IntoIterator<Item = (&'static str, Value)>) -> String {
    let mut json: Value = serde_json::from_str(text).expect("the text was written by `to_json`");
    for (key, value) in keys {
        json[key] = value;
    }
    serde_json::to_string_pretty(&json).expect("a JSON value is always valid JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::EncoderConfig;
    use crate::llama::LlamaConfig;

    fn written(keys: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(path_in(folder.path()), keys).unwrap();
        folder
    }

    /// A file in which one key has another value.
    fn with(text: &str, key: &'static str, value: Value) -> tempfile::TempDir {
        written(&with_keys(text, [(key, value)]))
    }

    #[test]
    fn sizes_that_would_exhaust_the_memory_are_refused_by_their_key() {
        let llama = LlamaConfig::new(96, 32, 64, 2, 4).to_json();
        for (key, most) in MOST {
            for value in [most + 1, 1_000_000_000_000, u64::MAX] {
                let folder = with(&llama, key, value.into());
                let message = LlamaConfig::from_file(&path_in(folder.path()))
                    .unwrap_err()
                    .to_string();
                assert!(message.contains(&format!("`{key}` is {value}")), "{message}");
            }
        }
        let bert = r#"{"model_type": "bert", "vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 4, "intermediate_size": 64}"#;
        EncoderConfig::from_file(&path_in(written(bert).path())).unwrap();
        for key in ["num_labels", "max_position_embeddings", "num_hidden_layers"] {
            let folder = with(bert, key, 4_000_000_000_u64.into());
            let message = EncoderConfig::from_file(&path_in(folder.path()))
                .unwrap_err()
                .to_string();
            assert!(message.contains(key) && message.contains("at most"), "{message}");
        }
    }

    #[test]
    fn a_mark_at_the_beginning_is_taken_and_what_is_no_object_is_told_by_the_file() {
        let llama = LlamaConfig::new(96, 32, 64, 2, 4).to_json();
        let marked = written(&format!("\u{feff}{llama}"));
        LlamaConfig::from_file(&path_in(marked.path())).unwrap();
        for text in ["[1,2]", "7", "null"] {
            let folder = written(text);
            let message = LlamaConfig::from_file(&path_in(folder.path()))
                .unwrap_err()
                .to_string();
            assert!(
                message.contains("config.json") && message.contains("it must be an object"),
                "{message}"
            );
        }
    }

    #[test]
    fn what_would_be_computed_otherwise_is_refused() {
        let llama = LlamaConfig::new(96, 32, 64, 2, 4).to_json();
        for (key, value) in [
            ("quantization_config", serde_json::json!({"bits": 4})),
            ("attention_dropout", 0.1.into()),
        ] {
            let folder = with(&llama, key, value);
            let message = LlamaConfig::from_file(&path_in(folder.path()))
                .unwrap_err()
                .to_string();
            assert!(message.contains(key), "{message}");
        }
        for (key, value) in [
            ("quantization_config", Value::Null),
            ("attention_dropout", 0.0.into()),
        ] {
            LlamaConfig::from_file(&path_in(with(&llama, key, value).path())).unwrap();
        }
    }
}
