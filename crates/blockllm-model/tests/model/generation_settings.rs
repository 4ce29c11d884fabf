//! What `generation_config.json` says: read whole, or refused by file and field.

use std::fs;

use blockllm_fuzz::{Damage, cases, odd_value, with_one_replaced};
use blockllm_model::ModelError;
use blockllm_model::gguf::GgufModel;
use blockllm_model::hf::GenerationSettings;
use blockllm_model::llama::GenerateConfig;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::common::{fixture, small_config};

fn read(text: &str) -> Result<Option<GenerationSettings>, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("generation_config.json"), text).unwrap();
    GenerationSettings::of_folder(folder.path())
}

#[test]
fn a_llama_3_draws_as_its_authors_say_and_stops_at_any_of_its_ends() {
    let settings = read(
        r#"{"bos_token_id": 128000, "do_sample": true, "eos_token_id": [128001, 128008, 128009], "temperature": 0.6,
            "top_p": 0.9, "transformers_version": "4.45.0.dev0"}"#,
    );
    let settings = settings.unwrap().unwrap();
    assert_eq!(
        (settings.bos_token_id, settings.pad_token_id),
        (Some(128_000), None)
    );
    let expected = GenerateConfig {
        top_p: 0.9,
        stop_at: vec![128_001, 128_008, 128_009],
        ..GenerateConfig::sampling(32, 0.6, 7)
    };
    assert_eq!(settings.generate_config(32, 7), expected);
}

#[test]
fn every_field_is_taken_over() {
    let settings = read(
        r#"{"do_sample": true, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "min_p": 0.05, "repetition_penalty": 1.05,
            "max_new_tokens": 9, "eos_token_id": 3, "pad_token_id": 4, "bos_token_id": null}"#,
    );
    let settings = settings.unwrap().unwrap();
    assert_eq!((settings.pad_token_id, settings.bos_token_id), (Some(4), None));
    let expected = GenerateConfig {
        top_k: Some(20),
        top_p: 0.8,
        min_p: 0.05,
        repetition_penalty: 1.05,
        stop_at: vec![3],
        ..GenerateConfig::sampling(9, 0.7, 1)
    };
    assert_eq!(settings.generate_config(100, 1), expected);
}

#[test]
fn what_is_not_said_changes_nothing() {
    let said_nothing = read("{}").unwrap().unwrap();
    assert_eq!(said_nothing, GenerationSettings::default());
    assert_eq!(said_nothing.generate_config(5, 0), GenerateConfig::greedy(5));
    // Without `do_sample` a temperature is a remnant, as in transformers; 0 is how a file turns `top_k` off, -1 a token.
    let remnants = read(r#"{"temperature": 0.7, "top_k": 0, "pad_token_id": -1, "eos_token_id": [-1]}"#);
    assert_eq!(
        remnants.unwrap().unwrap().generate_config(5, 0),
        GenerateConfig::greedy(5)
    );
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(GenerationSettings::of_folder(folder.path()).unwrap(), None);
}

#[test]
fn what_is_not_followed_is_known_and_what_would_change_nothing_is_not() {
    let unfollowed = |text: &str| read(text).unwrap().unwrap().unfollowed;
    let said = r#"{"num_beams": 4, "no_repeat_ngram_size": 3, "suppress_tokens": [7], "stop_strings": "x", "top_k": 5}"#;
    assert_eq!(
        unfollowed(said),
        [
            "num_beams",
            "no_repeat_ngram_size",
            "suppress_tokens",
            "stop_strings"
        ]
    );
    let nothing = r#"{"num_beams": 1, "no_repeat_ngram_size": 0, "suppress_tokens": [], "bad_words_ids": null,
        "typical_p": 1.0, "stop_strings": false, "min_length": 0, "token_healing": false,
        "encoder_repetition_penalty": 1.0, "dola_layers": null}"#;
    assert!(unfollowed(nothing).is_empty());
    for said in [
        r#""dola_layers": "low""#,
        r#""token_healing": true"#,
        r#""encoder_repetition_penalty": 1.2"#,
    ] {
        let key = said.split('"').nth(1).unwrap();
        assert_eq!(unfollowed(&format!("{{{said}}}")), [key]);
    }
}

#[test]
fn a_wrong_type_or_a_senseless_value_is_refused_by_file_and_field() {
    for (field, value) in [
        ("temperature", "\"0.6\""),
        ("temperature", "-1"),
        ("top_k", "-1"),
        ("top_k", "2.5"),
        ("top_p", "1.5"),
        ("top_p", "[]"),
        ("min_p", "2"),
        ("repetition_penalty", "0"),
        ("do_sample", "1"),
        ("max_new_tokens", "\"all\""),
        ("eos_token_id", "[1, \"2\"]"),
        ("eos_token_id", "4294967296"),
        ("bos_token_id", "[1]"),
        ("pad_token_id", "0.5"),
    ] {
        let message = read(&format!("{{\"{field}\": {value}}}"))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("generation_config.json") && message.contains(&format!("`{field}`")),
            "{field} {value}: {message}"
        );
    }
    for text in ["", "[]", "{\"top_k\": }"] {
        let message = read(text).unwrap_err().to_string();
        assert!(message.contains("generation_config.json"), "{message}");
    }
}

#[test]
fn a_model_says_where_it_ends_when_its_settings_do_not() {
    let config = small_config();
    assert_eq!(
        GenerationSettings::of_model(&config)
            .generate_config(5, 0)
            .stop_at,
        config.eos_token_id
    );
    let settings = read(r#"{"bos_token_id": 9}"#)
        .unwrap()
        .unwrap()
        .or_tokens_of(&config);
    assert_eq!(
        (settings.bos_token_id, settings.eos_token_id),
        (Some(9), config.eos_token_id.clone())
    );
    let settings = read(r#"{"eos_token_id": 7}"#)
        .unwrap()
        .unwrap()
        .or_tokens_of(&config);
    assert_eq!(
        (settings.bos_token_id, settings.eos_token_id),
        (config.bos_token_id, vec![7])
    );
    let gguf = GgufModel::open(&fixture("gguf/smollm.gguf")).unwrap();
    let ends = GenerationSettings::of_model(gguf.config())
        .generate_config(5, 0)
        .stop_at;
    assert!(!ends.is_empty() && ends == gguf.config().eos_token_id);
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn hostile_settings_are_refused_or_serve(at: Index, odd in odd_value(), damage in Damage::any()) {
        let whole = r#"{"do_sample": true, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "min_p": 0.05,
            "repetition_penalty": 1.05, "max_new_tokens": 9, "eos_token_id": [3, 4], "pad_token_id": 4, "bos_token_id": 1}"#;
        let damaged = damage.of(whole.as_bytes());
        for text in [with_one_replaced(whole, at, &odd).into_bytes(), damaged] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("generation_config.json"), text).unwrap();
            if let Ok(Some(settings)) = GenerationSettings::of_folder(folder.path()) {
                settings.generate_config(1, 0).validate().unwrap();
            }
        }
    }
}
