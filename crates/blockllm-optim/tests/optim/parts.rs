//! Gradients that come in parts: the same steps as with all at once, and what can be used early is.
use crate::clipping::gradients_of;
use crate::common::{NEVER, Run, Toy, batch, blockllm, devices, weights};
use blockllm_optim::{
    ApolloConfig, BlockOptimizerConfig, GaLoreConfig, GradientsParams, InactiveRule, LowRankConfig,
    LowRankOptimizer, MaskRefresh, MaskScope, Measured, OptimError, Reach, SvdMethod, parameters,
};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use std::collections::BTreeSet;

/// One part for each parameter, the last first, as they come from the top of a stack.
fn parts(model: &Toy, gradients: GradientsParams) -> Vec<GradientsParams> {
    struct Splitter {
        gradients: GradientsParams,
        parts: Vec<GradientsParams>,
    }
    impl ModuleVisitor for Splitter {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.remove::<D>(param.id) {
                let mut part = GradientsParams::new();
                part.register(param.id, gradient);
                self.parts.push(part);
            }
        }
    }
    let mut splitter = Splitter {
        gradients,
        parts: Vec::new(),
    };
    model.visit(&mut splitter);
    splitter.parts.reverse();
    splitter.parts
}

/// A step whose gradients come in parts; the most bytes of gradients that waited.
fn step_in_parts(run: &mut Run, step: usize, learning_rate: f64) -> u64 {
    run.prepare(&batch(step)).unwrap();
    let (loss, gradients) = run.backward(&batch(step));
    let mut waited = 0;
    let mut model = run.model.clone();
    for part in parts(&run.model, gradients) {
        model = run.optimizer.take(model, part, learning_rate).unwrap();
        waited = waited.max(run.optimizer.waiting_gradient_bytes());
    }
    let stepped = run
        .optimizer
        .step(model, GradientsParams::new(), learning_rate)
        .unwrap();
    run.model = stepped.model;
    run.optimizer.observe(loss).unwrap();
    waited
}

#[test]
fn steps_by_parts_have_the_bits_of_whole_steps_clipped_or_not() {
    for (name, device) in devices() {
        for clip in [None, Some(0.1)] {
            for inactive in [None, Some(InactiveRule::default())] {
                let mut config = BlockOptimizerConfig::new(0.7).with_max_grad_norm(clip);
                config.inactive = inactive;
                let mut whole = Run::new(&device, config.clone(), blockllm(2));
                let mut in_parts = Run::new(&device, config, blockllm(2));
                for step in 0..6 {
                    whole.step(&batch(step), 1e-2).unwrap();
                    step_in_parts(&mut in_parts, step, 1e-2);
                    assert_eq!(whole.weights(), in_parts.weights(), "{name} {clip:?} {step}");
                }
            }
        }
    }
}

#[test]
fn without_a_clip_nothing_waits_but_for_masks() {
    for (name, device) in devices() {
        let config = BlockOptimizerConfig::new(0.7);
        let mut run = Run::new(&device, config.clone(), blockllm(NEVER));
        assert!(step_in_parts(&mut run, 0, 1e-2) > 0, "{name}: masks are made");
        assert!(run.optimizer.uses_parts_at_once());
        for step in 1..4 {
            assert_eq!(step_in_parts(&mut run, step, 1e-2), 0, "{name}");
        }
        let mut run = Run::new(&device, config.with_max_grad_norm(Some(1.0)), blockllm(NEVER));
        for step in 0..3 {
            assert!(
                step_in_parts(&mut run, step, 1e-2) > 0,
                "{name}: the norm is of all"
            );
        }
    }
}

#[test]
fn masks_of_each_parameter_alone_wait_for_nothing_and_have_the_same_bits() {
    for (name, device) in devices() {
        for refresh in [MaskRefresh::EachSelection, MaskRefresh::EachStep] {
            let mut config = BlockOptimizerConfig::new(0.7);
            (config.mask, config.refresh) = (MaskScope::PerParameter, refresh);
            let mut whole = Run::new(&device, config.clone(), blockllm(2));
            let mut in_parts = Run::new(&device, config, blockllm(2));
            for step in 0..6 {
                whole.step(&batch(step), 1e-2).unwrap();
                assert_eq!(step_in_parts(&mut in_parts, step, 1e-2), 0, "{name}");
                assert_eq!(whole.weights(), in_parts.weights(), "{name} {refresh:?} {step}");
                let trained = [&whole, &in_parts].map(|run| run.optimizer.trained_entries());
                assert_eq!(trained[0], trained[1], "{name}");
            }
        }
        // A part that has nothing of the selection makes the state of what is always trained.
        let config = BlockOptimizerConfig {
            mask: MaskScope::PerParameter,
            ..BlockOptimizerConfig::new(0.5).with_roles(crate::common::roles(&["fc2.bias", "embed"], &[]))
        };
        let mut whole = Run::new(&device, config.clone(), blockllm(2));
        let mut in_parts = Run::new(&device, config, blockllm(2));
        for step in 0..3 {
            whole.step(&batch(step), 1e-2).unwrap();
            step_in_parts(&mut in_parts, step, 1e-2);
            assert_eq!(whole.weights(), in_parts.weights(), "{name} {step}");
        }
        // Where all is kept no gradient has to be compared.
        let mut dense = Run::new(&device, BlockOptimizerConfig::new(0.0), blockllm_policy::All);
        assert_eq!(step_in_parts(&mut dense, 0, 1e-2), 0, "{name}");
    }
}

#[test]
fn methods_with_subspaces_take_parts_too() {
    for (name, device) in devices() {
        for clip in [None, Some(0.1)] {
            let targets = vec!["fc1".into()];
            let galore = GaLoreConfig {
                svd: SvdMethod::randomized(),
                max_grad_norm: clip,
                targets: targets.clone(),
                ..GaLoreConfig::new(2)
            };
            let apollo = ApolloConfig {
                max_grad_norm: clip,
                targets,
                ..ApolloConfig::default()
            };
            let start = Toy::new(&device);
            let trained = |config: &LowRankConfig, split| {
                let mut model = start.clone();
                let mut optimizer = LowRankOptimizer::new(&model, config.clone()).unwrap();
                for step in 0..3 {
                    model = optimizer.unfreeze(model);
                    let loss = model.loss(&batch(step), &device);
                    let gradients = GradientsParams::from_grads(loss.backward(), &model);
                    let mut rest = GradientsParams::new();
                    if split {
                        for part in parts(&model, gradients) {
                            model = optimizer.take(model, part, 1e-2).unwrap();
                            assert_eq!(optimizer.waiting_gradient_bytes() > 0, clip.is_some());
                        }
                    } else {
                        rest = gradients;
                    }
                    model = optimizer.step(model, rest, 1e-2).unwrap().model;
                }
                weights(&model)
            };
            for config in [galore.into(), apollo.into()] {
                let [whole, in_parts] = [false, true].map(|split| trained(&config, split));
                assert_eq!(whole, in_parts, "{name} {clip:?} {config:?}");
            }
        }
    }
}

#[test]
fn a_gradient_that_is_given_twice_is_refused_by_path() {
    let (_, device) = devices().remove(0);
    let mut run = Run::new(&device, BlockOptimizerConfig::new(0.0), blockllm(NEVER));
    run.prepare(&batch(0)).unwrap();
    let (_, first) = run.backward(&batch(0));
    let (_, second) = run.backward(&batch(0));
    let model = run.optimizer.take(run.model.clone(), first, 1e-2).unwrap();
    let error = run.optimizer.take(model, second, 1e-2).unwrap_err();
    assert!(matches!(error, OptimError::GradientTwice { .. }), "{error}");
    assert!(
        error.to_string().contains("fc") || error.to_string().contains("embed"),
        "{error}"
    );
}

/// Paths behind the first one that is trained or probed.
fn behind(run: &Run, lowest: &str) -> BTreeSet<String> {
    parameters(&run.model)
        .into_iter()
        .map(|parameter| parameter.info.path)
        .skip_while(|path| path != lowest)
        .skip(1)
        .collect()
}

fn first_of(run: &Run, paths: &BTreeSet<String>) -> String {
    let all = parameters(&run.model);
    let mut all = all.iter().map(|parameter| &parameter.info.path);
    all.find(|path| paths.contains(*path)).unwrap().clone()
}

#[test]
fn what_lies_above_the_lowest_trained_block_is_measured_or_moved_where_that_is_asked_for() {
    for (name, device) in devices() {
        for moves in [false, true] {
            let mut config = BlockOptimizerConfig::new(0.9);
            config.probes = 0;
            if moves {
                config.inactive = Some(InactiveRule {
                    reach: Reach::Above,
                    ..InactiveRule::default()
                });
            } else {
                config.measured = Measured::Passed;
            }
            let mut run = Run::new(&device, config, blockllm(NEVER));
            run.prepare(&batch(0)).unwrap();
            let selected: BTreeSet<String> = run
                .optimizer
                .selected_blocks()
                .into_iter()
                .map(String::from)
                .collect();
            let lowest = first_of(&run, &selected);
            let mut expected = behind(&run, &lowest);
            expected.insert(lowest);
            let (_, gradients) = run.backward(&batch(0));
            let found: BTreeSet<_> = gradients_of(&run.model, &gradients).into_keys().collect();
            assert_eq!(found, expected, "{name}");

            let before = run.weights();
            run.step(&batch(0), 1e-2).unwrap();
            let moved: BTreeSet<String> = run
                .weights()
                .into_iter()
                .filter(|(path, values)| *values != before[path])
                .map(|(path, _)| path)
                .collect();
            let outside = moved.difference(&selected).count();
            assert_eq!(outside > 0, moves, "{name}: {moved:?}");
            assert!(moved.is_subset(&expected), "{name}: {moved:?}");
        }
    }
}
