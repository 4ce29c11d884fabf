//! What a module's traversal tells of its parameters beyond path and shape: layout, and whether they are frozen.
use crate::{BlockOptimizerConfig, OptimError, Parameter};
use blockllm_policy::{Block, path_matches};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use std::collections::BTreeSet;

/// Container type that burn reports for the fields of a `Linear`.
const LINEAR: &str = "Struct:Linear";

/// Which parameters are the matrix of a `Linear`, and which are frozen.
#[derive(Debug, Default)]
pub(crate) struct Layouts {
    containers: Vec<String>,
    /// Matrices that burn keeps as `[in, out]` and PyTorch as `[out, in]`.
    pub linear: BTreeSet<ParamId>,
    /// Parameters on an autodiff device that do not require gradients.
    pub frozen: BTreeSet<ParamId>,
}

impl Layouts {
    /// Those of `module`, as it is now.
    pub fn of<M: Module>(module: &M) -> Self {
        let mut layouts = Self::default();
        module.visit(&mut layouts);
        layouts
    }
}

impl ModuleVisitor for Layouts {
    fn enter_module(&mut self, _name: &str, container_type: &str) {
        self.containers.push(container_type.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D == 2
            && self
                .containers
                .last()
                .is_some_and(|container| container == LINEAR)
        {
            self.linear.insert(param.id);
        }
        let weight = param.base();
        if weight.is_autodiff() && !weight.is_require_grad() {
            self.frozen.insert(param.id);
        }
    }
}

/// The blocks of what may be trained: parameters that are frozen already, such as the base weights under LoRA
/// adapters, belong to none, and count in no budget.
///
/// A `never` pattern that matches only frozen parameters is content.
pub(crate) fn trainable_blocks<M: Module>(
    module: &M,
    parameters: &[Parameter],
    config: &BlockOptimizerConfig,
) -> Result<Vec<Block>, OptimError> {
    let frozen = Layouts::of(module).frozen;
    let is_frozen = |param: &usize| frozen.contains(&parameters[*param].id);
    let (frozen, free): (Vec<usize>, Vec<usize>) = (0..parameters.len()).partition(is_frozen);
    let path = |param: &usize| parameters[*param].info.path.as_str();
    let mut roles = config.roles.clone();
    roles.never.retain(|pattern| {
        let hit = |params: &[usize]| params.iter().any(|param| path_matches(pattern, path(param)));
        hit(&free) || !hit(&frozen)
    });
    let infos: Vec<_> = free.iter().map(|param| parameters[*param].info.clone()).collect();
    let mut blocks = config.partition.blocks(&infos, &roles)?;
    for param in blocks.iter_mut().flat_map(|block| &mut block.params) {
        *param = free[*param];
    }
    Ok(blocks)
}
