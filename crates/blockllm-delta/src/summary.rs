//! What a delta holds, in numbers.

use crate::{DeltaFile, Encoding};
use std::path::PathBuf;

/// A delta in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The file.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// The hash of the base's tensors.
    pub base_sha256: String,
    /// The hash of the result's tensors.
    pub result_sha256: String,
    /// Entries of the model.
    pub entries: u64,
    /// Bytes of the result's tensors: the full model.
    pub model_bytes: u64,
    /// Tensors of the model.
    pub tensors: usize,
    /// Tensors that have changed, by name.
    pub changes: Vec<TensorSummary>,
    /// Files beside the weights that are carried, by name, with their bytes.
    pub files: Vec<(String, u64)>,
}

/// What has changed of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSummary {
    /// Its name.
    pub name: String,
    /// Its number format in the result.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its entries.
    pub entries: u64,
    /// Those that have changed.
    pub changed: u64,
    /// How their positions are stored.
    pub encoding: Encoding,
    /// Bytes of positions.
    pub position_bytes: u64,
    /// Bytes of values.
    pub value_bytes: u64,
}

impl Summary {
    /// Entries that have changed.
    pub fn changed(&self) -> u64 {
        self.changes.iter().map(|change| change.changed).sum()
    }

    /// Bytes of positions.
    pub fn position_bytes(&self) -> u64 {
        self.changes.iter().map(|change| change.position_bytes).sum()
    }

    /// Bytes of values.
    pub fn value_bytes(&self) -> u64 {
        self.changes.iter().map(|change| change.value_bytes).sum()
    }
}

impl DeltaFile {
    /// What it holds, by its header alone.
    pub fn summary(&self) -> Summary {
        let tensors = &self.result.tensors;
        let changes = self.changes.iter().map(|(name, change)| TensorSummary {
            name: name.clone(),
            dtype: tensors[name].dtype.to_string(),
            shape: tensors[name].shape.clone(),
            entries: tensors[name].entries(),
            changed: change.changed,
            encoding: change.encoding,
            position_bytes: change.positions.as_ref().map_or(0, |positions| positions.bytes),
            value_bytes: change.values.bytes,
        });
        Summary {
            path: self.path.clone(),
            bytes: self.file_bytes,
            base_sha256: self.base_sha256.clone(),
            result_sha256: self.result_sha256.clone(),
            entries: tensors
                .values()
                .fold(0, |sum, tensor| sum.saturating_add(tensor.entries())),
            model_bytes: self.result.bytes(),
            tensors: tensors.len(),
            changes: changes.collect(),
            files: self
                .files
                .iter()
                .map(|(name, file)| (name.clone(), file.bytes))
                .collect(),
        }
    }
}
