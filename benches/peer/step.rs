//! One side of `cargo xtask bench --peer`: times training steps of one method and prints them as one JSON line.
//!
//! `peer_step tiny|60m BATCH SEQ STEPS METHOD`; its counterpart in PyTorch is `benches/peer/step.py`.
use anyhow::{Context as _, Result, bail};
use blockllm::data::LmBatch;
use blockllm::model::llama::{LlamaConfig, LlamaForCausalLM};
use blockllm::prelude::*;
use blockllm::train::{CountingAllocator, LanguageModeling, Method, Objective, TrainConfig};
use burn::tensor::Device;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Where the time of one step goes, in milliseconds.
#[derive(Clone, Copy, Default)]
struct Times {
    forward: f64,
    backward: f64,
    optimizer: f64,
    whole: f64,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [work, batch, seq, steps, method] = arguments.as_slice() else {
        bail!("usage: peer_step tiny|60m BATCH SEQ STEPS METHOD");
    };
    let count = |text: &String, name| {
        text.parse::<usize>()
            .with_context(|| format!("{name} is '{text}', not a number"))
    };
    let (rows, seq_len, steps) = (count(batch, "BATCH")?, count(seq, "SEQ")?, count(steps, "STEPS")?);
    let config = match work.as_str() {
        "tiny" => LlamaConfig::new(2048, 256, 688, 4, 4),
        "60m" => LlamaConfig::preset("60m")?,
        other => bail!("'{other}' is neither tiny nor 60m"),
    };
    let config = config.with_max_position_embeddings(1024);
    let batch = batch_of(rows, seq_len, config.vocab_size);
    let base = CountingAllocator::live_bytes();
    let device = Device::flex().autodiff();
    let model = config.init(0, &device);
    let weights = config.num_parameters() as u64 * 4;
    let (times, peak) = run(model, &batch, method, steps, &device)?;
    let median = |of: fn(&Times) -> f64| {
        let mut values: Vec<f64> = times.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let fastest = times
        .iter()
        .map(|times| times.whole)
        .fold(f64::INFINITY, f64::min);
    println!(
        "{{\"work\":\"{work}\",\"method\":\"{method}\",\"median_ms\":{:.1},\"min_ms\":{fastest:.1},\"forward_ms\":{:.1},\
         \"backward_ms\":{:.1},\"optimizer_ms\":{:.1},\"peak_bytes\":{},\"weights_bytes\":{weights}}}",
        median(|times| times.whole),
        median(|times| times.forward),
        median(|times| times.backward),
        median(|times| times.optimizer),
        peak.saturating_sub(base),
    );
    Ok(())
}

/// The same tokens every time.
fn batch_of(batch_size: usize, seq_len: usize, vocab: usize) -> LmBatch {
    let token = |i: usize| ((i * 7919 + i * i * 31) % vocab) as i32;
    let count = batch_size * seq_len;
    LmBatch {
        batch_size,
        seq_len,
        input_ids: (0..count).map(token).collect(),
        labels: (1..=count).map(token).collect(),
        segment_ids: None,
    }
}

/// Trains on one batch; the first step, with its selection, is not timed. Returns the times and the peak of live bytes of
/// the timed steps.
fn run(
    model: LlamaForCausalLM,
    batch: &LmBatch,
    method: &str,
    steps: usize,
    device: &Device,
) -> Result<(Vec<Times>, u64)> {
    let method = Method::parse(method)?.with_patience(usize::MAX);
    let model = method.adapt(model, &TrainConfig::default())?;
    let mut optimizer = method.optimizer(&model, &TrainConfig::default())?;
    let loss_of = |model: &LlamaForCausalLM| LanguageModeling::default().loss(model, batch, device);
    let mut model = model;
    let mut all = Vec::new();
    for step in 0..=steps {
        if step == 1 {
            CountingAllocator::reset_peak();
        }
        let mut times = Times::default();
        let start = Instant::now();
        let since = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
        model = optimizer.prepare_with(model, |model| {
            GradientsParams::from_grads(loss_of(model).backward(), model)
        })?;
        let part = Instant::now();
        let loss = loss_of(&model);
        times.forward = since(part);
        let part = Instant::now();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        times.backward = since(part);
        let part = Instant::now();
        let stepped = optimizer.step(model, gradients, 1e-3)?;
        model = stepped.model;
        times.optimizer = since(part);
        optimizer.observe(f64::from(loss.into_scalar::<f32>()))?;
        times.whole = since(start);
        if step > 0 {
            all.push(times);
        }
    }
    Ok((all, CountingAllocator::peak_bytes()))
}
