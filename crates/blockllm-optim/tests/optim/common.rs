//! A toy module of our own, its data, the devices of the table, and one training step.
//!
//! `B` batch, `V` vocabulary 11, `D` hidden 6, `H` intermediate 10; 269 entries in seven parameters.
use blockllm_optim::{BlockOptimizer, BlockOptimizerConfig, GradientsParams, OptimError, parameters};
use blockllm_policy::Policy;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use std::collections::BTreeMap;

pub const VOCABULARY: usize = 11;
pub const HIDDEN: usize = 6;
pub const INTERMEDIATE: usize = 10;
/// Entries of the toy.
pub const ENTRIES: u64 = 269;

/// Embedding, layer norm, two linear layers with biases: one- and two-dimensional parameters.
#[derive(Module, Debug)]
pub struct Toy {
    pub embed: Embedding,
    pub norm: LayerNorm,
    pub fc1: Linear,
    pub fc2: Linear,
}

/// Tokens and labels.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Batch {
    pub tokens: Vec<i64>,
    pub labels: Vec<i64>,
}

/// Weights by path.
pub type Weights = BTreeMap<String, Vec<f32>>;

impl Toy {
    /// The toy with fixed weights, the same on every device.
    pub fn new(device: &Device) -> Self {
        let mut state = 12345u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        Self::empty(device).map(&mut Setter {
            path: Vec::new(),
            value: |path: &str, numel| {
                let base = if path == "norm.gamma" { 1.0 } else { 0.0 };
                (0..numel).map(|_| base + next()).collect()
            },
        })
    }

    /// The toy with given weights.
    pub fn with_weights(device: &Device, weights: &Weights) -> Self {
        Self::empty(device).map(&mut Setter {
            path: Vec::new(),
            value: |path: &str, _| weights[path].clone(),
        })
    }

    fn empty(device: &Device) -> Self {
        Self {
            embed: EmbeddingConfig::new(VOCABULARY, HIDDEN).init(device),
            norm: LayerNormConfig::new(HIDDEN).init(device),
            fc1: LinearConfig::new(HIDDEN, INTERMEDIATE).init(device),
            fc2: LinearConfig::new(INTERMEDIATE, VOCABULARY).init(device),
        }
    }

    /// Mean cross-entropy.
    ///
    /// # Shapes
    /// tokens and labels `[B]`, loss `[1]`.
    pub fn loss(&self, batch: &Batch, device: &Device) -> Tensor<1> {
        let size = batch.tokens.len();
        let ints = |values: &[i64], shape: [usize; 2]| {
            Tensor::<2, Int>::from_data(TensorData::new(values.to_vec(), shape), device)
        };
        let hidden = self.embed.forward(ints(&batch.tokens, [1, size])); // [1, B, D]
        let hidden = self.norm.forward(hidden).reshape([size, HIDDEN]);
        let hidden = activation::relu(self.fc1.forward(hidden)); // [B, H]
        let logits = self.fc2.forward(hidden); // [B, V]
        let picked = activation::log_softmax(logits, 1).gather(1, ints(&batch.labels, [size, 1]));
        picked.mean().neg()
    }
}

struct Setter<F> {
    path: Vec<String>,
    value: F,
}

impl<F: FnMut(&str, usize) -> Vec<f32>> ModuleMapper for Setter<F> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = &mut self.value;
        let path = self.path.join(".");
        let device = param.lazy_device();
        param.map(|tensor| {
            let shape = tensor.dims();
            let values = value(&path, shape.iter().product());
            Tensor::from_data(TensorData::new(values, shape), &device).require_grad()
        })
    }
}

/// Every device that the test's features enable, without autodiff.
pub fn plain_devices() -> Vec<(&'static str, Device)> {
    vec![
        #[cfg(feature = "flex")]
        ("flex", Device::flex()),
        #[cfg(feature = "wgpu")]
        ("wgpu", Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
    ]
}

/// Every device, with autodiff.
pub fn devices() -> Vec<(&'static str, Device)> {
    plain_devices()
        .into_iter()
        .map(|(name, device)| (name, device.autodiff()))
        .collect()
}

/// Batch number `step`, the same everywhere.
pub fn batch(step: usize) -> Batch {
    let value = |index: usize, factor: i64| (index as i64 * factor + 3 * step as i64) % VOCABULARY as i64;
    Batch {
        tokens: (0..8).map(|index| value(index, 7)).collect(),
        labels: (0..8).map(|index| value(index, 5)).collect(),
    }
}

/// The weights of any module, by path.
pub fn weights<M: Module>(module: &M) -> Weights {
    let mut reader = Reader { values: Vec::new() };
    module.visit(&mut reader);
    let paths = parameters(module)
        .into_iter()
        .map(|parameter| parameter.info.path);
    paths.zip(reader.values).collect()
}

struct Reader {
    values: Vec<Vec<f32>>,
}

impl ModuleVisitor for Reader {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.values.push(floats(param.val()));
    }
}

/// The values of a tensor.
pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// A scalar's value.
pub fn scalar(tensor: Tensor<1>) -> f64 {
    f64::from(floats(tensor)[0])
}

/// The largest absolute difference between two sets of weights.
pub fn max_difference(a: &Weights, b: &Weights) -> f64 {
    assert!(a.keys().eq(b.keys()));
    let pairs = a.values().flatten().zip(b.values().flatten());
    pairs.fold(0.0, |most, (a, b)| most.max(f64::from(a - b).abs()))
}

/// The toy and its optimizer.
pub struct Run {
    pub model: Toy,
    pub optimizer: BlockOptimizer,
    pub device: Device,
}

/// What one step told.
pub struct Told {
    pub loss: f64,
    pub grad_norm: f64,
}

impl Run {
    pub fn new(device: &Device, config: BlockOptimizerConfig, policy: impl Policy + 'static) -> Self {
        Self::of(Toy::new(device), device, config, policy)
    }

    pub fn of(
        model: Toy,
        device: &Device,
        config: BlockOptimizerConfig,
        policy: impl Policy + 'static,
    ) -> Self {
        Self {
            optimizer: BlockOptimizer::new(&model, config, policy).unwrap(),
            model,
            device: device.clone(),
        }
    }

    /// [`BlockOptimizer::prepare`].
    pub fn prepare(&mut self, batch: &Batch) -> Result<(), OptimError> {
        let device = self.device.clone();
        let model = self.model.clone();
        self.model = self
            .optimizer
            .prepare(model, |model| model.loss(batch, &device))?;
        Ok(())
    }

    /// Loss and gradients of the prepared model.
    pub fn backward(&self, batch: &Batch) -> (f64, GradientsParams) {
        let loss = self.model.loss(batch, &self.device);
        let gradients = GradientsParams::from_grads(loss.backward(), &self.model);
        (scalar(loss), gradients)
    }

    /// A whole step.
    pub fn step(&mut self, batch: &Batch, learning_rate: f64) -> Result<Told, OptimError> {
        self.prepare(batch)?;
        let (loss, gradients) = self.backward(batch);
        let stepped = self
            .optimizer
            .step(self.model.clone(), gradients, learning_rate)?;
        self.model = stepped.model;
        self.optimizer.observe(loss)?;
        Ok(Told {
            loss,
            grad_norm: scalar(stepped.grad_norm),
        })
    }

    /// Steps over the toy's own batches.
    pub fn steps(&mut self, count: usize, learning_rate: f64) {
        for step in 0..count {
            self.step(&batch(step), learning_rate).unwrap();
        }
    }

    pub fn weights(&self) -> Weights {
        weights(&self.model)
    }
}

/// Patience that never ends.
pub const NEVER: usize = 1_000_000;

/// The paper's policy with this patience.
pub fn blockllm(patience: usize) -> blockllm_policy::BlockLlmPolicy {
    blockllm_policy::BlockLlmPolicy::new(patience).unwrap()
}

/// Roles by patterns.
pub fn roles(always: &[&str], never: &[&str]) -> blockllm_policy::Roles {
    let owned = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    blockllm_policy::Roles {
        always: owned(always),
        never: owned(never),
    }
}
