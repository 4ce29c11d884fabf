//! On flex a run has the same bits with one thread, two or three.
use crate::training::{examples_of_kinds, large_rate};
use blockllm::data::LmBatch;
use blockllm::model::llama::LlamaConfig;
use blockllm::prelude::*;
use blockllm::train::{LanguageModeling, Method, Objective, TrainConfig};
use burn::tensor::Device;

/// Large enough that matrices, rows and updates are shared among threads.
fn batch() -> LmBatch {
    let [batch_size, seq_len] = [4, 160];
    let count = batch_size * seq_len;
    LmBatch {
        batch_size,
        seq_len,
        input_ids: (0..count).map(|i| ((i * 37 + i * i * 7) % 700) as i32).collect(),
        labels: (1..=count).map(|i| ((i * 37 + i * i * 7) % 700) as i32).collect(),
        segment_ids: None,
    }
}

/// Loss and gradient norm of four steps, which all weights, moments and masks of the steps before went into.
fn bits(method: &str, threads: usize) -> Vec<[u32; 2]> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(|| {
        let (device, batch) = (Device::flex().autodiff(), batch());
        let rate = large_rate(method);
        let method = Method::parse(method).unwrap();
        let config = TrainConfig::default();
        let model = LlamaConfig::new(700, 192, 512, 2, 3).init(3, &device);
        let mut model = method.adapt(model, &config).unwrap();
        let mut optimizer = method.optimizer(&model, &config).unwrap();
        let loss_of = |model: &_| LanguageModeling::default().loss(model, &batch, &device);
        let mut all = Vec::new();
        for _ in 0..4 {
            let mut gradients_of = |model: &_| GradientsParams::from_grads(loss_of(model).backward(), model);
            model = optimizer.prepare_with(model, &mut gradients_of).unwrap();
            let loss = loss_of(&model);
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            let stepped = optimizer.step(model, gradients, rate).unwrap();
            model = stepped.model;
            let loss = loss.into_scalar::<f32>();
            optimizer.observe(f64::from(loss)).unwrap();
            all.push([loss.to_bits(), stepped.grad_norm.into_scalar::<f32>().to_bits()]);
        }
        all
    })
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let more = ["blockllm:0.9", "galore:8"].map(str::to_owned);
    for method in examples_of_kinds().into_iter().chain(more) {
        let expected = bits(&method, 1);
        assert_ne!(expected[0], expected[3], "{method}: nothing was learned");
        for threads in [2, 3] {
            assert_eq!(
                bits(&method, threads),
                expected,
                "{method} with {threads} threads"
            );
        }
    }
}
