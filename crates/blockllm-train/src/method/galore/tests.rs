//! Tests of `GaLore`: its name and settings, what fine-tuning changes, what it trains and keeps, on paper and on a module.
#![cfg(test)]

use super::GaLoreMethod;
use crate::memory::plan::{ParameterState, Part, PlannedParameter};
use crate::method::testing::{
    FULL, assert_counts, assert_method_not_made, assert_refused, assert_refused_alike, fine_tuned, for_run,
    heeded, named, optimizer, parameter, planned, planned_state, rates, state_bytes, with_patience,
};
use crate::method::{FineTuning, LearningRates, Method};
use blockllm_model::ParameterKind;
use blockllm_optim::{Groups, LowRankOptimizer, SvdMethod};

#[test]
fn the_number_is_the_rank_and_64_without_one() {
    let pretraining = GaLoreMethod {
        rank: 4,
        update_proj_gap: 200,
        scale: 0.25,
        svd: SvdMethod::Exact,
        targets: vec!["self_attn".into(), "mlp".into()],
        groups: Groups::default(),
        weight_decay: None,
    };
    assert_eq!(named::<GaLoreMethod>("galore:4"), pretraining);
    let without = GaLoreMethod {
        rank: 64,
        ..pretraining
    };
    assert_eq!(named::<GaLoreMethod>("galore"), without);
    assert_counts("galore", "rank");
}

#[test]
fn its_settings_are_read_and_a_wrong_one_is_told() {
    let expected = GaLoreMethod {
        svd: SvdMethod::randomized(),
        update_proj_gap: 50,
        scale: 2.0,
        ..GaLoreMethod::new(4)
    };
    let all = "galore:4+svd=randomized+gap=50+scale=2";
    assert_eq!(named::<GaLoreMethod>(all), expected);
    let exact = named::<GaLoreMethod>(&format!("{all}+svd=exact"));
    assert_eq!(exact.svd, SvdMethod::Exact);
    for (setting, told) in [
        ("svd=quick", "svd=quick: use exact or randomized"),
        ("gap=often", "gap=often: invalid digit found in string"),
        ("scale=large", "scale=large: invalid float literal"),
        ("gap=0", "gap=0: refresh after at least 1 step"),
        ("scale=-1", "scale=-1: use a number of 0 or more"),
        ("scale=nan", "scale=nan: use a number of 0 or more"),
    ] {
        assert_refused(&format!("galore:4+{setting}"), told);
    }
}

#[test]
fn fine_tuning_it_has_the_gap_and_scale_of_its_runs_on_glue_unless_the_name_says_otherwise() {
    let parts = FineTuning::encoder(Vec::new());
    let expected = GaLoreMethod {
        update_proj_gap: 500,
        scale: 4.0,
        targets: vec!["layer".into()],
        ..GaLoreMethod::new(4)
    };
    assert_eq!(fine_tuned::<GaLoreMethod>("galore:4", &parts), expected);
    let of_the_name = GaLoreMethod {
        update_proj_gap: 7,
        scale: 2.0,
        ..expected
    };
    let found = fine_tuned::<GaLoreMethod>("galore:4+gap=7+scale=2", &parts);
    assert_eq!(found, of_the_name);
}

#[test]
fn its_gap_is_what_it_has_for_a_patience_and_no_run_s_replaces_it() {
    assert_eq!(heeded("galore:4"), [""; 0]);
    assert_eq!(for_run::<GaLoreMethod>("galore:4"), GaLoreMethod::new(4));
    let asked = GaLoreMethod {
        update_proj_gap: 40,
        ..GaLoreMethod::new(4)
    };
    assert_eq!(with_patience::<GaLoreMethod>("galore:4"), asked);
}

#[test]
fn its_learning_rate_is_higher_in_pretraining_alone() {
    let expected = LearningRates {
        pretraining: 1e-2,
        ..rates("adamw")
    };
    assert_eq!(rates("galore:4"), expected);
}

#[test]
fn its_plan_has_a_basis_and_moments_in_a_subspace_for_its_matrices_and_all_moments_else() {
    let scheme = planned("galore:2");
    assert_eq!(scheme.selected, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!((scheme.kept_entries(), scheme.state_with_update), (164, true));
    let state = |parameter: &PlannedParameter| planned_state("galore:2", parameter, parameter.entries, FULL);
    // A basis of 4 x 2 and two moments of 2 x 6; for a moment the update of all 24 entries.
    let projected = ParameterState::default()
        .with(Part::Moments, 4 * (4 * 2 + 2 * 2 * 6))
        .with_update(4 * 24);
    assert_eq!(state(&scheme.parameters[1]), projected);
    let whole = ParameterState::default()
        .with(Part::Moments, 4 * 2 * 48)
        .with_update(4 * 2 * 48);
    assert_eq!(state(&scheme.parameters[0]), whole);
    let bias = parameter(
        "model.layers.0.self_attn.q_proj.bias",
        &[6],
        ParameterKind::Vector,
    );
    assert_eq!(state(&bias).bytes.of(Part::Moments), 4 * 2 * 6);
    let matrices = 4 * (4 * 2 + 2 * 2 * 6) + 4 * (4 * 2 + 2 * 2 * 8);
    let rest = 8 * (48 + 4 + 4 + 4 + 48);
    assert_eq!(state_bytes("galore:2", &scheme), matrices + rest);
}

#[test]
fn a_step_waits_for_all_gradients_where_it_makes_projections_by_an_exact_svd() {
    let scheme = planned("galore:2");
    let waits = |text: &str| {
        let method = Method::parse(text).unwrap().algorithm;
        [true, false].map(|is_first| method.waits_for_all(&scheme, is_first))
    };
    assert_eq!(waits("galore:2"), [true, false]);
    assert_eq!(waits("galore:2+svd=randomized"), [false, false]);
}

#[test]
fn its_optimizer_trains_all_and_projects_the_matrices_of_attention_and_mlp() {
    let made = optimizer(&Method::parse("galore:2").unwrap()).unwrap();
    let found: &LowRankOptimizer = made.get().unwrap();
    assert_eq!(found.trainable_parameters().len(), 21);
    let projected = found.projected_parameters();
    assert_eq!(projected.len(), 14);
    let is_meant = |path: &&str| path.contains(".self_attn.") || path.contains(".mlp.");
    assert!(projected.iter().all(is_meant), "{projected:?}");
}

#[test]
fn a_setting_out_of_its_range_is_refused_by_plan_and_optimizer() {
    let without_gap = GaLoreMethod {
        update_proj_gap: 0,
        ..GaLoreMethod::new(2)
    };
    let backwards = GaLoreMethod {
        scale: -1.0,
        ..GaLoreMethod::new(2)
    };
    for (method, told) in [
        (
            without_gap,
            "`update_proj_gap` is 0: refresh after at least 1 step",
        ),
        (backwards, "`scale` is -1: use a number of 0 or more"),
    ] {
        assert_method_not_made(&Method::of("galore", method), told);
    }
}

#[test]
fn targets_that_match_no_matrix_are_refused_by_a_plan_in_the_words_of_the_optimizer() {
    for (targets, wrong) in [(["mlp", "attn"], "attn"), (["norm", "mlp"], "norm")] {
        let method = GaLoreMethod {
            targets: targets.map(String::from).to_vec(),
            ..GaLoreMethod::new(2)
        };
        assert_refused_alike(&Method::of("galore", method), wrong);
    }
}
