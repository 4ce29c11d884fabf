//! What the benchmarks share: texts, a stack of matrices, and criterion's settings.
use blockllm::policy::{All, BlockLlmSettings};
use blockllm::prelude::*;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use criterion::Criterion;
use std::time::Duration;

/// Few samples: the question is a ratio of methods in one run, not the last percent.
pub fn few_samples() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
}

/// Documents of a few hundred words over a vocabulary of several thousand.
pub fn texts(count: usize) -> Vec<String> {
    const STEMS: [&str; 16] = [
        "block", "descent", "memory", "gradient", "sparse", "layer", "train", "model", "token", "loss",
        "the", "of", "and", "with", "select", "norm",
    ];
    const ENDINGS: [&str; 8] = ["", "s", "ing", "ed", "er", "able", "less", "ful"];
    let mut state = 1u64;
    let mut draw = move |below: usize| {
        // Knuth's linear congruential generator: the same texts everywhere.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut word = move || {
        let (first, second) = (STEMS[draw(STEMS.len())], STEMS[draw(STEMS.len())]);
        format!("{first}{second}{}", ENDINGS[draw(ENDINGS.len())])
    };
    let mut text = || (0..300).map(|_| word()).collect::<Vec<_>>().join(" ");
    (0..count).map(|_| text()).collect()
}

/// `count` matrices of `width x width`, on flex with autodiff.
pub fn matrices(count: usize, width: usize) -> Vec<Linear> {
    matrices_of(count, [width, width])
}

/// `count` matrices of this shape, on flex with autodiff.
pub fn matrices_of(count: usize, [rows, columns]: [usize; 2]) -> Vec<Linear> {
    let device = Device::flex().autodiff();
    device.seed(1);
    let matrix = || LinearConfig::new(rows, columns).with_bias(false).init(&device);
    (0..count).map(|_| matrix()).collect()
}

/// A loss whose gradients cost next to nothing, so that the optimizer is what is measured.
pub fn cheap_loss(model: &[Linear]) -> Tensor<1> {
    let losses = model.iter().map(|layer| layer.weight.val().square().sum());
    losses
        .reduce(|sum, loss| sum + loss)
        .expect("there is at least one matrix")
}

/// Gradients of [`cheap_loss`] for the parameters that require them.
pub fn cheap_gradients(model: &Vec<Linear>) -> GradientsParams {
    GradientsParams::from_grads(cheap_loss(model).backward(), model)
}

/// An optimizer at `sparsity` that selects only when asked to: dense Adam at 0, random blocks else.
///
/// # Panics
/// When `sparsity` is outside `[0, 1)`.
pub fn optimizer(model: &Vec<Linear>, sparsity: f64) -> BlockOptimizer {
    let config = BlockOptimizerConfig::new(sparsity);
    let policy = if sparsity == 0.0 {
        PolicyConfig::All(All)
    } else {
        PolicyConfig::BlockLlm(BlockLlmSettings { patience: usize::MAX })
    };
    let policy = policy.build().expect("the settings are in range");
    BlockOptimizer::with_boxed_policy(model, config, policy).expect("the sparsity is in range")
}
