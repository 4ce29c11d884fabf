//! Fifty steps of a tiny Llama, optimizer by optimizer, beside PyTorch: losses, and the blocks trained at each step.
//!
//! The numbers are made by `tests/fixtures/training_reference.py`.
use crate::training::{constant, steps, tiny_folder, train_method_on};
use blockllm::data::{IGNORE_INDEX, LmBatch, Row};
use blockllm::model::hf::load_pretrained;
use blockllm::model::llama::LlamaForCausalLM;
use blockllm::optim::Groups;
use blockllm::policy::{CyclicOrder, CyclicSettings, PolicyConfig};
use blockllm::prelude::*;
use blockllm::train::{
    BlockMethod, LanguageModeling, Method, Objective, TrainConfig, TrainingOptimizer, WeightType,
};
use burn::tensor::Device;
use serde_json::Value;
use std::collections::BTreeMap;

fn devices() -> Vec<(&'static str, Device)> {
    vec![
        ("flex", Device::flex()),
        #[cfg(feature = "wgpu")]
        ("wgpu", Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
    ]
}

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/tiny_llama/training.json")).unwrap()
}

fn batches(fixture: &Value) -> Vec<LmBatch> {
    let rows: Vec<Vec<Vec<i32>>> = serde_json::from_value(fixture["batches"].clone()).unwrap();
    let row = |ids: &Vec<i32>| Row {
        input_ids: ids.clone(),
        labels: ids[1..].iter().copied().chain([IGNORE_INDEX]).collect(),
        segment_ids: None,
    };
    let batch = |rows: &Vec<Vec<i32>>| LmBatch::from_rows(rows.iter().map(row).collect(), rows[0].len());
    rows.iter().map(batch).collect()
}

/// What a run told: its losses, and the blocks of every selection by the step that it was made after.
struct Told {
    losses: Vec<f64>,
    selections: BTreeMap<u64, Vec<String>>,
}

fn train(method: &Method, config: &TrainConfig, batches: &[LmBatch], device: &Device) -> Told {
    let device = device.clone().autodiff();
    let (mut model, _) = load_pretrained(&tiny_folder(), &device).unwrap();
    let mut optimizer: Box<dyn TrainingOptimizer<_>> = method.optimizer(&model, config).unwrap();
    let mut told = Told {
        losses: Vec::new(),
        selections: BTreeMap::new(),
    };
    for step in 0..config.steps as usize {
        let batch = &batches[step % batches.len()];
        let loss_of = |model: &LlamaForCausalLM| LanguageModeling::default().loss(model, batch, &device);
        let mut gradients_of =
            |model: &LlamaForCausalLM| GradientsParams::from_grads(loss_of(model).backward(), model);
        model = optimizer.prepare_with(model, &mut gradients_of).unwrap();
        if let Some(event) = optimizer.take_selection_event() {
            told.selections.insert(event.step, event.blocks);
        }
        let loss = loss_of(&model);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer
            .step(model, gradients, config.learning_rate)
            .unwrap()
            .model;
        let loss = f64::from(loss.into_scalar::<f32>());
        optimizer.observe(loss).unwrap();
        told.losses.push(loss);
    }
    told
}

/// The method and the settings of a run of the script.
fn ours(name: &str) -> (Method, TrainConfig) {
    let plain = |learning_rate| TrainConfig {
        max_grad_norm: None,
        ..constant(50, learning_rate)
    };
    let parse = |text: &str| Method::parse(text).unwrap();
    match name {
        "adamw" => {
            // The run's decay, of all weights.
            let mut method = parse("adamw");
            if let Some(blocks) = method.algorithm.get_mut::<BlockMethod>() {
                blocks.groups = Groups::ungrouped();
            }
            let config = TrainConfig {
                weight_decay: 0.1,
                ..plain(3e-3)
            };
            (method, config)
        }
        "adamw-grouped" => (parse("adamw+weight-decay=0.1"), plain(3e-3)),
        "sgd" => (parse("all+rule=sgd"), plain(0.02)),
        "lion" => (parse("all+rule=lion"), plain(1e-3)),
        "galore" => (parse("galore:4+gap=10"), plain(0.01)),
        "apollo-mini" => (parse("apollo-mini+gap=10"), plain(0.003)),
        "blockllm" => (parse("blockllm:0.8+patience=3"), plain(0.01)),
        "scale" => (parse("scale"), plain(3e-3)),
        "blockllm-sgd" => (parse("blockllm-sgd:0.8+patience=3"), plain(0.003)),
        "blockllm-whitened" => (parse("blockllm-whitened:0.8+patience=3"), plain(0.001)),
        "badam-ascending" | "badam-descending" => {
            let mut method = parse("badam:1+patience=5");
            if let Some(blocks) = method.algorithm.get_mut::<BlockMethod>() {
                let order = if name.ends_with("-ascending") {
                    CyclicOrder::Ascending
                } else {
                    CyclicOrder::Descending
                };
                blocks.policy = PolicyConfig::Cyclic(CyclicSettings {
                    interval: 5,
                    order,
                    blocks: Some(1),
                });
            }
            (method, plain(3e-3))
        }
        _ => panic!("{name} is new: tell here how we run it"),
    }
}

/// The selections that the script tells, as steps and blocks.
fn expected_selections(run: &Value) -> Option<BTreeMap<u64, Vec<String>>> {
    if let Some(events) = run["selections"].as_array() {
        let event = |event: &Value| {
            let blocks = serde_json::from_value(event["blocks"].clone()).unwrap();
            (event["step"].as_u64().unwrap(), blocks)
        };
        return Some(events.iter().map(event).collect());
    }
    let of_steps: Vec<Vec<String>> = serde_json::from_value(run.get("blocks")?.clone()).unwrap();
    let changes = (0..of_steps.len()).filter(|step| *step == 0 || of_steps[*step] != of_steps[step - 1]);
    Some(
        changes
            .map(|step| (step as u64, of_steps[step].clone()))
            .collect(),
    )
}

#[test]
fn fifty_steps_of_a_tiny_llama_equal_pytorch_under_every_optimizer() {
    let fixture = fixture();
    let batches = batches(&fixture);
    let runs = fixture["runs"].as_object().unwrap();
    assert_eq!(runs.len(), 12);
    for (backend, device) in devices() {
        for (name, run) in runs {
            let (method, config) = ours(name);
            let told = train(&method, &config, &batches, &device);
            let expected: Vec<f64> = serde_json::from_value(run["losses"].clone()).unwrap();
            assert_eq!(expected.len(), 50);
            let errors = told
                .losses
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a / b - 1.0).abs());
            let worst = errors.fold(0.0, f64::max);
            println!("{backend} {name}: losses within {worst:.1e} relative");
            assert!(worst < 1e-4, "{backend} {name}: {worst:e}");
            if let Some(expected) = expected_selections(run) {
                assert!(expected.len() > 4, "{name}");
                assert_eq!(told.selections, expected, "{backend} {name}: other blocks");
            }
        }
    }
}

#[cfg(feature = "flex")]
#[test]
fn a_tiny_llama_in_bf16_with_master_copies_learns_as_the_f32_one_does() {
    let batches = batches(&fixture());
    for text in ["blockllm:0.8+patience=5", "adamw"] {
        let run = |weights| {
            let config = TrainConfig {
                weights,
                ..constant(40, 3e-3)
            };
            let (trained, records) = train_method_on(
                &Device::flex(),
                &LanguageModeling::default(),
                &Method::parse(text).unwrap(),
                &config,
                &batches,
            );
            let losses: Vec<f64> = steps(&records).iter().map(|step| step.loss).collect();
            (losses, trained)
        };
        let ((full, whole), (half, trained)) = (run(WeightType::F32), run(WeightType::Bf16));
        assert_eq!(trained.memory.weights_bytes * 2, whole.memory.weights_bytes);
        let state = trained.memory.optimizer_state_bytes;
        assert_eq!(state.measured, state.estimated);
        assert!(
            state.measured > whole.memory.optimizer_state_bytes.measured,
            "the master copies are counted"
        );
        // Rounded losses may stall at another step and select other blocks: the ends are compared.
        let fall = |losses: &[f64]| losses[0] - losses[35..].iter().sum::<f64>() / 5.0;
        assert!(
            fall(&full) > 1.0 && fall(&half) > 0.9 * fall(&full),
            "{text}: {full:?} {half:?}"
        );
    }
}
