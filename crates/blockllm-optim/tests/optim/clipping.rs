//! Clipping by the global norm of the trained blocks' gradients, as `clip_grad_norm_` does.
use crate::common::{NEVER, Run, Weights, batch, blockllm, devices, max_difference, roles};
use blockllm_optim::{BlockOptimizerConfig, CarriedMoments, GradientsParams, MaskRefresh, Sgd, parameters};
use blockllm_policy::Fixed;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// Gradients by path.
pub fn gradients_of<M: Module>(module: &M, gradients: &GradientsParams) -> Weights {
    struct Reader<'a>(&'a GradientsParams, Vec<Option<Vec<f32>>>);
    impl ModuleVisitor for Reader<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push(self.0.get::<D>(param.id).map(crate::common::floats));
        }
    }
    let mut reader = Reader(gradients, Vec::new());
    module.visit(&mut reader);
    let paths = parameters(module)
        .into_iter()
        .map(|parameter| parameter.info.path);
    let found = paths.zip(reader.1);
    found
        .filter_map(|(path, values)| values.map(|values| (path, values)))
        .collect()
}

fn norm<'a>(values: impl Iterator<Item = &'a f32>) -> f64 {
    values.map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

/// Plain SGD shows the gradient in the update.
fn config(max_grad_norm: Option<f64>) -> BlockOptimizerConfig {
    let plain = Sgd {
        momentum: 0.0,
        weight_decay: 0.0,
    };
    BlockOptimizerConfig::new(0.0)
        .with_roles(roles(&["norm"], &[]))
        .with_update(plain)
        .with_max_grad_norm(max_grad_norm)
}

const TRAINED: [&str; 4] = ["norm.gamma", "norm.beta", "fc1.weight", "fc1.bias"];

#[test]
fn the_update_is_that_of_the_gradient_clipped_by_hand() {
    for (name, device) in devices() {
        for max in [None, Some(0.05), Some(1e6)] {
            let policy = Fixed::new(vec!["fc1.weight".into(), "fc1.bias".into()]).unwrap();
            let mut run = Run::new(&device, config(max), policy);
            let before = run.weights();
            run.prepare(&batch(0)).unwrap();
            let (_, gradients) = run.backward(&batch(0));
            let by_hand = gradients_of(&run.model, &gradients);
            assert_eq!(by_hand.len(), TRAINED.len());
            let expected_norm = norm(by_hand.values().flatten());
            let scale = max.map_or(1.0, |max| (max / (expected_norm + 1e-6)).min(1.0));
            let told = run.step(&batch(0), 0.5).unwrap();
            let relative = (told.grad_norm / expected_norm - 1.0).abs();
            assert!(
                relative < 1e-6,
                "{name} {max:?}: {} {expected_norm}",
                told.grad_norm
            );
            let after = run.weights();
            for (path, gradient) in by_hand {
                for ((new, old), gradient) in after[&path].iter().zip(&before[&path]).zip(gradient) {
                    let expected = f64::from(*old) - 0.5 * scale * f64::from(gradient);
                    assert!((f64::from(*new) - expected).abs() < 1e-6, "{name} {max:?} {path}");
                }
            }
        }
    }
}

#[test]
fn probes_do_not_enter_the_global_norm() {
    for (name, device) in devices() {
        let mut config = config(Some(0.05));
        config.sparsity = 0.5;
        config.probes = 2;
        let mut run = Run::new(&device, config, blockllm(NEVER));
        run.prepare(&batch(0)).unwrap();
        let (_, gradients) = run.backward(&batch(0));
        let found = gradients_of(&run.model, &gradients);
        let selected: Vec<String> = run
            .optimizer
            .selected_blocks()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found.len(), selected.len() + 2 + 2, "{name}: S, A and two probes");
        let trained = found
            .iter()
            .filter(|(path, _)| selected.contains(path) || path.starts_with("norm"));
        let expected = norm(trained.flat_map(|(_, values)| values));
        let told = run.step(&batch(0), 1e-3).unwrap();
        assert!(
            (told.grad_norm / expected - 1.0).abs() < 1e-6,
            "{name}: {} {expected}",
            told.grad_norm
        );
    }
}

/// The gradients of `run`'s model, each multiplied by `factor`.
fn scaled(run: &Run, gradients: GradientsParams, factor: f64) -> GradientsParams {
    struct Scaler(GradientsParams, f64);
    impl ModuleVisitor for Scaler {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                self.0.register(param.id, gradient.mul_scalar(self.1));
            }
        }
    }
    let mut scaler = Scaler(gradients, factor);
    run.model.visit(&mut scaler);
    scaler.0
}

/// Entries that join moments in progress used to be seeded from the gradient before it was clipped.
#[test]
fn clipped_steps_are_steps_with_smaller_gradients_where_moments_are_carried_over_too() {
    for (name, device) in devices() {
        for (moments, refresh) in [
            (CarriedMoments::CarriedOver, MaskRefresh::EachSelection),
            (CarriedMoments::Reset, MaskRefresh::EachStep),
        ] {
            let limit = 0.05;
            let mut config = BlockOptimizerConfig::new(0.7);
            (config.moments, config.refresh, config.probes) = (moments, refresh, 0);
            // The gradients of the second run are measured smaller: with a policy that ranks by norms it would select others.
            let policy =
                || blockllm_policy::Cyclic::new(2, blockllm_policy::CyclicOrder::Ascending, None).unwrap();
            let mut clipped = Run::new(&device, config.clone().with_max_grad_norm(Some(limit)), policy());
            let mut small = Run::new(&device, config, policy());
            for step in 0..8 {
                let told = clipped.step(&batch(step), 1e-2).unwrap();
                assert!(told.grad_norm > 2.0 * limit, "{name}: it clips");
                small.prepare(&batch(step)).unwrap();
                let (loss, gradients) = small.backward(&batch(step));
                let gradients = scaled(&small, gradients, limit / (told.grad_norm + 1e-6));
                small.model = small
                    .optimizer
                    .step(small.model.clone(), gradients, 1e-2)
                    .unwrap()
                    .model;
                small.optimizer.observe(loss).unwrap();
                let difference = max_difference(&clipped.weights(), &small.weights());
                assert!(difference < 1e-5, "{name} {moments:?} {step}: {difference}");
            }
        }
    }
}
