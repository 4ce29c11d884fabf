//! Misuse: every error names the value and the limit.
use crate::common::{NEVER, Run, Toy, batch, blockllm, devices, roles};
use blockllm_optim::{AdamW, BlockOptimizer, BlockOptimizerConfig, GradientsParams, OptimError, SweepMode};
use blockllm_policy::{All, Roles};
use burn::tensor::Device;

fn refused(device: &Device, config: BlockOptimizerConfig) -> String {
    let error = BlockOptimizer::new(&Toy::new(device), config, blockllm(NEVER));
    error.unwrap_err().to_string()
}

fn assert_names(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn settings_out_of_range_are_refused_with_value_and_limit() {
    for (_, device) in devices() {
        let config = || BlockOptimizerConfig::new(0.5);
        for sparsity in [1.0, -0.5, f64::NAN] {
            let text = refused(&device, BlockOptimizerConfig::new(sparsity));
            assert_names(&text, &[&format!("sparsity {sparsity}"), "[0, 1)"]);
        }
        let greedy = config().with_roles(roles(&["embed", "fc2"], &[]));
        assert_names(&refused(&device, greedy), &["187", "0.5", "269", "135"]);
        let typo = config().with_roles(roles(&["classifer"], &[]));
        assert_names(
            &refused(&device, typo),
            &["`classifer`", "7 parameters", "`embed.weight`"],
        );
        let typo = config().with_roles(roles(&[], &["fc"]));
        assert_names(&refused(&device, typo), &["`fc`"]);
        let never = ["embed", "norm", "fc1", "fc2"].map(String::from).to_vec();
        let none = config().with_roles(Roles {
            never,
            ..Roles::default()
        });
        assert_names(&refused(&device, none), &["7 blocks", "no candidate"]);
        let mut sweep = config();
        sweep.sweep = SweepMode::Grouped(0);
        assert_names(
            &refused(&device, sweep),
            &["`sweep`", "Grouped(0)", "at least one"],
        );
        for norm in [0.0, -1.0, f64::NAN] {
            let text = refused(&device, config().with_max_grad_norm(Some(norm)));
            assert_names(&text, &["`max_grad_norm`", &norm.to_string(), "positive"]);
        }
        let beta = AdamW {
            beta_2: 1.0,
            ..AdamW::default()
        };
        assert_names(
            &refused(&device, config().with_update(beta)),
            &["`beta_2`", "is 1", "[0, 1)"],
        );
    }
}

#[test]
fn a_loss_that_is_no_number_names_its_step() {
    for (_, device) in devices() {
        for loss in [f64::NAN, f64::INFINITY] {
            let mut run = Run::new(&device, BlockOptimizerConfig::new(0.5), blockllm(1));
            run.steps(2, 1e-2);
            let error = run.optimizer.observe(loss).unwrap_err();
            assert!(matches!(error, OptimError::BadLoss { step: 3, .. }));
            assert_names(&error.to_string(), &["step 3", &loss.to_string()]);
        }
    }
}

/// A loss that reaches the first linear layer's matrix only.
fn of_fc1_alone(model: &Toy) -> GradientsParams {
    GradientsParams::from_grads(model.fc1.weight.val().sum().backward(), model)
}

#[test]
fn trained_parameters_without_a_gradient_stay_and_are_told() {
    for (name, device) in devices() {
        let mut run = Run::new(&device, BlockOptimizerConfig::new(0.0), All);
        for step in 0..2 {
            run.prepare(&batch(step)).unwrap();
            let before = run.weights();
            let gradients = of_fc1_alone(&run.model);
            let stepped = run.optimizer.step(run.model.clone(), gradients, 1e-2).unwrap();
            assert_eq!(stepped.without_gradient.len(), 6, "{name}");
            assert!(stepped.without_gradient.contains(&"embed.weight".to_owned()));
            run.model = stepped.model;
            run.optimizer.observe(1.0).unwrap();
            for (path, values) in run.weights() {
                assert_eq!(values == before[&path], path != "fc1.weight", "{name} {path}");
            }
        }
        // The next step has them all, and all move.
        let before = run.weights();
        run.step(&batch(2), 1e-2).unwrap();
        assert!(
            run.weights().iter().all(|(path, values)| *values != before[path]),
            "{name}"
        );
    }
}

#[test]
fn a_step_without_any_gradient_is_refused() {
    for (_, device) in devices() {
        let run = Run::new(&device, BlockOptimizerConfig::new(0.0), All);
        let (model, mut optimizer) = (run.model, run.optimizer);
        let model = optimizer
            .prepare(model, |model| model.loss(&batch(0), &device))
            .unwrap();
        let error = optimizer.step(model, GradientsParams::new(), 1e-2).unwrap_err();
        assert!(matches!(error, OptimError::MissingGradient { .. }));
        assert_names(&error.to_string(), &["`embed.weight`", "prepare", "never"]);
    }
}

#[test]
fn a_parameter_in_two_places_is_refused() {
    let (_, device) = devices().remove(0);
    let mut model = Toy::new(&device);
    model.fc2.bias = model.fc1.bias.clone();
    let error = BlockOptimizer::new(&model, BlockOptimizerConfig::new(0.5), All).unwrap_err();
    assert_names(&error.to_string(), &["`fc1.bias`", "`fc2.bias`", "one parameter"]);
}

#[cfg(feature = "wgpu")]
#[test]
fn a_module_on_two_devices_is_refused() {
    use burn::module::Module;
    let [(_, flex), (_, wgpu)] = devices().try_into().unwrap();
    let mut model = Toy::new(&flex);
    model.fc2 = model.fc2.to_device(&wgpu);
    let error = BlockOptimizer::new(&model, BlockOptimizerConfig::new(0.5), All).unwrap_err();
    assert_names(&error.to_string(), &["2 devices", "to_device"]);
}

#[test]
fn a_diverged_gradient_is_refused_at_the_next_selection() {
    for (_, device) in devices() {
        let mut run = Run::new(&device, BlockOptimizerConfig::new(0.5), blockllm(NEVER));
        run.prepare(&batch(0)).unwrap();
        let loss = run.model.loss(&batch(0), &device).mul_scalar(f32::NAN);
        let gradients = GradientsParams::from_grads(loss.backward(), &run.model);
        run.model = run.optimizer.step(run.model, gradients, 0.0).unwrap().model;
        run.optimizer.request_selection();
        let error = run.prepare(&batch(1)).unwrap_err();
        assert_names(&error.to_string(), &["NaN", "diverged"]);
    }
}

/// This used to reach backward with no parameter unfrozen.
#[test]
fn another_module_is_refused() {
    for (_, device) in devices() {
        let mut run = Run::new(&device, BlockOptimizerConfig::new(0.5), blockllm(NEVER));
        run.model = Toy::new(&device);
        let error = run.prepare(&batch(0)).unwrap_err();
        assert!(matches!(error, OptimError::MissingParameter { .. }));
        assert_names(&error.to_string(), &["`embed.weight`"]);
    }
}

/// This used to panic.
#[test]
fn a_step_before_the_first_prepare_is_refused() {
    for (_, device) in devices() {
        let run = Run::new(&device, BlockOptimizerConfig::new(0.5), blockllm(NEVER));
        let (_, gradients) = run.backward(&batch(0));
        let mut optimizer = run.optimizer;
        let error = optimizer.step(run.model, gradients, 1e-2).unwrap_err();
        assert!(matches!(error, OptimError::NotPrepared));
        assert_names(&error.to_string(), &["prepare"]);
    }
}
