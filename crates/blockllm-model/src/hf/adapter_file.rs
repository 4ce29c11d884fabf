//! `adapter_model.safetensors`: the factors of LoRA adapters, under PEFT's keys.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

use super::dtype::WeightDtype;
use super::transpose::transpose;
use crate::ModelError;

/// What PEFT's wrappers put before the path of a module.
pub(super) const PREFIX: &str = "base_model.model.";

/// The factors of a layer in burn's layout: `a` `[in, r]`, `b` `[r, out]`.
pub(super) type Factors = (Vec<f32>, Vec<f32>);

/// The tensors of `adapter_model.safetensors` that were not taken yet.
pub(super) struct AdapterFile {
    path: PathBuf,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl AdapterFile {
    /// Reads the file.
    pub fn read(path: PathBuf) -> Result<Self, ModelError> {
        require(&path)?;
        let bytes = fs::read(&path).map_err(ModelError::io(&path, "read"))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| ModelError::CorruptHeader {
            path: path.clone(),
            found: error.to_string(),
        })?;
        let mut tensors = BTreeMap::new();
        for (key, view) in file.iter() {
            let dtype = WeightDtype::from_safetensors(view.dtype()).ok_or_else(|| ModelError::Dtype {
                path: path.clone(),
                tensor: key.to_owned(),
                found: format!("{:?}", view.dtype()),
            })?;
            tensors.insert(key.to_owned(), (view.shape().to_vec(), dtype.decode(view.data())));
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
        let first = self.take_factor(&format!("{PREFIX}{layer}.lora_A.weight"), [rank, inputs])?;
        let second = self.take_factor(&format!("{PREFIX}{layer}.lora_B.weight"), [outputs, rank])?;
        Ok((first, second))
    }

    fn take_factor(&mut self, key: &str, [rows, columns]: [usize; 2]) -> Result<Vec<f32>, ModelError> {
        let (shape, values) = self
            .tensors
            .remove(key)
            .ok_or_else(|| ModelError::MissingTensor {
                path: self.path.clone(),
                tensor: key.to_owned(),
            })?;
        if shape != [rows, columns] {
            return Err(ModelError::Shape {
                path: self.path.clone(),
                tensor: key.to_owned(),
                expected: vec![rows, columns],
                found: shape,
            });
        }
        Ok(transpose(&values, rows, columns))
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
