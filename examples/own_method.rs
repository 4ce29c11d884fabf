//! A policy with a partition, a score and an update rule of your own, and a whole optimizer, as rows of an experiment beside
//! ours, in one file: checkpoints, resume, schedule, memory plan and report are the library's, which knows nothing of them.
//!
//! `cargo run --release --example own_method` trains a tiny Llama by `adamw` and by both; stop it and type it again, and it
//! goes on. With arguments it is the whole runner: `... -- c4 --methods signum:0.95@5e-4,blockllm:0.9 --scale cpu`.
use anyhow::Result;
use blockllm::optim::{
    BlockOptimizerConfig, EntryScore, GradientsParams, OptimizerRecord, Parameter, ScoreContext, Step,
    StepContext, UpdateRule, gradient_norm, parameters,
};
use blockllm::policy::{
    BlockId, Partition, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, Signal, Terms,
    every_k_steps,
};
use blockllm::tensors::HeldTensor;
use blockllm::train::memory::plan::{ParameterState, Part, PlannedParameter, StatePlace};
use blockllm::train::method::{LearningRates, Setting, share};
use blockllm::train::{
    BlockMethod, CountingAllocator, Methods, NamedMethod, PolicySettings, TrainConfig, TrainError,
    TrainingMethod, TrainingOptimizer, device_log,
};
use blockllm_experiments::{registry, signals};
use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// What is run without arguments.
const DEFAULT: &str =
    "c4 --steps 60 --checkpoint-every 20 --methods adamw,fastest-growing:0.9,signum --out out/own-method";

fn main() -> Result<()> {
    let methods = Methods::built_in()
        .with::<BlockMethod<FastestGrowing>>()
        .with::<Signum>();
    let mut words: Vec<OsString> = std::env::args_os().collect();
    if words.len() == 1 {
        words.extend(DEFAULT.split(' ').map(OsString::from));
    }
    let mut cli = registry::read(words, &methods).unwrap_or_else(|error| error.exit());
    device_log::install();
    cli.interrupt = signals::install(cli.alone.is_some())?;
    registry::run(&cli)
}

// A policy: with its settings known to serde it is a method of blocks, with all of their settings.

/// Prefers blocks whose gradients are larger now than on average, trains more entries at the start, and steps blocks of few
/// entries faster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FastestGrowing {
    /// Steps between selections.
    interval: u64,
}

impl PolicySettings for FastestGrowing {
    fn kind() -> &'static str {
        "fastest-growing"
    }

    fn named(_: &str) -> Self {
        Self { interval: 20 }
    }

    fn set_patience(&mut self, patience: usize) {
        self.interval = patience as u64;
    }

    fn build(&self) -> Result<Box<dyn Policy>, PolicyError> {
        Ok(Box::new(Growth {
            interval: self.interval,
            lowest_loss: f64::MAX,
        }))
    }

    /// A partition, a score of entries and an update rule of one's own.
    fn configure(&self, config: BlockOptimizerConfig) -> BlockOptimizerConfig {
        config
            .with_partition(Partition::custom(sublayer))
            .with_score(Saliency)
            .with_update(AdaMax)
    }
}

/// Attention and MLP of each layer are a block each, and so is every parameter beside them.
fn sublayer(path: &str) -> String {
    let cut = ["self_attn", "mlp"]
        .into_iter()
        .find_map(|part| Some(path.find(part)? + part.len()));
    path[..cut.unwrap_or(path.len())].to_owned()
}

/// Ranks entries by how much the loss would change, to first order, if they were zero.
#[derive(Debug)]
struct Saliency;

impl EntryScore for Saliency {
    fn score(&self, _: ScoreContext<'_>, weight: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        weight * gradient
    }
}

/// `AdaMax` (arXiv 1412.6980, algorithm 2), at half the rate in the head.
#[derive(Debug)]
struct AdaMax;

impl UpdateRule for AdaMax {
    fn state_arrays(&self) -> usize {
        2
    }

    fn update(
        &self,
        context: StepContext<'_>,
        _: Tensor<1>,
        gradient: Tensor<1>,
        mut state: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        let (largest, moment) = (state.remove(1), state.remove(0));
        let moment = moment.mul_scalar(0.9) + gradient.clone().mul_scalar(0.1);
        let largest = largest.mul_scalar(0.999).max_pair(gradient.abs());
        let rate = context.learning_rate / (1.0 - 0.9_f64.powf(context.state_step as f64));
        let in_head = context.parameter.info.path.starts_with("lm_head");
        let rate = if in_head { 0.5 * rate } else { rate };
        let change = moment.clone() / largest.clone().add_scalar(1e-8);
        (change.mul_scalar(-rate), vec![moment, largest])
    }
}

/// The policy at work.
struct Growth {
    interval: u64,
    /// What it gathers step by step, and keeps over a resume.
    lowest_loss: f64,
}

impl Policy for Growth {
    fn name(&self) -> &'static str {
        "fastest-growing"
    }

    fn signals(&self) -> &[Signal] {
        &[Signal::GradNorm, Signal::GradNormAverage]
    }

    fn sparsity(&self, step: u64) -> Option<f64> {
        (step < 20).then_some(0.5)
    }

    fn rank(&mut self, context: &SelectContext<'_>, _: &mut PolicyRng) -> Result<Vec<BlockId>, PolicyError> {
        let of = |signal, id| context.signal("fastest-growing", signal, id);
        context.ranked_by(|id| Ok(of(Signal::GradNorm, id)? / of(Signal::GradNormAverage, id)?.max(1e-12)))
    }

    fn terms(
        &mut self,
        context: &SelectContext<'_>,
        selected: &[BlockId],
        _: &mut PolicyRng,
    ) -> Result<Vec<Terms>, PolicyError> {
        let is_small = |id: &BlockId| context.blocks[id.0].numel < 1000;
        let rate = |id| if is_small(id) { 2.0 } else { 1.0 };
        Ok(selected.iter().map(|id| Terms::at_rate(rate(id))).collect())
    }

    /// Every `interval` steps, or when the loss is a tenth above the lowest.
    fn is_due(&mut self, progress: &Progress<'_>) -> Option<Reason> {
        self.lowest_loss = self.lowest_loss.min(progress.loss);
        let stalled = progress.steps_since_selection > 4 && progress.loss > 1.1 * self.lowest_loss;
        let stalled = stalled.then_some(Reason::LossStalled);
        stalled.or_else(|| every_k_steps(progress, self.interval))
    }

    fn state(&self) -> serde_json::Value {
        self.lowest_loss.into()
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<(), PolicyError> {
        self.lowest_loss = state.as_f64().ok_or_else(|| PolicyError::StateMismatch {
            what: "policy state",
            found: state.to_string(),
            expected: "a loss".into(),
        })?;
        Ok(())
    }
}

// A whole optimizer: its settings are the method, and what it keeps goes through checkpoints.

/// Signum (arXiv 1802.04434): every weight moves by the sign of a momentum.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signum {
    /// The share of the momentum that stays at each step.
    beta: f64,
}

impl NamedMethod for Signum {
    type Method = Self;

    fn names() -> Vec<&'static str> {
        vec!["signum"]
    }

    fn method(_: &str, number: Option<&str>) -> Result<Self, String> {
        Ok(Self {
            beta: share("beta", number, 0.9)?,
        })
    }
}

impl TrainingMethod for Signum {
    fn kind() -> &'static str {
        "signum"
    }

    fn settings() -> Vec<Setting<Self>> {
        let help = "the share of the momentum that stays at each step";
        vec![Setting::new("beta", "X", help, |signum, given| {
            given.number_into(&mut signum.beta)
        })]
    }

    fn optimizer<M: Module + 'static>(
        &self,
        module: &M,
        _: &TrainConfig,
    ) -> Result<Box<dyn TrainingOptimizer<M>>, TrainError> {
        let parameters = parameters(module);
        let ids = parameters.iter().map(|parameter| parameter.id);
        Ok(Box::new(SignumOptimizer {
            beta: self.beta,
            places: ids.zip(0..).collect(),
            parameters,
            momenta: BTreeMap::new(),
            norms: Vec::new(),
            given: BTreeSet::new(),
        }))
    }

    fn learning_rates(&self) -> LearningRates {
        LearningRates {
            pretraining: 5e-4,
            ..LearningRates::default()
        }
    }

    fn planned_state(&self, parameter: &PlannedParameter, _: u64, _: StatePlace) -> ParameterState {
        let bytes = 4 * parameter.entries;
        ParameterState::default()
            .with(Part::Moments, bytes)
            .with_update(2 * bytes)
    }
}

/// The optimizer at work.
#[derive(Debug)]
struct SignumOptimizer {
    beta: f64,
    parameters: Vec<Parameter>,
    places: BTreeMap<ParamId, usize>,
    /// In f32, flat, by the parameter's place.
    momenta: BTreeMap<usize, Tensor<1>>,
    /// Of this step: norms of the parts of its gradients, and whose they were.
    norms: Vec<Tensor<1>>,
    given: BTreeSet<usize>,
}

impl<M: Module + 'static> TrainingOptimizer<M> for SignumOptimizer {
    fn take(&mut self, module: M, gradients: GradientsParams, learning_rate: f64) -> Result<M, TrainError> {
        self.norms.extend(gradient_norm(&module, &gradients));
        Ok(module.map(&mut Update {
            optimizer: self,
            gradients,
            learning_rate,
        }))
    }

    fn step(
        &mut self,
        module: M,
        gradients: GradientsParams,
        learning_rate: f64,
    ) -> Result<Step<M>, TrainError> {
        let model = self.take(module, gradients, learning_rate)?;
        let given = std::mem::take(&mut self.given);
        let missing = self.parameters.iter().enumerate();
        let missing = missing.filter(|(place, _)| !given.contains(place));
        let without_gradient: Vec<_> = missing.map(|(_, missing)| missing.info.path.clone()).collect();
        let norms = std::mem::take(&mut self.norms);
        if norms.is_empty() {
            return Err(TrainError::Own("no parameter has a gradient".into()));
        }
        Ok(Step {
            model,
            grad_norm: Tensor::cat(norms, 0).square().sum().sqrt(),
            without_gradient,
        })
    }

    fn record(&self) -> Result<OptimizerRecord, TrainError> {
        let tensor = |(place, momentum): (&usize, &Tensor<1>)| {
            let path = self.parameters[*place].info.path.clone();
            (path, HeldTensor::float(momentum.clone()))
        };
        Ok(OptimizerRecord {
            meta: serde_json::json!({ "beta": self.beta }),
            tensors: self.momenta.iter().map(tensor).collect(),
        })
    }

    fn restore(&mut self, mut record: OptimizerRecord, device: &Device) -> Result<(), TrainError> {
        if record.meta["beta"] != self.beta {
            return Err(TrainError::Own(format!("saved under {}", record.meta).into()));
        }
        let device = device.clone().without_autodiff();
        self.momenta.clear();
        for (place, parameter) in self.parameters.iter().enumerate() {
            if let Some(held) = record.tensors.remove(&parameter.info.path) {
                let data = held.into_data(&parameter.info.path)?;
                self.momenta.insert(place, Tensor::from_data(data, &device));
            }
        }
        Ok(())
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn state_bytes(&self) -> u64 {
        let entries = self.momenta.values().map(|momentum| momentum.dims()[0] as u64);
        4 * entries.sum::<u64>()
    }

    fn estimated_state_bytes(&self) -> u64 {
        let entries = self.parameters.iter().map(|parameter| parameter.info.numel);
        4 * entries.sum::<u64>()
    }
}

/// Moves whatever has a gradient.
struct Update<'a> {
    optimizer: &'a mut SignumOptimizer,
    gradients: GradientsParams,
    learning_rate: f64,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            return param;
        };
        let place = self.optimizer.places[&param.id];
        self.optimizer.given.insert(place);
        let (shape, beta) = (gradient.dims(), self.optimizer.beta);
        let gradient = gradient.cast(DType::F32).reshape([-1]).mul_scalar(1.0 - beta);
        let momentum = match self.optimizer.momenta.remove(&place) {
            Some(momentum) => momentum.mul_scalar(beta) + gradient,
            None => gradient,
        };
        let change = momentum
            .clone()
            .sign()
            .mul_scalar(self.learning_rate)
            .reshape(shape);
        self.optimizer.momenta.insert(place, momentum);
        param.map(|weight| {
            let weight = weight.inner();
            let change = change.cast(weight.dtype());
            Tensor::from_inner(weight - change).require_grad()
        })
    }
}
