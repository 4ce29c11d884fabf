//! Outside the mask nothing changes, bit for bit; inside it everything does.
use crate::clipping::gradients_of;
use crate::common::{NEVER, Run, Toy, Weights, batch, blockllm, devices, roles};
use blockllm_optim::{AdamW, BlockOptimizerConfig, Lion, MaskScope, Sgd, Update};
use blockllm_policy::{All, Fixed};
use std::collections::BTreeSet;

/// Entries whose bits differ.
fn changed(before: &Weights, after: &Weights) -> u64 {
    let pairs = before.values().flatten().zip(after.values().flatten());
    pairs.filter(|(a, b)| a.to_bits() != b.to_bits()).count() as u64
}

/// The toy's weights with a negative zero in every fourth entry, which `w + 0` would turn into a positive one.
fn with_negative_zeros(device: &burn::tensor::Device) -> Weights {
    let mut weights = crate::common::weights(&Toy::new(device));
    for values in weights.values_mut() {
        values.iter_mut().step_by(4).for_each(|value| *value = -0.0);
    }
    weights
}

#[test]
fn exactly_the_trained_entries_change_and_all_others_keep_their_bits() {
    let decay = AdamW {
        weight_decay: 0.1,
        ..AdamW::default()
    };
    let rules: [Update; 3] = [decay.into(), Sgd::default().into(), Lion::default().into()];
    for (name, device) in devices() {
        let before = with_negative_zeros(&device);
        for (rule, sparsity, scope) in [
            (rules[0], 0.5, MaskScope::Global),
            (rules[0], 0.9, MaskScope::PerParameter),
            // So little sparsity that the mask is dense.
            (rules[0], 0.1, MaskScope::PerParameter),
            (rules[1], 0.1, MaskScope::PerParameter),
            (rules[1], 0.7, MaskScope::Global),
            (rules[2], 0.1, MaskScope::PerParameter),
            (rules[2], 0.7, MaskScope::Global),
        ] {
            let mut config = BlockOptimizerConfig::new(sparsity).with_update(rule);
            config.mask = scope;
            let mut run = Run::of(
                Toy::with_weights(&device, &before),
                &device,
                config,
                blockllm(NEVER),
            );
            run.step(&batch(0), 1e-2).unwrap();
            let first = run.weights();
            for step in 1..5 {
                run.step(&batch(step), 1e-2).unwrap();
            }
            let after = run.weights();
            let trained = run.optimizer.trained_entries();
            let row = format!("{name} {rule:?} {sparsity} {scope:?}");
            // A trained entry whose gradient is zero may stay; no other may move.
            assert!(
                changed(&before, &after) <= trained,
                "{row}: {}",
                changed(&before, &after)
            );
            assert!(
                changed(&before, &after) * 10 >= trained * 7,
                "{row}: {}",
                changed(&before, &after)
            );
            // The mask is fixed: an entry that moves later has state from the first step on.
            let zeros = |weights: &Weights| {
                weights
                    .values()
                    .flatten()
                    .filter(|w| w.to_bits() == 0x8000_0000)
                    .count()
            };
            assert!(zeros(&after) > 0 && zeros(&first) >= zeros(&after), "{row}");
        }
    }
}

/// Which entries change, not only how many: those of the selected parameters with the largest gradients.
#[test]
fn the_entries_that_change_are_those_with_the_largest_gradients() {
    for (name, device) in devices() {
        for sparsity in [0.3, 0.5, 0.9] {
            let config = BlockOptimizerConfig::new(sparsity);
            let mut run = Run::new(&device, config, blockllm(NEVER));
            run.prepare(&batch(0)).unwrap();
            let (_, gradients) = run.backward(&batch(0));
            let gradients = gradients_of(&run.model, &gradients);
            let selected = run.optimizer.selected_blocks();
            let mut entries: Vec<(f32, String, usize)> = selected
                .iter()
                .flat_map(|path| {
                    let values = gradients[*path].iter().enumerate();
                    values.map(|(place, value)| (value.abs(), (*path).to_owned(), place))
                })
                .collect();
            entries.sort_by(|a, b| b.0.total_cmp(&a.0));
            let before = run.weights();
            run.step(&batch(0), 1e-2).unwrap();
            let after = run.weights();
            entries.truncate(run.optimizer.trained_entries() as usize);
            let expected: BTreeSet<(String, usize)> = entries
                .into_iter()
                .filter(|(value, ..)| *value > 0.0)
                .map(|(_, path, place)| (path, place))
                .collect();
            let moved = |(path, values): (&String, &Vec<f32>)| {
                let pairs = values.iter().zip(&after[path]).enumerate();
                pairs
                    .filter(|(_, (a, b))| a.to_bits() != b.to_bits())
                    .map(|(place, _)| (path.clone(), place))
                    .collect::<Vec<_>>()
            };
            let found: BTreeSet<(String, usize)> = before.iter().flat_map(moved).collect();
            assert_eq!(found, expected, "{name} {sparsity}");
        }
    }
}

#[test]
fn unselected_never_trained_and_probed_parameters_keep_their_bits() {
    for (name, device) in devices() {
        let before = with_negative_zeros(&device);
        let config = BlockOptimizerConfig::new(0.0).with_roles(roles(&["norm"], &["fc2.weight"]));
        let policy = Fixed::new(vec!["fc1.weight".into()]).unwrap();
        let mut run = Run::of(Toy::with_weights(&device, &before), &device, config, policy);
        run.steps(3, 1e-2);
        let after = run.weights();
        for (path, values) in &before {
            let same = values
                .iter()
                .zip(&after[path])
                .all(|(a, b)| a.to_bits() == b.to_bits());
            let trained = ["norm.gamma", "norm.beta", "fc1.weight"].contains(&path.as_str());
            assert_eq!(same, !trained, "{name} {path}");
        }
        assert_eq!(run.optimizer.trained_entries(), 72);
    }
}

#[test]
fn with_all_every_entry_that_has_a_gradient_changes() {
    for (name, device) in devices() {
        let mut run = Run::new(&device, BlockOptimizerConfig::new(0.0), All);
        let before = run.weights();
        run.steps(12, 1e-2);
        let after = run.weights();
        assert!(
            changed(&before, &after) > 240,
            "{name}: {}",
            changed(&before, &after)
        );
    }
}

/// A per-parameter share may be no entry at all; zero-sized state used to reach the device.
#[test]
fn a_selected_parameter_without_a_trained_entry_stays_as_it_is() {
    for (name, device) in devices() {
        let mut config = BlockOptimizerConfig::new(0.99);
        config.mask = MaskScope::PerParameter;
        config.partition = blockllm_policy::Partition::custom(|_| "one".into());
        let mut run = Run::new(&device, config, blockllm(NEVER));
        let before = run.weights();
        run.steps(3, 1e-2);
        assert_eq!(run.optimizer.trained_entries(), 3, "{name}");
        assert_eq!(run.optimizer.state_bytes(), 36, "{name}");
        assert!(changed(&before, &run.weights()) <= 3, "{name}");
    }
}
