//! A matrix of 96 x 96 entries that is to become another: enough of them that 8-bit moments are coded.
use blockllm_optim::{BlockOptimizer, BlockOptimizerConfig, GradientsParams, MomentPrecision, Update};
use blockllm_policy::BlockLlmPolicy;
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor};

/// One parameter.
#[derive(Module, Debug)]
pub struct Matrix {
    pub weight: Param<Tensor<2>>,
}

pub const SIDE: usize = 96;
pub const ENTRIES: u64 = (SIDE * SIDE) as u64;

fn values(seed: u32, scale: f32) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 24) as f32 - 0.5).powi(3) * scale
    };
    (0..SIDE * SIDE).map(next).collect()
}

/// `[SIDE, SIDE]` fixed numbers, the same on every device.
pub fn tensor(seed: u32, scale: f32, (device, dtype): (&Device, DType)) -> Tensor<2> {
    let values = Tensor::<1>::from_floats(values(seed, scale).as_slice(), device);
    values.reshape([SIDE, SIDE]).cast(dtype)
}

/// The matrix and its optimizer.
pub struct Run {
    pub model: Matrix,
    pub optimizer: BlockOptimizer,
    pub target: Tensor<2>,
    pub input: Tensor<2>,
}

impl Run {
    pub fn new(device: &Device, dtype: DType, config: BlockOptimizerConfig) -> Self {
        let weight = tensor(1, 1.0, (device, dtype)).detach().require_grad();
        Self::of(
            Matrix {
                weight: Param::from_tensor(weight),
            },
            device,
            config,
        )
    }

    /// A fresh optimizer for `model`.
    pub fn of(model: Matrix, device: &Device, config: BlockOptimizerConfig) -> Self {
        let like = (device, model.weight.val().dtype());
        Self {
            optimizer: BlockOptimizer::new(&model, config, BlockLlmPolicy::new(1_000_000).unwrap()).unwrap(),
            model,
            target: tensor(2, 1.0, like),
            input: tensor(3, 3.0, like),
        }
    }

    /// A step towards the target: how far its image under the input is away.
    pub fn step(&mut self) -> f32 {
        let (input, target) = (self.input.clone(), self.target.clone());
        self.step_on(1e-3, move |weight| {
            let miss = input.clone().matmul(weight - target.clone());
            miss.cast(DType::F32).square().mean()
        })
    }

    /// A step on any loss of the weight.
    pub fn step_on(&mut self, learning_rate: f64, loss_of: impl Fn(Tensor<2>) -> Tensor<1>) -> f32 {
        let loss_of = |model: &Matrix| loss_of(model.weight.val());
        self.model = self.optimizer.prepare(self.model.clone(), loss_of).unwrap();
        let loss = loss_of(&self.model);
        let gradients = GradientsParams::from_grads(loss.backward(), &self.model);
        self.model = self
            .optimizer
            .step(self.model.clone(), gradients, learning_rate)
            .unwrap()
            .model;
        let loss = loss.into_scalar::<f32>();
        self.optimizer.observe(loss).unwrap();
        loss
    }

    pub fn weights(&self) -> Vec<f32> {
        self.model.weight.val().into_data().iter::<f32>().collect()
    }
}

/// Settings of a matrix's run.
pub fn config(sparsity: f64, moments: MomentPrecision, update: Update) -> BlockOptimizerConfig {
    let mut config = BlockOptimizerConfig::new(sparsity).with_update(update);
    config.moment_precision = moments;
    config
}
