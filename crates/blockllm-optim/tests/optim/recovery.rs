//! Recovery scaling of masked-out entries: against a rendering entry by entry.
use crate::common::devices;
use crate::given_gradients::{Model, PARAMETERS, Prefers, f64s, some, step};
use blockllm_optim::{BlockOptimizer, BlockOptimizerConfig, InactiveRule, Recovery};

const RATE: f64 = 1e-2;
const STEPS: usize = 5;

fn config(sparsity: f64, growth: f64) -> BlockOptimizerConfig {
    BlockOptimizerConfig::new(sparsity).with_recovery(Recovery { growth })
}

/// The matrix after `STEPS`: Adam on the `keep` largest of its first gradient, all else along its own by the ratio of its column,
/// no longer than `growth` times the movement before.
fn rendered(keep: usize, growth: f64) -> Vec<f64> {
    let (position, (_, rows, columns)) = (1, PARAMETERS[1]);
    let len = rows * columns;
    let mut weight = f64s(some(len, position));
    let gradient = |step: usize| f64s(some(len, 4 * step + position));
    let mut largest: Vec<usize> = (0..len).collect();
    largest.sort_by(|a, b| gradient(1)[*b].abs().total_cmp(&gradient(1)[*a].abs()));
    let is_trained = |entry: &usize| largest[..keep].contains(entry);
    let (mut first, mut second) = (vec![0.0; len], vec![0.0; len]);
    let mut last: Option<f64> = None;
    for step in 1..=STEPS {
        let g = gradient(step);
        let mut change = vec![0.0; len];
        for entry in (0..len).filter(is_trained) {
            first[entry] = 0.9 * first[entry] + 0.1 * g[entry];
            second[entry] = 0.999 * second[entry] + 0.001 * g[entry] * g[entry];
            let hat = |moment: f64, beta: f64| moment / (1.0 - beta.powi(step as i32));
            change[entry] = -RATE * hat(first[entry], 0.9) / (hat(second[entry], 0.999).sqrt() + 1e-8);
        }
        let mut movement = vec![0.0; len];
        for column in 0..columns {
            let of_column = || (column..len).step_by(columns);
            let norm = |of: &[f64]| {
                of_column()
                    .filter(is_trained)
                    .map(|entry| of[entry].powi(2))
                    .sum::<f64>()
                    .sqrt()
            };
            if of_column().any(|entry| is_trained(&entry)) {
                for entry in of_column().filter(|entry| !is_trained(entry)) {
                    movement[entry] = -g[entry] * norm(&change) / norm(&g);
                }
            }
        }
        let norm = movement.iter().map(|x| x * x).sum::<f64>().sqrt();
        let factor = last.map_or(1.0, |last| (growth * last / norm).min(1.0));
        last = Some(norm * factor);
        for entry in 0..len {
            weight[entry] += change[entry] + movement[entry] * factor;
        }
    }
    weight
}

#[test]
fn masked_out_entries_follow_their_column_under_masks_of_every_form() {
    for (name, device) in devices() {
        let device = device.without_autodiff();
        // Of 67 entries: compact, compact with a column of which nothing is trained, dense, whole.
        for (sparsity, keep) in [(0.9, 7), (0.98, 2), (0.8, 14), (0.777, 15)] {
            for growth in [1.0, 1.01, 100.0] {
                let mut model = Model::new(&device);
                let mut optimizer =
                    BlockOptimizer::new(&model, config(sparsity, growth), Prefers("matrix")).unwrap();
                for turn in 1..=STEPS {
                    model = step(&mut optimizer, model, turn, RATE, &device);
                }
                assert_eq!(optimizer.trained_entries(), keep as u64);
                assert_eq!(optimizer.state_bytes(), optimizer.estimated_state_bytes());
                let (found, expected) = (model.weights(), rendered(keep, growth));
                for (entry, (found, expected)) in found["matrix"].iter().zip(expected).enumerate() {
                    assert!(
                        (found - expected).abs() < 2e-6,
                        "{name} {keep} {growth}: {entry}: {found} {expected}"
                    );
                }
                // All else stands still.
                assert_eq!(found["lm_head"], Model::new(&device).weights()["lm_head"]);
            }
        }
    }
}

#[test]
fn the_bound_of_the_movement_goes_on_after_a_resume_and_wrong_settings_are_refused() {
    let device = devices().remove(0).1.without_autodiff();
    let mut model = Model::new(&device);
    let new = |model: &Model| BlockOptimizer::new(model, config(0.9, 1.0), Prefers("matrix")).unwrap();
    let mut optimizer = new(&model);
    for turn in 1..=3 {
        model = step(&mut optimizer, model, turn, RATE, &device);
    }
    let record = optimizer.record().unwrap();
    let mut resumed = new(&model);
    resumed.restore(record.clone(), &device).unwrap();
    assert_eq!(resumed.state_bytes(), optimizer.state_bytes());
    let expected = step(&mut optimizer, model.clone(), 4, RATE, &device).weights();
    assert_eq!(
        step(&mut resumed, model.clone(), 4, RATE, &device).weights(),
        expected
    );
    let plain = BlockOptimizerConfig::new(0.9);
    let mut other = BlockOptimizer::new(&model, plain, Prefers("matrix")).unwrap();
    let error = other.restore(record, &device).unwrap_err().to_string();
    assert!(error.contains("recovery"), "{error}");
    let both = config(0.9, 1.01).with_inactive(InactiveRule::normalised());
    for (config, told) in [
        (config(0.9, 0.9), "recovery.growth"),
        (both, "moves masked-out entries already"),
    ] {
        let error = BlockOptimizer::new(&model, config, Prefers("matrix"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(told), "{error}");
    }
}
