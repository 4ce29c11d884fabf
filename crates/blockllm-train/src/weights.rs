//! The weights of any module by parameter path, to the host and back, bit for bit.
use crate::TrainError;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use std::collections::BTreeMap;
use std::path::Path;

/// All float parameters of `module`.
///
/// # Errors
/// When the device fails.
pub(crate) fn weights<M: Module>(module: &M) -> Result<BTreeMap<String, TensorData>, TrainError> {
    let mut reader = Reader {
        path: Vec::new(),
        weights: Ok(BTreeMap::new()),
    };
    module.visit(&mut reader);
    reader.weights
}

/// `module` with the weights of `file`.
///
/// # Errors
/// Names the parameter that is missing or has another shape.
pub(crate) fn load_weights<M: Module>(
    module: M,
    weights: BTreeMap<String, TensorData>,
    file: &Path,
) -> Result<M, TrainError> {
    let mut loader = Loader {
        path: Vec::new(),
        weights,
        wrong: None,
    };
    let module = module.map(&mut loader);
    let left = loader
        .weights
        .into_keys()
        .next()
        .map(|path| format!("`{path}` is not in the model"));
    match loader.wrong.or(left) {
        None => Ok(module),
        Some(message) => Err(TrainError::Record {
            path: file.to_owned(),
            message,
        }),
    }
}

struct Reader {
    path: Vec<String>,
    weights: Result<BTreeMap<String, TensorData>, TrainError>,
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Ok(weights) = &mut self.weights else { return };
        match param.base().try_into_data() {
            Ok(data) => {
                weights.insert(self.path.join("."), data);
            }
            Err(error) => {
                self.weights = Err(TrainError::Device {
                    what: "the weights",
                    message: error.to_string(),
                });
            }
        }
    }
}

struct Loader {
    path: Vec<String>,
    weights: BTreeMap<String, TensorData>,
    wrong: Option<String>,
}

impl ModuleMapper for Loader {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        let shape = param.base().dims();
        match self.weights.remove(&path) {
            Some(data) if data.shape().as_slice() == shape => param.map(|weight| {
                let dtype = data.dtype();
                let restored = Tensor::from_data(data, (&weight.device(), dtype));
                restored.set_require_grad(weight.is_require_grad())
            }),
            found => {
                let found = found.map_or("missing".into(), |data| format!("of shape {:?}", data.shape()));
                self.wrong
                    .get_or_insert(format!("`{path}` is {found}, not of shape {shape:?}"));
                param
            }
        }
    }
}
