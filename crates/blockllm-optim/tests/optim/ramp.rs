//! The ramp of fresh state: its clock begins anew with the state, at every selection; against a rendering entry by entry.
use crate::common::devices;
use crate::given_gradients::{Model, Prefers, f64s, some, step};
use blockllm_optim::{BlockOptimizer, BlockOptimizerConfig, CarriedMoments, MaskRefresh, MaskScope, Sgd};
use blockllm_policy::{BlockId, Policy, PolicyError, PolicyRng, Progress, Reason, SelectContext, Signal};

const RATE: f64 = 0.1;
const RAMP: u64 = 4;

/// SGD without momentum, so that a full step is the gradient.
fn config(sparsity: f64) -> BlockOptimizerConfig {
    let mut config = BlockOptimizerConfig::new(sparsity).with_update(Sgd {
        momentum: 0.0,
        ..Sgd::default()
    });
    config.ramp = RAMP;
    config
}

fn assert_near(found: &[f64], expected: &[f64], what: &str) {
    for (entry, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() < 2e-6,
            "{what}, entry {entry}: {found} {expected}"
        );
    }
}

#[test]
fn the_ramp_starts_anew_for_the_entries_of_a_second_selection() {
    for (name, device) in devices() {
        let device = device.without_autodiff();
        // Compact, dense, whole: of 67 entries, 15 of them in the matrix.
        for (sparsity, keep) in [(0.9, 7), (0.8, 14), (0.777, 15)] {
            let mut model = Model::new(&device);
            let mut optimizer = BlockOptimizer::new(&model, config(sparsity), Prefers("matrix")).unwrap();
            let mut expected = f64s(some(15, 1));
            let mut kept: Vec<usize> = Vec::new();
            for turn in 1..=8 {
                let gradient = f64s(some(15, 4 * turn + 1));
                // The second selection is made for the fifth step, and masks from the gradient of a selection's first.
                let clock = (turn - 1) % 4 + 1;
                if turn == 5 {
                    optimizer.request_selection();
                }
                if clock == 1 {
                    kept = (0..15).collect();
                    kept.sort_by(|a, b| gradient[*b].abs().total_cmp(&gradient[*a].abs()));
                    kept.truncate(keep);
                }
                model = step(&mut optimizer, model, turn, RATE, &device);
                for entry in &kept {
                    expected[*entry] -= clock as f64 / 4.0 * RATE * gradient[*entry];
                }
                assert_near(
                    &model.weights()["matrix"],
                    &expected,
                    &format!("{name} {sparsity}, step {turn}"),
                );
            }
            assert_eq!(optimizer.visits().selections(), 2, "{name}");
        }
    }
}

/// The matrix alone, then the gain beside it.
struct Grows(usize);

impl Policy for Grows {
    fn name(&self) -> &'static str {
        "grows"
    }

    fn signals(&self) -> &[Signal] {
        &[]
    }

    fn rank(&mut self, _: &SelectContext<'_>, _: &mut PolicyRng) -> Result<Vec<BlockId>, PolicyError> {
        self.0 += 1;
        Ok((1..=self.0.min(2)).map(BlockId).collect())
    }

    fn is_due(&mut self, _: &Progress<'_>) -> Option<Reason> {
        None
    }
}

#[test]
fn without_a_mask_a_parameter_that_joins_carried_state_has_a_clock_of_its_own() {
    for (name, device) in devices() {
        let device = device.without_autodiff();
        let mut model = Model::new(&device);
        // 19 of 67: the 15 entries of the matrix and the 4 of the gain.
        let mut config = config(0.72);
        (config.mask, config.moments) = (MaskScope::None, CarriedMoments::CarriedOver);
        let mut optimizer = BlockOptimizer::new(&model, config, Grows(0)).unwrap();
        let mut expected = [f64s(some(15, 1)), f64s(some(4, 2))];
        for turn in 1..=6 {
            if turn == 4 {
                optimizer.request_selection();
            }
            model = step(&mut optimizer, model, turn, RATE, &device);
            // The matrix goes on, the gain begins with the fourth step.
            let clocks = [turn, turn.saturating_sub(3)];
            for (place, clock) in clocks.into_iter().enumerate() {
                let share = (clock as f64 / 4.0).min(1.0);
                let gradient = some(expected[place].len(), 4 * turn + 1 + place);
                for (weight, gradient) in expected[place].iter_mut().zip(gradient) {
                    *weight -= share * RATE * f64::from(gradient);
                }
            }
            let weights = model.weights();
            assert_near(&weights["matrix"], &expected[0], &format!("{name}, step {turn}"));
            assert_near(&weights["gain"], &expected[1], &format!("{name}, step {turn}"));
            let trained = if turn < 4 { 15 } else { 19 };
            assert_eq!(optimizer.trained_entries(), trained, "{name}, step {turn}");
        }
    }
}

#[test]
fn a_ramp_is_refused_where_entries_would_join_state_in_progress() {
    let device = devices().remove(0).1.without_autodiff();
    let model = Model::new(&device);
    for (moments, refresh, with) in [
        (
            CarriedMoments::CarriedOver,
            MaskRefresh::EachSelection,
            "moments=carried-over",
        ),
        (CarriedMoments::Reset, MaskRefresh::EachStep, "refresh=each-step"),
    ] {
        let mut refused = config(0.9);
        (refused.moments, refused.refresh) = (moments, refresh);
        let text = BlockOptimizer::new(&model, refused.clone(), Prefers("matrix"))
            .unwrap_err()
            .to_string();
        for part in ["`ramp` is 4", with, "mask=none"] {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
        for none in [0, 1] {
            refused.ramp = none;
            BlockOptimizer::new(&model, refused.clone(), Prefers("matrix")).unwrap();
        }
    }
}
