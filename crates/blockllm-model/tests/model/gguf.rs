//! GGUF files against transformers reading the same ones; files made by `tests/fixtures/gguf_reference.py` and, with a tokenizer
//! of `SentencePiece`, `sentence_piece_reference.py`.

use std::fs;
use std::path::PathBuf;

use blockllm_fuzz::{Damage, cases};
use blockllm_model::gguf::GgufModel;
use blockllm_model::hf::{WeightDtype, load_pretrained, save_pretrained};
use blockllm_model::llama::{LlamaFamily, RopeScaling};
use burn::tensor::{Device, Int, Tensor, TensorData};
use proptest::prelude::*;
use serde_json::Value;

use crate::common::{devices, fixture, max_error, read_safetensors, values};

fn file(name: &str) -> PathBuf {
    fixture("gguf").join(name)
}

fn opened(kind: &str) -> GgufModel {
    GgufModel::open(&file(&format!("{kind}.gguf"))).unwrap()
}

/// What is said of the file of that kind when `from`, which is in it, has become `to`.
fn refused(kind: &str, from: &str, to: &str) -> String {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(file(&format!("{kind}.gguf"))).unwrap();
    let mut places = bytes.windows(from.len());
    let place = places.position(|window| window == from.as_bytes()).unwrap();
    bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    fs::write(&path, bytes).unwrap();
    let read = GgufModel::open(&path).and_then(|model| {
        model.load(WeightDtype::F32, &Device::flex())?;
        model.tokenizer()
    });
    let message = read.unwrap_err().to_string();
    assert!(message.contains("x.gguf"), "the file is named: {message}");
    message
}

#[test]
fn logits_of_every_type_of_weights_equal_transformers() {
    for name in [
        "gguf/smollm",
        "gguf/qwen2",
        "gguf/llama-3",
        "sentence_piece/model",
    ] {
        let reference = read_safetensors(&fixture(&format!("{name}.safetensors")));
        let gguf = GgufModel::open(&fixture(&format!("{name}.gguf"))).unwrap();
        let (ids, shape) = &reference["input_ids"];
        let ids: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
        for (backend, device) in devices() {
            let model = gguf.load(WeightDtype::F32, &device).unwrap();
            let ids = TensorData::new(ids.clone(), shape.clone());
            let logits = values(model.forward(Tensor::<2, Int>::from_data(ids, &device)));
            let error = max_error(&logits, &reference["logits"].0);
            println!("{name} on {backend}: logits max abs error {error:.2e}");
            assert!(error < 1e-4);
        }
    }
}

#[test]
fn the_configuration_is_that_of_the_model_that_was_written() {
    let smollm = opened("smollm");
    let config = smollm.config();
    assert_eq!(config.family, LlamaFamily::Llama);
    assert_eq!((config.hidden_size, config.intermediate_size), (32, 64));
    assert_eq!((config.num_attention_heads, config.num_key_value_heads), (4, 2));
    assert_eq!(
        (config.num_hidden_layers, config.max_position_embeddings),
        (2, 64)
    );
    assert!((config.rms_norm_eps - 1e-5).abs() < 1e-20 && (config.rope_theta - 5000.0).abs() < 1e-9);
    assert!(config.tie_word_embeddings && !config.attention_bias);
    assert_eq!((config.bos_token_id, config.pad_token_id), (Some(0), Some(0)));
    assert_eq!(config.eos_token_id, [2]);
    let qwen2 = opened("qwen2");
    assert_eq!(qwen2.config().family, LlamaFamily::Qwen2);
    assert!(qwen2.config().attention_bias && !qwen2.config().tie_word_embeddings);
    let llama_3 = opened("llama-3");
    assert_eq!(llama_3.config().family, LlamaFamily::Llama);
    assert!((llama_3.config().rope_theta - 500_000.0).abs() < 1e-9 && !llama_3.config().tie_word_embeddings);
}

#[test]
fn the_rotary_scaling_of_llama_3_is_found_again_from_its_factors() {
    let expected = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };
    assert_eq!(opened("llama-bpe").config().rope_scaling, expected);
    assert_eq!(opened("smollm").config().rope_scaling, RopeScaling::Default);
    assert_eq!(opened("llama-3").config().rope_scaling, RopeScaling::Default);
}

#[test]
fn the_tokenizer_is_the_one_that_the_file_was_made_from() {
    for kind in ["gpt-2", "smollm", "llama-bpe", "qwen2"] {
        let found: Value = serde_json::from_str(&opened(kind).tokenizer().unwrap().tokenizer).unwrap();
        let text = fs::read_to_string(file(&format!("{kind}.json"))).unwrap();
        let mut expected: Value = serde_json::from_str(&text).unwrap();
        if kind != "llama-bpe" {
            // Of the words around a text only offsets differ by this, and llama.cpp does not keep it.
            expected["post_processor"] = found["post_processor"].clone();
        }
        for (key, expected) in expected.as_object().unwrap() {
            assert_eq!(&found[key], expected, "{key} of {kind}");
        }
    }
}

#[test]
fn a_saved_folder_has_the_same_logits_and_says_where_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let (gguf, device) = (opened("smollm"), Device::flex());
    let model = gguf.load(WeightDtype::F32, &device).unwrap();
    save_pretrained(&model, gguf.config(), dir.path()).unwrap();
    gguf.save_tokenizer(dir.path()).unwrap();
    let (read, config) = load_pretrained(dir.path(), &device).unwrap();
    assert_eq!(&config, gguf.config());
    let ids = || Tensor::<2, Int>::from_data(TensorData::from([[3, 7, 200, 1]]), &device);
    assert_eq!(values(read.forward(ids())), values(model.forward(ids())));
    let json = |name: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(dir.path().join(name)).unwrap()).unwrap()
    };
    assert_eq!(json("generation_config.json")["eos_token_id"], 2);
    let config = json("tokenizer_config.json");
    assert_eq!(config["eos_token"], "<|im_end|>");
    assert_eq!(config["chat_template"].as_str(), gguf.chat_template().unwrap());
    assert!(gguf.chat_template().unwrap().unwrap().contains("<|im_start|>"));
    assert_eq!(json("tokenizer.json")["model"]["type"], "BPE");
}

#[test]
fn what_is_not_read_is_refused_by_its_key() {
    for (from, to, parts) in [
        (
            "llama",
            "gemma",
            ["`general.architecture` is \"gemma\"", "llama or qwen2"],
        ),
        (
            "llama.block_count",
            "llama.block_coant",
            ["`llama.block_count` is missing", "a whole number"],
        ),
        (
            "blk.1.attn_q.weight",
            "blk.1.attn_q.weigh_",
            ["no tensor", "model.layers.1.self_attn.q_proj.weight"],
        ),
        (
            "gpt2",
            "bert",
            ["`tokenizer.ggml.model` is \"bert\"", "SentencePiece"],
        ),
        (
            "smollm",
            "tekken",
            [
                "`tokenizer.ggml.pre` is \"tekken\"",
                "gpt-2, smollm, llama-bpe, qwen2",
            ],
        ),
        (
            "token_type",
            "token_tape",
            ["`tokenizer.ggml.token_type` is missing", "one for each token"],
        ),
    ] {
        let message = refused("smollm", from, to);
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
    // Then the file has a base that its factors do not belong to.
    let message = refused("llama-bpe", "llama.rope.freq_base", "llama.rope.freq_bass");
    assert!(
        message.contains("`rope_freqs.weight` is factors of another rule"),
        "{message}"
    );
}

proptest! {
    #![proptest_config(cases(120))]

    #[test]
    fn a_damaged_file_is_read_or_refused(damage in Damage::any(), in_the_header: bool) {
        let whole = fs::read(file("smollm.gguf")).unwrap();
        let bytes = if in_the_header {
            let (header, rest) = whole.split_at(900);
            [&damage.of(header), rest].concat()
        } else {
            damage.of(&whole)
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gguf");
        fs::write(&path, bytes).unwrap();
        if let Ok(model) = GgufModel::open(&path) {
            let _ = model.load(WeightDtype::F32, &Device::flex());
            let _ = model.save_tokenizer(folder.path());
        }
    }
}
