//! Half-precision weights: state and statistics stay in f32, and a master copy keeps what a step is too small to show.
use crate::common::{NEVER, Run, Toy, batch, blockllm, floats, roles};
use blockllm_optim::{
    BlockOptimizerConfig, CarriedMoments, HalfWeights, InactiveRule, MaskRefresh, OptimError, StateEstimate,
    cast_module,
};
use blockllm_policy::Partition;
use burn::module::Module;
use burn::tensor::{DType, Device};

#[cfg(feature = "flex")]
fn bf16_run(config: BlockOptimizerConfig, patience: usize) -> Run {
    let device = Device::flex().autodiff();
    let model = cast_module(Toy::new(&device), DType::BF16).unwrap();
    Run::of(model, &device, config, blockllm(patience))
}

#[cfg(feature = "flex")]
#[test]
fn bf16_weights_train_and_stay_bf16() {
    let config = BlockOptimizerConfig::new(0.6)
        .with_roles(roles(&["norm"], &[]))
        .with_max_grad_norm(Some(1.0));
    let mut run = bf16_run(config, NEVER);
    let first = run.step(&batch(0), 1e-2).unwrap().loss;
    for _ in 0..30 {
        run.step(&batch(0), 1e-2).unwrap();
    }
    let last = run.step(&batch(0), 1e-2).unwrap().loss;
    assert!(last < 0.7 * first, "{first} {last}");
    assert_eq!(run.model.fc1.weight.val().dtype(), DType::BF16);
    assert_eq!(run.optimizer.trained_entries(), 108);
    assert_eq!(run.optimizer.state_bytes(), run.optimizer.estimated_state_bytes());
}

/// A unit of bf16 near one is 1/128: a hundred steps of 1e-4 are more than one, each alone is lost.
#[cfg(feature = "flex")]
#[test]
fn a_master_copy_adds_up_steps_that_rounding_would_lose() {
    for sparsity in [0.0, 0.1, 0.9] {
        let moved = |master_weights| {
            let mut config =
                BlockOptimizerConfig::new(sparsity).with_partition(Partition::custom(|_| "all".into()));
            config.half_weights = if master_weights {
                HalfWeights::Masters
            } else {
                HalfWeights::Nearest
            };
            let mut run = bf16_run(config, NEVER);
            let before = floats(run.model.norm.gamma.val());
            for _ in 0..100 {
                run.step(&batch(0), 1e-4).unwrap();
            }
            let after = floats(run.model.norm.gamma.val());
            before
                .iter()
                .zip(&after)
                .filter(|(a, b)| a.to_bits() != b.to_bits())
                .count()
        };
        assert_eq!(
            moved(false),
            0,
            "{sparsity}: rounding after each step stands still"
        );
        assert!(moved(true) > 0, "{sparsity}: the master copy moves");
    }
}

#[cfg(feature = "flex")]
#[test]
fn only_trained_entries_have_a_master_and_only_they_change() {
    for (sparsity, refresh) in [
        (0.0, MaskRefresh::EachSelection),
        (0.1, MaskRefresh::EachSelection),
        (0.8, MaskRefresh::EachSelection),
        (0.8, MaskRefresh::EachStep),
    ] {
        let mut config =
            BlockOptimizerConfig::new(sparsity).with_partition(Partition::custom(|_| "all".into()));
        config.refresh = refresh;
        let mut run = bf16_run(config, NEVER);
        for step in 0..4 {
            let before = run.weights();
            run.step(&batch(step), 1e-2).unwrap();
            let after = run.weights();
            let changed = before.values().flatten().zip(after.values().flatten());
            let changed = changed.filter(|(a, b)| a.to_bits() != b.to_bits()).count() as u64;
            let trained = run.optimizer.trained_entries();
            assert_eq!(trained, (269.0 * (1.0 - sparsity)).ceil() as u64);
            assert!(
                changed <= trained && changed * 2 > trained,
                "{sparsity}: {changed} of {trained}"
            );
            let bytes = run.optimizer.state_bytes();
            assert_eq!(
                bytes,
                run.optimizer.estimated_state_bytes(),
                "{sparsity} {refresh:?}"
            );
            assert!(
                bytes >= trained * 12 && bytes <= trained * 16 + 269,
                "{sparsity}: {bytes} for {trained}"
            );
        }
    }
}

#[test]
fn the_estimate_counts_a_master_copy() {
    let with_master = |trained| StateEstimate {
        master: true,
        ..StateEstimate::new(1000, trained, 2)
    };
    assert_eq!(
        with_master(1000).bytes(),
        12_000,
        "moments and master of a whole tensor"
    );
    assert_eq!(
        with_master(100).bytes(),
        1_600,
        "and an index for each entry of a compact one"
    );
    assert_eq!(
        with_master(900).bytes(),
        12_000,
        "dense, as 16 bytes for each of 900 would be more"
    );
}

#[cfg(feature = "flex")]
#[test]
fn a_bf16_run_with_masters_follows_the_f32_run() {
    let config = || BlockOptimizerConfig::new(0.5);
    let device = Device::flex().autodiff();
    let mut full = Run::new(&device, config(), blockllm(NEVER));
    let mut half = bf16_run(config(), NEVER);
    for step in 0..50 {
        let (a, b) = (
            full.step(&batch(0), 5e-3).unwrap().loss,
            half.step(&batch(0), 5e-3).unwrap().loss,
        );
        assert!(
            (a - b).abs() < 0.05 * a + 0.02,
            "step {step}: {a} in f32, {b} in bf16"
        );
    }
}

#[cfg(feature = "flex")]
#[test]
fn a_resumed_bf16_run_gives_the_same_bits() {
    for (refresh, moments) in [
        (MaskRefresh::EachSelection, CarriedMoments::Reset),
        (MaskRefresh::EachStep, CarriedMoments::CarriedOver),
    ] {
        for sparsity in [0.0, 0.2, 0.8] {
            let config = || {
                let mut config = BlockOptimizerConfig::new(sparsity);
                (config.refresh, config.moments) = (refresh, moments);
                config
            };
            let mut whole = bf16_run(config(), 3);
            for step in 0..5 {
                whole.step(&batch(step), 1e-3).unwrap();
            }
            let record = whole.optimizer.record().unwrap();
            let mut resumed = Run::of(
                whole.model.clone().unfreeze(),
                &whole.device,
                config(),
                blockllm(3),
            );
            resumed.optimizer.restore(record, &whole.device).unwrap();
            for step in 5..10 {
                whole.step(&batch(step), 1e-3).unwrap();
                resumed.step(&batch(step), 1e-3).unwrap();
            }
            assert_eq!(whole.weights(), resumed.weights(), "{sparsity} {refresh:?}");
            assert_eq!(whole.optimizer.state_bytes(), resumed.optimizer.state_bytes());
        }
    }
}

#[test]
fn a_type_that_the_device_cannot_compute_in_is_told() {
    for (name, device) in crate::common::devices() {
        let mut refused = 0;
        for dtype in [DType::BF16, DType::F16, DType::F64] {
            let cast = cast_module(Toy::new(&device), dtype);
            if device.supports_dtype(dtype) {
                assert!(cast.is_ok(), "{name} {dtype:?}");
                continue;
            }
            refused += 1;
            let error = cast.unwrap_err();
            assert!(matches!(error, OptimError::UnsupportedDtype { .. }), "{error}");
            let wanted = format!("{dtype:?}").to_lowercase();
            assert!(
                error.to_string().contains(&wanted) && error.to_string().contains("f32"),
                "{error}"
            );
        }
        println!("{name} refuses {refused} types");
    }
}

/// How far all weights moved in a hundred small steps, by path.
#[cfg(feature = "flex")]
fn moved(half: HalfWeights, inactive: Option<InactiveRule>, sparsity: f64) -> (Vec<f64>, u64) {
    let mut config = BlockOptimizerConfig::new(sparsity);
    (config.half_weights, config.inactive) = (half, inactive);
    let mut run = bf16_run(config, NEVER);
    let before = run.weights();
    for step in 0..100 {
        run.step(&batch(step % 3), 1e-4).unwrap();
    }
    let after = run.weights();
    let pairs = before.values().flatten().zip(after.values().flatten());
    let moved = pairs.map(|(before, after)| f64::from(after - before)).collect();
    (moved, run.optimizer.state_bytes())
}

/// The share of `found` that goes the way of `expected`.
#[cfg(feature = "flex")]
fn along(found: &[f64], expected: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(found, expected) / dot(expected, expected)
}

#[cfg(feature = "flex")]
#[test]
fn rounded_by_chance_weights_without_copies_go_as_far_as_those_with_copies() {
    for sparsity in [0.0, 0.5] {
        let (exact, with) = moved(HalfWeights::Masters, None, sparsity);
        let (by_chance, without) = moved(HalfWeights::Stochastic, None, sparsity);
        let (nearest, _) = moved(HalfWeights::Nearest, None, sparsity);
        assert!(without < with, "{without} bytes of state, {with} with copies");
        let (by_chance, nearest) = (along(&by_chance, &exact), along(&nearest, &exact));
        assert!((by_chance - 1.0).abs() < 0.25, "{sparsity}: {by_chance}");
        assert!(
            nearest < 0.5,
            "{sparsity}: to the nearest most of it is lost: {nearest}"
        );
    }
}

/// It used to move no weight at all.
#[cfg(feature = "flex")]
#[test]
fn the_inactive_rule_moves_weights_in_bf16_on_average() {
    let rule = Some(InactiveRule {
        scale: 0.1,
        ..InactiveRule::default()
    });
    let (with, _) = moved(HalfWeights::Masters, rule, 0.9);
    let (without, _) = moved(HalfWeights::Masters, None, 0.9);
    let count = |moved: &[f64]| moved.iter().filter(|moved| **moved != 0.0).count();
    assert!(
        count(&with) > 2 * count(&without),
        "{} {}",
        count(&with),
        count(&without)
    );
}
