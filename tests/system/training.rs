//! The trainer as the tests call it: a tiny Llama, batches in a circle, records kept in memory.
use crate::batches::VOCAB;
use crate::weights::{Numbers, weights};
use blockllm::data::LmBatch;
use blockllm::model::llama::{LlamaConfig, LlamaForCausalLM};
use blockllm::optim::Groups;
use blockllm::policy::PolicyConfig;
use blockllm::train::{
    BlockMethod, LanguageModeling, MemoryMeter, Method, Methods, Objective, Record, RunObserver, Schedule,
    ScheduleKind, Setup, StepRecord, TrainConfig, TrainError, Trained, train,
};
use burn::tensor::{Device, Tensor};
use std::cell::RefCell;

/// Two layers with grouped-query heads, and weights large enough for every gradient to be well above rounding.
pub fn tiny_llama() -> LlamaConfig {
    let config = LlamaConfig::new(VOCAB, 32, 40, 2, 4).with_num_key_value_heads(2);
    LlamaConfig {
        initializer_range: 0.2,
        ..config.with_max_position_embeddings(64)
    }
}

/// [`tiny_llama`] with an embedding and projections of 4,096 entries and more, whose moments can be coded.
pub fn wide_llama() -> LlamaConfig {
    let config = LlamaConfig::new(VOCAB, 64, 80, 2, 4).with_num_key_value_heads(2);
    LlamaConfig {
        initializer_range: 0.2,
        ..config.with_max_position_embeddings(64)
    }
}

/// `steps` at a constant `learning_rate`.
pub fn constant(steps: u64, learning_rate: f64) -> TrainConfig {
    TrainConfig {
        steps,
        learning_rate,
        schedule: Schedule {
            kind: ScheduleKind::Constant,
            warmup: 0.0,
            final_share: 1.0,
        },
        ..TrainConfig::default()
    }
}

/// Keeps every record.
#[derive(Debug, Default)]
pub struct Kept(pub Vec<Record>);

impl RunObserver for Kept {
    fn record(&mut self, record: &Record) -> Result<(), TrainError> {
        self.0.push(record.clone());
        Ok(())
    }
}

/// The step records among `records`.
pub fn steps(records: &[Record]) -> Vec<StepRecord> {
    let step = |record: &Record| match record {
        Record::Step(step) => Some(*step),
        _ => None,
    };
    records.iter().filter_map(step).collect()
}

/// Trains [`tiny_llama`] on `batches`, over and over, on flex.
pub fn train_tiny(
    objective: &impl Objective<Model = LlamaForCausalLM, Batch = LmBatch>,
    method: &str,
    config: &TrainConfig,
    batches: &[LmBatch],
) -> (Trained<LlamaForCausalLM>, Vec<Record>) {
    train_tiny_on(&Device::flex(), objective, method, config, batches)
}

/// [`train_tiny`] on another device.
pub fn train_tiny_on(
    device: &Device,
    objective: &impl Objective<Model = LlamaForCausalLM, Batch = LmBatch>,
    method: &str,
    config: &TrainConfig,
    batches: &[LmBatch],
) -> (Trained<LlamaForCausalLM>, Vec<Record>) {
    // Short enough for several selections in a test's run.
    let method = Method::parse(method).unwrap().with_patience(5);
    train_method_on(device, objective, &method, config, batches)
}

/// [`train_tiny_on`] with a method that is not only a name.
pub fn train_method_on(
    device: &Device,
    objective: &impl Objective<Model = LlamaForCausalLM, Batch = LmBatch>,
    method: &Method,
    config: &TrainConfig,
    batches: &[LmBatch],
) -> (Trained<LlamaForCausalLM>, Vec<Record>) {
    train_model_on(device, &tiny_llama(), objective, method, config, batches)
}

/// [`train_method_on`] with a model of this shape.
pub fn train_model_on(
    device: &Device,
    model: &LlamaConfig,
    objective: &impl Objective<Model = LlamaForCausalLM, Batch = LmBatch>,
    method: &Method,
    config: &TrainConfig,
    batches: &[LmBatch],
) -> (Trained<LlamaForCausalLM>, Vec<Record>) {
    let device = device.clone().autodiff();
    let meter = MemoryMeter::start(&device);
    let model = model.init(config.seed, &device);
    let setup = Setup {
        objective,
        method,
        config,
        validation: &batches[..1],
        device: &device,
    };
    let mut kept = Kept::default();
    let mut circle = batches.iter().cycle().cloned();
    let next = || Ok(circle.next().unwrap());
    let trained = train(&setup, model, next, meter, &mut kept).unwrap();
    (trained, kept.0)
}

/// Language modelling that keeps the weights of every model it is asked the loss of.
#[derive(Debug, Default)]
pub struct Watching {
    /// The weights before every backward pass, in order.
    pub seen: RefCell<Vec<Numbers>>,
}

impl Objective for Watching {
    type Model = LlamaForCausalLM;
    type Batch = LmBatch;

    fn loss(&self, model: &LlamaForCausalLM, batch: &LmBatch, device: &Device) -> Tensor<1> {
        self.seen.borrow_mut().push(weights(model));
        LanguageModeling::default().loss(model, batch, device)
    }

    fn summed_loss(&self, model: &LlamaForCausalLM, batch: &LmBatch, device: &Device) -> Tensor<1> {
        LanguageModeling::default().summed_loss(model, batch, device)
    }

    fn labels(&self, batch: &LmBatch) -> u64 {
        LanguageModeling::default().labels(batch)
    }

    fn tokens(&self, batch: &LmBatch) -> u64 {
        LanguageModeling::default().tokens(batch)
    }
}

/// An example of every method; of the policies, which differ only in which blocks they select, that of `blockllm` alone.
pub fn examples_of_kinds() -> Vec<String> {
    let mut examples = Methods::built_in().examples();
    examples.retain(|example| {
        let name = example.split(':').next().unwrap_or_default();
        name == "blockllm" || !PolicyConfig::names().contains(&name)
    });
    examples
}

/// What a method sets for groups of parameters.
pub fn groups(method: &Method) -> Groups {
    let blocks = method.algorithm.get::<BlockMethod>();
    blocks.map_or_else(Groups::default, |blocks| blocks.groups)
}

/// A rate that is large for every group of parameters of `method`, and too large for none.
pub fn large_rate(method: &str) -> f64 {
    let groups = groups(&Method::parse(method).unwrap());
    let one_rate = Groups {
        decay: groups.decay,
        ..Groups::default()
    };
    if groups == one_rate { 1e-2 } else { 1e-3 }
}

/// The tiny Llama that PyTorch trained, as a Hugging Face folder.
pub fn tiny_folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tiny_llama")
}
