//! Tests of LoRA: its name and settings, what fine-tuning changes, what it trains and keeps, on paper and on a module.
#![cfg(test)]

use super::LoraMethod;
use crate::memory::plan::{Assumed, ParameterState, Part};
use crate::method::testing::{
    FULL, HALF, assert_counts, assert_method_not_made, assert_not_made, assert_refused, assert_refused_alike,
    fine_tuned, for_run, heeded, named, parameters, plan, planned, planned_state, rates, state_bytes,
    trainable, with_patience,
};
use crate::method::{FineTuning, LearningRates, Method, TrainingMethod};
use blockllm_optim::Groups;

#[test]
fn the_number_is_the_rank_and_8_without_one() {
    let pretraining = LoraMethod {
        rank: 4,
        alpha: 32.0,
        train_rest: true,
        always: Vec::new(),
        targets: vec!["self_attn".into(), "mlp".into()],
        groups: Groups::default(),
        weight_decay: None,
    };
    assert_eq!(named::<LoraMethod>("lora:4"), pretraining);
    let without = LoraMethod {
        rank: 8,
        ..pretraining
    };
    assert_eq!(named::<LoraMethod>("lora"), without);
    assert_counts("lora", "rank");
}

#[test]
fn its_settings_and_its_rate_are_read_and_a_wrong_one_is_told() {
    let method = Method::parse("lora:8+alpha=16+always=pooler/score@1e-3").unwrap();
    assert_eq!(method.learning_rate, Some(1e-3));
    let expected = LoraMethod {
        alpha: 16.0,
        always: vec!["pooler".into(), "score".into()],
        ..LoraMethod::new(8)
    };
    assert_eq!(method.algorithm.get(), Some(&expected));
    for (alpha, told) in [
        ("much", "alpha=much: invalid float literal"),
        ("0", "alpha=0: use a positive number"),
        ("inf", "alpha=inf: use a positive number"),
    ] {
        assert_refused(&format!("lora:8+alpha={alpha}"), told);
    }
}

#[test]
fn fine_tuning_it_trains_factors_alone_at_twice_the_rank_unless_the_name_says_otherwise() {
    let parts = FineTuning::encoder(Vec::new());
    let expected = LoraMethod {
        alpha: 8.0,
        train_rest: false,
        targets: vec!["layer".into()],
        ..LoraMethod::new(4)
    };
    assert_eq!(fine_tuned::<LoraMethod>("lora:4", &parts), expected);
    let named_alpha = LoraMethod {
        alpha: 32.0,
        ..expected
    };
    assert_eq!(fine_tuned::<LoraMethod>("lora:4+alpha=32", &parts), named_alpha);
}

#[test]
fn nothing_that_a_run_sets_for_all_its_methods_is_heeded() {
    assert_eq!(heeded("lora:4"), [""; 0]);
    assert_eq!(for_run::<LoraMethod>("lora:4"), LoraMethod::new(4));
    assert_eq!(with_patience::<LoraMethod>("lora:4"), LoraMethod::new(4));
    let method = Method::parse("lora:4").unwrap().algorithm;
    assert_eq!(method.sparsity(), None);
    assert!(!method.trains_all() && !method.is_baseline());
}

#[test]
fn its_learning_rates_are_higher_than_those_of_full_training() {
    let expected = LearningRates {
        pretraining: 1e-3,
        classifiers: 3e-4,
        language_models: 3e-4,
        from_scratch: 5e-3,
        published: Some(4e-4),
        published_instructions: None,
    };
    assert_eq!(rates("lora:4"), expected);
}

#[test]
fn its_plan_has_factors_behind_the_adapted_matrices_and_trains_them_and_the_rest() {
    let scheme = planned("lora:2");
    let factors = [2, 3, 6, 7].map(|at| &scheme.parameters[at]);
    let found = factors.map(|factor| (factor.path.as_str(), factor.shape.clone(), factor.entries));
    assert_eq!(
        found,
        [
            ("model.layers.0.self_attn.q_proj.weight.lora.a", vec![4, 2], 8),
            ("model.layers.0.self_attn.q_proj.weight.lora.b", vec![2, 6], 12),
            ("model.layers.1.mlp.up_proj.weight.lora.a", vec![4, 2], 8),
            ("model.layers.1.mlp.up_proj.weight.lora.b", vec![2, 8], 16),
        ]
    );
    // All but the two matrices, which stand before their factors.
    assert_eq!(scheme.parameters.len(), 11);
    assert_eq!(scheme.selected, [0, 2, 3, 4, 6, 7, 8, 9, 10]);
    let trained = 48 + (8 + 12) + 4 + (8 + 16) + 4 + 4 + 48;
    assert_eq!(scheme.kept_entries(), trained);
    assert_eq!(state_bytes("lora:2", &scheme), 8 * trained);
}

#[test]
fn fine_tuning_it_plans_factors_and_what_is_always_trained() {
    let tuned = |text: &str| {
        let method = Method::parse(text).unwrap();
        let method = method.fine_tuning(&FineTuning::language_model());
        plan(&method, parameters(), &Assumed::Typical).unwrap()
    };
    let factors = tuned("lora:2");
    assert_eq!(factors.selected, [2, 3, 6, 7]);
    assert_eq!(state_bytes("lora:2", &factors), 8 * (8 + 12 + 8 + 16));
    let with_norm = tuned("lora:2+always=model.norm");
    assert_eq!(with_norm.selected, [2, 3, 6, 7, 9]);
    assert_eq!(state_bytes("lora:2", &with_norm), 8 * (8 + 12 + 8 + 16 + 4));
}

#[test]
fn a_factor_has_two_moments_and_a_master_where_weights_are_half() {
    let scheme = planned("lora:2");
    let factor = &scheme.parameters[3];
    let moments = ParameterState::default().with(Part::Moments, 2 * 4 * 12);
    assert_eq!(planned_state("lora:2", factor, 12, FULL), moments);
    let with_masters = moments.with(Part::Masters, 4 * 12);
    assert_eq!(planned_state("lora:2", factor, 12, HALF), with_masters);
}

#[test]
fn its_optimizer_trains_factors_and_the_rest_but_no_adapted_matrix() {
    let lora = Method::parse("lora:2").unwrap();
    // Two factors of each of 14 matrices; the table, five norms and the head.
    let all = trainable(&lora);
    assert_eq!(all.len(), 2 * 14 + 7);
    assert!(all.iter().all(|path| !path.ends_with("_proj.weight")), "{all:?}");
    let factors = trainable(&lora.fine_tuning(&FineTuning::language_model()));
    assert_eq!(factors.len(), 2 * 14);
    assert!(factors.iter().all(|path| path.contains(".lora.")), "{factors:?}");
}

#[test]
fn a_setting_out_of_its_range_is_refused_by_plan_and_module() {
    let with_alpha = |alpha| LoraMethod {
        alpha,
        ..LoraMethod::new(2)
    };
    for (alpha, told) in [
        (0.0, "`alpha` is 0: use a positive number"),
        (f64::INFINITY, "`alpha` is inf: use a positive number"),
    ] {
        assert_method_not_made(&Method::of("lora", with_alpha(alpha)), told);
    }
    let mut slow = LoraMethod::new(2);
    slow.groups.embeddings = 0.0;
    assert_method_not_made(&Method::of("lora", slow), "`groups.embeddings` is 0");
}

#[test]
fn what_is_always_trained_is_refused_where_it_is_not_there_or_changes_nothing() {
    let typo = "the role pattern `poolr` matches none of the";
    assert_not_made("lora:2+always=poolr", typo);
    let from_random_weights = "`always` is model.norm/lm_head: LoRA from random weights trains all";
    assert_not_made("lora:2+always=model.norm/lm_head", from_random_weights);
    let tuned = |text: &str| {
        let method = Method::parse(text).unwrap();
        method.fine_tuning(&FineTuning::language_model())
    };
    assert_method_not_made(&tuned("lora:2+always=poolr"), typo);
    let adapted = "`always` is q_proj: all that it matches is adapted";
    assert_method_not_made(&tuned("lora:2+always=model.norm/q_proj"), adapted);
    // A layer has norms too, which have no adapters.
    assert_eq!(trainable(&tuned("lora:2+always=layers.0")).len(), 2 * 14 + 2);
    let mut pretraining = LoraMethod::new(2);
    pretraining.train_always(&["lm_head.weight".to_owned()]);
    assert_eq!(pretraining, LoraMethod::new(2));
}

#[test]
fn targets_that_match_no_linear_layer_are_refused_by_a_plan_in_the_words_of_the_module() {
    let lora = |targets: &[&str]| {
        let targets = targets.iter().copied().map(String::from).collect();
        let method = LoraMethod {
            targets,
            ..LoraMethod::new(2)
        };
        Method::of("lora", method)
    };
    assert_refused_alike(&lora(&["mlp", "attn"]), "attn");
    // A table is no linear layer.
    assert_refused_alike(&lora(&["embed_tokens"]), "embed_tokens");
}
