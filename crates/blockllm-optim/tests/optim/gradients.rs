//! Gradients exist only for `S`, `P` and `A`, and probes go round.
use crate::clipping::gradients_of;
use crate::common::{NEVER, Run, batch, blockllm, devices, roles};
use blockllm_optim::{BlockOptimizerConfig, NormKind, parameters};
use blockllm_policy::All;
use std::collections::BTreeSet;

/// Paths that have a gradient after the backward of a prepared step.
fn with_gradient(run: &Run, step: usize) -> BTreeSet<String> {
    let (_, gradients) = run.backward(&batch(step));
    gradients_of(&run.model, &gradients).into_keys().collect()
}

#[test]
fn only_selected_probed_and_always_trained_parameters_get_one() {
    for (name, device) in devices() {
        for probes in [0, 2] {
            let mut config = BlockOptimizerConfig::new(0.7).with_roles(roles(&["norm.gamma"], &["fc2.bias"]));
            config.probes = probes;
            let mut run = Run::new(&device, config, blockllm(1));
            for step in 0..4 {
                run.prepare(&batch(step)).unwrap();
                let found = with_gradient(&run, step);
                let mut trained: BTreeSet<String> = run
                    .optimizer
                    .selected_blocks()
                    .into_iter()
                    .map(String::from)
                    .collect();
                trained.insert("norm.gamma".into());
                assert!(trained.is_subset(&found), "{name} {step}: {trained:?} {found:?}");
                assert!(!found.contains("fc2.bias"), "{name}: never trained");
                let outside = 5 - (trained.len() - 1);
                assert_eq!(
                    found.len(),
                    trained.len() + probes.min(outside),
                    "{name} {step}: {found:?}"
                );
                let list = parameters(&run.model).into_iter();
                let entries = list.filter(|parameter| found.contains(&parameter.info.path));
                let entries: u64 = entries.map(|parameter| parameter.info.numel).sum();
                assert_eq!(run.optimizer.gradient_entries(), entries, "{name} {step}");
                run.step(&batch(step), 1e-2).unwrap();
            }
        }
    }
}

#[test]
fn a_policy_without_norms_needs_no_sweep_and_no_probes() {
    for (name, device) in devices() {
        let run = Run::new(&device, BlockOptimizerConfig::new(0.0), All);
        let (model, mut optimizer) = (run.model, run.optimizer);
        let model = optimizer
            .prepare(model, |_| panic!("{name}: `all` needs no sweep"))
            .unwrap();
        assert_eq!(optimizer.gradient_entries(), crate::common::ENTRIES);
        drop(model);
    }
}

/// Probes used to be noted with the number of the step before, so that the first pair was probed twice.
#[test]
fn probes_are_the_least_recently_measured_and_go_round() {
    for (name, device) in devices() {
        let mut config = BlockOptimizerConfig::new(0.8).with_norm(NormKind::Grad);
        config.probes = 2;
        let mut run = Run::new(&device, config, blockllm(NEVER));
        let mut probed = Vec::new();
        let mut selected = Vec::new();
        for step in 0..4 {
            run.prepare(&batch(step)).unwrap();
            selected = run
                .optimizer
                .selected_blocks()
                .into_iter()
                .map(String::from)
                .collect();
            let probes: Vec<String> = with_gradient(&run, step)
                .into_iter()
                .filter(|path| !selected.contains(path))
                .collect();
            probed.push(probes);
            run.step(&batch(step), 1e-2).unwrap();
        }
        let all = parameters(&run.model)
            .into_iter()
            .map(|parameter| parameter.info.path);
        let outside: Vec<_> = all.filter(|path| !selected.contains(path)).collect();
        for (step, probes) in probed.into_iter().enumerate() {
            let due: BTreeSet<_> = (0..2)
                .map(|i| outside[(2 * step + i) % outside.len()].clone())
                .collect();
            assert_eq!(probes.into_iter().collect::<BTreeSet<_>>(), due, "{name} {step}");
        }
    }
}

#[test]
fn norms_of_probed_and_selected_blocks_are_those_of_their_latest_gradient() {
    for (name, device) in devices() {
        for kind in [NormKind::Grad, NormKind::Rms] {
            let mut config = BlockOptimizerConfig::new(0.8).with_norm(kind);
            config.probes = 7;
            let mut run = Run::new(&device, config, blockllm(NEVER));
            run.steps(2, 1e-2);
            run.prepare(&batch(2)).unwrap();
            let (_, gradients) = run.backward(&batch(2));
            let latest = gradients_of(&run.model, &gradients);
            assert_eq!(latest.len(), 7, "every block is probed");
            run.step(&batch(2), 1e-2).unwrap();
            run.optimizer.request_selection();
            run.prepare(&batch(3)).unwrap();
            for (index, block) in run.optimizer.selector().blocks().iter().enumerate() {
                let values = &latest[&block.name];
                let squares: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
                let expected = match kind {
                    NormKind::Grad => squares.sqrt(),
                    NormKind::Rms => (squares / values.len() as f64).sqrt(),
                    NormKind::Processed => unreachable!("`choices.rs` tests it"),
                };
                let norm = run.optimizer.selector().norms()[index].unwrap();
                assert!(
                    (norm / expected - 1.0).abs() < 1e-6,
                    "{name} {kind:?} {}: {norm} {expected}",
                    block.name
                );
            }
        }
    }
}
