//! The tensors of a folder: where each lies, and which have been read; one at a time comes to the host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use blockllm_tensors::{StoredTensor, TensorFile};
use burn::tensor::{DType, TensorData};

use super::index::{INDEX, SINGLE, ShardIndex};
use crate::ModelError;

/// The tensors of a folder: where each lies, and which have been read.
#[derive(Debug)]
pub struct WeightFolder {
    dir: PathBuf,
    tensors: BTreeMap<String, StoredTensor>,
    unread: BTreeSet<String>,
}

impl WeightFolder {
    /// Opens `dir`, which holds `model.safetensors`, or shards and `model.safetensors.index.json`.
    ///
    /// # Errors
    ///
    /// When there are no weights, a shard is missing, or a header does not fit its file.
    pub fn open(dir: &Path) -> Result<Self, ModelError> {
        let single = dir.join(SINGLE);
        let index = dir.join(INDEX);
        let tensors = if single.is_file() {
            TensorFile::open(&single)?.into_tensors()
        } else if index.is_file() {
            tensors_of_shards(dir, &index)?
        } else {
            return Err(ModelError::MissingFile {
                path: single,
                expected: format!("a folder of weights holds it, or {INDEX} and shards"),
                mend: "name a folder that Hugging Face's `save_pretrained` has written, in safetensors"
                    .to_owned(),
            });
        };
        Ok(Self::of_tensors(dir, tensors))
    }

    /// Tensors that lie in a file of another kind, or in a folder, at `path`.
    pub(crate) fn of_tensors(path: &Path, tensors: BTreeMap<String, StoredTensor>) -> Self {
        Self {
            dir: path.to_path_buf(),
            unread: tensors.keys().cloned().collect(),
            tensors,
        }
    }

    /// Takes tensors out as if they were not in the folder.
    pub fn leave_aside(&mut self, is_of_others: impl Fn(&str) -> bool) {
        self.tensors.retain(|name, _| !is_of_others(name));
        self.unread.retain(|name| !is_of_others(name));
    }

    /// The keys of all tensors, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor of this key.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor and the file it lies in.
    pub fn shape(&self, name: &str) -> Option<(&[usize], &Path)> {
        let stored = self.tensors.get(name)?;
        Some((stored.shape(), stored.path()))
    }

    /// The numbers of one tensor as `dtype`, which is `shape` in the file; a matrix by columns where `transposed`. Beside
    /// them the host holds a few MiB of the file.
    ///
    /// # Errors
    ///
    /// When the tensor is missing, has another shape, or is stored in a format that is not read.
    pub fn read(
        &mut self,
        name: &str,
        shape: &[usize],
        dtype: DType,
        transposed: bool,
    ) -> Result<TensorData, ModelError> {
        let stored = expected(&self.tensors, &self.dir, name, shape)?;
        let data = stored.read(dtype, transposed)?;
        self.unread.remove(name);
        Ok(data)
    }

    /// Counts one tensor as read, without reading it, if it is `shape` in the file.
    ///
    /// # Errors
    ///
    /// When the tensor is missing, has another shape, or is stored in a format that is not read.
    pub fn check(&mut self, name: &str, shape: &[usize]) -> Result<(), ModelError> {
        expected(&self.tensors, &self.dir, name, shape)?.check_read()?;
        self.unread.remove(name);
        Ok(())
    }

    /// Checks that every tensor was read, but for those that `tolerated` names.
    ///
    /// # Errors
    ///
    /// [`ModelError::UnexpectedTensor`] listing the others.
    pub fn finish(&self, tolerated: impl Fn(&str) -> bool) -> Result<(), ModelError> {
        let unexpected: Vec<&str> = self
            .unread
            .iter()
            .map(String::as_str)
            .filter(|name| !tolerated(name))
            .collect();
        if unexpected.is_empty() {
            return Ok(());
        }
        Err(ModelError::UnexpectedTensor {
            path: self.dir.clone(),
            tensors: unexpected.join(", "),
        })
    }
}

/// The tensor of that name and shape.
///
/// # Errors
///
/// When it is missing, or has another shape.
pub(super) fn expected<'a>(
    tensors: &'a BTreeMap<String, StoredTensor>,
    path: &Path,
    name: &str,
    shape: &[usize],
) -> Result<&'a StoredTensor, ModelError> {
    let stored = tensors.get(name).ok_or_else(|| ModelError::MissingTensor {
        path: path.to_path_buf(),
        tensor: name.to_owned(),
    })?;
    if stored.shape() == shape {
        return Ok(stored);
    }
    Err(ModelError::Shape {
        path: stored.path().to_path_buf(),
        tensor: name.to_owned(),
        expected: shape.to_vec(),
        found: stored.shape().to_vec(),
    })
}

/// The tensors of the shards that the index names; each must lie where the index says.
fn tensors_of_shards(dir: &Path, index: &Path) -> Result<BTreeMap<String, StoredTensor>, ModelError> {
    let shards = ShardIndex::read(index)?;
    let files: BTreeSet<&String> = shards.weight_map.values().collect();
    let mut tensors = BTreeMap::new();
    for file in files {
        let path = dir.join(file);
        if !path.is_file() {
            return Err(ModelError::MissingFile {
                path,
                expected: format!("a shard that {} names", index.display()),
                mend: "fetch the shard, or save the model again".to_owned(),
            });
        }
        tensors.extend(TensorFile::open(&path)?.into_tensors());
    }
    for (tensor, file) in &shards.weight_map {
        let path = dir.join(file);
        if tensors
            .get(tensor)
            .is_none_or(|stored: &StoredTensor| stored.path() != path)
        {
            return Err(ModelError::MissingTensor {
                path,
                tensor: tensor.clone(),
            });
        }
    }
    Ok(tensors)
}
