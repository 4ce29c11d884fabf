//! What every method promises, for GaLore: exact accounting, frozen weights, checkpointing, clipping.
use crate::common::{Mlp, batch, devices, max_error, reference};
use crate::galore_parity::{settings, train};
use blockllm_optim::{GaLoreConfig, GradientsParams, LowRankOptimizer};
use burn::module::{Module, ParamGroup};
use burn::tensor::Device;

#[test]
fn state_bytes_equal_the_estimate_and_the_formula() {
    let reference = reference();
    // side r + 2 r other: tall 14x8, square 14x14, wide 6x14; then 8 bytes for each of the 14 + 14 biases and 14
    // entries of the head.
    let projected = (8 * 3 + 2 * 3 * 14) + (14 * 3 + 2 * 3 * 14) + (6 * 3 + 2 * 3 * 14);
    let expected = 4 * projected + 8 * (14 + 14 + 14);
    for (_, device) in devices() {
        let (config, learning_rate) = settings("std");
        train(
            &reference,
            config,
            learning_rate,
            &device.autodiff(),
            |_, _, optimizer| {
                assert_eq!(optimizer.state_bytes(), expected);
                assert_eq!(optimizer.estimated_state_bytes(), expected);
            },
        );
    }
}

#[test]
fn every_weight_is_trained_and_the_targets_are_projected() {
    let model = Mlp::from_reference(&reference(), &Device::flex().autodiff());
    let optimizer = LowRankOptimizer::new(&model, settings("std").0).unwrap();
    assert_eq!(
        optimizer.projected_parameters(),
        ["tall.weight", "square.weight", "wide.weight"]
    );
    assert_eq!(optimizer.selected_blocks().len(), 7);
    assert_eq!(optimizer.trained_entries(), model.num_params() as u64);
    assert_eq!(optimizer.gradient_entries(), optimizer.trained_entries());
    assert_eq!(
        (optimizer.state_bytes(), optimizer.estimated_state_bytes()),
        (0, 0)
    );
}

#[test]
fn a_frozen_parameter_keeps_its_bits() {
    let reference = reference();
    for (_, device) in devices() {
        let device = device.autodiff();
        let model = Mlp::from_reference(&reference, &device);
        let before = model.weights();
        let mut model = model.freeze_group(ParamGroup::from_path("wide.weight"));
        let config = settings("std").0.with_targets(["tall", "square"]);
        let mut optimizer = LowRankOptimizer::new(&model, config).unwrap();
        let (x, y) = batch(&reference, 0, &device);
        for _ in 0..2 {
            model = optimizer.prepare(model, |_| unreachable!()).unwrap();
            let loss = model.loss(x.clone(), y.clone());
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(model, gradients, 1e-2).unwrap().model;
        }
        let after = model.weights();
        assert_eq!(after["wide.weight"], before["wide.weight"]);
        assert_ne!(after["tall.weight"], before["tall.weight"]);
        assert_eq!(optimizer.trained_entries(), model.num_params() as u64 - 6 * 14);
    }
}

#[test]
fn gradient_checkpointing_survives_the_update_and_changes_no_number() {
    let reference = reference();
    let (config, learning_rate) = settings("std");
    let device = Device::flex().autodiff();
    let plain = train(&reference, config.clone(), learning_rate, &device, |_, _, _| {});
    let device = Device::flex().autodiff().gradient_checkpointing();
    let checkpointed = train(&reference, config, learning_rate, &device, |_, _, _| {});
    assert!(max_error(&plain, &checkpointed) < 1e-6);
}

#[test]
fn clipping_scales_the_gradients_before_they_are_projected() {
    // Adam forgets the scale of gradients but for epsilon: with a huge epsilon the update is proportional to them.
    let reference = reference();
    let device = Device::flex().autodiff();
    let change_of = |max_grad_norm| {
        let model = Mlp::from_reference(&reference, &device);
        let before = model.weights()["tall.weight"].clone();
        let mut config = settings("std").0.with_max_grad_norm(max_grad_norm);
        config.adam.epsilon = 1e3;
        let mut optimizer = LowRankOptimizer::new(&model, config).unwrap();
        let (x, y) = batch(&reference, 0, &device);
        let model = optimizer.prepare(model, |_| unreachable!()).unwrap();
        let gradients = GradientsParams::from_grads(model.loss(x, y).backward(), &model);
        let step = optimizer.step(model, gradients, 1e6).unwrap();
        let after = step.model.weights()["tall.weight"].clone();
        let norm: f32 = after.iter().zip(&before).map(|(a, b)| (a - b).powi(2)).sum();
        (norm.sqrt(), step.grad_norm.into_scalar::<f32>())
    };
    let (free, norm) = change_of(None);
    let (clipped, same_norm) = change_of(Some(f64::from(norm) / 4.0));
    assert!(
        (norm - same_norm).abs() < 1e-7,
        "the norm is told as it was before clipping"
    );
    assert!((clipped * 4.0 / free - 1.0).abs() < 1e-2, "{clipped} {free}");
}

#[test]
fn the_same_seed_gives_the_same_randomized_run() {
    let reference = reference();
    let device = Device::flex().autodiff();
    let run = |seed| {
        let (config, learning_rate) = settings("std");
        let config = GaLoreConfig { seed, ..config }.with_svd(blockllm_optim::SvdMethod::randomized());
        train(&reference, config, learning_rate, &device, |_, _, _| {})
    };
    assert_eq!(run(3), run(3));
}
