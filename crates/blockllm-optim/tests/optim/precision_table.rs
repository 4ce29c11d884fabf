//! Every type of weights with every kind of moments, in every form: bytes, masks, exact resume, and wrong records.
use crate::common::{NEVER, Run as ToyRun, Toy, batch, blockllm, devices};
use crate::matrix::{ENTRIES, Run, config};
use blockllm_optim::{
    BlockOptimizerConfig, HalfWeights, Lion, MomentPrecision, OptimError, Update, cast_module,
};
use burn::tensor::{DType, Device};

/// Type of the weights, whether they have a master copy, moments, sparsity, rule.
type Case = (DType, bool, MomentPrecision, f64, Update);

/// All that `device` can compute: whole, dense, compact, and compact with few entries.
fn cases(device: &Device) -> Vec<Case> {
    let weights = [
        (DType::F32, true),
        (DType::BF16, true),
        (DType::BF16, false),
        (DType::F16, true),
    ];
    let forms = [
        (0.0, Update::default()),
        (0.1, Update::default()),
        (0.5, Update::default()),
        (0.9, Update::default()),
        (0.1, Lion::default().into()),
    ];
    let mut cases = Vec::new();
    for (dtype, master) in weights {
        for moments in [MomentPrecision::F32, MomentPrecision::Int8] {
            for (sparsity, update) in forms {
                if device.supports_dtype(dtype) {
                    cases.push((dtype, master, moments, sparsity, update));
                }
            }
        }
    }
    cases
}

fn settings((_, master, moments, sparsity, update): Case) -> BlockOptimizerConfig {
    let mut config = config(sparsity, moments, update);
    config.half_weights = if master {
        HalfWeights::Masters
    } else {
        HalfWeights::Nearest
    };
    config
}

#[test]
fn bytes_are_the_estimate_and_entries_outside_the_mask_keep_their_bits() {
    for (name, device) in devices() {
        for case in cases(&device) {
            let mut run = Run::new(&device, case.0, settings(case));
            let before = run.weights();
            for _ in 0..4 {
                run.step();
                let held = run.optimizer.state_bytes();
                assert_eq!(held, run.optimizer.estimated_state_bytes(), "{name} {case:?}");
                assert!(held <= ENTRIES * 16, "{name} {case:?}: {held}");
            }
            // The mask holds for all four steps, so that what has ever moved is inside it.
            let after = run.weights();
            let moved = before
                .iter()
                .zip(&after)
                .filter(|(a, b)| a.to_bits() != b.to_bits());
            let (moved, trained) = (moved.count() as u64, run.optimizer.trained_entries());
            assert_eq!(trained, (ENTRIES as f64 * (1.0 - case.3)).ceil() as u64);
            assert!(
                moved <= trained && moved * 4 > trained * 3,
                "{name} {case:?}: {moved} of {trained} moved"
            );
        }
    }
}

#[test]
fn a_run_resumed_in_the_middle_of_a_selection_gives_the_same_bits() {
    for (name, device) in devices() {
        for case in cases(&device) {
            let mut whole = Run::new(&device, case.0, settings(case));
            for _ in 0..3 {
                whole.step();
            }
            let record = whole.optimizer.record().unwrap();
            let mut resumed = Run::of(whole.model.clone(), &device, settings(case));
            resumed.optimizer.restore(record, &device).unwrap();
            for step in 0..3 {
                let (a, b) = (whole.step(), resumed.step());
                assert_eq!(a.to_bits(), b.to_bits(), "{name} {case:?} step {step}");
            }
            assert_eq!(whole.weights(), resumed.weights(), "{name} {case:?}");
            let (a, b) = (&whole.optimizer, &resumed.optimizer);
            assert_eq!(a.state_bytes(), b.state_bytes(), "{name} {case:?}");
        }
    }
}

/// Bytes for each trained entry, with two moments: what the settings are for.
#[test]
fn a_trained_entry_costs_what_the_settings_say() {
    for (name, device) in devices() {
        for (dtype, moments, sparsity, bytes) in [
            (DType::F32, MomentPrecision::F32, 0.0, 8.0),
            (DType::F32, MomentPrecision::F32, 0.5, 12.0),
            (DType::F32, MomentPrecision::Int8, 0.0, 2.03),
            (DType::F32, MomentPrecision::Int8, 0.5, 4.06),
            (DType::BF16, MomentPrecision::F32, 0.0, 12.0),
            (DType::BF16, MomentPrecision::F32, 0.5, 16.0),
            (DType::BF16, MomentPrecision::Int8, 0.0, 6.03),
            (DType::BF16, MomentPrecision::Int8, 0.5, 10.03),
        ] {
            if !device.supports_dtype(dtype) {
                println!("{name} cannot compute in {dtype:?}");
                continue;
            }
            let mut run = Run::new(&device, dtype, config(sparsity, moments, Update::default()));
            run.step();
            let optimizer = &run.optimizer;
            let found = optimizer.state_bytes() as f64 / optimizer.trained_entries() as f64;
            assert!(
                (found - bytes).abs() < 0.005,
                "{name} {dtype:?} {moments:?} {sparsity}: {found}"
            );
        }
    }
}

/// A unit of f16 near one is 1/1024, and wgpu may have that type where it has no bf16.
#[test]
fn a_master_copy_adds_up_lost_steps_in_every_half_type_of_the_device() {
    for (name, device) in devices() {
        for (dtype, learning_rate) in [(DType::BF16, 1e-4), (DType::F16, 2e-5)] {
            if !device.supports_dtype(dtype) {
                println!("{name} cannot compute in {dtype:?}");
                continue;
            }
            let moved = |master_weights| {
                let mut config = BlockOptimizerConfig::new(0.0);
                config.half_weights = if master_weights {
                    HalfWeights::Masters
                } else {
                    HalfWeights::Nearest
                };
                let model = cast_module(Toy::new(&device), dtype).unwrap();
                let mut run = ToyRun::of(model, &device, config, blockllm(NEVER));
                let before = crate::common::floats(run.model.norm.gamma.val());
                for _ in 0..60 {
                    run.step(&batch(0), learning_rate).unwrap();
                }
                let after = crate::common::floats(run.model.norm.gamma.val());
                before
                    .iter()
                    .zip(&after)
                    .filter(|(a, b)| a.to_bits() != b.to_bits())
                    .count()
            };
            assert_eq!(moved(false), 0, "{name} {dtype:?}: rounded after each step");
            assert!(moved(true) > 0, "{name} {dtype:?}: with a master copy");
        }
    }
}

#[test]
fn a_record_of_other_settings_is_refused_and_told() {
    for (name, device) in devices() {
        let adamw = || config(0.5, MomentPrecision::F32, Update::default());
        let coded = || config(0.5, MomentPrecision::Int8, Update::default());
        let lion = || config(0.5, MomentPrecision::F32, Lion::default().into());
        let mut run = Run::new(&device, DType::F32, adamw());
        run.step();
        let record = run.optimizer.record().unwrap();
        for (config, words) in [(coded(), ["f32", "int8"]), (lion(), ["update", "lion"])] {
            let mut other = Run::of(run.model.clone(), &device, config);
            let error = other.optimizer.restore(record.clone(), &device).unwrap_err();
            assert!(matches!(error, OptimError::Policy(_)));
            let told = error.to_string();
            assert!(words.iter().all(|word| told.contains(word)), "{name}: {told}");
        }
        if !device.supports_dtype(DType::BF16) {
            println!("{name} cannot compute in bf16");
            continue;
        }
        let mut half = Run::new(&device, DType::BF16, adamw());
        half.step();
        let error = half.optimizer.restore(record, &device).unwrap_err().to_string();
        assert!(error.contains("master weights"), "{name}: {error}");
    }
}

/// A module that is loaded onto a device in a type that the device cannot compute in is refused before its first step.
#[cfg(feature = "flex")]
#[test]
fn an_optimizer_for_weights_that_the_device_cannot_compute_with_is_refused() {
    use burn::module::Module;
    for (name, device) in devices() {
        if device.supports_dtype(DType::BF16) {
            println!("{name} computes in bf16");
            continue;
        }
        let model = cast_module(Toy::new(&Device::flex().autodiff()), DType::BF16).unwrap();
        let model = model.to_device(&device);
        let refused =
            blockllm_optim::BlockOptimizer::new(&model, BlockOptimizerConfig::new(0.5), blockllm(NEVER));
        let error = refused.unwrap_err();
        assert!(
            matches!(error, OptimError::UnsupportedDtype { .. }),
            "{name}: {error}"
        );
    }
}
