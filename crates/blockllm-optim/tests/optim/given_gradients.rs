//! A model whose gradients are given, so that what an optimizer makes of them can be rendered entry by entry.
use blockllm_optim::{BlockOptimizer, GradientsParams};
use blockllm_policy::{BlockId, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, Signal};
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::collections::BTreeMap;

/// Prefers the block of that name, and never chooses again.
pub struct Prefers(pub &'static str);

impl Policy for Prefers {
    fn name(&self) -> &'static str {
        "prefers"
    }

    fn signals(&self) -> &[Signal] {
        &[]
    }

    fn rank(&mut self, context: &SelectContext<'_>, _: &mut PolicyRng) -> Result<Vec<BlockId>, PolicyError> {
        context.ranked_by(|block| Ok(f64::from(context.blocks[block.0].name == self.0)))
    }

    fn is_due(&mut self, _: &Progress<'_>) -> Option<Reason> {
        None
    }
}

/// Names, rows and columns; a vector has one column.
pub const PARAMETERS: [(&str, usize, usize); 4] = [
    ("embed", 6, 4),
    ("matrix", 5, 3),
    ("gain", 4, 1),
    ("lm_head", 4, 6),
];

/// Four parameters, one of each group.
#[derive(Module, Debug)]
pub struct Model {
    pub embed: Param<Tensor<2>>,
    pub matrix: Param<Tensor<2>>,
    pub gain: Param<Tensor<1>>,
    pub lm_head: Param<Tensor<2>>,
}

/// Numbers about -0.5 to 0.5, none of which is zero.
pub fn some(len: usize, seed: usize) -> Vec<f32> {
    let number = |i: usize| ((i * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 - 0.4983;
    (0..len).map(number).collect()
}

pub fn tensor<const D: usize>(shape: [usize; D], seed: usize, device: &Device) -> Tensor<D> {
    let len = shape.iter().product();
    Tensor::from_data(TensorData::new(some(len, seed), shape), (device, DType::F32))
}

impl Model {
    /// With fixed weights, the same on every device.
    pub fn new(device: &Device) -> Self {
        Self {
            embed: Param::from_tensor(tensor([6, 4], 0, device)),
            matrix: Param::from_tensor(tensor([5, 3], 1, device)),
            gain: Param::from_tensor(tensor([4], 2, device)),
            lm_head: Param::from_tensor(tensor([4, 6], 3, device)),
        }
    }

    /// Those of a step, the same on every device.
    pub fn gradients(&self, step: usize, device: &Device) -> GradientsParams {
        let seed = |parameter: usize| 4 * step + parameter;
        let mut gradients = GradientsParams::new();
        gradients.register(self.embed.id, tensor([6, 4], seed(0), device));
        gradients.register(self.matrix.id, tensor([5, 3], seed(1), device));
        gradients.register(self.gain.id, tensor([4], seed(2), device));
        gradients.register(self.lm_head.id, tensor([4, 6], seed(3), device));
        gradients
    }

    /// By name.
    pub fn weights(&self) -> BTreeMap<&'static str, Vec<f64>> {
        let of = |data: TensorData| data.iter::<f64>().collect();
        BTreeMap::from([
            ("embed", of(self.embed.val().into_data())),
            ("matrix", of(self.matrix.val().into_data())),
            ("gain", of(self.gain.val().into_data())),
            ("lm_head", of(self.lm_head.val().into_data())),
        ])
    }
}

/// One step with that step's gradients; nothing is swept.
pub fn step(
    optimizer: &mut BlockOptimizer,
    model: Model,
    step: usize,
    learning_rate: f64,
    device: &Device,
) -> Model {
    let model = optimizer
        .prepare(model, |_| unreachable!("nothing is swept"))
        .unwrap();
    let gradients = model.gradients(step, device);
    let model = optimizer.step(model, gradients, learning_rate).unwrap().model;
    optimizer.observe(1.0).unwrap();
    model
}

/// The same numbers in f64.
pub fn f64s(numbers: Vec<f32>) -> Vec<f64> {
    numbers.into_iter().map(f64::from).collect()
}
