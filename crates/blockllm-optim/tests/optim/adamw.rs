//! Sparsity 0 with `all` is dense `AdamW`: burn-optim's and PyTorch's.
//!
//! The numbers of PyTorch are made by `fixtures/adamw_reference.py`.
use crate::common::{Batch, Run, Toy, Weights, batch, devices, max_difference, weights};
use blockllm_optim::{AdamW, BlockOptimizerConfig, GradientsParams, Groups};
use blockllm_policy::All;
use burn::optim::AdamWConfig;
use serde::Deserialize;

fn dense(device: &burn::tensor::Device, model: Toy, update: AdamW) -> Run {
    Run::of(
        model,
        device,
        BlockOptimizerConfig::new(0.0)
            .with_update(update)
            .with_groups(Groups::ungrouped()),
        All,
    )
}

#[test]
fn twenty_steps_equal_burn_optim_with_weight_decay() {
    for (name, device) in devices() {
        let update = AdamW {
            weight_decay: 0.1,
            ..AdamW::default()
        };
        let mut run = dense(&device, Toy::new(&device), update);
        let mut theirs = Toy::new(&device);
        let mut optimizer = AdamWConfig::new()
            .with_epsilon(1e-8)
            .with_weight_decay(0.1)
            .with_cautious_weight_decay(false)
            .init();
        for step in 0..20 {
            // A learning rate that changes at every step: the schedule reaches the update.
            let learning_rate = 0.01 / (1.0 + step as f64);
            run.step(&batch(step), learning_rate).unwrap();
            let gradients = theirs.loss(&batch(step), &device).backward();
            let gradients = GradientsParams::from_grads(gradients, &theirs);
            theirs = optimizer.step(learning_rate, theirs, gradients);
        }
        let difference = max_difference(&run.weights(), &weights(&theirs));
        println!("{name}: largest difference to burn-optim after 20 steps {difference:e}");
        assert!(difference < 1e-6, "{name}: {difference:e}");
    }
}

#[derive(Deserialize)]
struct Fixture {
    learning_rate: f64,
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
    weight_decay: f32,
    batches: Vec<Batch>,
    initial: Weights,
    losses: Vec<f64>,
    r#final: Weights,
}

#[test]
fn twenty_steps_equal_pytorch_with_weight_decay() {
    let fixture: Fixture = serde_json::from_str(include_str!("../fixtures/adamw_reference.json")).unwrap();
    for (name, device) in devices() {
        let update = AdamW {
            beta_1: fixture.beta_1,
            beta_2: fixture.beta_2,
            epsilon: fixture.epsilon,
            weight_decay: fixture.weight_decay,
        };
        let mut run = dense(&device, Toy::with_weights(&device, &fixture.initial), update);
        for (step, expected) in fixture.losses.iter().enumerate() {
            let batch = &fixture.batches[step % fixture.batches.len()];
            let loss = run.step(batch, fixture.learning_rate).unwrap().loss;
            assert!(
                (loss - expected).abs() < 2e-6 * expected,
                "{name} step {step}: {loss} {expected}"
            );
        }
        let difference = max_difference(&run.weights(), &fixture.r#final);
        println!("{name}: largest difference to torch.optim.AdamW after 20 steps {difference:e}");
        assert!(difference < 2e-6, "{name}: {difference:e}");
    }
}
