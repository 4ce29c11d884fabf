//! Wrong use of GaLore is told, with the value, the limit and the path.
use crate::common::{Mlp, batch, reference};
use crate::galore_parity::settings;
use blockllm_optim::{GaLoreConfig, GradientsParams, LowRankOptimizer};
use burn::tensor::Device;

fn refusal(config: GaLoreConfig) -> String {
    let model = Mlp::from_reference(&reference(), &Device::flex().autodiff());
    LowRankOptimizer::new(&model, config).unwrap_err().to_string()
}

fn assert_told(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn a_rank_above_the_smaller_side_names_value_limit_and_path() {
    let error = refusal(GaLoreConfig {
        rank: 7,
        ..settings("std").0
    });
    assert_told(&error, &["rank 7", "`wide.weight`", "which is 6"]);
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let (good, _) = settings("std");
    assert_told(
        &refusal(GaLoreConfig {
            rank: 0,
            ..good.clone()
        }),
        &["`rank` is 0"],
    );
    let error = refusal(good.clone().with_update_proj_gap(0));
    assert_told(&error, &["`update_proj_gap` is 0"]);
    assert_told(&refusal(good.clone().with_scale(f64::NAN)), &["`scale` is NaN"]);
    assert_told(
        &refusal(good.clone().with_targets::<&str>([])),
        &["`targets` is empty"],
    );
    let mut wrong = good.clone();
    wrong.adam.beta_2 = 1.0;
    assert_told(&refusal(wrong), &["`beta_2` is 1", "[0, 1)"]);
    let error = refusal(good.with_max_grad_norm(Some(0.0)));
    assert_told(&error, &["`max_grad_norm` is 0"]);
}

#[test]
fn a_pattern_that_matches_no_matrix_shows_what_paths_look_like() {
    let error = refusal(settings("std").0.with_targets(["tall", "self_attn"]));
    assert_told(&error, &["`self_attn`", "4 matrices", "tall.weight"]);
    let error = refusal(settings("std").0.with_targets(["bias"]));
    assert_told(&error, &["`bias`"]);
}

#[test]
fn a_missing_gradient_names_the_parameter() {
    let model = Mlp::from_reference(&reference(), &Device::flex().autodiff());
    let mut optimizer = LowRankOptimizer::new(&model, settings("std").0).unwrap();
    let error = optimizer.step(model, GradientsParams::new(), 1e-2).unwrap_err();
    assert_told(
        &error.to_string(),
        &["tall.weight", "no trained parameter got a gradient"],
    );
}

#[test]
fn gradients_that_are_not_finite_are_an_error_before_the_svd() {
    let device = Device::flex().autodiff();
    let model = Mlp::from_reference(&reference(), &device);
    let mut optimizer = LowRankOptimizer::new(&model, settings("std").0).unwrap();
    let (x, y) = batch(&reference(), 0, &device);
    let model = optimizer.prepare(model, |_| unreachable!()).unwrap();
    let loss = model.loss(x, y.mul_scalar(f32::INFINITY));
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    let error = optimizer.step(model, gradients, 1e-2).unwrap_err();
    assert_told(&error.to_string(), &["step 1", "diverged"]);
    assert!(optimizer.observe(f64::NAN).is_err());
}

#[test]
fn a_module_whose_targets_are_frozen_is_refused() {
    use burn::module::Module;
    let model = Mlp::from_reference(&reference(), &Device::flex().autodiff());
    let frozen = model.clone().no_grad();
    let error = LowRankOptimizer::new(&frozen, settings("std").0).unwrap_err();
    assert_told(&error.to_string(), &["frozen", "unfreeze"]);
    let mut half = model;
    half.tall = half.tall.no_grad();
    let error = LowRankOptimizer::new(&half, settings("std").0.with_targets(["tall"])).unwrap_err();
    assert_told(&error.to_string(), &["`targets`", "tall", "unfreeze"]);
}

#[test]
fn a_record_of_other_settings_is_refused_by_name() {
    let device = Device::flex().autodiff();
    let model = Mlp::from_reference(&reference(), &device);
    let record = LowRankOptimizer::new(&model, settings("std").0).unwrap().record();
    let gap = settings("std").0.with_update_proj_gap(7);
    let mut other = LowRankOptimizer::new(&model, gap).unwrap();
    let error = other.restore(record.clone(), &device).unwrap_err();
    assert_told(&error.to_string(), &["update_proj_gap"]);
    let mut other = LowRankOptimizer::new(&model, settings("left").0).unwrap();
    let error = other.restore(record, &device).unwrap_err();
    assert_told(&error.to_string(), &["projection", "left"]);
}
