//! Sums of squared gradients, on the device until a selection reads them all back at once.
use crate::pieces::sum_of_squares;
use crate::{OptimError, Parameter};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};

/// Device scalars by position in the parameter list, each of shape `[1]`.
pub(crate) type SumsOfSquares = BTreeMap<usize, Tensor<1>>;

/// The sum of squares of every gradient there is.
pub(crate) fn of_gradients<M: Module>(
    module: &M,
    gradients: &GradientsParams,
    index: &BTreeMap<ParamId, usize>,
) -> SumsOfSquares {
    let mut visitor = GradientSums {
        gradients,
        index,
        sums: SumsOfSquares::new(),
    };
    module.visit(&mut visitor);
    visitor.sums
}

/// The sum of squares of the weights of `params`.
pub(crate) fn of_weights<M: Module>(
    module: &M,
    params: &BTreeSet<usize>,
    index: &BTreeMap<ParamId, usize>,
) -> SumsOfSquares {
    let mut visitor = WeightSums {
        params,
        index,
        sums: SumsOfSquares::new(),
    };
    module.visit(&mut visitor);
    visitor.sums
}

/// Reads all sums back with one transfer.
pub(crate) fn read_back(sums: &SumsOfSquares) -> Result<BTreeMap<usize, f64>, OptimError> {
    if sums.is_empty() {
        return Ok(BTreeMap::new());
    }
    let data = Tensor::cat(sums.values().cloned().collect(), 0)
        .try_into_data()
        .map_err(|error| OptimError::Device {
            what: "gradient norms",
            message: error.to_string(),
        })?;
    let values: Vec<f64> = data.iter::<f64>().collect();
    Ok(sums.keys().copied().zip(values).collect())
}

/// The global L2 norm over the parameters in `params`, on the device: `[1]`; `None` when there are none.
pub(crate) fn global(sums: &SumsOfSquares, params: &BTreeSet<usize>) -> Option<Tensor<1>> {
    let mut wanted = sums
        .iter()
        .filter(|(param, _)| params.contains(param))
        .map(|(_, sum)| sum.clone());
    let first = wanted.next()?;
    Some(wanted.fold(first, |total, sum| total + sum).sqrt())
}

/// What gradients of the global norm `grad_norm` are multiplied with so that it is at most `max`: `[1]`, as
/// `torch.nn.utils.clip_grad_norm_` computes it, with its 1e-6.
pub(crate) fn clip_factor(grad_norm: &Tensor<1>, max: f64) -> Tensor<1> {
    let share = grad_norm.clone().add_scalar(1e-6).recip();
    share.mul_scalar(max).clamp_max(1.0)
}

/// Which position each parameter id has.
pub(crate) fn positions(parameters: &[Parameter]) -> BTreeMap<ParamId, usize> {
    parameters
        .iter()
        .enumerate()
        .map(|(position, parameter)| (parameter.id, position))
        .collect()
}

struct GradientSums<'a> {
    gradients: &'a GradientsParams,
    index: &'a BTreeMap<ParamId, usize>,
    sums: SumsOfSquares,
}

impl ModuleVisitor for GradientSums<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(&position) = self.index.get(&param.id) else {
            return;
        };
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sums.insert(position, sum_of_squares(gradient));
        }
    }
}

struct WeightSums<'a> {
    params: &'a BTreeSet<usize>,
    index: &'a BTreeMap<ParamId, usize>,
    sums: SumsOfSquares,
}

impl ModuleVisitor for WeightSums<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(&position) = self.index.get(&param.id) else {
            return;
        };
        if self.params.contains(&position) {
            let weight = param.base();
            let weight = if weight.is_autodiff() {
                weight.inner()
            } else {
                weight
            };
            self.sums.insert(position, sum_of_squares(weight));
        }
    }
}
