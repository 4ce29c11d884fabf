//! Accumulating over micro-batches is one large batch, however unequal the micro-batches are.
use crate::batches::{joined, padded};
use crate::training::{constant, groups, steps, train_tiny};
use crate::weights::{max_error, weights};
use blockllm::data::LmBatch;
use blockllm::optim::parameters;
use blockllm::train::{LanguageModeling, Method, Methods, Record, TrainConfig};
use std::collections::BTreeMap;

/// Three micro-batches of two rows with 30, 6 and 9 counted labels.
fn micro_batches() -> [LmBatch; 3] {
    [
        padded(&[16, 16], 16, 0),
        padded(&[3, 5], 16, 2),
        padded(&[9, 2], 16, 4),
    ]
}

/// The blocks of every selection.
fn selected(records: &[Record]) -> Vec<Vec<String>> {
    let blocks = |record: &Record| match record {
        Record::Selection(event) => Some(event.blocks.clone()),
        _ => None,
    };
    records.iter().filter_map(blocks).collect()
}

fn assert_accumulating_is_one_batch(method: &str) {
    let micro_batches = micro_batches();
    let whole = joined(&micro_batches);
    let objective = LanguageModeling::default();
    let config = constant(3, 1e-3);
    let accumulated = TrainConfig {
        grad_accum_steps: 3,
        ..config.clone()
    };
    let (expected, one_batch) = train_tiny(&objective, method, &config, &[whole]);
    let (found, accumulated) = train_tiny(&objective, method, &accumulated, &micro_batches);
    assert_eq!(
        selected(&accumulated),
        selected(&one_batch),
        "{method}: other blocks are trained"
    );
    for (expected, found) in steps(&one_batch).iter().zip(steps(&accumulated)) {
        assert!(
            (found.loss - expected.loss).abs() < 1e-5,
            "{method}: {found:?} {expected:?}"
        );
        assert!(
            (found.grad_norm - expected.grad_norm).abs() < 1e-5 * expected.grad_norm,
            "{method}: {found:?} {expected:?}"
        );
        assert_eq!(found.tokens_seen, expected.tokens_seen, "{method}");
    }
    // A hundredth of a step at the rate of its group is far above rounding and far below a wrong weighting.
    let groups = groups(&Method::parse(method).unwrap());
    let multipliers: BTreeMap<_, _> = parameters(&found.model)
        .iter()
        .map(|parameter| (parameter.info.path.clone(), groups.multiplier(parameter)))
        .collect();
    let expected = weights(&expected.model);
    let found = weights(&found.model);
    assert!(found.keys().eq(expected.keys()), "{method}");
    for (path, found) in &found {
        let most = 1e-5 * multipliers.get(path).copied().unwrap_or(1.0);
        let error = f64::from(max_error(found, &expected[path]));
        assert!(error < most, "{method}, {path}: {error} of {most}");
    }
}

#[test]
fn accumulating_unequal_micro_batches_equals_one_batch_for_every_method() {
    for method in Methods::built_in().examples() {
        assert_accumulating_is_one_batch(&method);
    }
}

#[test]
fn the_micro_batches_of_these_tests_tell_a_weighted_mean_from_an_unweighted_one() {
    let micro_batches = micro_batches();
    let objective = LanguageModeling::default();
    let loss = |batch: &LmBatch| {
        let (_, records) = train_tiny(
            &objective,
            "adamw",
            &constant(1, 1e-3),
            std::slice::from_ref(batch),
        );
        steps(&records)[0].loss
    };
    let unweighted = micro_batches.iter().map(loss).sum::<f64>() / 3.0;
    let weighted = loss(&joined(&micro_batches));
    assert!((unweighted - weighted).abs() > 1e-2, "{unweighted} {weighted}");
}
