//! Putting the weights of a checkpoint into a module, one tensor at a time.

use super::files::{BASE, MODEL};
use crate::TrainError;
use blockllm_tensors::{HeldTensor, StoredTensor, TensorFile, digest};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use std::collections::BTreeMap;
use std::path::Path;

/// `module` with the weights of the checkpoint in `folder`. What it left out must be what the module has.
///
/// # Errors
/// Names the parameter that is missing, has another shape, or is not what the run began with.
pub(super) fn load_weights<M: Module>(module: M, folder: &Path) -> Result<M, TrainError> {
    let file = folder.join(MODEL);
    let mut loader = Loader {
        path: Vec::new(),
        tensors: TensorFile::open(&file)?.into_tensors(),
        base: base(folder)?,
        error: None,
    };
    let module = module.map(&mut loader);
    let left = loader.tensors.into_keys().next();
    let left = left.map(|path| Refusal::Other(format!("`{path}` is not in the model")));
    match loader.error.or(left) {
        None => Ok(module),
        Some(Refusal::Failed(error)) => Err(error),
        Some(Refusal::Other(message)) => Err(TrainError::Record { path: file, message }),
    }
}

/// The digests of what the checkpoint left out; those of earlier versions left out nothing.
fn base(folder: &Path) -> Result<BTreeMap<String, String>, TrainError> {
    let path = folder.join(BASE);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        text => text.map_err(|source| TrainError::File {
            path: path.clone(),
            source,
        })?,
    };
    serde_json::from_str(&text).map_err(|error| TrainError::Record {
        path,
        message: error.to_string(),
    })
}

struct Loader {
    path: Vec<String>,
    tensors: BTreeMap<String, StoredTensor>,
    base: BTreeMap<String, String>,
    /// The first error.
    error: Option<Refusal>,
}

/// Why a checkpoint is not loaded.
enum Refusal {
    /// It is of another model, or of another beginning.
    Other(String),
    Failed(TrainError),
}

impl<E: Into<TrainError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Loader {
    /// The value of the parameter at `path` after the step; `None` where it is what it was.
    fn value<const D: usize>(
        &mut self,
        path: &str,
        weight: &Tensor<D>,
    ) -> Result<Option<Tensor<D>>, Refusal> {
        let shape = weight.dims();
        let Some(stored) = self.tensors.remove(path) else {
            return self.check_unchanged(path, weight).map(|()| None);
        };
        let Some(dtype) = stored.dtype().filter(|_| stored.shape() == shape) else {
            let found = stored.shape();
            return Err(Refusal::Other(format!(
                "`{path}` is of shape {found:?}, not of shape {shape:?}"
            )));
        };
        let data = stored.read(dtype, false)?;
        let value = Tensor::from_data(data, (&weight.device(), dtype));
        Ok(Some(value.set_require_grad(weight.is_require_grad())))
    }

    /// Refuses a model that began as another one.
    fn check_unchanged<const D: usize>(&self, path: &str, weight: &Tensor<D>) -> Result<(), Refusal> {
        let Some(expected) = self.base.get(path) else {
            let shape = weight.dims();
            return Err(Refusal::Other(format!(
                "`{path}` is missing, not of shape {shape:?}"
            )));
        };
        if digest(path, &HeldTensor::float(weight.clone().inner()))? == *expected {
            return Ok(());
        }
        Err(Refusal::Other(format!(
            "training had not changed `{path}`, so it is not in the checkpoint, and the model that the run begins with has \
             other numbers there now: put its folder back as it was"
        )))
    }
}

impl ModuleMapper for Loader {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        let path = self.path.join(".");
        match self.value(&path, &param.base()) {
            Ok(None) => param,
            Ok(Some(value)) => param.map(|_| value),
            Err(refusal) => {
                self.error = Some(refusal);
                param
            }
        }
    }
}
