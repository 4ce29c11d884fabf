//! `config.json` in the spellings of transformers 4 and 5, and what is refused.

use std::fs;

use blockllm_model::llama::{LayerType, LlamaConfig, LlamaFamily, LongRope, RopeScaling, Yarn};

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
    let long = RopeScaling::LongRope(LongRope {
        short_factor: vec![1.0, 1.5, 2.0, 2.5],
        long_factor: vec![1.0, 2.0, 4.0, 8.0],
        attention_factor: 1.3,
        original_max_position_embeddings: 16,
    });
    let yarn = Yarn {
        attention_factor: 1.7,
        truncate: false,
        ..Yarn::new(4.0, 16)
    };
    for scaling in [
        RopeScaling::Default,
        RopeScaling::Linear { factor: 2.0 },
        RopeScaling::Dynamic { factor: 2.0 },
        RopeScaling::Yarn(yarn),
        long,
        LLAMA3,
    ] {
        for family in LlamaFamily::ALL {
            let config = LlamaConfig {
                family,
                attention_bias: family != LlamaFamily::Mistral,
                mlp_bias: family == LlamaFamily::Llama,
                eos_token_id: vec![1, 2],
                ..small_config().with_rope(500.0, scaling.clone())
            };
            let text = config.to_json();
            assert_eq!(serde_json::from_str::<LlamaConfig>(&text).unwrap(), config);
        }
    }
}

#[test]
fn a_mistral_has_a_window_unless_it_says_that_it_has_none() {
    let text = |key: &str| {
        format!(
            r#"{{"model_type": "mistral", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 20,
            "num_hidden_layers": 1, "num_attention_heads": 8, "attention_bias": true{key}}}"#
        )
    };
    let read = |key: &str| serde_json::from_str::<LlamaConfig>(&text(key)).unwrap();
    assert_eq!(read("").sliding_window, Some(4096));
    assert_eq!(
        (read("").num_positions(), read("").num_key_value_heads),
        (131_072, 8)
    );
    assert_eq!(read(r#", "sliding_window": null"#).sliding_window, None);
    assert_eq!(read(r#", "sliding_window": 9"#).sliding_window, Some(9));
    // transformers has no biases there, whatever the file says.
    assert!(!read("").attention_bias);
    for window in [None, Some(9)] {
        let config = LlamaConfig {
            sliding_window: window,
            ..read("")
        };
        let text = config.to_json();
        assert!(
            text.contains(r#""sliding_window""#) && !text.contains("attention_bias"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<LlamaConfig>(&text).unwrap(), config);
    }
}

#[test]
fn a_qwen2_has_windows_where_its_file_uses_them_and_keeps_all_that_is_said_of_them() {
    const TYPES: &str = r#", "layer_types": ["sliding_attention", "full_attention"]"#;
    let read = |keys: &str| {
        let text = format!(
            r#"{{"model_type": "qwen2", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 20,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2{keys}}}"#
        );
        let config: LlamaConfig = serde_json::from_str(&text).unwrap();
        let json = config.to_json();
        assert_eq!(serde_json::from_str::<LlamaConfig>(&json).unwrap(), config);
        let windows = [0, 1].map(|layer| config.window_of(layer));
        (windows, serde_json::from_str::<serde_json::Value>(&json).unwrap())
    };
    // As Qwen2.5's folders say it: a window that is not used.
    let keys = r#", "sliding_window": 9, "max_window_layers": 1"#;
    let unused = format!(r#"{keys}, "use_sliding_window": false"#);
    for keys in ["", keys, &unused] {
        let (windows, json) = read(keys);
        assert_eq!(windows, [None, None], "{keys}");
        assert_eq!(json["use_sliding_window"], false);
        assert!(json.get("sliding_window").is_none() && json.get("layer_types").is_none());
    }
    assert_eq!(read(&unused).1["max_window_layers"], 1);
    let used = |keys: &str| read(&format!(r#"{keys}, "use_sliding_window": true"#));
    let (windows, json) = used(keys);
    assert_eq!(windows, [None, Some(9)]);
    assert!(json["use_sliding_window"] == true && json["sliding_window"] == 9);
    assert!(json["max_window_layers"] == 1 && json.get("layer_types").is_none());
    let (windows, json) = used(&format!("{keys}{TYPES}"));
    assert_eq!(windows, [Some(9), None]);
    assert_eq!(
        json["layer_types"],
        serde_json::json!(["sliding_attention", "full_attention"])
    );
    assert_eq!(json["max_window_layers"], 1);
    // What transformers takes for keys that are not there.
    assert_eq!(used(r#", "max_window_layers": 0"#).0, [Some(4096); 2]);
    assert_eq!(used(r#", "sliding_window": 9"#).0, [None; 2]);
    assert_eq!(
        used(r#", "sliding_window": null, "max_window_layers": 0"#).0,
        [None; 2]
    );
}

#[test]
fn the_windows_of_the_fixtures_are_those_of_transformers() {
    let (mistral, qwen2) = (read("mistral"), read("qwen2_windows"));
    assert_eq!([0, 1].map(|layer| mistral.window_of(layer)), [Some(8); 2]);
    assert_eq!([0, 1].map(|layer| qwen2.window_of(layer)), [None, Some(8)]);
    let types = [LayerType::FullAttention, LayerType::SlidingAttention];
    assert_eq!(qwen2.layer_types.as_deref(), Some(&types[..]));
    assert_eq!((qwen2.max_window_layers, qwen2.num_positions()), (Some(1), 128));
    for name in ["mistral", "qwen2_windows", "qwen2"] {
        let file = fs::read_to_string(fixture(name).join("config.json")).unwrap();
        let [file, ours]: [serde_json::Value; 2] =
            [file, read(name).to_json()].map(|text| serde_json::from_str(&text).unwrap());
        for key in [
            "use_sliding_window",
            "max_window_layers",
            "layer_types",
            "sliding_window",
        ] {
            // A key that is not there says what a null does, but for a Mistral, whose key is there.
            assert_eq!(ours[key], file[key], "{key} of {name}");
        }
    }
}

#[test]
fn a_length_beside_the_scaling_and_the_two_scales_of_attention_are_read() {
    let text = r#"{"vocab_size": 32, "hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 1,
        "num_attention_heads": 4, "max_position_embeddings": 64, "original_max_position_embeddings": 16,
        "rope_scaling": {"type": "yarn", "original_max_position_embeddings": 8, "mscale": 1.0, "mscale_all_dim": 0.5}}"#;
    let config: LlamaConfig = serde_json::from_str(text).unwrap();
    let RopeScaling::Yarn(yarn) = config.rope_scaling else {
        panic!("it says yarn")
    };
    assert_eq!(yarn.original_max_position_embeddings, 16);
    let (one, half) = (0.1 * 4_f64.ln() + 1.0, 0.05 * 4_f64.ln() + 1.0);
    assert!((yarn.factor - 4.0).abs() < 1e-12 && (yarn.attention_factor - one / half).abs() < 1e-12);
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
fn what_is_no_llama_is_refused_by_field() {
    let cases: [(&str, serde_json::Value); 7] = [
        ("hidden_act", "gelu".into()),
        ("model_type", "qwen3".into()),
        ("architectures", serde_json::json!(["BertModel"])),
        ("num_key_value_heads", 3.into()),
        ("partial_rotary_factor", 0.5.into()),
        ("attention_dropout", 0.1.into()),
        ("quantization_config", serde_json::json!({"bits": 4})),
    ];
    for (field, value) in cases {
        let message = refused(|json| json[field] = value.clone());
        assert!(message.contains(&format!("`{field}`")), "{message}");
    }
    let message = refused(|json| json["model_type"] = "gemma2".into());
    assert!(message.contains("one of llama, mistral, qwen2"), "{message}");
    // The other's class, and layers of a type that it does not have.
    let message = refused(|json| json["model_type"] = "qwen2".into());
    assert!(message.contains("Qwen2ForCausalLM"), "{message}");
    let message = refused(|json| {
        json["model_type"] = "qwen2".into();
        json["architectures"] = serde_json::json!(["Qwen2ForCausalLM"]);
        json["layer_types"] = serde_json::json!(["full_attention", "chunked_attention"]);
    });
    let expected = "`layer_types[1]` is chunked_attention, expected full_attention or sliding_attention";
    assert!(message.contains(expected), "{message}");
    // A Llama's list is looked at by nobody.
    let unread = format!(
        r#"{{"layer_types": ["chunked_attention"], {}"#,
        &small_config().to_json()[1..]
    );
    assert_eq!(
        serde_json::from_str::<LlamaConfig>(&unread).unwrap(),
        small_config()
    );
    let message = refused(|json| json["rope_parameters"]["rope_type"] = "mrope".into());
    assert!(
        message.contains("`rope_parameters.rope_type` is mrope"),
        "{message}"
    );
    assert!(
        message.contains("default, linear, dynamic, yarn, longrope or llama3"),
        "{message}"
    );
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
    let message = refused(|json| json["rope_parameters"]["rope_type"] = "longrope".into());
    assert!(
        message.contains("`rope_parameters.short_factor` is missing"),
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
