//! `adapter_model.safetensors`: the factors of LoRA adapters, under PEFT's keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use blockllm_tensors::{StoredTensor, TensorFile};
use burn::tensor::{DType, TensorData};

use super::folder::expected;
use crate::ModelError;

/// What PEFT's wrappers put before the path of a module.
pub(super) const PREFIX: &str = "base_model.model.";

/// Where the factors of a layer lie, in PyTorch's layout: `[r, in]` and `[out, r]`.
#[derive(Debug)]
pub(super) struct Factors {
    first: StoredTensor,
    second: StoredTensor,
}

impl Factors {
    /// The factors in burn's layout: `a` `[in, r]`, `b` `[r, out]`.
    pub fn read(&self, dtype: DType) -> Result<[TensorData; 2], ModelError> {
        Ok([self.first.read(dtype, true)?, self.second.read(dtype, true)?])
    }
}

/// The tensors of `adapter_model.safetensors` that were not taken yet.
pub(super) struct AdapterFile {
    path: PathBuf,
    tensors: BTreeMap<String, StoredTensor>,
}

impl AdapterFile {
    /// Finds the tensors of the file.
    pub fn open(path: PathBuf) -> Result<Self, ModelError> {
        require(&path)?;
        let tensors = TensorFile::open(&path)?.into_tensors();
        let origin = path.display().to_string();
        if tensors.is_empty() {
            let mend = "save the adapter again: nothing would be adapted, and everything frozen";
            return Err(ModelError::config(
                &origin,
                "tensors",
                "at least one layer's",
                "none",
                mend,
            ));
        }
        if let Some(key) = tensors.keys().find(|key| is_of_the_base(key)) {
            let mend = "PEFT saves the base layer along where embeddings or the head are adapted: save again with \
                        `save_pretrained(..., save_embedding_layers=False)` if it was not trained, or merge the adapter with \
                        `merge_and_unload` and load the merged model";
            return Err(ModelError::config(
                &origin,
                key,
                "factors alone",
                "a weight of the base",
                mend,
            ));
        }
        Ok(Self { path, tensors })
    }

    /// Whether the layer at this path has factors.
    pub fn has(&self, layer: &str) -> bool {
        self.tensors
            .contains_key(&format!("{PREFIX}{layer}.lora_A.weight"))
    }

    /// The factors of a layer.
    pub fn take(&mut self, layer: &str, [inputs, rank, outputs]: [usize; 3]) -> Result<Factors, ModelError> {
        Ok(Factors {
            first: self.take_factor(&format!("{PREFIX}{layer}.lora_A.weight"), [rank, inputs])?,
            second: self.take_factor(&format!("{PREFIX}{layer}.lora_B.weight"), [outputs, rank])?,
        })
    }

    fn take_factor(&mut self, key: &str, shape: [usize; 2]) -> Result<StoredTensor, ModelError> {
        let stored = expected(&self.tensors, &self.path, key, &shape)?.clone();
        self.tensors.remove(key);
        Ok(stored)
    }

    /// Takes the tensors that `is_of_head` says of, under their keys.
    pub fn take_head(&mut self, is_of_head: impl Fn(&str) -> bool) -> BTreeMap<String, StoredTensor> {
        let of_head = |key: &String| key.strip_prefix(PREFIX).is_some_and(&is_of_head);
        let (head, others) = std::mem::take(&mut self.tensors)
            .into_iter()
            .partition(|(key, _)| of_head(key));
        self.tensors = others;
        head
    }

    /// Checks that every tensor was taken.
    pub fn finish(self) -> Result<(), ModelError> {
        if self.tensors.is_empty() {
            return Ok(());
        }
        Err(ModelError::UnexpectedTensor {
            path: self.path,
            tensors: self.tensors.into_keys().collect::<Vec<_>>().join(", "),
        })
    }
}

/// Whether a tensor is no factor but the weight that factors are on, or that was trained whole.
fn is_of_the_base(key: &str) -> bool {
    [
        ".base_layer.weight",
        ".base_layer.bias",
        "lm_head.weight",
        "embed_tokens.weight",
    ]
    .iter()
    .any(|end| key.ends_with(end))
}

/// Refuses a folder without this file.
pub(super) fn require(path: &Path) -> Result<(), ModelError> {
    if path.is_file() {
        return Ok(());
    }
    Err(ModelError::MissingFile {
        path: path.to_path_buf(),
        expected: "a folder of PEFT adapters holds it".to_owned(),
        mend: "name a folder that PEFT's `save_pretrained` has written".to_owned(),
    })
}
