//! Tests of what a plan costs: not the more for large batches, long rows, many micro-batches and layers, and the same figures.
#![cfg(test)]

use super::simulation::{replay, run};
use super::{BackwardMode, ModelShape, Workload};
use crate::{Method, Methods, WeightType};
use blockllm_model::llama::LlamaConfig;
use blockllm_policy::PolicyConfig;
use std::time::{Duration, Instant};

/// Every way in which a step goes, for `model` and `method`.
fn workloads<'a>(model: &'a ModelShape, method: &'a Method) -> Vec<Workload<'a>> {
    let mut all = Vec::new();
    for backward in [BackwardMode::Whole, BackwardMode::LayerWise] {
        for weights in [WeightType::F32, WeightType::Bf16] {
            for (clipped, on_host) in [(true, true), (false, true), (false, false)] {
                for grad_accum_steps in [1, 5, 6] {
                    all.push(Workload {
                        weights,
                        grad_accum_steps,
                        clipped,
                        backward,
                        on_host,
                        ..Workload::new(model, method, 3, 500)
                    });
                }
            }
        }
    }
    all
}

/// Compares the figures of what is counted with those of what is gone through, for the method called `name`.
fn assert_counted(model: &ModelShape, name: &str) {
    let method = Method::parse(name).unwrap();
    for workload in workloads(model, &method) {
        let [short, long] = [true, false].map(|abridged| replay(&workload, abridged).unwrap());
        assert_eq!(short, long, "{workload:?}");
    }
}

#[test]
fn what_is_counted_and_not_gone_through_changes_no_figure() {
    // Chosen for time: what goes differently through a step, with both kinds of head.
    let chosen = [
        "adamw",
        "blockllm:0.5",
        "blockllm:0.8",
        "blockllm:0.9+state=int8",
        "lora:4",
        "badam:1",
        "lisa:1",
        "lisa:2",
    ];
    let plain = LlamaConfig::new(3000, 32, 40, 3, 4);
    let tied = ModelShape::Llama(plain.clone().with_tie_word_embeddings(true));
    let plain = ModelShape::Llama(plain);
    for name in chosen {
        assert_counted(&plain, name);
        assert_counted(&tied, name);
    }
    // All others with one of them; policies differ only in which blocks they select.
    for example in Methods::built_in().examples() {
        let name = example.split(':').next().unwrap_or_default();
        if !chosen.contains(&example.as_str()) && !PolicyConfig::names().contains(&name) {
            assert_counted(&plain, &example);
        }
    }
}

#[test]
fn sizes_of_a_step_cost_no_time_and_are_refused_where_they_cannot_be_counted() {
    let model = ModelShape::Llama(LlamaConfig::preset("60m").unwrap());
    let method = Method::parse("blockllm:0.95").unwrap();
    let begun = Instant::now();
    for backward in [BackwardMode::Whole, BackwardMode::LayerWise] {
        let plan = |rows, tokens, grad_accum_steps| {
            run(&Workload {
                grad_accum_steps,
                backward,
                clipped: false,
                ..Workload::new(&model, &method, rows, tokens)
            })
        };
        let large = plan(1_000_000_000, 512, 1).unwrap().peak_bytes();
        assert!(large > 1_000_000_000 * 512 * 4 * 512, "{large}");
        assert!(plan(1, 1, 1_000_000_000).unwrap().peak_bytes() > 0);
        for (rows, tokens, batches) in [
            (1, u64::MAX, 1),
            (u64::MAX, u64::MAX, u64::MAX),
            (1 << 40, 1 << 20, 1),
        ] {
            let error = plan(rows, tokens, batches).unwrap_err().to_string();
            assert!(
                error.contains(&format!("{tokens} tokens")) && error.contains("lower --batch"),
                "{error}"
            );
        }
    }
    assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
}

#[test]
fn a_thousand_layers_are_planned_in_no_time() {
    let model = ModelShape::Llama(LlamaConfig::new(96, 32, 64, 1000, 4));
    let method = Method::parse("blockllm:0.95").unwrap();
    let begun = Instant::now();
    run(&Workload::new(&model, &method, 1, 64)).unwrap();
    assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
}
