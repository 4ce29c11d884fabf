//! A run is a function of (config, seed, data).
use crate::batches::padded;
use crate::training::{Watching, constant, large_rate, steps, train_tiny};
use blockllm::train::{LanguageModeling, Methods, Record, TrainConfig};

fn records(method: &str, seed: u64) -> Vec<Record> {
    let batches = [
        padded(&[16, 4], 16, 0),
        padded(&[8, 16], 16, 2),
        padded(&[5, 11], 16, 4),
    ];
    let config = TrainConfig {
        seed,
        ..constant(20, large_rate(method))
    };
    train_tiny(&LanguageModeling::default(), method, &config, &batches).1
}

/// Everything of the steps that is no clock's and no memory's, bit for bit.
fn bits(records: &[Record]) -> Vec<[u64; 3]> {
    let of_step = |step: &blockllm::train::StepRecord| {
        [
            step.loss.to_bits(),
            step.grad_norm.to_bits(),
            step.trained_entries,
        ]
    };
    steps(records).iter().map(of_step).collect()
}

fn selections(records: &[Record]) -> Vec<(u64, Vec<String>)> {
    let event = |record: &Record| match record {
        Record::Selection(event) => Some((event.step, event.blocks.clone())),
        _ => None,
    };
    records.iter().filter_map(event).collect()
}

#[test]
fn the_same_config_and_seed_give_the_same_losses_and_selections_bit_for_bit() {
    // At other budgets than the examples'.
    let more = [
        "blockllm:0.9",
        "random:0.5",
        "importance:0.5",
        "epsilon-greedy:0.5",
        "badam",
        "lisa",
    ];
    let methods = Methods::built_in().examples().into_iter();
    for method in methods.chain(more.map(str::to_owned)) {
        let (first, second) = (records(&method, 7), records(&method, 7));
        assert_eq!(bits(&first), bits(&second), "{method}");
        assert_eq!(selections(&first), selections(&second), "{method}");
    }
}

#[test]
fn another_seed_gives_another_run() {
    assert_ne!(
        bits(&records("blockllm:0.9", 7)),
        bits(&records("blockllm:0.9", 8))
    );
}

#[test]
fn every_method_of_a_seed_starts_from_the_same_weights() {
    let batch = [padded(&[16, 4], 16, 0)];
    let started = |method: &str| {
        let objective = Watching::default();
        let (trained, records) = train_tiny(&objective, method, &constant(1, 1e-2), &batch);
        let first = objective.seen.borrow()[0].clone();
        (
            first,
            trained.untrained.evaluation.loss.to_bits(),
            steps(&records)[0].loss.to_bits(),
        )
    };
    let expected = started("adamw");
    for method in ["blockllm:0.5", "blockllm:0.9", "magnitude:0.5", "random:0.5"] {
        assert_eq!(started(method), expected, "{method}");
    }
}
