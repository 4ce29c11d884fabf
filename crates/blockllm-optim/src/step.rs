//! One optimizer step over a module: gradients in, updated parameters out.
use crate::autodiff_context::AutodiffContext;
use crate::inactive::{Momenta, Moving};
use crate::recovery::{RecoveredNorms, Updated};
use crate::sparse_state::Applied;
use crate::states::States;
use crate::{BlockOptimizerConfig, HalfWeights, Parameter};
use blockllm_kernels::{Rounding, Stay};
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

/// Moves every parameter that has a gradient: trained entries by the update rule, all others by the inactive one.
pub(crate) struct Updater<'a> {
    pub config: &'a BlockOptimizerConfig,
    pub learning_rate: f64,
    /// What every gradient is multiplied with: `[1]`.
    pub clip: Option<Tensor<1>>,
    pub gradients: GradientsParams,
    pub parameters: &'a [Parameter],
    pub index: &'a BTreeMap<ParamId, usize>,
    pub states: &'a mut States,
    pub momenta: &'a mut Momenta,
    pub recovered: &'a mut RecoveredNorms,
    /// What the learning rate of selected parameters is multiplied with.
    pub rates: &'a BTreeMap<usize, f64>,
    /// Parameters of blocks outside the selection that move.
    pub inactive: &'a BTreeSet<usize>,
    /// What weights are rounded by chance with; another one for every step.
    pub seed: u64,
}

impl Updater<'_> {
    /// How the weights of a parameter are rounded.
    fn rounding(&self, param: usize, is_trained: bool) -> Rounding {
        if is_trained && self.config.half_weights != HalfWeights::Stochastic {
            return Rounding::Nearest;
        }
        Rounding::Stochastic {
            seed: self.seed ^ ((param as u64) << 32),
        }
    }

    /// The trained entries of a selected parameter after a step of the update rule, then its others after one of the
    /// inactive rule, if they move.
    fn selected(&mut self, moving: Moving, learning_rate: f64) -> Tensor<1> {
        let param = moving.param;
        let parameter = &self.parameters[param];
        let undecayed = if self.config.groups.decays(parameter) {
            None
        } else {
            self.config.update.without_decay()
        };
        let rule = undecayed.as_deref().unwrap_or(&*self.config.update);
        let others = self.config.inactive.as_ref().filter(|rule| rule.masked_out);
        let (trained, rest) = (self.rounding(param, true), self.rounding(param, false));
        let Some(state) = self.states.get_mut(param) else {
            return match others {
                Some(others) => others.moved(moving, Stay::None, learning_rate, rest, self.momenta),
                None => moving.weight,
            };
        };
        let recovery = self.config.recovery.filter(|_| !state.is_whole());
        let gradient = (others.is_some() || recovery.is_some()).then(|| moving.gradient.clone());
        let before = recovery.map(|_| moving.weight.clone());
        let rate = self.rates.get(&param).copied().unwrap_or(1.0);
        let rate_of_trained = learning_rate * rate * state.ramp(self.config.ramp);
        let step = Applied {
            rule,
            learning_rate: rate_of_trained,
            parameter,
            clip: self.clip.as_ref(),
            rounding: trained,
        };
        let weight = state.apply(step, moving.weight, moving.gradient);
        let Some(gradient) = gradient.filter(|_| !state.is_whole()) else {
            return weight;
        };
        match (before, recovery, others) {
            (Some(before), Some(recovery), _) => {
                let updated = Updated {
                    before,
                    after: weight,
                    gradient,
                    learning_rate: rate_of_trained,
                    columns: moving.columns,
                    param,
                };
                self.recovered.recovered(updated, state, recovery)
            }
            (_, _, Some(others)) => {
                let moving = Moving {
                    weight,
                    gradient,
                    ..moving
                };
                state.with_staying(|stay| others.moved(moving, stay, learning_rate, rest, self.momenta))
            }
            _ => weight,
        }
    }
}

impl ModuleMapper for Updater<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            return param;
        };
        let Some(&position) = self.index.get(&param.id) else {
            return param;
        };
        let (id, tensor, mapper) = param.consume();
        let context = AutodiffContext::capture(&tensor);
        let weight = if tensor.is_autodiff() {
            tensor.inner()
        } else {
            tensor
        };
        let shape = weight.dims();
        let numel = shape.iter().product::<usize>();
        let moving = Moving {
            weight: weight.reshape([numel]),
            gradient: gradient.reshape([numel]),
            columns: if D > 1 { shape[D - 1] } else { 1 },
            group: self.parameters[position].group(),
            param: position,
        };
        let learning_rate = self.learning_rate * self.config.groups.multiplier(&self.parameters[position]);
        let weight = match &self.config.inactive {
            Some(rule) if self.inactive.contains(&position) => {
                let rounding = self.rounding(position, false);
                rule.moved(moving, Stay::None, learning_rate, rounding, self.momenta)
            }
            _ => self.selected(moving, learning_rate),
        };
        Param::from_mapped_value(id, context.restore(weight.reshape(shape)), mapper)
    }
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

/// The weights of the parameters in `wanted`, each flattened to `[n_l]`, by position.
pub(crate) fn flat_weights<M: Module>(
    module: &M,
    wanted: &BTreeSet<usize>,
    index: &BTreeMap<ParamId, usize>,
) -> BTreeMap<usize, Tensor<1>> {
    let mut weights = FlatWeights {
        wanted,
        index,
        flat: BTreeMap::new(),
    };
    module.visit(&mut weights);
    weights.flat
}

struct FlatWeights<'a> {
    wanted: &'a BTreeSet<usize>,
    index: &'a BTreeMap<ParamId, usize>,
    flat: BTreeMap<usize, Tensor<1>>,
}

impl ModuleVisitor for FlatWeights<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let position = self.index.get(&param.id);
        if let Some(&position) = position.filter(|position| self.wanted.contains(position)) {
            let weight = param.base();
            let weight = if weight.is_autodiff() {
                weight.inner()
            } else {
                weight
            };
            self.flat.insert(position, weight.reshape([-1]));
        }
    }
}
