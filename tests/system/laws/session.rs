//! A method at work on the tiny Llama, step by step, so that a law can look at it from outside.
use super::cases::Case;
use crate::batches::padded;
use crate::weights::{Numbers, weights};
use blockllm::data::LmBatch;
use blockllm::model::llama::LlamaForCausalLM;
use blockllm::optim::{
    BlockOptimizer, GradientsParams, OptimizerRecord, SelectionEvent, parameters, set_trainable,
};
use blockllm::train::{LanguageModeling, Method, Objective, TrainConfig, TrainingOptimizer};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor};
use std::collections::BTreeSet;

/// Batch number `step`.
pub fn batch(step: usize) -> LmBatch {
    padded(&[12, 7], 12, 2 * (step % 3))
}

pub struct Session {
    pub model: LlamaForCausalLM,
    pub optimizer: Box<dyn TrainingOptimizer<LlamaForCausalLM>>,
    /// Parameters that the method may train at all: not the base weights under adapters.
    pub trainable: BTreeSet<ParamId>,
    device: Device,
    config: TrainConfig,
}

impl Session {
    pub fn start(case: &Case, device: &Device) -> Self {
        Self::of(case, &case.method, device)
    }

    /// Another method on the model and in the weights of `case`.
    pub fn of(case: &Case, method: &Method, device: &Device) -> Self {
        let device = device.clone().autodiff();
        let config = case.config();
        let model = method.adapt(case.model().init(0, &device), &config).unwrap();
        let model = config.weights.cast(model).unwrap();
        Self {
            config: config.clone(),
            optimizer: method.optimizer(&model, &config).unwrap(),
            trainable: requiring_grad(&model),
            model,
            device,
        }
    }

    /// Another process: the same weights and a new optimizer that goes on from `record`.
    pub fn resumed(&self, case: &Case, record: OptimizerRecord) -> Self {
        let model = set_trainable(self.model.clone(), &self.trainable);
        let mut optimizer = case.method.optimizer(&model, &self.config).unwrap();
        optimizer.restore(record, &self.device).unwrap();
        Self {
            model,
            optimizer,
            trainable: self.trainable.clone(),
            device: self.device.clone(),
            config: self.config.clone(),
        }
    }

    /// One step; the loss before it, and the selection that it began with.
    pub fn step(&mut self, batch: &LmBatch, learning_rate: f64) -> (f64, Option<SelectionEvent>) {
        let device = self.device.clone();
        let backward = |model: &LlamaForCausalLM| {
            let loss = LanguageModeling::default().loss(model, batch, &device);
            (
                loss.clone().into_scalar::<f32>(),
                GradientsParams::from_grads(loss.backward(), model),
            )
        };
        let model = self
            .optimizer
            .prepare_with(self.model.clone(), &mut |model| backward(model).1)
            .unwrap();
        let event = self.optimizer.take_selection_event();
        let (loss, gradients) = backward(&model);
        self.model = self
            .optimizer
            .step(model, gradients, learning_rate)
            .unwrap()
            .model;
        self.optimizer.observe(f64::from(loss)).unwrap();
        (f64::from(loss), event)
    }

    /// The loss on a batch as the weights are.
    pub fn loss(&self, batch: &LmBatch) -> f64 {
        let loss = LanguageModeling::default().loss(&self.model, batch, &self.device);
        f64::from(loss.into_scalar::<f32>())
    }

    pub fn weights(&self) -> Numbers {
        weights(&self.model)
    }

    /// Entries of the parameters whose paths `is_wanted`.
    pub fn entries(&self, is_wanted: impl Fn(&str) -> bool) -> u64 {
        let parameters = parameters(&self.model).into_iter();
        let wanted = parameters.filter(|parameter| is_wanted(&parameter.info.path));
        wanted.map(|parameter| parameter.info.numel).sum()
    }

    /// Paths of what the current step trains, masked or whole.
    pub fn trained_paths(&self) -> BTreeSet<String> {
        let path = |param: &usize| self.optimizer.parameters()[*param].info.path.clone();
        match self.optimizer.get::<BlockOptimizer>() {
            Some(blocks) => {
                let selector = blocks.selector();
                let selected = selector.selected().iter().map(|id| selector.block(*id));
                let always = selector
                    .blocks()
                    .iter()
                    .filter(|b| b.role == blockllm::policy::Role::Always);
                selected
                    .chain(always)
                    .flat_map(|block| block.params.iter().map(path))
                    .collect()
            }
            None => (0..self.optimizer.parameters().len()).map(|p| path(&p)).collect(),
        }
    }
}

fn requiring_grad<M: Module>(model: &M) -> BTreeSet<ParamId> {
    struct Reader(BTreeSet<ParamId>);
    impl ModuleVisitor for Reader {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.base().is_require_grad() {
                self.0.insert(param.id);
            }
        }
    }
    let mut reader = Reader(BTreeSet::new());
    model.visit(&mut reader);
    reader.0
}
