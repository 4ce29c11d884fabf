//! The choices that the paper leaves open: each setting does what it says.
use crate::common::{ENTRIES, NEVER, Run, Weights, batch, blockllm, devices, roles, weights};
use blockllm_optim::{
    BlockOptimizerConfig, CarriedMoments, InactiveRule, MaskRefresh, MaskThreshold, NormKind, Sgd,
    StateEstimate,
};
use blockllm_policy::Partition;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use std::collections::BTreeMap;

/// Everything in one block, so that only the mask chooses.
fn one_block(sparsity: f64) -> BlockOptimizerConfig {
    BlockOptimizerConfig::new(sparsity).with_partition(Partition::custom(|_| "all".into()))
}

/// All gradients of the prepared model, by path.
fn gradients_of(run: &Run, step: usize) -> Weights {
    struct Reader<'a>(&'a GradientsParams, Vec<Vec<f32>>);
    impl ModuleVisitor for Reader<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.0.get::<D>(param.id);
            self.1
                .push(gradient.map(crate::common::floats).unwrap_or_default());
        }
    }
    let (_, gradients) = run.backward(&batch(step));
    let mut reader = Reader(&gradients, Vec::new());
    run.model.visit(&mut reader);
    weights(&run.model)
        .into_keys()
        .zip(reordered(run, reader.1))
        .collect()
}

/// From visiting order to the order of the paths.
fn reordered(run: &Run, values: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let paths = run
        .optimizer
        .parameters()
        .iter()
        .map(|parameter| parameter.info.path.clone());
    let by_path: BTreeMap<_, _> = paths.zip(values).collect();
    by_path.into_values().collect()
}

/// Plain Adam on the `keep` largest gradients of each step, entry by entry: moments live as long as an entry is in
/// the mask, and one that joins a parameter with `t` steps behind it starts as if its gradient had been there in all
/// of them. A parameter without an entry in the mask begins afresh.
#[derive(Default)]
struct EntryAdam {
    moments: BTreeMap<(String, usize), (f64, f64)>,
    steps: BTreeMap<String, i32>,
}

impl EntryAdam {
    fn step(&mut self, weights: &mut Weights, gradients: &Weights, keep: usize, learning_rate: f64) {
        let mut entries: Vec<(String, usize, f64)> = Vec::new();
        for (path, values) in gradients {
            entries.extend(
                values
                    .iter()
                    .enumerate()
                    .map(|(i, g)| (path.clone(), i, f64::from(*g))),
            );
        }
        entries.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()));
        entries.truncate(keep);
        let before = std::mem::take(&mut self.moments);
        self.steps
            .retain(|path, _| entries.iter().any(|(kept, ..)| kept == path));
        for path in gradients
            .keys()
            .filter(|path| entries.iter().any(|(kept, ..)| kept == *path))
        {
            *self.steps.entry(path.clone()).or_insert(0) += 1;
        }
        for (path, index, gradient) in entries {
            let step = self.steps[&path];
            let (rest_1, rest_2) = (1.0 - 0.9f64.powi(step - 1), 1.0 - 0.999f64.powi(step - 1));
            let joining = (gradient * rest_1, gradient * gradient * rest_2);
            let (m, v) = *before.get(&(path.clone(), index)).unwrap_or(&joining);
            let (m, v) = (0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient * gradient);
            let (m_hat, v_hat) = (m / (1.0 - 0.9f64.powi(step)), v / (1.0 - 0.999f64.powi(step)));
            let weight = &mut weights.get_mut(&path).expect("paths agree")[index];
            *weight = (f64::from(*weight) - learning_rate * m_hat / (v_hat.sqrt() + 1e-8)) as f32;
            self.moments.insert((path, index), (m, v));
        }
    }
}

#[test]
fn a_mask_refreshed_every_step_trains_the_largest_gradients_of_each_step() {
    for (name, device) in devices() {
        let mut config = one_block(0.7);
        config.refresh = MaskRefresh::EachStep;
        let mut run = Run::new(&device, config, blockllm(NEVER));
        let mut reference = EntryAdam::default();
        let mut expected = run.weights();
        let mut masks = Vec::new();
        for step in 0..12 {
            run.prepare(&batch(step)).unwrap();
            let gradients = gradients_of(&run, step);
            let before = run.weights();
            run.step(&batch(step), 1e-2).unwrap();
            reference.step(&mut expected, &gradients, 81, 1e-2);
            assert_eq!(run.optimizer.trained_entries(), 81, "{name}");
            assert_eq!(run.optimizer.state_bytes(), run.optimizer.estimated_state_bytes());
            let after = run.weights();
            let changed = |path: &String| {
                before[path]
                    .iter()
                    .zip(&after[path])
                    .map(|(a, b)| a.to_bits() != b.to_bits())
                    .collect::<Vec<_>>()
            };
            masks.push(before.keys().flat_map(changed).collect::<Vec<_>>());
            let difference = crate::common::max_difference(&after, &expected);
            assert!(difference < 2e-5, "{name} step {step}: {difference}");
        }
        masks.dedup();
        assert!(masks.len() > 4, "{name}: the mask moves with the gradients");
    }
}

#[test]
fn carried_moments_make_a_selection_of_the_same_blocks_no_event() {
    for (name, device) in devices() {
        for (sparsity, partition) in [(0.0, Partition::Tensor), (0.0, Partition::DecoderLayer)] {
            let train = |patience, moments| {
                let mut config = BlockOptimizerConfig::new(sparsity).with_partition(partition.clone());
                config.moments = moments;
                let mut run = Run::new(&device, config, blockllm(patience));
                for step in 0..6 {
                    run.step(&batch(step), 1e-2).unwrap();
                    run.optimizer.observe(9.0).unwrap();
                }
                (run.optimizer.visits().selections(), run.weights())
            };
            let (once, undisturbed) = train(NEVER, CarriedMoments::Reset);
            let (often, carried) = train(1, CarriedMoments::CarriedOver);
            let (_, reset) = train(1, CarriedMoments::Reset);
            assert!(once == 1 && often > 3, "{name}: {once} {often}");
            assert_eq!(undisturbed, carried, "{name}");
            assert!(
                crate::common::max_difference(&undisturbed, &reset) > 1e-4,
                "{name}"
            );
        }
    }
}

#[test]
fn carried_moments_of_a_block_that_left_are_dropped_with_it() {
    for (name, device) in devices() {
        let mut config = BlockOptimizerConfig::new(0.0)
            .with_partition(Partition::Module)
            .with_roles(roles(&["norm"], &[]));
        config.moments = CarriedMoments::CarriedOver;
        let cyclic =
            blockllm_policy::Cyclic::new(2, blockllm_policy::CyclicOrder::Ascending, Some(1)).unwrap();
        let mut run = Run::new(&device, config, cyclic);
        run.steps(2, 1e-2);
        run.prepare(&batch(2)).unwrap();
        assert_eq!(
            run.optimizer.state_bytes(),
            12 * 8,
            "{name}: embed left, only A stays"
        );
    }
}

#[test]
fn a_sampled_threshold_stays_within_its_bound() {
    for (name, device) in devices() {
        let mut config = one_block(0.5);
        config.threshold = MaskThreshold::Sampled(256);
        let mut run = Run::new(&device, config, blockllm(NEVER));
        run.steps(3, 1e-2);
        let trained = run.optimizer.trained_entries();
        // 4 standard deviations of a half sampled 256 times: an eighth of all entries.
        assert!(
            trained.abs_diff(ENTRIES.div_ceil(2)) <= ENTRIES.div_ceil(8),
            "{name}: {trained}"
        );
        assert_eq!(run.optimizer.state_bytes(), run.optimizer.estimated_state_bytes());
    }
}

#[test]
fn fewer_samples_than_the_bound_needs_are_refused() {
    let device = burn::tensor::Device::flex().autodiff();
    let mut config = one_block(0.5);
    config.threshold = MaskThreshold::Sampled(10);
    let toy = crate::common::Toy::new(&device);
    let error = blockllm_optim::BlockOptimizer::new(&toy, config, blockllm(NEVER))
        .unwrap_err()
        .to_string();
    assert!(error.contains("threshold") && error.contains("256"), "{error}");
}

/// Without moments the processed norm is the raw one; later that of a selected block is the norm of its `G`, which
/// for SGD without momentum is the gradient itself, so that both kinds agree.
#[test]
fn processed_norms_are_of_one_unit_with_the_raw_ones() {
    for (name, device) in devices() {
        let norms = |norm| {
            let mut config = BlockOptimizerConfig::new(0.6).with_norm(norm).with_update(Sgd {
                momentum: 0.0,
                ..Sgd::default()
            });
            config.probes = 7;
            let mut run = Run::new(&device, config, blockllm(NEVER));
            run.steps(3, 1e-2);
            run.optimizer.request_selection();
            run.prepare(&batch(3)).unwrap();
            run.optimizer.selector().norms().to_vec()
        };
        let masked = norms(NormKind::Processed);
        let raw = norms(NormKind::Grad);
        let ratios: Vec<f64> = masked
            .iter()
            .zip(&raw)
            .map(|(a, b)| a.unwrap() / b.unwrap())
            .collect();
        // Masked blocks lose the entries outside the mask, which are the small ones; the others are scaled alike.
        assert!(
            ratios.iter().all(|ratio| *ratio > 0.7 && *ratio < 1.0 + 1e-5),
            "{name}: {ratios:?}"
        );
    }
}

#[test]
fn the_processed_norm_of_fresh_adam_moments_is_the_root_of_the_trained_entries() {
    for (name, device) in devices() {
        let config = BlockOptimizerConfig::new(0.6).with_norm(NormKind::Processed);
        let mut run = Run::new(&device, config, blockllm(NEVER));
        run.steps(1, 1e-2);
        let selected = run.optimizer.selector().selected().to_vec();
        let trained = run.optimizer.trained_entries() as f64;
        run.optimizer.request_selection();
        run.prepare(&batch(1)).unwrap();
        let norms = run.optimizer.selector().norms();
        let squares: f64 = selected.iter().map(|block| norms[block.0].unwrap().powi(2)).sum();
        assert!(
            (squares / trained - 1.0).abs() < 1e-2,
            "{name}: {squares} {trained}"
        );
    }
}

#[test]
fn the_inactive_rule_moves_other_blocks_by_the_sign_and_keeps_no_state() {
    for (name, device) in devices() {
        let mut config = BlockOptimizerConfig::new(0.8).with_roles(roles(&[], &["fc2.bias"]));
        config.inactive = Some(InactiveRule {
            scale: 0.5,
            ..InactiveRule::default()
        });
        let mut run = Run::new(&device, config, blockllm(NEVER));
        run.prepare(&batch(0)).unwrap();
        let selected: Vec<String> = run
            .optimizer
            .selected_blocks()
            .into_iter()
            .map(String::from)
            .collect();
        assert_eq!(
            run.optimizer.gradient_entries(),
            ENTRIES - 11,
            "{name}: all but the frozen bias"
        );
        let gradients = gradients_of(&run, 0);
        let before = run.weights();
        run.step(&batch(0), 1e-2).unwrap();
        let after = run.weights();
        for (path, values) in &before {
            let is_selected = selected.contains(path);
            for (index, (a, b)) in values.iter().zip(&after[path]).enumerate() {
                if path == "fc2.bias" {
                    assert_eq!(a.to_bits(), b.to_bits(), "{name} {path}");
                } else if !is_selected {
                    let gradient = gradients[path][index];
                    let sign = if gradient == 0.0 { 0.0 } else { gradient.signum() };
                    assert!(
                        (b - (a - 5e-3 * sign)).abs() < 1e-7,
                        "{name} {path} {a} {b} {gradient}"
                    );
                }
            }
        }
        let trained = run.optimizer.trained_entries();
        assert_eq!(trained, 52, "{name}: the budget, ceil(0.2 * 258)");
        let most = StateEstimate::new(ENTRIES, trained, 2);
        assert!(
            run.optimizer.state_bytes() <= most.bytes(),
            "{name}: no state beyond the budget's"
        );
        // Another step goes on without probes: everything is measured anyway.
        run.step(&batch(1), 1e-2).unwrap();
        let measured = run.optimizer.selector().measured_at();
        let ages: Vec<_> = measured.iter().flatten().collect();
        assert!(
            ages.len() == 6 && ages.iter().all(|age| **age == 2),
            "{name}: {measured:?}"
        );
    }
}
