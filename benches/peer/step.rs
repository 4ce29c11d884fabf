//! Whole training steps of one method on one batch, as its counterpart in PyTorch does them.
use crate::Work;
use crate::measured::{Measured, Memory, Times, forget_peaks, since};
use anyhow::Result;
use blockllm::data::LmBatch;
use blockllm::model::llama::LlamaForCausalLM;
use blockllm::prelude::*;
use blockllm::train::{LanguageModeling, Method, Objective, TrainConfig, TrainingOptimizer};
use burn::tensor::Device;
use std::time::Instant;

/// The learning rate; the time does not depend on it.
const LEARNING_RATE: f64 = 1e-3;

/// Trains with gradients clipped at 1. The first step, with its selection or projection, is not timed; no other follows.
pub fn train(work: &Work, method: &str) -> Result<Measured> {
    let method = Method::parse(method)?.with_patience(usize::MAX);
    let batch = batch_of(work);
    let before = Memory::now();
    let device = Device::flex().autodiff();
    let model = method.adapt(work.config.init(0, &device), &TrainConfig::default())?;
    let mut optimizer = method.optimizer(&model, &TrainConfig::default())?;
    let loss_of = |model: &LlamaForCausalLM| LanguageModeling::default().loss(model, &batch, &device);
    let (mut model, _) = step(model, &mut *optimizer, loss_of)?;
    let selection = optimizer.take_selection_event();
    forget_peaks();
    let mut all = Vec::new();
    for _ in 0..work.steps {
        let (stepped, times) = step(model, &mut *optimizer, loss_of)?;
        model = stepped;
        all.push(times);
    }
    Ok(Measured {
        times: all,
        memory: before.peaks_above(),
        weights_bytes: work.config.num_parameters() * 4,
        trained: selection.map(|event| event.blocks).unwrap_or_default(),
    })
}

/// One step, and where its time went.
fn step(
    model: LlamaForCausalLM,
    optimizer: &mut dyn TrainingOptimizer<LlamaForCausalLM>,
    loss_of: impl Fn(&LlamaForCausalLM) -> burn::tensor::Tensor<1>,
) -> Result<(LlamaForCausalLM, Times)> {
    let mut times = Times::default();
    let start = Instant::now();
    let model = optimizer.prepare_with(model, &mut |model| {
        GradientsParams::from_grads(loss_of(model).backward(), model)
    })?;
    let part = Instant::now();
    let loss = loss_of(&model);
    times.forward = since(part);
    let part = Instant::now();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    times.backward = since(part);
    let part = Instant::now();
    let stepped = optimizer.step(model, gradients, LEARNING_RATE)?;
    times.optimizer = since(part);
    optimizer.observe(f64::from(loss.into_scalar::<f32>()))?;
    times.whole = since(start);
    Ok((stepped.model, times))
}

/// The same tokens every time, and on both sides.
fn batch_of(work: &Work) -> LmBatch {
    let token = |i: usize| ((i * 7919 + i * i * 31) % work.config.vocab_size) as i32;
    let count = work.batch_size * work.seq_len;
    LmBatch {
        batch_size: work.batch_size,
        seq_len: work.seq_len,
        input_ids: (0..count).map(token).collect(),
        labels: (1..=count).map(token).collect(),
        segment_ids: None,
    }
}
