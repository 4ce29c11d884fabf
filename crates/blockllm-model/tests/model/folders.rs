//! Folders of weights: round trips in every form, and every way in which a folder can be broken.

use std::fs;
use std::path::Path;

use blockllm_model::hf::{
    SaveOptions, WeightDtype, check_pretrained, load_pretrained, load_pretrained_as, save_companions,
    save_pretrained_with,
};
use blockllm_model::llama::{LlamaConfig, LlamaForCausalLM};
use burn::tensor::{DType, Device};
use safetensors::SafeTensors;
use tempfile::TempDir;

use crate::common::{devices, max_error, small_config, small_model, some_ids, values};

const INDEX: &str = "model.safetensors.index.json";

fn logits(model: &LlamaForCausalLM, device: &Device) -> Vec<f32> {
    values(model.forward(some_ids(1, 6, 96, 0, device)))
}

fn saved(config: &LlamaConfig, options: &SaveOptions) -> (TempDir, Vec<f32>) {
    let dir = tempfile::tempdir().unwrap();
    let device = Device::flex();
    let model = config.init(11, &device);
    save_pretrained_with(&model, config, dir.path(), options).unwrap();
    (dir, logits(&model, &device))
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn sharded() -> SaveOptions {
    SaveOptions {
        max_shard_bytes: 30_000,
        ..SaveOptions::default()
    }
}

fn broken(change: impl Fn(&Path)) -> String {
    let (dir, _) = saved(&small_config(), &SaveOptions::default());
    change(dir.path());
    load_pretrained(dir.path(), &Device::flex())
        .unwrap_err()
        .to_string()
}

/// Rewrites the header of `model.safetensors` by a replacement of the same length.
fn patch_header(dir: &Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let path = dir.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let place = bytes
        .windows(from.len())
        .position(|window| window == from.as_bytes())
        .unwrap();
    bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
    fs::write(path, bytes).unwrap();
}

fn assert_contains(message: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
}

#[test]
fn a_saved_model_is_the_same_after_loading_on_every_backend() {
    for tie in [false, true] {
        let config = small_config().with_tie_word_embeddings(tie);
        let (dir, expected) = saved(&config, &SaveOptions::default());
        assert_eq!(names(dir.path()), ["config.json", "model.safetensors"]);
        for (name, device) in devices() {
            let (model, read) = load_pretrained(dir.path(), &device).unwrap();
            assert_eq!(read, config);
            assert!(max_error(&logits(&model, &device), &expected) < 1e-4, "{name}");
        }
    }
}

#[test]
fn shards_are_written_below_the_limit_and_read_back() {
    let (dir, expected) = saved(&small_config(), &sharded());
    let found = names(dir.path());
    assert_eq!(found[0], "config.json");
    assert_eq!(
        found[1],
        format!("model-00001-of-{:05}.safetensors", found.len() - 2)
    );
    assert_eq!(found.last().unwrap(), INDEX);
    assert!(found.len() > 4);
    let (model, _) = load_pretrained(dir.path(), &Device::flex()).unwrap();
    assert_eq!(logits(&model, &Device::flex()), expected);
}

#[test]
fn a_new_save_removes_the_files_of_an_earlier_one() {
    let (dir, _) = saved(&small_config(), &sharded());
    let device = Device::flex();
    let config = small_config();
    let model = config.init(12, &device);
    save_pretrained_with(&model, &config, dir.path(), &SaveOptions::default()).unwrap();
    assert_eq!(names(dir.path()), ["config.json", "model.safetensors"]);
    save_pretrained_with(&model, &config, dir.path(), &sharded()).unwrap();
    assert!(!names(dir.path()).contains(&"model.safetensors".to_owned()));
    assert_eq!(
        logits(&load_pretrained(dir.path(), &device).unwrap().0, &device),
        logits(&model, &device)
    );
}

#[test]
fn half_precision_files_are_read_into_f32() {
    for (dtype, tolerance) in [(WeightDtype::F16, 2e-2), (WeightDtype::BF16, 2e-1)] {
        let (dir, expected) = saved(
            &small_config(),
            &SaveOptions {
                dtype,
                ..SaveOptions::default()
            },
        );
        let (model, _) = load_pretrained(dir.path(), &Device::flex()).unwrap();
        assert_eq!(model.model.norm.weight.val().dtype(), DType::F32);
        let error = max_error(&logits(&model, &Device::flex()), &expected);
        assert!(error > 0.0 && error < tolerance, "{dtype:?}: {error}");
    }
}

#[test]
fn weights_can_be_kept_in_bf16_and_the_model_runs() {
    let (dir, expected) = saved(&small_config(), &SaveOptions::default());
    let device = Device::flex();
    let (model, _) = load_pretrained_as(dir.path(), WeightDtype::BF16, &device).unwrap();
    assert_eq!(model.model.norm.weight.val().dtype(), DType::BF16);
    let error = max_error(&logits(&model, &device), &expected);
    assert!(error < 3e-1, "{error}");
}

#[test]
fn parameters_loaded_for_training_require_gradients() {
    let (dir, _) = saved(&small_config(), &SaveOptions::default());
    let (model, _) = load_pretrained(dir.path(), &Device::flex().autodiff()).unwrap();
    assert!(model.model.embed_tokens.weight.is_require_grad() && model.model.norm.weight.is_require_grad());
    assert!(
        !small_model(&Device::flex())
            .model
            .embed_tokens
            .weight
            .val()
            .is_require_grad()
    );
}

#[test]
fn a_folder_without_its_files_names_the_missing_one() {
    let message = broken(|dir| fs::remove_file(dir.join("config.json")).unwrap());
    assert_contains(&message, &["config.json", "missing"]);
    let message = broken(|dir| fs::remove_file(dir.join("model.safetensors")).unwrap());
    assert_contains(&message, &["model.safetensors", "missing", INDEX]);
}

#[test]
fn missing_misshapen_and_unexpected_tensors_are_named() {
    let message = broken(|dir| patch_header(dir, "model.norm.weight", "model.gnorm.weigh"));
    assert_contains(&message, &["no tensor `model.norm.weight`"]);

    let resize = |dir: &Path, from: &str, to: &str| {
        let path = dir.join("config.json");
        fs::write(&path, fs::read_to_string(&path).unwrap().replace(from, to)).unwrap();
    };
    let message = broken(|dir| resize(dir, "\"intermediate_size\": 40", "\"intermediate_size\": 41"));
    assert_contains(
        &message,
        &["mlp.gate_proj.weight", "[40, 32]", "[41, 32]", "config.json"],
    );

    let message = broken(|dir| resize(dir, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1"));
    assert_contains(&message, &["no place", "model.layers.1.self_attn.q_proj.weight"]);
}

#[test]
fn a_tied_model_may_bring_its_head_along_if_it_is_the_embeddings() {
    let (dir, _) = saved(&small_config(), &SaveOptions::default());
    let path = dir.path().join("config.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true"),
    )
    .unwrap();
    let message = load_pretrained(dir.path(), &Device::flex())
        .unwrap_err()
        .to_string();
    assert_contains(
        &message,
        &[
            "config.json",
            "tie_word_embeddings",
            "lm_head.weight",
            "set it to false",
        ],
    );

    let path = dir.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let table = file.tensor("model.embed_tokens.weight").unwrap();
    let tensors = file
        .tensors()
        .into_iter()
        .map(|(name, tensor)| match name.as_str() {
            "lm_head.weight" => (name, table.clone()),
            _ => (name, tensor),
        });
    fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let (model, config) = load_pretrained(dir.path(), &Device::flex()).unwrap();
    assert!(model.lm_head.is_none());
    check_pretrained(dir.path(), &config).unwrap();
}

#[test]
fn an_unread_number_format_is_named() {
    let message = broken(|dir| patch_header(dir, "\"dtype\":\"F32\"", "\"dtype\":\"I32\""));
    assert_contains(&message, &["stored as I32", "F32, F16 or BF16", ".weight"]);
}

#[test]
fn truncated_and_corrupt_files_are_told_apart() {
    let shorten = |dir: &Path, keep: usize| {
        let path = dir.join("model.safetensors");
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..keep]).unwrap();
    };
    let message = broken(|dir| shorten(dir, 40_000));
    assert_contains(&message, &["model.safetensors", "40000 bytes", "again"]);
    let message = broken(|dir| shorten(dir, 5));
    assert_contains(&message, &["corrupt", "only 5 bytes"]);
    let message = broken(|dir| patch_header(dir, "{\"__meta", "{{{{{{{{"));
    assert_contains(&message, &["corrupt safetensors header", "model.safetensors"]);
    let message = broken(|dir| fs::write(dir.join("model.safetensors"), [0xff; 64]).unwrap());
    assert_contains(&message, &["corrupt", "64"]);
}

#[test]
fn an_index_that_names_a_missing_shard_or_a_wrong_one_is_refused() {
    let (dir, _) = saved(&small_config(), &sharded());
    let first = names(dir.path())[1].clone();
    let second = names(dir.path())[2].clone();
    let load = || {
        load_pretrained(dir.path(), &Device::flex())
            .unwrap_err()
            .to_string()
    };

    let index = fs::read_to_string(dir.path().join(INDEX)).unwrap();
    let wrong = index.replacen(&second, &first, 1);
    fs::write(dir.path().join(INDEX), wrong).unwrap();
    assert_contains(&load(), &["no tensor", &first]);

    fs::write(dir.path().join(INDEX), index).unwrap();
    fs::remove_file(dir.path().join(&first)).unwrap();
    assert_contains(&load(), &[&first, "missing", INDEX]);

    fs::write(dir.path().join(INDEX), "[]").unwrap();
    assert_contains(&load(), &[INDEX, "JSON"]);
}

#[test]
fn a_save_that_fails_at_its_second_shard_leaves_the_model_that_was_there() {
    for options in [SaveOptions::default(), sharded()] {
        let (dir, expected) = saved(&small_config(), &options);
        let before = names(dir.path());
        let (many, _) = saved(&small_config(), &sharded());
        let second = format!("{}.{}.tmp", names(many.path())[2], std::process::id());
        fs::create_dir(dir.path().join(&second)).unwrap();
        let other = small_config().init(12, &Device::flex());
        let error = save_pretrained_with(&other, &small_config(), dir.path(), &sharded()).unwrap_err();
        assert_contains(&error.to_string(), &["could not create", &second]);
        fs::remove_dir(dir.path().join(&second)).unwrap();
        assert_eq!(names(dir.path()), before);
        let (model, _) = load_pretrained(dir.path(), &Device::flex()).unwrap();
        assert_eq!(logits(&model, &Device::flex()), expected);
    }
}

#[test]
fn shards_without_an_index_are_no_model() {
    // So a save leaves the folder that is killed while its shards get their names.
    let (dir, _) = saved(&small_config(), &sharded());
    fs::remove_file(dir.path().join(INDEX)).unwrap();
    let error = load_pretrained(dir.path(), &Device::flex())
        .unwrap_err()
        .to_string();
    assert_contains(&error, &["model.safetensors", "missing", INDEX]);
}

#[test]
fn an_index_that_names_files_elsewhere_is_refused() {
    let (dir, _) = saved(&small_config(), &sharded());
    let index = dir.path().join(INDEX);
    let text = fs::read_to_string(&index).unwrap();
    let first = names(dir.path())[1].clone();
    for elsewhere in [
        "../../x.safetensors",
        "/x.safetensors",
        "a/x.safetensors",
        "..",
        "",
    ] {
        fs::write(&index, text.replace(&first, elsewhere)).unwrap();
        let error = load_pretrained(dir.path(), &Device::flex())
            .unwrap_err()
            .to_string();
        assert_contains(&error, &["weight_map", INDEX, elsewhere, "beside"]);
    }
}

#[test]
fn what_lies_beside_the_weights_goes_along_and_generation_stops_where_it_did() {
    let (from, _) = saved(&small_config(), &SaveOptions::default());
    for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        fs::write(from.path().join(name), name).unwrap();
    }
    fs::write(from.path().join("notes.txt"), "of somebody").unwrap();
    let (dir, _) = saved(&small_config(), &SaveOptions::default());
    let config = LlamaConfig {
        eos_token_id: vec![3, 5],
        ..small_config()
    };
    save_companions(from.path(), &config, dir.path()).unwrap();
    assert_eq!(
        names(dir.path()),
        [
            "chat_template.jinja",
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
    let text = |dir: &Path, name: &str| fs::read_to_string(dir.join(name)).unwrap();
    assert_eq!(text(dir.path(), "tokenizer.json"), "tokenizer.json");
    let generation: serde_json::Value =
        serde_json::from_str(&text(dir.path(), "generation_config.json")).unwrap();
    assert_eq!(generation["eos_token_id"], serde_json::json!([3, 5]));

    // Settings that are there are kept, and a folder may be its own source.
    fs::write(from.path().join("generation_config.json"), "its own").unwrap();
    for _ in 0..2 {
        save_companions(from.path(), &config, dir.path()).unwrap();
        save_companions(dir.path(), &config, dir.path()).unwrap();
        assert_eq!(text(dir.path(), "generation_config.json"), "its own");
    }

    // What an earlier model left goes, and its ends with it.
    for name in ["generation_config.json", "chat_template.jinja"] {
        fs::remove_file(from.path().join(name)).unwrap();
    }
    save_companions(from.path(), &config, dir.path()).unwrap();
    assert!(!dir.path().join("chat_template.jinja").exists());
    assert!(text(dir.path(), "generation_config.json").contains("eos_token_id"));
}
