//! One optimizer step over a module: gradients in, updated parameters out.
use crate::UpdateRule;
use crate::autodiff_context::AutodiffContext;
use crate::states::States;
use blockllm_kernels::{Coding, FusedRule, Rounding, Trained, TrainedEntries, UpdateStep, update};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};

/// The outcome of a [`BlockOptimizer::step`](crate::BlockOptimizer::step).
#[derive(Debug)]
pub struct Step<M> {
    /// The updated module.
    pub model: M,
    /// Global L2 norm of the trained blocks' gradients before clipping, still on the device: `[1]`.
    pub grad_norm: Tensor<1>,
    /// Paths of trained parameters that got no gradient, since the loss of this step does not depend on them; they stayed
    /// as they were. Those that never get one belong among the `never` roles.
    pub without_gradient: Vec<String>,
}

/// Applies an update rule to every parameter that has state.
pub(crate) struct Updater<'a> {
    pub rule: &'a dyn UpdateRule,
    pub learning_rate: f64,
    /// What every gradient is multiplied with: `[1]`.
    pub clip: Option<Tensor<1>>,
    pub gradients: GradientsParams,
    pub index: &'a BTreeMap<ParamId, usize>,
    pub states: &'a mut States,
    /// How a parameter's weights in half precision are rounded in this step.
    pub rounding: &'a dyn Fn(usize) -> Rounding,
    /// Parameters outside the selection that move by the sign of their gradient, and how far.
    pub inactive: (&'a BTreeSet<usize>, f64),
}

impl ModuleMapper for Updater<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            return param;
        };
        let Some(&position) = self.index.get(&param.id) else {
            return param;
        };
        let is_inactive = self.inactive.0.contains(&position);
        let state = self.states.get_mut(position);
        if state.is_none() && !is_inactive {
            return param;
        }
        let (id, tensor, mapper) = param.consume();
        let context = AutodiffContext::capture(&tensor);
        let weight = if tensor.is_autodiff() {
            tensor.inner()
        } else {
            tensor
        };
        let shape = weight.dims();
        let numel = shape.iter().product::<usize>();
        let weight = weight.reshape([numel]);
        let gradient = gradient.reshape([numel]);
        let weight = match state {
            Some(state) => state.apply(
                self.rule,
                self.learning_rate,
                weight,
                gradient,
                self.clip.as_ref(),
                (self.rounding)(position),
            ),
            None => by_sign(weight, gradient, self.inactive.1, (self.rounding)(position)),
        };
        let weight = weight.reshape(shape);
        Param::from_mapped_value(id, context.restore(weight), mapper)
    }
}

/// `weight` moved against the sign of its gradient, `[n_l]` each.
fn by_sign(weight: Tensor<1>, gradient: Tensor<1>, learning_rate: f64, rounding: Rounding) -> Tensor<1> {
    let trained = Trained {
        weight,
        state: Vec::new(),
        master: None,
    };
    let step = UpdateStep {
        rule: FusedRule::Sign,
        learning_rate,
        state_step: 1,
        rounding,
        codings: [Coding::default(); 2],
    };
    update(trained, gradient, None, TrainedEntries::All, step).weight
}

/// The gradients of some parameters, each flattened to `[n_l]`, by position.
pub(crate) fn flat_gradients<M: Module>(
    module: &M,
    gradients: &GradientsParams,
    index: &BTreeMap<ParamId, usize>,
) -> BTreeMap<usize, Tensor<1>> {
    let mut flattener = Flattener {
        gradients,
        index,
        flat: BTreeMap::new(),
    };
    module.visit(&mut flattener);
    flattener.flat
}

struct Flattener<'a> {
    gradients: &'a GradientsParams,
    index: &'a BTreeMap<ParamId, usize>,
    flat: BTreeMap<usize, Tensor<1>>,
}

impl ModuleVisitor for Flattener<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(&position) = self.index.get(&param.id) else {
            return;
        };
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let numel = gradient.shape().num_elements();
            self.flat.insert(position, gradient.reshape([numel]));
        }
    }
}
