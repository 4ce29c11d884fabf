//! Weights into and out of any burn module, by the paths of its parameters.
//!
//! The key of a parameter is its path (the names of `enter_module`, joined by dots) after `key_of` has renamed it.
//! The weight of a burn `Linear` is transposed on the way, because PyTorch keeps it as `[out, in]`.

use std::collections::BTreeMap;

use blockllm_tensors::HeldTensor;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{FloatDType, Tensor, TensorData};

use super::folder::WeightFolder;
use super::linears::Linears;
use crate::ModelError;
use crate::init::in_format;

/// Container type that burn reports for the fields of a `Linear`.
const LINEAR: &str = "Struct:Linear";

/// Container type that burn reports for what is attached to a parameter.
const ADAPTER: &str = "Reparameterization";

/// Replaces every parameter of `module` by the folder's tensor of its key, in the number format `dtype`.
///
/// Parameters keep their id, device, and whether they require gradients; weights that were not drawn yet never
/// are.
///
/// # Errors
///
/// The first tensor that is missing, misshapen or of a format that is not read.
pub fn load_module<M: Module>(
    module: M,
    folder: &mut WeightFolder,
    dtype: FloatDType,
    key_of: &dyn Fn(&str) -> String,
) -> Result<M, ModelError> {
    let (module, _) = load_module_except(module, folder, dtype, key_of, &|_| false)?;
    Ok(module)
}

/// [`load_module`], but a parameter that the folder lacks stays as it is when `may_lack` allows it of its path.
///
/// The paths of the parameters that stayed are returned beside the module.
///
/// # Errors
///
/// As [`load_module`].
pub fn load_module_except<M: Module>(
    module: M,
    folder: &mut WeightFolder,
    dtype: FloatDType,
    key_of: &dyn Fn(&str) -> String,
    may_lack: &dyn Fn(&str) -> bool,
) -> Result<(M, Vec<String>), ModelError> {
    let mut loader = Loader {
        path: Path::default(),
        folder,
        dtype,
        key_of,
        may_lack,
        lacking: Vec::new(),
        error: None,
    };
    let module = module.map(&mut loader);
    match loader.error {
        None => Ok((module, loader.lacking)),
        Some(error) => Err(error),
    }
}

/// The parameters of `module` under their keys, in the order of the module. They stay on their device until they are
/// written; what adapters would add to them is left out.
pub fn module_tensors<M: Module>(module: &M, key_of: &dyn Fn(&str) -> String) -> Vec<(String, HeldTensor)> {
    tensors_with(module, &BTreeMap::new(), key_of).0
}

/// [`module_tensors`] with adapters merged, each when its matrix is written.
///
/// # Errors
///
/// When something else is adapted than a matrix of ours.
pub(super) fn merged_tensors<M: Module + Linears>(
    module: &M,
    key_of: &dyn Fn(&str) -> String,
) -> Result<Vec<(String, HeldTensor)>, ModelError> {
    let linears = module.linears().into_iter();
    let linears = linears.map(|(path, linear)| (format!("{path}.weight"), &linear.weight));
    let embeddings = module.embeddings().into_iter();
    let embeddings = embeddings.map(|(path, embedding)| (format!("{path}.weight"), &embedding.weight));
    let adapted = linears
        .chain(embeddings)
        .filter(|(_, weight)| weight.adapter().is_some());
    let adapted = adapted.map(|(path, weight)| (path, weight.clone())).collect();
    match tensors_with(module, &adapted, key_of) {
        (tensors, None) => Ok(tensors),
        (_, Some(path)) => {
            let mend = "merge it first (`Module::materialize`)";
            Err(ModelError::config(
                "the model",
                &path,
                "LoRA on matrices alone",
                "an adapter of another kind",
                mend,
            ))
        }
    }
}

/// The tensors with those of `adapted` merged, and the first parameter that is adapted beside them.
fn tensors_with<M: Module>(
    module: &M,
    adapted: &BTreeMap<String, Param<Tensor<2>>>,
    key_of: &dyn Fn(&str) -> String,
) -> (Vec<(String, HeldTensor)>, Option<String>) {
    let mut collector = Collector {
        path: Path::default(),
        adapted,
        key_of,
        tensors: Vec::new(),
        unknown: None,
    };
    module.visit(&mut collector);
    (collector.tensors, collector.unknown)
}

/// Where a traversal stands: names and container types.
#[derive(Debug, Default)]
struct Path {
    names: Vec<String>,
    containers: Vec<String>,
}

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.to_owned());
        self.containers.push(container.to_owned());
    }

    fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    fn joined(&self) -> String {
        self.names.join(".")
    }

    /// Whether the parameter here is part of an adapter.
    fn is_adapter(&self) -> bool {
        self.containers.iter().any(|container| container == ADAPTER)
    }

    /// Whether the parameter here is the matrix of a `Linear`.
    fn is_linear_weight(&self, rank: usize) -> bool {
        rank == 2
            && self
                .containers
                .last()
                .is_some_and(|container| container == LINEAR)
    }
}

/// Puts tensors of a folder into parameters, until the first error.
struct Loader<'a> {
    path: Path,
    folder: &'a mut WeightFolder,
    dtype: FloatDType,
    key_of: &'a dyn Fn(&str) -> String,
    may_lack: &'a dyn Fn(&str) -> bool,
    lacking: Vec<String>,
    error: Option<ModelError>,
}

impl Loader<'_> {
    /// Whether the parameter here may stay as it is, because the folder has none.
    fn stays(&self) -> bool {
        let path = self.path.joined();
        (self.may_lack)(&path) && !self.folder.contains(&(self.key_of)(&path))
    }

    /// The tensor for a parameter of this shape.
    fn read(&mut self, shape: &[usize]) -> Result<TensorData, ModelError> {
        let key = (self.key_of)(&self.path.joined());
        let dtype = self.dtype.into();
        match *shape {
            [inputs, outputs] if self.path.is_linear_weight(2) => {
                self.folder.read(&key, &[outputs, inputs], dtype, true)
            }
            _ => self.folder.read(&key, shape, dtype, false),
        }
    }
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        if self.stays() {
            self.lacking.push(self.path.joined());
            return in_format(param, self.dtype);
        }
        let shape: [usize; D] = param.lazy_shape().dims();
        match self.read(&shape) {
            Ok(data) => {
                let device = param.lazy_device();
                let dtype = self.dtype.into();
                let tensor = device.memory_persistent_allocations(data, |data| {
                    Tensor::<D>::from_data(data, (&device, dtype))
                });
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}

/// Gathers parameters under their keys.
struct Collector<'a> {
    path: Path,
    /// Matrices with adapters.
    adapted: &'a BTreeMap<String, Param<Tensor<2>>>,
    key_of: &'a dyn Fn(&str) -> String,
    tensors: Vec<(String, HeldTensor)>,
    /// The first parameter that has an adapter and is not among those.
    unknown: Option<String>,
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        if container_type == ADAPTER && !self.adapted.contains_key(&self.path.joined()) {
            self.unknown.get_or_insert(self.path.joined());
        }
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.path.is_adapter() {
            return;
        }
        let path = self.path.joined();
        let value = param.base().inner();
        let is_linear = self.path.is_linear_weight(D);
        let tensor = match (value.dims().as_slice(), self.adapted.get(&path)) {
            (&[rows, columns], Some(adapted)) => {
                let (dtype, adapted) = (value.dtype(), adapted.clone());
                HeldTensor::made([rows, columns], dtype, is_linear, move || adapted.val().inner())
            }
            (&[rows, columns], None) if is_linear => HeldTensor::transposed(value.reshape([rows, columns])),
            _ => HeldTensor::float(value),
        };
        self.tensors.push(((self.key_of)(&path), tensor));
    }
}
