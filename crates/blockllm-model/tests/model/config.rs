//! `config.json` in the spellings of transformers 4 and 5, and what is refused.

use std::fs;

use blockllm_model::llama::{LlamaConfig, RopeScaling};

use crate::common::{fixture, small_config};

const LLAMA3: RopeScaling = RopeScaling::Llama3 {
    factor: 4.0,
    low_freq_factor: 1.0,
    high_freq_factor: 4.0,
    original_max_position_embeddings: 16,
};

fn read(name: &str) -> LlamaConfig {
    LlamaConfig::from_file(&fixture(name).join("config.json")).unwrap()
}

fn refused(change: impl Fn(&mut serde_json::Value)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let mut json: serde_json::Value = serde_json::from_str(&small_config().to_json()).unwrap();
    change(&mut json);
    fs::write(&path, json.to_string()).unwrap();
    let message = LlamaConfig::from_file(&path).unwrap_err().to_string();
    assert!(message.contains("config.json"), "the file is named: {message}");
    message
}

#[test]
fn both_spellings_of_rope_are_read() {
    assert_eq!(read("llama3").rope_scaling, LLAMA3); // transformers 4
    assert!((read("llama3").rope_theta - 500.0).abs() < 1e-9);
    assert_eq!(read("linear").rope_scaling, RopeScaling::Linear { factor: 3.0 }); // transformers 5
    assert_eq!(read("grouped").rope_scaling, RopeScaling::Default);
    assert!(read("tied").tie_word_embeddings);
    assert_eq!(read("grouped").eos_token_id, [2]);
}

#[test]
fn what_is_written_is_read_back() {
    for scaling in [RopeScaling::Default, RopeScaling::Linear { factor: 2.0 }, LLAMA3] {
        let config = LlamaConfig {
            eos_token_id: vec![1, 2],
            ..small_config().with_rope(500.0, scaling)
        };
        assert_eq!(
            serde_json::from_str::<LlamaConfig>(&config.to_json()).unwrap(),
            config
        );
    }
}

#[test]
fn older_spelling_type_and_unknown_keys_are_tolerated() {
    let text = r#"{"vocab_size": 32, "hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 1,
        "num_attention_heads": 2, "rope_scaling": {"type": "linear", "factor": 2.0}, "pad_token_id": -1,
        "eos_token_id": [1, 2], "architectures": ["LLaMAForCausalLM"], "some_new_key": {"a": 1}}"#;
    let config: LlamaConfig = serde_json::from_str(text).unwrap();
    assert_eq!(config.rope_scaling, RopeScaling::Linear { factor: 2.0 });
    assert_eq!((config.num_key_value_heads, config.head_dim), (2, 8));
    assert_eq!((config.pad_token_id, config.eos_token_id), (None, vec![1, 2]));
}

#[test]
fn what_is_no_plain_llama_is_refused_by_field() {
    let cases: [(&str, serde_json::Value); 6] = [
        ("attention_bias", true.into()),
        ("mlp_bias", true.into()),
        ("hidden_act", "gelu".into()),
        ("model_type", "mistral".into()),
        ("architectures", serde_json::json!(["BertModel"])),
        ("num_key_value_heads", 3.into()),
    ];
    for (field, value) in cases {
        let message = refused(|json| json[field] = value.clone());
        assert!(message.contains(&format!("`{field}`")), "{message}");
    }
    let message = refused(|json| json["rope_parameters"]["rope_type"] = "yarn".into());
    assert!(
        message.contains("`rope_parameters.rope_type` is yarn"),
        "{message}"
    );
    assert!(message.contains("default, linear or llama3"), "{message}");
}

#[test]
fn a_missing_size_or_factor_is_named() {
    for field in [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
    ] {
        let message = refused(|json| {
            json.as_object_mut().unwrap().remove(field);
        });
        assert!(message.contains(&format!("`{field}` is missing")), "{message}");
    }
    let message = refused(|json| json["rope_parameters"]["rope_type"] = "linear".into());
    assert!(
        message.contains("`rope_parameters.factor` is missing"),
        "{message}"
    );
}

#[test]
fn text_that_is_no_json_names_line_and_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    fs::write(&path, "{\n  \"vocab_size\": \"many\"\n}").unwrap();
    let message = LlamaConfig::from_file(&path).unwrap_err().to_string();
    assert!(
        message.contains("line 2") && message.contains("config.json"),
        "{message}"
    );
}
