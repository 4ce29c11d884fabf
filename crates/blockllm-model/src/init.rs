//! Fresh weights: drawn on the host by `ChaCha`, so that one seed gives the same model on every backend.

use std::f64::consts::TAU;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::nn::{Embedding, Linear};
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws every parameter of `module` that was not drawn yet.
pub(crate) fn materialize<M: Module>(module: &M) {
    module.visit(&mut Materialize);
}

/// `module` with every parameter drawn and in `dtype`.
pub(crate) fn materialize_as<M: Module>(module: M, dtype: FloatDType) -> M {
    module.map(&mut MaterializeAs(dtype))
}

/// Hands out parameters, each with a random stream of its own.
pub(crate) struct Fresh<'a> {
    seed: u64,
    std: f64,
    next_stream: u64,
    /// Where the parameters live.
    pub device: &'a Device,
}

impl<'a> Fresh<'a> {
    /// Parameters of standard deviation `std` on `device`.
    pub fn new(seed: u64, std: f64, device: &'a Device) -> Self {
        Self {
            seed,
            std,
            next_stream: 0,
            device,
        }
    }

    /// The same from another random stream on.
    pub fn at_stream(mut self, stream: u64) -> Self {
        self.next_stream = stream;
        self
    }

    /// A burn `Linear` without bias, `[inputs, outputs]`.
    pub fn linear(&mut self, inputs: usize, outputs: usize) -> Linear {
        Linear {
            weight: self.normal([inputs, outputs]),
            bias: None,
        }
    }

    /// A burn `Linear`, `[inputs, outputs]`, with a bias of zeros.
    pub fn biased_linear(&mut self, inputs: usize, outputs: usize) -> Linear {
        Linear {
            weight: self.normal([inputs, outputs]),
            bias: Some(self.constant(outputs, 0.0)),
        }
    }

    /// A burn `Linear`, `[inputs, outputs]`, with a bias of zeros where one is asked for.
    pub fn linear_with(&mut self, inputs: usize, outputs: usize, bias: bool) -> Linear {
        if bias {
            self.biased_linear(inputs, outputs)
        } else {
            self.linear(inputs, outputs)
        }
    }

    /// A table of `count` rows.
    pub fn embedding(&mut self, count: usize, width: usize) -> Embedding {
        Embedding {
            weight: self.normal([count, width]),
        }
    }

    /// A vector of one value; it needs no random stream.
    pub fn constant(&self, count: usize, value: f32) -> Param<Tensor<1>> {
        let device = self.device;
        let tensor = Tensor::<1>::full([count], value, (device, DType::F32));
        Param::from_tensor(tensor.set_require_grad(device.is_autodiff()))
    }

    /// A matrix that draws itself when it is first touched.
    pub fn normal(&mut self, shape: [usize; 2]) -> Param<Tensor<2>> {
        let (seed, std, stream) = (self.seed, self.std, self.next_stream);
        self.next_stream += 1;
        let draw = move |device: &Device, require_grad| {
            let values = normal_values(seed, stream, std, shape.iter().product());
            let data = TensorData::new(values, shape);
            let tensor = device.memory_persistent_allocations(data, |data| {
                Tensor::<2>::from_data(data, (device, DType::F32))
            });
            tensor.set_require_grad(require_grad)
        };
        Param::uninitialized(ParamId::new(), draw, self.device.clone(), true, shape.into())
    }
}

/// Normal numbers by Box and Muller (1958) from one stream of a seeded `ChaCha`.
fn normal_values(seed: u64, stream: u64, std: f64, count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = std * (-2.0 * open_unit(&mut rng).ln()).sqrt();
        let (sin, cos) = (TAU * open_unit(&mut rng)).sin_cos();
        values.push((radius * cos) as f32);
        values.push((radius * sin) as f32);
    }
    values.truncate(count);
    values
}

/// A number strictly between 0 and 1.
fn open_unit(rng: &mut ChaCha8Rng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// Touches every parameter.
struct Materialize;

impl ModuleVisitor for Materialize {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let _ = param.val();
    }
}

/// Touches every parameter and puts it into a number format.
struct MaterializeAs(FloatDType);

impl ModuleMapper for MaterializeAs {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        in_format(param, self.0)
    }
}

/// `param`, drawn, in `dtype`.
pub(crate) fn in_format<const D: usize>(param: Param<Tensor<D>>, dtype: FloatDType) -> Param<Tensor<D>> {
    let (id, value) = (param.id, param.base().inner());
    if value.dtype() == DType::from(dtype) {
        return param;
    }
    param.transform_for_load(value.cast(dtype), id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_asked_mean_and_deviation() {
        let values = normal_values(7, 3, 0.02, 20_001);
        let count = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count;
        assert_eq!(values.len(), 20_001);
        assert!(
            mean.abs() < 5e-4 && (variance.sqrt() - 0.02).abs() < 4e-4,
            "{mean} {variance}"
        );
    }

    #[test]
    fn streams_and_seeds_differ_and_repeat() {
        assert_eq!(normal_values(1, 0, 1.0, 8), normal_values(1, 0, 1.0, 8));
        assert_ne!(normal_values(1, 0, 1.0, 8), normal_values(1, 1, 1.0, 8));
        assert_ne!(normal_values(1, 0, 1.0, 8), normal_values(2, 0, 1.0, 8));
    }
}
