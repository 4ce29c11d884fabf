//! Normalised SGD for what is not trained, momenta, ramps and multipliers by group: against a rendering entry by entry.
use crate::common::devices;
use crate::given_gradients::{Model, PARAMETERS, Prefers, f64s, some, step};
use blockllm_optim::{
    AdamW, BlockOptimizer, BlockOptimizerConfig, Decay, Direction, Groups, InactiveRule, OptimError,
};
use std::collections::BTreeMap;

const RATE: f64 = 1e-2;
const STEPS: usize = 5;
const RAMP: u64 = 4;
const GROUPS: Groups = Groups {
    embeddings: 10.0,
    head: 0.5,
    vectors: 2.0,
    matrices: 3.0,
    decay: Decay::Matrices,
};

fn multiplier(name: &str) -> f64 {
    match name {
        "embed" => 10.0,
        "lm_head" => 0.5,
        "gain" => 2.0,
        _ => 3.0,
    }
}

fn config(sparsity: f64, inactive: InactiveRule) -> BlockOptimizerConfig {
    let rule = AdamW {
        weight_decay: 0.1,
        ..AdamW::default()
    };
    let mut config = BlockOptimizerConfig::new(sparsity)
        .with_groups(GROUPS)
        .with_update(rule)
        .with_inactive(inactive);
    config.ramp = RAMP;
    config
}

/// `rows` by `columns`, its singular values brought near one by Muon's iteration from the side of the rows: `(a + b g + c g g) x`
/// with `g = x x'`, which is that from the columns' side too.
fn whitened(matrix: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let product = |a: &[f64], b: &dyn Fn(usize, usize) -> f64, inner: usize, width: usize| -> Vec<f64> {
        let entry = |at: usize| {
            (0..inner)
                .map(|k| a[at / width * inner + k] * b(k, at % width))
                .sum()
        };
        (0..rows * width).map(entry).collect()
    };
    let norm = matrix.iter().map(|entry| entry * entry).sum::<f64>().sqrt();
    let mut x: Vec<f64> = matrix.iter().map(|entry| entry / norm).collect();
    for _ in 0..5 {
        let gram = product(&x, &|k, row| x[row * columns + k], columns, rows);
        let mut polynomial = product(&gram, &|k, row| 2.0315 * gram[k * rows + row], rows, rows);
        for (at, entry) in polynomial.iter_mut().enumerate() {
            *entry += -4.7750 * gram[at] + if at / rows == at % rows { 3.4445 } else { 0.0 };
        }
        x = product(&polynomial, &|k, column| x[k * columns + column], rows, columns);
    }
    x
}

/// The weights after `STEPS`, one entry after the other: AdamW on the `keep` largest of the `matrix`' first gradient,
/// normalised SGD on all else, along a momentum for the head.
fn rendered(keep: usize, rule: &InactiveRule) -> BTreeMap<&'static str, Vec<f64>> {
    let mut all = BTreeMap::new();
    for (position, (name, rows, columns)) in PARAMETERS.into_iter().enumerate() {
        let len = rows * columns;
        let mut weight = f64s(some(len, position));
        let gradient = |step: usize| f64s(some(len, 4 * step + position));
        let mut largest: Vec<usize> = (0..len).collect();
        largest.sort_by(|a, b| gradient(1)[*b].abs().total_cmp(&gradient(1)[*a].abs()));
        let is_selected = name == "matrix";
        let is_trained = |entry: usize| is_selected && largest[..keep].contains(&entry);
        let (mut first, mut second) = (vec![0.0; len], vec![0.0; len]);
        let mut momentum = vec![0.0; len];
        for step in 1..=STEPS {
            let gradient = gradient(step);
            let mut direction = gradient.clone();
            if name == "lm_head" && !rule.momentum.is_empty() {
                for entry in 0..len {
                    momentum[entry] = 0.9 * momentum[entry] + gradient[entry];
                }
                direction.clone_from(&momentum);
            }
            if name == "matrix" && rule.direction == Direction::Whitened {
                direction = whitened(&direction, rows, columns);
            }
            let rate = RATE * multiplier(name);
            for entry in 0..len {
                if is_trained(entry) {
                    let g = gradient[entry];
                    first[entry] = 0.9 * first[entry] + 0.1 * g;
                    second[entry] = 0.999 * second[entry] + 0.001 * g * g;
                    let hat = |moment: f64, beta: f64| moment / (1.0 - beta.powi(step as i32));
                    let way = hat(first[entry], 0.9) / (hat(second[entry], 0.999).sqrt() + 1e-8);
                    let ramp = (step as f64 / RAMP as f64).min(1.0);
                    weight[entry] -= ramp * rate * (way + 0.1 * weight[entry]);
                } else if !is_selected || rule.masked_out {
                    let column = (entry % columns..len).step_by(columns);
                    let squares: f64 = column.map(|entry| direction[entry].powi(2)).sum();
                    let root = (squares / rows as f64).sqrt().max(1e-8);
                    weight[entry] -= rate * rule.scale * direction[entry] / root;
                }
            }
        }
        all.insert(name, weight);
    }
    all
}

#[test]
fn every_entry_moves_as_its_rule_says_under_masks_of_every_form() {
    let with_momentum = InactiveRule::normalised().with_momentum([InactiveRule::HEAD]);
    let selected_stay = InactiveRule {
        masked_out: false,
        scale: 0.3,
        ..InactiveRule::normalised()
    };
    let whitened = InactiveRule {
        direction: Direction::Whitened,
        ..with_momentum.clone()
    };
    for (name, device) in devices() {
        let device = device.without_autodiff();
        for rule in [
            InactiveRule::normalised(),
            with_momentum.clone(),
            selected_stay.clone(),
            whitened.clone(),
        ] {
            // Compact, dense, whole: of 67 entries, 15 of them selected.
            for (sparsity, keep) in [(0.9, 7), (0.8, 14), (0.777, 15)] {
                let mut model = Model::new(&device);
                let mut optimizer =
                    BlockOptimizer::new(&model, config(sparsity, rule.clone()), Prefers("matrix")).unwrap();
                for turn in 1..=STEPS {
                    model = step(&mut optimizer, model, turn, RATE, &device);
                }
                let momentum = if rule.momentum.is_empty() { 0 } else { 24 * 4 };
                assert_eq!(optimizer.trained_entries(), keep as u64);
                assert_eq!(optimizer.state_bytes(), optimizer.estimated_state_bytes());
                assert!(optimizer.state_bytes() >= keep as u64 * 8 + momentum);
                let (found, expected) = (model.weights(), rendered(keep, &rule));
                for (parameter, expected) in expected {
                    for (entry, (found, expected)) in found[parameter].iter().zip(expected).enumerate() {
                        assert!(
                            (found - expected).abs() < 2e-6,
                            "{name} {rule:?} {sparsity}: {parameter} {entry}: {found} {expected}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_momentum_goes_on_after_a_resume_and_is_refused_by_an_optimizer_without_one() {
    let device = devices().remove(0).1.without_autodiff();
    let new = |model: &Model, rule: InactiveRule| {
        BlockOptimizer::new(model, config(0.9, rule), Prefers("matrix")).unwrap()
    };
    let rule = InactiveRule::normalised().with_momentum(["lm_head"]);
    let step = |optimizer: &mut BlockOptimizer, model, turn| step(optimizer, model, turn, RATE, &device);
    let mut model = Model::new(&device);
    let mut optimizer = new(&model, rule.clone());
    for turn in 1..=3 {
        model = step(&mut optimizer, model, turn);
    }
    let record = optimizer.record().unwrap();
    let mut resumed = new(&model, rule);
    resumed.restore(record.clone(), &device).unwrap();
    assert_eq!(resumed.state_bytes(), optimizer.state_bytes());
    let expected = step(&mut optimizer, model.clone(), 4).weights();
    assert_eq!(step(&mut resumed, model.clone(), 4).weights(), expected);
    let without = new(&model, InactiveRule::normalised()).restore(record, &device);
    assert!(without.unwrap_err().to_string().contains("momentum"));
}

#[test]
fn settings_that_mean_nothing_are_refused_with_what_to_do() {
    let device = devices().remove(0).1.without_autodiff();
    let model = Model::new(&device);
    let refused = |config: BlockOptimizerConfig| -> String {
        let error: OptimError = BlockOptimizer::new(&model, config, Prefers("matrix")).unwrap_err();
        error.to_string()
    };
    let by_sign = InactiveRule {
        masked_out: true,
        ..InactiveRule::default()
    };
    let momentum_by_sign = InactiveRule::default().with_momentum(["lm_head"]);
    let nowhere = InactiveRule::normalised().with_momentum(["head_of_nothing"]);
    for (rule, told) in [
        (by_sign, "normalised direction only"),
        (momentum_by_sign, "normalised direction only"),
        (nowhere, "head_of_nothing"),
    ] {
        let text = refused(config(0.9, rule));
        assert!(text.contains(told), "{text}");
    }
    let groups = Groups {
        head: 0.0,
        ..Groups::default()
    };
    let text = refused(BlockOptimizerConfig::new(0.9).with_groups(groups));
    assert!(text.contains("groups.head"), "{text}");
}
