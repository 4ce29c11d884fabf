//! `model.safetensors.index.json`: which shard holds which tensor.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// The single weights file.
pub(super) const SINGLE: &str = "model.safetensors";

/// The index of a folder with shards.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// The content of the index file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ShardIndex {
    #[serde(default)]
    pub metadata: IndexMetadata,
    pub weight_map: BTreeMap<String, String>,
}

/// What the index says about all shards together.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct IndexMetadata {
    #[serde(default)]
    pub total_size: u64,
}

impl ShardIndex {
    /// Reads the index file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, ModelError> {
        let text = fs::read_to_string(path).map_err(ModelError::io(path, "read"))?;
        let index: Self = serde_json::from_str(&text).map_err(|error| ModelError::Json {
            path: path.to_path_buf(),
            message: error.to_string(),
            mend: "fetch the index again".to_owned(),
        })?;
        let elsewhere = |file: &&String| Path::new(file.as_str()).file_name() != Some(file.as_str().as_ref());
        if let Some(file) = index.weight_map.values().find(elsewhere) {
            let mend = "shards lie beside their index; fetch the index again";
            let origin = path.display().to_string();
            return Err(ModelError::config(
                &origin,
                "weight_map",
                "names of files beside it",
                file,
                mend,
            ));
        }
        Ok(index)
    }
}

/// The name of shard `index`, counted from zero, of `count`.
pub(super) fn shard_name(index: usize, count: usize) -> String {
    format!("model-{:05}-of-{count:05}.safetensors", index + 1)
}
