//! One step over a module, parameter by parameter, in place.
use super::config::LowRankConfig;
use super::parameter_state::ParameterState;
use super::range_finder::Sketch;
use crate::Parameter;
use crate::autodiff_context::AutodiffContext;
use crate::precision::{cast_to, in_f32};
use burn::module::{ModuleMapper, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use std::collections::BTreeMap;

/// Updates every parameter that has state.
pub(crate) struct Updater<'a> {
    pub config: &'a LowRankConfig,
    pub learning_rate: f64,
    /// The step being made, from 1.
    pub step: u64,
    /// What every gradient is multiplied with: `[1]`.
    pub clip: Option<Tensor<1>>,
    pub gradients: GradientsParams,
    pub parameters: &'a [Parameter],
    pub index: &'a BTreeMap<ParamId, usize>,
    pub states: &'a mut BTreeMap<usize, ParameterState>,
}

impl Updater<'_> {
    /// The random numbers for the subspace of the parameter at `position`, if it is found anew in this step.
    fn refresh(&self, position: usize) -> Option<Sketch> {
        let done = self.step - 1;
        let gap = self.config.update_proj_gap;
        let lacks_one = || {
            self.states
                .get(&position)
                .is_some_and(ParameterState::needs_basis)
        };
        (done.is_multiple_of(gap) || lacks_one()).then(|| Sketch {
            seed: self.config.seed,
            stream: ((position as u64) << 32) | (done / gap),
        })
    }
}

impl ModuleMapper for Updater<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(&position) = self.index.get(&param.id) else {
            return param;
        };
        let refresh = self.refresh(position);
        let Some(state) = self.states.get_mut(&position) else {
            return param;
        };
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            return param;
        };
        let (id, tensor, mapper) = param.consume();
        let context = AutodiffContext::capture(&tensor);
        let weight = if tensor.is_autodiff() {
            tensor.inner()
        } else {
            tensor
        };
        let (shape, dtype) = (weight.dims(), weight.dtype());
        let numel = shape.iter().product::<usize>();
        let mut gradient = in_f32(gradient.reshape([numel]));
        if let Some(clip) = &self.clip {
            gradient = gradient * clip.clone();
        }
        let adam = &self.config.adam;
        let direction = state.direction(gradient, self.config, refresh);
        let parameter = &self.parameters[position];
        let learning_rate = self.learning_rate * self.config.groups.multiplier(parameter);
        let step_size = adam.step_size(learning_rate, self.step);
        let mut weight = in_f32(weight.reshape([numel])) - direction.mul_scalar(step_size);
        if adam.weight_decay > 0.0 && self.config.groups.decays(parameter) {
            let decay = weight.clone().mul_scalar(learning_rate * adam.weight_decay);
            weight = weight - decay;
        }
        let weight = cast_to(weight, dtype).reshape(shape);
        Param::from_mapped_value(id, context.restore(weight), mapper)
    }
}
