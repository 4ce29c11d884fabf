//! A whole training step of a tiny Llama on flex, forward and backward included: `AdamW` beside `BlockLLM`.
use blockllm::data::LmBatch;
use blockllm::model::llama::{LlamaConfig, LlamaForCausalLM};
use blockllm::prelude::*;
use blockllm::train::{LanguageModeling, Method, Objective, TrainConfig};
use blockllm_benches::few_samples;
use burn::tensor::Device;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// `B` rows of `T` tokens.
const SHAPE: [usize; 2] = [4, 64];
/// `V`.
const VOCAB: usize = 1024;

fn batch() -> LmBatch {
    let [batch_size, seq_len] = SHAPE;
    let token = |i: usize| ((i * 37 + i * i * 7) % VOCAB) as i32;
    let count = batch_size * seq_len;
    LmBatch {
        batch_size,
        seq_len,
        input_ids: (0..count).map(token).collect(),
        labels: (1..=count).map(token).collect(),
        segment_ids: None,
    }
}

fn train_step(criterion: &mut Criterion) {
    let device = Device::flex().autodiff();
    let batch = batch();
    let loss_of = |model: &LlamaForCausalLM| LanguageModeling::default().loss(model, &batch, &device);
    let mut group = criterion.benchmark_group("train_step");
    group.throughput(Throughput::Elements((SHAPE[0] * SHAPE[1]) as u64));
    for name in ["adamw", "blockllm:0.5", "blockllm:0.95"] {
        let model = LlamaConfig::new(VOCAB, 128, 344, 4, 4).init(0, &device);
        // Never selects again: the step between two selections is what a run is made of.
        let method = Method::parse(name)
            .expect("the name is well formed")
            .with_patience(usize::MAX);
        let optimizer = method.optimizer(&model, &TrainConfig::default());
        let mut optimizer = optimizer.expect("the settings are in range");
        // Moved in and out: a second copy would keep the update from working in place.
        let mut model = Some(model);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let before = model.take().expect("the last step gave it back");
                let mut gradients_of =
                    |model: &_| GradientsParams::from_grads(loss_of(model).backward(), model);
                let prepared = optimizer.prepare_with(before, &mut gradients_of);
                let prepared = prepared.expect("the norms are finite");
                let loss = loss_of(&prepared);
                let gradients = GradientsParams::from_grads(loss.backward(), &prepared);
                let stepped = optimizer.step(prepared, gradients, 1e-3);
                model = Some(stepped.expect("every trained parameter has a gradient").model);
                let loss = f64::from(loss.into_scalar::<f32>());
                optimizer.observe(loss).expect("the loss is a number");
            });
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = few_samples(); targets = train_step }
criterion_main!(benches);
