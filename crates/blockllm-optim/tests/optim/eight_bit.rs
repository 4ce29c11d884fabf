//! 8-bit moments: close to f32 ones, at a third of the bytes, never at more, and resumed to the bit.
use crate::common::devices;
use crate::matrix::{ENTRIES, Run, SIDE, config, tensor};
use blockllm_optim::{Lion, MaskRefresh, MomentPrecision, StateEstimate, Update};
use burn::tensor::{DType, Device};
use proptest::prelude::*;

#[test]
fn coded_moments_train_nearly_as_f32_ones_do() {
    for (name, device) in devices() {
        for (sparsity, update) in [
            (0.0, Update::default()),
            (0.5, Update::default()),
            (0.0, Lion::default().into()),
        ] {
            let losses = |moments| -> Vec<f32> {
                let mut run = Run::new(&device, DType::F32, config(sparsity, moments, update));
                (0..100).map(|_| run.step()).collect()
            };
            let (full, coded) = (losses(MomentPrecision::F32), losses(MomentPrecision::Int8));
            let (first, last) = (full[0], full[99]);
            assert!(last < 0.8 * first, "{name}: it learns, {first} to {last}");
            for (step, (full, coded)) in full.iter().zip(&coded).enumerate() {
                let at = format!("{name} {sparsity} {update:?} step {step}: {full} {coded}");
                assert!((coded / full - 1.0).abs() < 0.03, "{at}");
            }
        }
    }
}

/// A fifth of the gradients cease after the first step, the others go on and hold the scale of their blocks. Rounded
/// to the nearest code the momentum of those that ceased would never fall, and go on moving their weights.
#[test]
fn weights_whose_gradients_cease_come_to_rest_as_with_f32_moments() {
    for (name, device) in devices() {
        let like = (&device, DType::F32);
        let ceases = tensor(7, 1.0, like).greater_elem(0.027); // of +-0.125
        let small = tensor(8, 0.1, like);
        let going_on = small.ones_like().mask_fill(ceases.clone(), 0.0);
        let first = going_on.clone() + small.mask_fill(ceases.clone().bool_not(), 0.0);
        let moved = |moments, steps: usize| {
            let mut run = Run::new(&device, DType::F32, config(0.0, moments, Update::default()));
            let before = run.model.weight.val().detach();
            for step in 0..steps {
                let factors = if step == 0 { &first } else { &going_on };
                run.step_on(1e-3, |weight| (weight * factors.clone()).sum());
            }
            let moved = (run.model.weight.val().detach() - before).abs();
            let ceased = moved.mask_fill(ceases.clone().bool_not(), 0.0);
            ceased.sum().into_scalar::<f32>()
        };
        let full = moved(MomentPrecision::F32, 100);
        let (coded, later) = (
            moved(MomentPrecision::Int8, 100),
            moved(MomentPrecision::Int8, 140),
        );
        assert!(
            (coded / full - 1.0).abs() < 0.25,
            "{name}: {full} with f32, {coded} with codes"
        );
        assert!(
            (later / coded - 1.0).abs() < 0.01,
            "{name}: at rest, {coded} and then {later}"
        );
    }
}

#[test]
fn the_bytes_are_those_of_the_codes() {
    let (device, adamw, lion) = (
        devices().remove(0).1,
        Update::default(),
        Update::from(Lion::default()),
    );
    // 36 blocks of 256 codes and a scale for each array, a code of the first for what is not trained; beside a compact mask an
    // index for each entry.
    for (sparsity, update, bytes) in [
        (0.0, adamw, 2 * 36 * 260),
        (0.25, adamw, 2 * 36 * 260),
        (0.5, adamw, 2 * 36 * 260),
        // Few entries stay in f32.
        (0.9, adamw, 922 * 12),
        (0.0, lion, 36 * 260),
        (0.1, lion, 36 * 260),
    ] {
        let mut run = Run::new(
            &device,
            DType::F32,
            config(sparsity, MomentPrecision::Int8, update),
        );
        for _ in 0..2 {
            run.step();
            assert_eq!(run.optimizer.state_bytes(), bytes, "{sparsity} {update:?}");
            assert_eq!(run.optimizer.estimated_state_bytes(), bytes);
        }
        let trained = run.optimizer.trained_entries();
        assert_eq!(trained, (ENTRIES as f64 * (1.0 - sparsity)).ceil() as u64);
    }
    let per_entry = |moments, trained| {
        let mut estimate = StateEstimate::new(1 << 20, trained, 2);
        estimate.moments = moments;
        estimate.bytes() as f64 / trained as f64
    };
    let (all, half) = (1 << 20, 1 << 19);
    assert!(
        (
            per_entry(MomentPrecision::F32, all),
            per_entry(MomentPrecision::F32, half)
        ) == (8.0, 12.0)
    );
    assert!((per_entry(MomentPrecision::Int8, all) - 2.03).abs() < 0.01);
    assert!((per_entry(MomentPrecision::Int8, half) - 4.06).abs() < 0.01);
}

proptest! {
    #[test]
    fn codes_never_cost_more_than_f32_and_the_form_is_the_cheaper_one(
        numel in 1u64..20_000, share in 0.0f64..=1.0, arrays in 1u64..=2, master: bool,
    ) {
        let trained = ((numel as f64 * share) as u64).clamp(1, numel);
        let full = StateEstimate { master, ..StateEstimate::new(numel, trained, arrays) };
        let coded = StateEstimate { moments: MomentPrecision::Int8, ..full };
        prop_assert!(coded.bytes() <= full.bytes(), "{} {}", coded.bytes(), full.bytes());
        let per_entry = (arrays + u64::from(master)) * 4;
        prop_assert_eq!(full.bytes(), (numel * per_entry).min(if trained < numel { trained * (per_entry + 4) } else { u64::MAX }));
    }
}

#[test]
fn a_resumed_run_gives_the_same_bits_when_the_mask_changes_at_every_step() {
    for (name, device) in devices() {
        let config = || {
            let mut config = config(0.5, MomentPrecision::Int8, Update::default());
            config.refresh = MaskRefresh::EachStep;
            config
        };
        let mut whole = Run::new(&device, DType::F32, config());
        for _ in 0..3 {
            whole.step();
        }
        let record = whole.optimizer.record().unwrap();
        let mut resumed = Run::of(whole.model.clone(), &device, config());
        resumed.optimizer.restore(record, &device).unwrap();
        for _ in 0..3 {
            assert_eq!(whole.step().to_bits(), resumed.step().to_bits());
        }
        assert_eq!(whole.weights(), resumed.weights(), "{name}");
    }
}

/// The codes of a step that is repeated from the same state are the same: offsets come from the step, not from a
/// generator that goes on.
#[test]
fn two_runs_of_the_same_settings_give_the_same_bits() {
    let train = |device: &Device| {
        let mut run = Run::new(
            device,
            DType::F32,
            config(0.0, MomentPrecision::Int8, Update::default()),
        );
        for _ in 0..5 {
            run.step();
        }
        run.weights()
    };
    for (name, device) in devices() {
        let weights = train(&device);
        assert_eq!(weights.len(), SIDE * SIDE);
        assert_eq!(weights, train(&device), "{name}");
    }
}
