//! LoRA against PEFT: its files, its numbers; made by `tests/fixtures/peft_reference.py`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use blockllm_model::LossOptions;
use blockllm_model::hf::{load_adapter, load_pretrained, save_adapter, save_pretrained};
use blockllm_model::llama::LlamaForCausalLM;
use blockllm_optim::{AdamW, BlockOptimizer, BlockOptimizerConfig, GradientsParams, LoraConfig};
use blockllm_policy::All;
use blockllm_tensors::{HeldTensor, write_tensors};
use burn::module::{Lora, Module};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::common::{devices, fixture, max_error, read_safetensors, small_model, some_ids, values};

type Tensors = BTreeMap<String, (Vec<f32>, Vec<usize>)>;

const STEPS: usize = 50;

fn base(device: &Device) -> LlamaForCausalLM {
    load_pretrained(&fixture("grouped"), device).unwrap().0
}

fn reference() -> Tensors {
    read_safetensors(&fixture("peft").join("reference.safetensors"))
}

/// Batch `step % BATCHES` of `[BATCHES, B, T]` tokens.
fn batch(reference: &Tensors, name: &str, step: usize, device: &Device) -> Tensor<2, Int> {
    let (values, shape) = &reference[name];
    let size = shape[1] * shape[2];
    let start = step % shape[0] * size;
    let values: Vec<i32> = values[start..start + size]
        .iter()
        .map(|value| *value as i32)
        .collect();
    Tensor::from_data(TensorData::new(values, [shape[1], shape[2]]), device)
}

/// Losses of 50 steps of `AdamW` on whatever is not frozen.
fn train(mut model: LlamaForCausalLM, reference: &Tensors, device: &Device) -> (LlamaForCausalLM, Vec<f32>) {
    let adamw = AdamW {
        weight_decay: 0.01,
        ..AdamW::default()
    };
    let config = BlockOptimizerConfig::new(0.0).with_update(adamw);
    let mut optimizer = BlockOptimizer::new(&model, config, All).unwrap();
    let mut losses = Vec::new();
    for step in 0..STEPS {
        let [ids, labels] = ["input_ids", "labels"].map(|name| batch(reference, name, step, device));
        model = optimizer
            .prepare(model, |_| unreachable!("`All` measures nothing"))
            .unwrap();
        let loss = model.loss(ids, labels, None, &LossOptions::default()).loss;
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(model, gradients, 3e-3).unwrap().model;
        losses.push(loss.into_scalar::<f32>());
        optimizer.observe(losses[step]).unwrap();
    }
    assert_eq!(
        optimizer.trained_entries(),
        2 * 4 * (4 * 64 + 3 * 64) - 2 * 4 * 2 * 16
    );
    (model, losses)
}

#[test]
fn fifty_steps_of_lora_equal_peft() {
    let reference = reference();
    let (expected, _) = &reference["losses"];
    for (backend, device) in devices() {
        let device = device.autodiff();
        let model = load_adapter(base(&device), &fixture("peft")).unwrap();
        let (model, losses) = train(model, &reference, &device);
        let errors = losses.iter().zip(expected).map(|(a, b)| ((a - b) / b).abs());
        let worst = errors.fold(0.0, f32::max);

        let dir = tempfile::tempdir().unwrap();
        save_adapter(&model, Some("grouped"), dir.path()).unwrap();
        let saved = read_safetensors(&dir.path().join("adapter_model.safetensors"));
        let factors: Vec<_> = saved
            .iter()
            .map(|(key, (found, shape))| {
                let (expected, expected_shape) = &reference[&format!("final.{key}")];
                assert_eq!(shape, expected_shape, "{key}");
                max_error(found, expected)
            })
            .collect();
        let factor_error = factors.iter().copied().fold(0.0, f32::max);
        let logits = values(model.forward(batch(&reference, "input_ids", 0, &device)));
        let logits_error = max_error(&logits, &reference["logits"].0);
        println!(
            "LoRA on {backend}: losses within {worst:.1e}, factors {factor_error:.1e}, logits {logits_error:.1e}"
        );
        assert_eq!(factors.len(), 28);
        assert!(worst < 1e-5 && factor_error < 1e-5 && logits_error < 1e-3);
    }
}

#[test]
fn peft_files_survive_loading_and_saving() {
    let device = Device::flex();
    let model = load_adapter(base(&device), &fixture("peft")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    save_adapter(&model, Some("grouped"), dir.path()).unwrap();
    let read = |dir: &Path| read_safetensors(&dir.join("adapter_model.safetensors"));
    assert_eq!(read(dir.path()), read(&fixture("peft")));
    let config = |dir: &Path| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(dir.join("adapter_config.json")).unwrap()).unwrap()
    };
    let (ours, theirs) = (config(dir.path()), config(&fixture("peft")));
    for (field, value) in ours.as_object().unwrap() {
        assert_eq!(value, &theirs[field], "{field}");
    }
}

#[test]
fn a_merged_folder_has_the_logits_of_the_adapted_model() {
    let device = Device::flex().autodiff();
    let model = load_adapter(base(&device), &fixture("peft")).unwrap();
    let (model, _) = train(model, &reference(), &device);
    let (_, config) = load_pretrained(&fixture("grouped"), &device).unwrap();
    let dir = tempfile::tempdir().unwrap();
    save_pretrained(&model, &config, dir.path()).unwrap();
    let (merged, _) = load_pretrained(dir.path(), &device).unwrap();
    let ids = || some_ids(1, 9, 96, 1, &device);
    assert!(max_error(&values(merged.forward(ids())), &values(model.forward(ids()))) < 1e-4);
}

#[test]
fn target_modules_are_names_only_where_all_of_a_name_are_adapted() {
    let targets = |patterns: &[&str]| {
        let config = LoraConfig::new(2).with_targets(patterns.iter().copied());
        let model = config.apply(small_model(&Device::flex())).unwrap();
        let dir = tempfile::tempdir().unwrap();
        save_adapter(&model, None, dir.path()).unwrap();
        let text = fs::read_to_string(dir.path().join("adapter_config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&config["r"], &config["lora_alpha"]), (&2.into(), &4.into()));
        let reloaded = load_adapter(small_model(&Device::flex()), dir.path()).unwrap();
        assert_eq!(reloaded.num_params(), model.num_params());
        config["target_modules"].clone()
    };
    assert_eq!(
        targets(&["v_proj", "q_proj"]),
        serde_json::json!(["q_proj", "v_proj"])
    );
    assert_eq!(
        targets(&["layers.1.mlp.up_proj", "lm_head"]),
        serde_json::json!(["model.layers.1.mlp.up_proj", "lm_head"])
    );
}

#[test]
fn adapters_that_cannot_be_exported_are_told() {
    let refusal = |model: LlamaForCausalLM| {
        let dir = tempfile::tempdir().unwrap();
        save_adapter(&model, None, dir.path()).unwrap_err().to_string()
    };
    let device = Device::flex();
    assert!(refusal(small_model(&device)).contains("at least one"));
    let everything = small_model(&device).apply_lora(Lora::new(2, 4.0));
    assert!(refusal(everything).contains("embed_tokens"));
}

#[test]
fn adapter_files_that_do_not_fit_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::flex();
    let refusal = |model| load_adapter(model, dir.path()).unwrap_err().to_string();
    assert!(refusal(base(&device)).contains("adapter_config.json"));
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::copy(fixture("peft").join(name), dir.path().join(name)).unwrap();
    }
    let error = refusal(small_model(&device));
    assert!(
        error.contains("mlp.gate_proj.lora_B") && error.contains("[40, 4]"),
        "{error}"
    );
    let adapted = load_adapter(base(&device), dir.path()).unwrap();
    assert!(refusal(adapted).contains("materialize"));

    let path = dir.path().join("adapter_config.json");
    let text = fs::read_to_string(&path).unwrap();
    for (from, to, expected) in [
        ("\"use_dora\": false", "\"use_dora\": true", "`use_dora`"),
        ("\"LORA\"", "\"IA3\"", "`peft_type` is IA3"),
        (
            "\"rank_pattern\": {}",
            "\"rank_pattern\": {\"q_proj\": 2}",
            "rank_pattern",
        ),
        (
            "\"lora_bias\": false",
            "\"lora_bias\": true",
            "`lora_bias` is true",
        ),
        ("\"r\": 4", "\"r\": 0", "`r` is 0"),
        ("\"r\": 4", "\"r\": 3", "[4, 32]"),
        ("\"r\": 4", "\"r\": ", "not valid JSON"),
    ] {
        fs::write(&path, text.replace(from, to)).unwrap();
        let error = refusal(base(&device));
        assert!(error.contains(expected), "{error}");
    }
}

/// PEFT's folder with other keys in its configuration.
fn with_keys(keys: &serde_json::Value) -> Result<LlamaForCausalLM, String> {
    let dir = tempfile::tempdir().unwrap();
    let name = "adapter_model.safetensors";
    fs::copy(fixture("peft").join(name), dir.path().join(name)).unwrap();
    let text = fs::read_to_string(fixture("peft").join("adapter_config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (key, value) in keys.as_object().unwrap() {
        config[key] = value.clone();
    }
    fs::write(dir.path().join("adapter_config.json"), config.to_string()).unwrap();
    load_adapter(base(&Device::flex()), dir.path()).map_err(|error| error.to_string())
}

#[test]
fn keys_that_change_what_adapters_compute_are_refused_by_name() {
    for keys in [
        serde_json::json!({"init_lora_weights": "pissa"}),
        serde_json::json!({"init_lora_weights": "pissa_niter_16"}),
        serde_json::json!({"init_lora_weights": "olora"}),
        serde_json::json!({"init_lora_weights": "corda"}),
        serde_json::json!({"init_lora_weights": "loftq", "loftq_config": {}}),
        serde_json::json!({"init_lora_weights": "lora_ga"}),
        serde_json::json!({"lora_bias": true}),
        serde_json::json!({"use_dora": true}),
        serde_json::json!({"use_qalora": true}),
        serde_json::json!({"layer_replication": [[0, 2], [1, 2]]}),
        serde_json::json!({"trainable_token_indices": [1]}),
        serde_json::json!({"alora_invocation_tokens": [3, 4]}),
        serde_json::json!({"target_parameters": ["experts.weight"]}),
        serde_json::json!({"megatron_config": {"a": 1}}),
        serde_json::json!({"loftq_config": {"loftq_bits": 4}}),
        serde_json::json!({"alpha_pattern": {"q_proj": 2}}),
        serde_json::json!({"modules_to_save": ["lm_head"]}),
        serde_json::json!({"bias": "lora_only"}),
        serde_json::json!({"a_key_of_next_year": 1}),
        serde_json::json!({"layers_to_transform": [0]}),
        serde_json::json!({"layers_to_transform": 0}),
        serde_json::json!({"exclude_modules": ["down_proj"]}),
        serde_json::json!({"exclude_modules": ".*down.*"}),
        serde_json::json!({"target_modules": ["q_proj"]}),
    ] {
        let key = keys.as_object().unwrap().keys().next().unwrap();
        let error = with_keys(&keys).expect_err(key);
        assert!(
            error.contains(&format!("{key}` is"))
                || error.contains(&format!("{key} and"))
                || error.contains(&format!("and {key}")),
            "{error}"
        );
        assert!(error.contains("adapter_config.json"), "{error}");
    }
}

#[test]
fn keys_that_change_nothing_are_read_over() {
    for keys in [
        serde_json::json!({"init_lora_weights": false}),
        serde_json::json!({"init_lora_weights": "gaussian"}),
        serde_json::json!({"init_lora_weights": "orthogonal"}),
        serde_json::json!({"init_lora_weights": "eva", "eva_config": {"rho": 2.0}}),
        serde_json::json!({"peft_version": "9.9", "revision": "main", "qalora_group_size": 16}),
        serde_json::json!({"a_key_of_next_year": false, "another": null, "third": {}, "fourth": []}),
        serde_json::json!({"layers_to_transform": [0, 1], "layers_pattern": "layers"}),
        serde_json::json!({"layers_to_transform": [], "exclude_modules": ["lm_head"]}),
        serde_json::json!({"target_modules": "all-linear"}),
    ] {
        with_keys(&keys).unwrap();
    }
}

/// PEFT's folder with these tensors in place of its own.
fn with_tensors(tensors: &[(&str, [usize; 2])]) -> String {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(
        fixture("peft").join("adapter_config.json"),
        dir.path().join("adapter_config.json"),
    )
    .unwrap();
    let tensors: Vec<(String, HeldTensor)> = tensors
        .iter()
        .map(|(key, shape)| {
            let zeros = Tensor::<2>::zeros(*shape, &Device::flex());
            ((*key).to_owned(), HeldTensor::float(zeros))
        })
        .collect();
    let path = dir.path().join("adapter_model.safetensors");
    write_tensors(&path, &tensors, None).unwrap();
    load_adapter(base(&Device::flex()), dir.path())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_file_without_factors_or_with_the_base_beside_them_is_told() {
    let error = with_tensors(&[]);
    assert!(
        error.contains("adapter_model.safetensors") && error.contains("none"),
        "{error}"
    );
    for key in [
        "lm_head.base_layer.weight",
        "lm_head.weight",
        "model.embed_tokens.base_layer.weight",
    ] {
        let error = with_tensors(&[(format!("base_model.model.{key}").as_str(), [96, 32])]);
        assert!(
            error.contains(key) && error.contains("save_embedding_layers"),
            "{error}"
        );
    }
}
