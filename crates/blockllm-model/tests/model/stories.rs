//! A real pretrained model: stories260K continues as llama2.c does, token by token.

use std::fs;
use std::path::{Path, PathBuf};

use blockllm_model::hf::load_pretrained;
use blockllm_model::llama::GenerateConfig;
use burn::tensor::Device;

use crate::common::{devices, small_config, small_model};

/// The folder of the model, when this checkout has it beside the workspace.
fn stories() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/stories260K");
    if dir.is_dir() {
        return Some(dir);
    }
    println!("skipped: {} is absent", dir.display());
    None
}

fn golden(dir: &Path) -> Vec<u32> {
    let text = fs::read_to_string(dir.join("golden_greedy.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(json["greedy_ids_200"].clone()).unwrap()
}

#[test]
fn stories260k_continues_as_llama2_c_does_with_and_without_cache() {
    let Some(dir) = stories() else { return };
    let golden = golden(&dir);
    let (model, _) = load_pretrained(&dir, &Device::flex()).unwrap();
    for use_cache in [true, false] {
        let config = GenerateConfig::greedy(golden.len() - 1).with_use_cache(use_cache);
        assert_eq!(
            model.generate(&golden[..1], &config).unwrap(),
            golden,
            "use_cache {use_cache}"
        );
    }
}

#[test]
fn stories260k_begins_alike_on_every_backend() {
    let Some(dir) = stories() else { return };
    let golden = golden(&dir);
    for (name, device) in devices() {
        let (model, _) = load_pretrained(&dir, &device).unwrap();
        let tokens = model.generate(&golden[..1], &GenerateConfig::greedy(20)).unwrap();
        assert_eq!(tokens, golden[..21], "{name}");
    }
}

#[test]
fn a_longer_prompt_and_sampling_give_the_same_with_and_without_cache() {
    let model = small_model(&Device::flex());
    for config in [GenerateConfig::greedy(12), GenerateConfig::sampling(12, 0.8, 3)] {
        let cached = model.generate(&[5, 9, 2, 44], &config).unwrap();
        let plain = model
            .generate(&[5, 9, 2, 44], &config.clone().with_use_cache(false))
            .unwrap();
        assert_eq!(cached, plain);
        assert_eq!(cached.len(), 16);
    }
}

#[test]
fn generation_stops_after_a_token_it_is_told_to_stop_at() {
    let model = small_model(&Device::flex());
    let free = model.generate(&[5], &GenerateConfig::greedy(8)).unwrap();
    let end = free[3];
    let first = free[1..].iter().position(|token| *token == end).unwrap() + 1;
    let stopped = model
        .generate(&[5], &GenerateConfig::greedy(8).with_stop_at([end]))
        .unwrap();
    assert_eq!(stopped, free[..=first]);
}

#[test]
fn text_that_exceeds_the_positions_is_refused_and_text_that_fills_them_is_not() {
    let model = small_model(&Device::flex());
    let positions = small_config().max_position_embeddings;
    assert_eq!(
        model
            .generate(&[1], &GenerateConfig::greedy(positions))
            .unwrap()
            .len(),
        positions + 1
    );
    let message = model
        .generate(&[1], &GenerateConfig::greedy(positions + 1))
        .unwrap_err()
        .to_string();
    assert!(message.contains("65 positions, the model has 64"), "{message}");
}

#[test]
fn senseless_settings_and_prompts_are_refused_by_name() {
    let model = small_model(&Device::flex());
    let cases = [
        (
            vec![1],
            GenerateConfig {
                top_p: 0.0,
                ..GenerateConfig::greedy(1)
            },
            "top_p",
        ),
        (
            vec![1],
            GenerateConfig {
                top_k: Some(0),
                ..GenerateConfig::greedy(1)
            },
            "top_k",
        ),
        (vec![1], GenerateConfig::sampling(1, -1.0, 0), "temperature"),
        (vec![], GenerateConfig::greedy(1), "prompt"),
        (vec![96], GenerateConfig::greedy(1), "prompt"),
    ];
    for (prompt, config, field) in cases {
        let message = model.generate(&prompt, &config).unwrap_err().to_string();
        assert!(message.contains(field), "{message}");
    }
}

#[test]
fn weights_that_are_no_numbers_give_an_error_and_no_text_and_no_length_overflows() {
    let device = Device::flex();
    let mut model = small_model(&device);
    let message = model
        .generate(&[1], &GenerateConfig::greedy(usize::MAX))
        .unwrap_err()
        .to_string();
    assert!(message.contains("positions"), "{message}");
    model.model.norm.weight = model.model.norm.weight.map(|gamma| gamma.mul_scalar(f32::NAN));
    for config in [GenerateConfig::greedy(3), GenerateConfig::sampling(3, 1.0, 0)] {
        let message = model.generate(&[1], &config).unwrap_err().to_string();
        assert!(message.contains("`logits` is NaN"), "{message}");
    }
}
