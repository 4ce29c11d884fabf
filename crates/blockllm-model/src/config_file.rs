//! `config.json` of a folder, whatever the architecture: finding, reading and completing it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ModelError;

/// The configuration file of a folder.
const CONFIG: &str = "config.json";

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
    serde_json::from_str(&text).map_err(|error| ModelError::Json {
        path: path.to_path_buf(),
        message: error.to_string(),
        mend: "mend the line, or fetch config.json again".to_owned(),
    })
}

/// The text of a `config.json` with further keys set.
pub(crate) fn with_keys(text: &str, keys: impl IntoIterator<Item = (&'static str, Value)>) -> String {
    let mut json: Value = serde_json::from_str(text).expect("the text was written by `to_json`");
    for (key, value) in keys {
        json[key] = value;
    }
    serde_json::to_string_pretty(&json).expect("a JSON value is always valid JSON")
}
