//! Weights into and out of any burn module, by the paths of its parameters.
//!
//! The key of a parameter is its path (the names of `enter_module`, joined by dots) after `key_of` has renamed it.
//! The weight of a burn `Linear` is transposed on the way, because PyTorch keeps it as `[out, in]`.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{FloatDType, Tensor, TensorData};

use super::folder::WeightFolder;
use super::transpose::transpose;
use crate::ModelError;

/// Container type that burn reports for the fields of a `Linear`.
const LINEAR: &str = "Struct:Linear";

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

/// The parameters of `module` under their keys, in the order of the module.
pub fn module_tensors<M: Module>(module: &M, key_of: &dyn Fn(&str) -> String) -> Vec<NamedTensor> {
    let mut collector = Collector {
        path: Path::default(),
        key_of,
        tensors: Vec::new(),
    };
    module.visit(&mut collector);
    collector.tensors
}

/// A parameter on its way to disk; it stays on its device until its bytes are asked for.
#[derive(Debug, Clone)]
pub struct NamedTensor {
    /// The key on disk.
    pub key: String,
    /// The shape on disk.
    pub shape: Vec<usize>,
    values: Tensor<1>,
    transposed: bool,
}

impl NamedTensor {
    /// The numbers, row by row in the shape on disk.
    pub fn to_f32(&self) -> Vec<f32> {
        let data = self.values.to_data().convert::<f32>();
        let values = data
            .try_into_vec()
            .expect("the data were converted to f32 just above");
        match (self.transposed, self.shape.as_slice()) {
            (true, [rows, columns]) => transpose(&values, *columns, *rows),
            _ => values,
        }
    }
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
        let values = match *shape {
            [inputs, outputs] if self.path.is_linear_weight(2) => {
                transpose(&self.folder.read(&key, &[outputs, inputs])?, outputs, inputs)
            }
            _ => self.folder.read(&key, shape)?,
        };
        Ok(TensorData::new(values, shape.to_vec()))
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
            return param;
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
    key_of: &'a dyn Fn(&str) -> String,
    tensors: Vec<NamedTensor>,
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val().inner();
        let transposed = self.path.is_linear_weight(D);
        let mut shape = value.dims().to_vec();
        if transposed {
            shape.reverse();
        }
        let values = value.reshape([shape.iter().product::<usize>()]);
        self.tensors.push(NamedTensor {
            key: (self.key_of)(&self.path.joined()),
            shape,
            values,
            transposed,
        });
    }
}
