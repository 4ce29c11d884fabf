//! GaLore against galore-torch, step by step; numbers made by `tests/fixtures/galore_reference.py`.
use crate::common::{Mlp, Tensors, batch, devices, max_error, reference};
use blockllm_optim::{
    GaLoreAdam, GaLoreConfig, GradientsParams, Groups, LowRankOptimizer, Projection, SvdMethod,
};
use burn::tensor::Device;

const STEPS: usize = 50;

/// The settings that the script calls `case`, and the learning rate.
pub fn settings(case: &str) -> (GaLoreConfig, f64) {
    let config = GaLoreConfig::new(3)
        .with_update_proj_gap(12)
        .with_scale(0.25)
        .with_targets(["tall.weight", "square.weight", "wide.weight"]);
    let projection = match case {
        "reverse_std" => Projection::ReverseStd,
        "left" => Projection::Left,
        "right" => Projection::Right,
        _ => Projection::Std,
    };
    let config = GaLoreConfig { projection, ..config };
    if case == "decay" {
        let adam = GaLoreAdam {
            beta_1: 0.8,
            beta_2: 0.95,
            weight_decay: 0.1,
            ..GaLoreAdam::default()
        };
        (config.with_adam(adam).with_groups(Groups::ungrouped()), 2e-2)
    } else {
        (config, 1e-2)
    }
}

/// Losses of all steps; `after` sees the model after each, counted from 1.
pub fn train(
    reference: &Tensors,
    config: GaLoreConfig,
    learning_rate: f64,
    device: &Device,
    mut after: impl FnMut(usize, &Mlp, &LowRankOptimizer),
) -> Vec<f32> {
    let mut model = Mlp::from_reference(reference, device);
    let mut optimizer = LowRankOptimizer::new(&model, config).unwrap();
    let mut losses = Vec::new();
    for step in 0..STEPS {
        let (x, y) = batch(reference, step, device);
        model = optimizer
            .prepare(model, |model| model.loss(x.clone(), y.clone()))
            .unwrap();
        let loss = model.loss(x, y);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(model, gradients, learning_rate).unwrap().model;
        let loss = loss.into_scalar::<f32>();
        optimizer.observe(loss).unwrap();
        losses.push(loss);
        after(step + 1, &model, &optimizer);
    }
    losses
}

fn assert_parity(case: &str) {
    let reference = reference();
    let (expected, _) = &reference[&format!("{case}.losses")];
    for (backend, device) in devices() {
        let device = device.autodiff();
        let (config, learning_rate) = settings(case);
        let mut weight_error = 0.0f32;
        let losses = train(&reference, config, learning_rate, &device, |step, model, _| {
            for (name, found) in model.weights() {
                if let Some((expected, _)) = reference.get(&format!("{case}.weights.{step}.{name}")) {
                    weight_error = weight_error.max(max_error(&found, expected));
                }
            }
        });
        let errors = losses.iter().zip(expected).map(|(a, b)| ((a - b) / b).abs());
        let worst = errors.fold(0.0, f32::max);
        println!("{case} on {backend}: losses within {worst:.1e}, weights within {weight_error:.1e}");
        assert!(worst < 1e-4 && weight_error < 1e-4);
    }
}

#[test]
fn projector_std_equals_galore_torch_in_every_loss_and_weight() {
    assert_parity("std");
}

#[test]
fn weight_decay_and_betas_equal_galore_torch() {
    assert_parity("decay");
}

#[test]
fn the_other_projector_types_equal_galore_torch() {
    for case in ["reverse_std", "left", "right"] {
        assert_parity(case);
    }
}

#[test]
fn without_a_choice_of_signs_galore_torch_agrees_until_the_second_refresh() {
    let reference = reference();
    let (expected, _) = &reference["unwrapped.losses"];
    let (config, learning_rate) = settings("std");
    let losses = train(
        &reference,
        config,
        learning_rate,
        &Device::flex().autodiff(),
        |_, _, _| {},
    );
    let errors: Vec<_> = losses
        .iter()
        .zip(expected)
        .map(|(a, b)| ((a - b) / b).abs())
        .collect();
    let worst = |errors: &[f32]| errors.iter().copied().fold(0.0, f32::max);
    let (before, after) = (worst(&errors[..13]), worst(&errors[13..]));
    println!("signs of LAPACK: within {before:.1e} until the second refresh, {after:.1e} after it");
    assert!(before < 1e-4);
    assert!(
        after > 1e-3,
        "the signs of the SVD matter, so they are a documented choice"
    );
}

#[test]
fn training_by_the_randomized_range_finder_follows_the_exact_one() {
    let reference = reference();
    for (backend, device) in devices() {
        let device = device.autodiff();
        let (config, learning_rate) = settings("std");
        let last = |config| {
            let losses = train(&reference, config, learning_rate, &device, |_, _, _| {});
            losses[40..].iter().sum::<f32>() / 10.0
        };
        let (exact, randomized) = (
            last(config.clone()),
            last(config.with_svd(SvdMethod::randomized())),
        );
        println!("last ten losses on {backend}: exact {exact:.4}, randomized {randomized:.4}");
        assert!((randomized / exact - 1.0).abs() < 0.05);
    }
}
