//! The parameters of any module: a list in visiting order, and which of them require gradients.
use crate::OptimError;
use blockllm_policy::ParamInfo;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Tensor};
use std::collections::{BTreeMap, BTreeSet};

/// A float parameter of a module.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Path, size and shape.
    pub info: ParamInfo,
    /// Its id, by which gradients are found.
    pub id: ParamId,
    /// The type of its elements.
    pub dtype: DType,
}

#[cfg(test)]
impl Parameter {
    /// One of no module.
    pub(crate) fn vector(path: &str, numel: u64) -> Self {
        Self {
            info: ParamInfo::new(path, numel),
            id: ParamId::new(),
            dtype: DType::F32,
        }
    }
}

/// All float parameters of `module`, in visiting order.
pub fn parameters<M: Module>(module: &M) -> Vec<Parameter> {
    let mut lister = Lister {
        path: Vec::new(),
        parameters: Vec::new(),
    };
    module.visit(&mut lister);
    lister.parameters
}

/// All float parameters of `module`, each of which lies in one place and on the one device that all are on.
///
/// # Errors
/// Names the parameter that is not so.
pub(crate) fn distinct_parameters<M: Module>(module: &M) -> Result<Vec<Parameter>, OptimError> {
    let devices = module.devices();
    if devices.len() > 1 {
        return Err(OptimError::Devices {
            count: devices.len(),
            first: format!("{:?}", devices[0]),
            second: format!("{:?}", devices[1]),
        });
    }
    let parameters = parameters(module);
    let mut places = BTreeMap::new();
    for parameter in &parameters {
        if let Some(first) = places.insert(parameter.id, &parameter.info.path) {
            return Err(OptimError::SharedParameter {
                first: first.clone(),
                second: parameter.info.path.clone(),
            });
        }
    }
    Ok(parameters)
}

/// The first of `parameters` that `module` does not hold.
pub(crate) fn first_missing<'a, M: Module>(module: &M, parameters: &'a [Parameter]) -> Option<&'a Parameter> {
    let mut ids = Ids(BTreeSet::new());
    module.visit(&mut ids);
    parameters.iter().find(|parameter| !ids.0.contains(&parameter.id))
}

/// Lets exactly the parameters in `ids` require gradients; dropout and other flags stay as they are.
#[must_use]
pub fn set_trainable<M: Module>(module: M, ids: &BTreeSet<ParamId>) -> M {
    module.map(&mut Toggler { ids })
}

struct Lister {
    path: Vec<String>,
    parameters: Vec<Parameter>,
}

impl ModuleVisitor for Lister {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let shape = param.base().dims().to_vec();
        self.parameters.push(Parameter {
            info: ParamInfo::shaped(self.path.join("."), shape),
            id: param.id,
            dtype: param.base().dtype(),
        });
    }
}

struct Ids(BTreeSet<ParamId>);

impl ModuleVisitor for Ids {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.insert(param.id);
    }
}

struct Toggler<'a> {
    ids: &'a BTreeSet<ParamId>,
}

impl ModuleMapper for Toggler<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let wanted = self.ids.contains(&param.id);
        // A leaf that is as it should be stays: replacing it would only cost a graph node.
        if param.base().is_require_grad() == wanted {
            param
        } else {
            param.set_require_grad(wanted)
        }
    }
}
