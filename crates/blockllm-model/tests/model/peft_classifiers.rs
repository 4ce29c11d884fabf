//! LoRA adapters of classifiers, head and all, against PEFT; made by `tests/fixtures/peft_classifier_reference.py`.

use std::fs;
use std::path::Path;

use blockllm_model::encoder::load_for_sequence_classification;
use blockllm_model::hf::{Adaptable, load_adapter, load_llama_classifier, save_adapter};
use blockllm_optim::LoraConfig;
use burn::module::{Lora, Module};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::common::{devices, fixture, max_error, read_safetensors, values};

/// `[B, T]` of the reference of `kind`.
fn ints(kind: &str, name: &str, device: &Device) -> Tensor<2, Int> {
    let reference = read_safetensors(&fixture(&format!("peft_{kind}")).join("reference.safetensors"));
    let (values, shape) = &reference[name];
    let values: Vec<i32> = values.iter().map(|value| *value as i32).collect();
    Tensor::from_data(TensorData::new(values, [shape[0], shape[1]]), device)
}

/// Loads PEFT's folder of `kind` into `base`, holds its logits to PEFT's, and what is saved of it to PEFT's files.
fn assert_as_peft<M: Adaptable>(
    kind: &str,
    base: M,
    device: &Device,
    logits: impl Fn(&M, Tensor<2, Int>, Tensor<2, Int>) -> Tensor<2>,
) -> M {
    let folder = fixture(&format!("peft_{kind}"));
    let of = |model: &M| {
        values(logits(
            model,
            ints(kind, "input_ids", device),
            ints(kind, "attention_mask", device),
        ))
    };
    let plain = of(&base);
    let model = load_adapter(base, &folder).unwrap();
    let reference = read_safetensors(&folder.join("reference.safetensors"));
    let (found, expected) = (of(&model), &reference["logits"].0);
    let error = max_error(&found, expected);
    println!("{kind}: logits within {error:.1e}");
    assert!(error < 2e-5, "{kind}: {error}");
    assert!(
        max_error(&plain, expected) > 0.5,
        "{kind}: the adapter does something"
    );

    let dir = tempfile::tempdir().unwrap();
    save_adapter(&model, Some(kind), dir.path()).unwrap();
    let tensors = |dir: &Path| read_safetensors(&dir.join("adapter_model.safetensors"));
    assert_eq!(tensors(dir.path()), tensors(&folder), "{kind}");
    let config = |dir: &Path| -> serde_json::Value {
        let text = fs::read_to_string(dir.join("adapter_config.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        // PEFT keeps a set.
        let targets = config["target_modules"].as_array_mut().unwrap();
        targets.sort_by_key(serde_json::Value::to_string);
        config
    };
    let (ours, theirs) = (config(dir.path()), config(&folder));
    for (field, value) in ours.as_object().unwrap() {
        assert_eq!(value, &theirs[field], "{kind}: {field}");
    }
    model
}

#[test]
fn adapters_of_every_classifier_are_read_and_written_as_peft_does() {
    for (_, device) in devices() {
        for kind in ["bert", "roberta"] {
            let labels = if kind == "bert" { 3 } else { 1 };
            let loaded = load_for_sequence_classification(&fixture(kind), labels, 0, &device).unwrap();
            assert_as_peft(kind, loaded.model, &device, |model, ids, mask| {
                model.forward(ids, None, Some(mask))
            });
        }
        let loaded = load_llama_classifier(&fixture("llama_classifier"), 3, 0, &device).unwrap();
        assert_as_peft("llama_classifier", loaded.model, &device, |model, ids, mask| {
            model.forward(ids, Some(mask))
        });
    }
}

#[test]
fn the_head_goes_on_to_be_trained_and_all_else_but_the_factors_is_frozen() {
    let device = Device::flex().autodiff();
    let loaded = load_llama_classifier(&fixture("llama_classifier"), 3, 0, &device).unwrap();
    let model = load_adapter(loaded.model, &fixture("peft_llama_classifier")).unwrap();
    assert!(model.score.weight.is_require_grad());
    let query = &model.model.layers[0].self_attn.q_proj.weight;
    assert!(!query.base().is_require_grad());
    assert!(query.adapter().is_some());
    assert!(!model.model.norm.weight.is_require_grad());
}

#[test]
fn what_peft_cannot_keep_of_a_classifier_is_told() {
    let device = Device::flex();
    let base = || {
        load_llama_classifier(&fixture("llama_classifier"), 3, 0, &device)
            .unwrap()
            .model
    };
    let refusal = |targets: &[&str]| {
        let model = LoraConfig::new(2)
            .with_targets(targets.iter().copied())
            .apply(base())
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        save_adapter(&model, None, dir.path()).unwrap_err().to_string()
    };
    assert!(refusal(&["q_proj", "score"]).contains("score"));
    let everything = base().apply_lora(Lora::new(2, 4.0));
    let dir = tempfile::tempdir().unwrap();
    assert!(save_adapter(&everything, None, dir.path()).is_err());
    // The factors of another family, and a file without the head that its configuration names.
    let error = load_adapter(base(), &fixture("peft_bert"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("score.weight"), "{error}");
}
