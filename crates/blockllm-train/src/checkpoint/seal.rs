//! What makes a checkpoint's folder whole: a manifest with the SHA-256 of every file, checked before a file is read.
use crate::TrainError;
use blockllm_data::atomic_file::write_atomically;
use blockllm_data::hashing::sha256_file;
use blockllm_tensors::Written;
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

/// The hashes of files that were taken as they were written.
pub(super) type Hashes = BTreeMap<&'static str, Written>;

/// Writes the manifest of a checkpoint in `folder`, its last file: of those whose hashes are known, and of `others`.
///
/// # Errors
/// When a file cannot be read, or the manifest cannot be written.
pub(super) fn seal(folder: &Path, known: Hashes, others: &[&str]) -> Result<(), TrainError> {
    let mut files: BTreeMap<String, FileEntry> = known
        .into_iter()
        .map(|(name, Written { bytes, sha256 })| (name.to_owned(), FileEntry { bytes, sha256 }))
        .collect();
    for name in others {
        let (bytes, sha256) = sha256_file(&folder.join(name))?;
        files.insert((*name).to_owned(), FileEntry { bytes, sha256 });
    }
    let manifest = Manifest { files };
    let text = serde_json::to_string_pretty(&manifest).expect("a manifest has only string keys");
    Ok(write_atomically(&folder.join(MANIFEST), text.as_bytes())?)
}

/// What is wrong with the checkpoint in `folder`; `None` when every file that its manifest names is as it was written, and
/// all `names` are among them.
pub(super) fn damage(folder: &Path, names: &[&str]) -> Option<String> {
    let manifest: Manifest = match std::fs::read(folder.join(MANIFEST)) {
        Err(error) => return Some(format!("its {MANIFEST} cannot be read: {error}")),
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Err(error) => return Some(format!("its {MANIFEST} is damaged: {error}")),
            Ok(manifest) => manifest,
        },
    };
    if let Some(name) = names.iter().find(|name| !manifest.files.contains_key(**name)) {
        return Some(format!("its {MANIFEST} does not name {name}"));
    }
    manifest
        .files
        .iter()
        .find_map(|(name, expected)| damage_of(folder, name, expected))
}

fn damage_of(folder: &Path, name: &str, expected: &FileEntry) -> Option<String> {
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
        Ok((_, sha256)) if sha256 != expected.sha256 => Some(format!("its {name} is not what was written")),
        Ok(_) => None,
    }
}
