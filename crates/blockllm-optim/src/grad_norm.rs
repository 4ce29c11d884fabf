//! Sums of squared gradients of all parameters in one buffer, on the device until a selection reads it back.
use crate::{OptimError, Parameter};
use blockllm_kernels::{norm_and_factor, with_sum_of_squares};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor, TensorData, Transaction};
use std::collections::{BTreeMap, BTreeSet};

/// A sum of squares for each parameter that was measured, by position in the parameter list (`P` parameters).
#[derive(Debug)]
pub(crate) struct SumsOfSquares {
    parameters: usize,
    /// `[P]`, f32; made when the first parameter is measured.
    values: Option<Tensor<1>>,
    measured: BTreeSet<usize>,
    /// The parameters that the latest norm was over, and a one for each of them: `[P]`.
    wanted: Option<(BTreeSet<usize>, Tensor<1>)>,
}

impl SumsOfSquares {
    /// Nothing measured yet of this many parameters.
    pub(crate) fn new(parameters: usize) -> Self {
        Self {
            parameters,
            values: None,
            measured: BTreeSet::new(),
            wanted: None,
        }
    }

    /// Measures `of`, a tensor of the parameter at `position`.
    pub(crate) fn measure<const D: usize>(&mut self, position: usize, of: Tensor<D>) {
        let sums = self.values_on(&of.device());
        self.values = Some(with_sum_of_squares(sums, position, of));
        self.measured.insert(position);
    }

    /// Counts a parameter as measured, with a sum of zero if it never was before.
    pub(crate) fn note_absent(&mut self, position: usize, device: &Device) {
        self.values = Some(self.values_on(device));
        self.measured.insert(position);
    }

    /// The parameters that were measured, at whatever step.
    pub(crate) fn measured(&self) -> &BTreeSet<usize> {
        &self.measured
    }

    /// The global L2 norm over `params`, still on the device, and what their gradients are multiplied with so that it
    /// is at most `max`: `[1]` each.
    pub(crate) fn norm(
        &mut self,
        params: &BTreeSet<usize>,
        max: Option<f64>,
    ) -> (Tensor<1>, Option<Tensor<1>>) {
        let sums = self.values.clone().expect("what a norm is over was measured");
        let wanted = match self.wanted.take() {
            Some((known, wanted)) if known == *params => wanted,
            _ => {
                let one = |position| f32::from(u8::from(params.contains(&position)));
                let ones: Vec<f32> = (0..self.parameters).map(one).collect();
                Tensor::from_data(
                    TensorData::new(ones, [self.parameters]),
                    (&sums.device(), DType::F32),
                )
            }
        };
        self.wanted = Some((params.clone(), wanted.clone()));
        let (norm, factor) = norm_and_factor(sums, wanted, max.unwrap_or(f64::from(f32::MAX)));
        (norm, max.map(|_| factor))
    }

    /// Moves averages towards the `latest` sums of the parameters in `now`: a share of `decay` of each stays. What is measured
    /// for the first time begins with what it is; a sum that is not finite leaves its average as it was.
    pub(crate) fn average_in(&mut self, latest: &Self, now: &BTreeSet<usize>, decay: f64) {
        let Some(sums) = latest.values.clone() else {
            return;
        };
        let weight = |position| match (now.contains(&position), self.measured.contains(&position)) {
            (false, _) => 0.0,
            (true, false) => 1.0,
            (true, true) => (1.0 - decay) as f32,
        };
        let weights: Vec<f32> = (0..self.parameters).map(weight).collect();
        let data = TensorData::new(weights, [self.parameters]);
        let weights = Tensor::from_data(data, (&sums.device(), DType::F32));
        let averages = self.values_on(&sums.device());
        let stays = sums
            .clone()
            .is_finite()
            .bool_not()
            .bool_or(weights.clone().equal_elem(0.0));
        let moved = averages.clone() + (sums - averages.clone()) * weights;
        self.values = Some(moved.mask_where(stays, averages));
        self.measured.extend(now);
    }

    /// Sums that were read back before.
    pub(crate) fn from_measured(parameters: usize, sums: &BTreeMap<usize, f32>, device: &Device) -> Self {
        let value = |position| sums.get(&position).copied().unwrap_or(0.0);
        let values: Vec<f32> = (0..parameters).map(value).collect();
        let data = TensorData::new(values, [parameters]);
        Self {
            values: (!sums.is_empty()).then(|| Tensor::from_data(data, (device, DType::F32))),
            measured: sums.keys().copied().collect(),
            ..Self::new(parameters)
        }
    }

    /// The buffer, of which nobody else keeps a copy then.
    fn values_on(&mut self, device: &Device) -> Tensor<1> {
        let zeros = || Tensor::zeros([self.parameters], (device, DType::F32));
        self.values.take().unwrap_or_else(zeros)
    }
}

/// Reads the measured sums of each back, all with one transfer.
pub(crate) fn read_back<const N: usize>(
    sums: [&SumsOfSquares; N],
) -> Result<[BTreeMap<usize, f64>; N], OptimError> {
    let buffers = sums.iter().filter_map(|sums| sums.values.clone());
    let data = buffers
        .fold(Transaction::default(), Transaction::register)
        .try_execute()
        .map_err(|error| OptimError::Device {
            what: "gradient norms",
            message: error.to_string(),
        })?;
    let mut data = data.into_iter();
    Ok(sums.map(|sums| {
        let Some(data) = sums.values.as_ref().and_then(|_| data.next()) else {
            return BTreeMap::new();
        };
        let measured = data.iter::<f64>().enumerate();
        measured
            .filter(|(position, _)| sums.measured.contains(position))
            .collect()
    }))
}

/// Measures every gradient there is; returns of which parameters there are any.
pub(crate) fn of_gradients<M: Module>(
    module: &M,
    gradients: &GradientsParams,
    index: &BTreeMap<ParamId, usize>,
    sums: &mut SumsOfSquares,
) -> BTreeSet<usize> {
    let mut visitor = GradientSums {
        gradients,
        index,
        sums,
        found: BTreeSet::new(),
    };
    module.visit(&mut visitor);
    visitor.found
}

/// The L2 norm over all `gradients` of `module`, summed in f32 and still on the device: `[1]`; `None` where there are none.
pub fn gradient_norm<M: Module>(module: &M, gradients: &GradientsParams) -> Option<Tensor<1>> {
    let parameters = crate::parameters(module);
    let mut sums = SumsOfSquares::new(parameters.len());
    let found = of_gradients(module, gradients, &positions(&parameters), &mut sums);
    (!found.is_empty()).then(|| sums.norm(&found, None).0)
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
        sums: SumsOfSquares::new(index.values().max().map_or(0, |last| last + 1)),
    };
    module.visit(&mut visitor);
    visitor.sums
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
    sums: &'a mut SumsOfSquares,
    found: BTreeSet<usize>,
}

impl ModuleVisitor for GradientSums<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(&position) = self.index.get(&param.id) else {
            return;
        };
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sums.measure(position, gradient);
            self.found.insert(position);
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
            self.sums.measure(position, weight);
        }
    }
}
