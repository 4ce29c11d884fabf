//! Gradients exist only for the selected, the probed and the always-trained parameters: by the bytes on the heap after a
//! backward pass, not by what the optimizer counts.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use blockllm_optim::{BlockOptimizer, BlockOptimizerConfig, GradientsParams};
use blockllm_policy::{BlockLlmPolicy, Roles};
use blockllm_train::memory::CountingAllocator;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const LAYERS: usize = 8;
const WIDTH: usize = 512;
/// Bytes of one matrix, and of its gradient.
const MATRIX: u64 = (WIDTH * WIDTH * 4) as u64;

fn loss(model: &[Linear], device: &Device) -> Tensor<1> {
    let input = Tensor::<2>::ones([2, WIDTH], device);
    let output = model
        .iter()
        .fold(input, |input, layer| layer.forward(input).tanh());
    output.square().mean()
}

/// Bytes that live with all that a backward pass gives and did not before its forward pass.
fn bytes_of_gradients(model: &[Linear], device: &Device) -> u64 {
    let before = CountingAllocator::live_bytes();
    let gradients = loss(model, device).backward();
    let with = CountingAllocator::live_bytes();
    drop(gradients);
    with.saturating_sub(before)
}

#[test]
fn the_bytes_of_gradients_after_a_backward_pass_are_those_of_selected_probed_and_always_trained_blocks() {
    let device = Device::flex().autodiff();
    device.seed(1);
    let layer = || LinearConfig::new(WIDTH, WIDTH).with_bias(false).init(&device);
    for probes in [0, 2] {
        let mut model: Vec<Linear> = (0..LAYERS).map(|_| layer()).collect();
        // Weights, and what the backend keeps, are made when they are first used.
        bytes_of_gradients(&model, &device);
        let dense = bytes_of_gradients(&model, &device);
        assert!(
            dense.abs_diff(LAYERS as u64 * MATRIX) < MATRIX / 4,
            "{dense} bytes where all have one"
        );
        let roles = Roles {
            always: vec!["7.weight".to_owned()],
            ..Roles::default()
        };
        let mut config = BlockOptimizerConfig::new(0.8).with_roles(roles);
        config.probes = probes;
        let mut optimizer = BlockOptimizer::new(&model, config, BlockLlmPolicy::new(1).unwrap()).unwrap();
        for step in 0..4 {
            model = optimizer
                .prepare(model, |model: &Vec<Linear>| loss(model, &device))
                .unwrap();
            let counted = optimizer.gradient_entries() * 4;
            assert!(counted < LAYERS as u64 * MATRIX / 2 + probes as u64 * MATRIX);
            let found = bytes_of_gradients(&model, &device);
            assert!(
                found.abs_diff(counted) < MATRIX / 4,
                "{probes} probes, step {step}: {found} bytes of gradients, {counted} counted"
            );
            let value = loss(&model, &device);
            let gradients = GradientsParams::from_grads(value.clone().backward(), &model);
            model = optimizer.step(model, gradients, 1e-3).unwrap().model;
            optimizer.observe(value.into_scalar::<f32>()).unwrap();
        }
    }
}
