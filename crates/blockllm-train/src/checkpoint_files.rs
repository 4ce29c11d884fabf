//! What makes a checkpoint's folder whole: a manifest with the SHA-256 of every file, checked before a file is read.
use crate::TrainError;
use blockllm_data::atomic_file::write_atomically;
use blockllm_data::hashing::sha256_file;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

const MANIFEST: &str = "manifest.json";

/// The files of a checkpoint.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    files: BTreeMap<String, FileEntry>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    bytes: u64,
    sha256: String,
}

/// Writes the manifest of `names` in `folder`, the last file of a checkpoint.
///
/// # Errors
/// When a file cannot be read, or the manifest cannot be written.
pub(crate) fn seal(folder: &Path, names: &[&str]) -> Result<(), TrainError> {
    let entry = |name: &&str| {
        let (bytes, sha256) = sha256_file(&folder.join(name))?;
        Ok(((*name).to_owned(), FileEntry { bytes, sha256 }))
    };
    let manifest = Manifest {
        files: names
            .iter()
            .map(entry)
            .collect::<Result<_, blockllm_data::DataError>>()?,
    };
    let text = serde_json::to_string_pretty(&manifest).expect("a manifest has only string keys");
    Ok(write_atomically(&folder.join(MANIFEST), text.as_bytes())?)
}

/// What is wrong with the checkpoint in `folder`; `None` when every one of `names` is as it was written.
pub(crate) fn damage(folder: &Path, names: &[&str]) -> Option<String> {
    let manifest: Manifest = match std::fs::read(folder.join(MANIFEST)) {
        Err(error) => return Some(format!("its {MANIFEST} cannot be read: {error}")),
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Err(error) => return Some(format!("its {MANIFEST} is damaged: {error}")),
            Ok(manifest) => manifest,
        },
    };
    names.iter().find_map(|name| {
        let Some(expected) = manifest.files.get(*name) else {
            return Some(format!("its {MANIFEST} does not name {name}"));
        };
        let path = folder.join(name);
        match std::fs::metadata(&path) {
            Err(error) => return Some(format!("its {name} cannot be read: {error}")),
            Ok(found) if found.len() != expected.bytes => {
                return Some(format!(
                    "its {name} has {} bytes, not {}",
                    found.len(),
                    expected.bytes
                ));
            }
            Ok(_) => {}
        }
        match sha256_file(&path) {
            Err(error) => Some(error.to_string()),
            Ok((_, sha256)) if sha256 != expected.sha256 => {
                Some(format!("its {name} is not what was written"))
            }
            Ok(_) => None,
        }
    })
}
