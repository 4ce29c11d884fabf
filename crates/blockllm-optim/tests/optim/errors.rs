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

#[test]
fn a_trained_parameter_without_a_gradient_is_named() {
    for (_, device) in devices() {
        let run = Run::new(&device, BlockOptimizerConfig::new(0.0), All);
        let (model, mut optimizer) = (run.model, run.optimizer);
        let model = optimizer
            .prepare(model, |model| model.loss(&batch(0), &device))
            .unwrap();
        // A loss that never reaches the second layer.
        let gradients = model.fc1.weight.val().sum().backward();
        let gradients = GradientsParams::from_grads(gradients, &model);
        let error = optimizer.step(model, gradients, 1e-2).unwrap_err();
        assert!(matches!(error, OptimError::MissingGradient { .. }));
        assert_names(&error.to_string(), &["`embed.weight`", "prepare"]);
    }
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
