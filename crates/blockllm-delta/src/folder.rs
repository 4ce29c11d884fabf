//! The files of a model's folder: which hold weights, and which lie beside them.

use crate::DeltaError;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The single file of weights.
pub(crate) const SINGLE: &str = "model.safetensors";

/// The index of a folder with shards.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// Ends of the names of files that hold weights, in whatever form: beside another model's they would be wrong.
const WEIGHTS: [&str; 10] = [
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".h5",
    ".msgpack",
    ".gguf",
    ".onnx",
    ".index.json",
];

/// Files of weights, and which of them holds which tensor as far as an index tells.
#[derive(Debug, Default)]
pub(crate) struct Shards {
    pub files: BTreeSet<String>,
    pub weight_map: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files of weights of `dir`: the single one, or those of the index.
pub(crate) fn shards(dir: &Path) -> Result<Shards, DeltaError> {
    let wrong = |path: &Path, found: String| DeltaError::Folder {
        path: path.to_path_buf(),
        found,
    };
    if dir.join(SINGLE).is_file() {
        return Ok(Shards {
            files: BTreeSet::from([SINGLE.to_owned()]),
            ..Shards::default()
        });
    }
    let path = dir.join(INDEX);
    if !path.is_file() {
        return Err(wrong(dir, format!("there is no {SINGLE} and no {INDEX}")));
    }
    let text = fs::read(&path).map_err(DeltaError::io(&path, "read"))?;
    let index: Index = serde_json::from_slice(&text).map_err(|error| wrong(&path, error.to_string()))?;
    let files: BTreeSet<String> = index.weight_map.values().cloned().collect();
    for name in &files {
        if !is_file_name(name) {
            return Err(wrong(
                &path,
                format!("it names `{name}`, which is no file beside it"),
            ));
        }
        if !dir.join(name).is_file() {
            return Err(wrong(
                &path,
                format!("it names the shard {name}, which is not there"),
            ));
        }
    }
    Ok(Shards {
        files,
        weight_map: index.weight_map,
    })
}

/// Whether `name` is that of a file in a folder, and leads nowhere else.
pub(crate) fn is_file_name(name: &str) -> bool {
    let plain = !name.contains(['/', '\\', ':', '\0']) && !name.starts_with('.');
    plain && Path::new(name).file_name() == Some(name.as_ref())
}

/// Whether a file of this name holds weights, or says where they are.
pub(crate) fn is_of_weights(name: &str) -> bool {
    let name = name.to_lowercase();
    WEIGHTS.iter().any(|end| name.ends_with(end))
}

/// The files beside the weights in `dir`, by name: configuration, tokenizer, chat template and what else is there. Hidden
/// files and folders are none.
pub(crate) fn companions(dir: &Path) -> Result<BTreeSet<String>, DeltaError> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).map_err(DeltaError::io(dir, "list"))? {
        let entry = entry.map_err(DeltaError::io(dir, "list"))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if is_file_name(&name) && !is_of_weights(&name) && entry.path().is_file() {
            names.insert(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_elsewhere_is_none() {
        for name in ["config.json", "model-00001-of-00002.safetensors", "Grüße.txt"] {
            assert!(is_file_name(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "../a",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "C:a",
            ".git",
            "a\0b",
        ] {
            assert!(!is_file_name(name), "{name:?}");
        }
    }

    #[test]
    fn weights_of_other_kinds_are_no_companions() {
        assert!(is_of_weights("pytorch_model.bin") && is_of_weights("model.safetensors.index.json"));
        assert!(!is_of_weights("config.json") && !is_of_weights("tokenizer.model"));
    }
}
