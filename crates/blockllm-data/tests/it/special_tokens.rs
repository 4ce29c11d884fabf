//! Which tokens begin and end a text and fill a row: asked of the tokenizer's own files, guessed only at last.

use std::fs;

use blockllm_data::glue::{GlueExample, PairEncoder};
use blockllm_data::{DataError, Tokenizer};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures::tokenizer;

/// A folder with a tokenizer of these added tokens, from id 280 on, and this form, and other files.
fn folder(added: &[&str], form: Value, files: &[(&str, Value)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    tokenizer().save(&path).unwrap();
    // Nothing of what this project's own tokenizers are called by.
    let json = fs::read_to_string(&path).unwrap();
    let json = json
        .replace("<|endoftext|>", "<other>")
        .replace("<|pad|>", "<another>");
    let mut json: Value = serde_json::from_str(&json).unwrap();
    for (token, id) in added.iter().zip(280..) {
        let token = json!({ "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true });
        json["added_tokens"].as_array_mut().unwrap().push(token);
    }
    json["post_processor"] = form;
    fs::write(&path, json.to_string()).unwrap();
    for (name, settings) in files {
        fs::write(folder.path().join(name), settings.to_string()).unwrap();
    }
    folder
}

fn read(folder: &TempDir) -> Tokenizer {
    Tokenizer::from_file(&folder.path().join("tokenizer.json")).unwrap()
}

/// `<s> A </s>` or a part of it, with these ids.
fn form(before: Option<(&str, u32)>, behind: Option<(&str, u32)>) -> Value {
    let special = |(token, _): (&str, u32)| json!({ "SpecialToken": { "id": token, "type_id": 0 } });
    let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    let side = |id: &str| {
        let parts = [before.map(special), Some(text(id)), behind.map(special)];
        parts.into_iter().flatten().collect::<Vec<_>>()
    };
    let tokens = [before, behind].into_iter().flatten();
    let tokens: serde_json::Map<_, _> = tokens
        .map(|(token, id)| {
            (
                token.to_owned(),
                json!({ "id": token, "ids": [id], "tokens": [token] }),
            )
        })
        .collect();
    let pair = [side("A"), side("B")].concat();
    json!({ "type": "TemplateProcessing", "single": side("A"), "pair": pair, "special_tokens": tokens })
}

#[test]
fn the_end_token_is_what_the_folder_says_whatever_it_is_called() {
    let added = ["</s>", "<|end_of_text|>", "<|eot_id|>", "<|im_end|>"];
    for (file, settings, expected) in [
        // Llama 3 Instruct, a ChatML fine-tune of Llama 2, and the older forms of the same.
        ("tokenizer_config.json", json!({ "eos_token": "<|eot_id|>" }), 282),
        (
            "tokenizer_config.json",
            json!({ "eos_token": { "content": "<|im_end|>" } }),
            283,
        ),
        (
            "special_tokens_map.json",
            json!({ "eos_token": "<|eot_id|>" }),
            282,
        ),
        (
            "generation_config.json",
            json!({ "eos_token_id": [281, 282] }),
            281,
        ),
        ("config.json", json!({ "eos_token_id": 283 }), 283),
        // What is not there is not taken.
        ("tokenizer_config.json", json!({ "eos_token": "<none>" }), 280),
        ("config.json", json!({ "eos_token_id": 4_000_000_000_u32 }), 280),
        (
            "config.json",
            json!({ "eos_token_id": null, "eos_token": [[["</s>"]]] }),
            280,
        ),
    ] {
        let read = read(&folder(&added, Value::Null, &[(file, settings)]));
        assert_eq!(read.eos_id(), Some(expected), "{file}");
    }
    let both = [
        ("config.json", json!({ "eos_token_id": 280 })),
        ("tokenizer_config.json", json!({ "eos_token": "<|eot_id|>" })),
    ];
    assert_eq!(read(&folder(&added, Value::Null, &both)).eos_id(), Some(282));
}

#[test]
fn a_broken_file_of_settings_is_named_and_not_taken_for_a_tokenizer() {
    for name in [
        "generation_config.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "config.json",
    ] {
        let folder = folder(&["</s>"], Value::Null, &[]);
        fs::write(folder.path().join(name), "{\"eos_token_id\": 2,").unwrap();
        let error = Tokenizer::from_file(&folder.path().join("tokenizer.json")).unwrap_err();
        assert!(matches!(error, DataError::Settings { .. }), "{error}");
        let told = error.to_string();
        assert!(
            told.contains(name) && told.contains("not valid JSON") && !told.contains("okenizer.json"),
            "{told}"
        );
    }
}

#[test]
fn without_such_a_file_the_end_is_that_of_the_tokenizer_s_own_form() {
    let added = ["</s>", "<｜end▁of▁sentence｜>"];
    let of_form = form(None, Some((added[1], 281)));
    assert_eq!(read(&folder(&added, of_form, &[])).eos_id(), Some(281));
    assert_eq!(
        read(&folder(&added, Value::Null, &[])).eos_id(),
        Some(280),
        "a usual name, at last"
    );
}

#[test]
fn a_document_begins_as_the_tokenizer_s_form_does() {
    let added = ["<s>", "</s>"];
    let before = |form: Value, config: Value| {
        let read = read(&folder(&added, form, &[("tokenizer_config.json", config)]));
        (read.document_form().unwrap().before, read.bos_id())
    };
    let bos = Some((added[0], 280));
    assert_eq!(before(form(bos, None), json!({})), (vec![280], Some(280)));
    assert_eq!(
        before(Value::Null, json!({ "bos_token": "<s>" })),
        (vec![], Some(280))
    );
    let asked = json!({ "bos_token": "<s>", "add_bos_token": true });
    assert_eq!(before(Value::Null, asked.clone()), (vec![280], Some(280)));
    assert_eq!(before(form(bos, None), asked), (vec![280], Some(280)));
    let not_asked = json!({ "bos_token": "<s>", "add_bos_token": false });
    assert_eq!(before(form(bos, None), not_asked), (vec![], Some(280)));
}

#[test]
fn a_row_is_never_filled_with_a_token_that_ends_texts() {
    // transformers pools the last token that is not the padding token.
    let added = ["<s>", "</s>", "<unk>"];
    let ends = form(Some(("<s>", 280)), Some(("</s>", 281)));
    assert_eq!(read(&folder(&added, ends.clone(), &[])).pad_id(), Some(282));
    assert_eq!(read(&folder(&added[..2], ends.clone(), &[])).pad_id(), Some(280));
    let declared = [("config.json", json!({ "pad_token_id": 7 }))];
    assert_eq!(read(&folder(&added, ends, &declared)).pad_id(), Some(7));
    // A model's config may be of another tokenizer, so the tokenizer's own padding token comes before it.
    let own = read(&folder(&["</s>", "<pad>"], Value::Null, &declared));
    assert_eq!(own.pad_id(), Some(281));
    // Where texts do not end with it, it may fill rows.
    let begins = form(Some(("<s>", 280)), None);
    assert_eq!(read(&folder(&added, begins, &[])).pad_id(), Some(281));
    let only_ends = form(None, Some(("</s>", 280)));
    let none = read(&folder(&["</s>"], only_ends, &[]));
    assert!(matches!(
        PairEncoder::new(none, 16),
        Err(DataError::NoPadToken { .. })
    ));
}

#[test]
fn a_tokenizer_without_a_known_end_still_encodes_sentences() {
    let read = read(&folder(&["<pad>"], Value::Null, &[]));
    assert_eq!(read.eos_id(), None);
    let encoder = PairEncoder::new(read, 16).unwrap();
    assert_eq!(encoder.pad_id(), 280);
}

#[test]
fn what_is_written_beside_a_saved_tokenizer_says_the_same() {
    let added = ["<s>", "</s>", "<end>", "<fill>"];
    let config =
        json!({ "bos_token": "<s>", "eos_token": "<end>", "pad_token": "<fill>", "add_bos_token": true });
    let one = read(&folder(&added, Value::Null, &[("tokenizer_config.json", config)]));
    let saved = tempfile::tempdir().unwrap();
    one.save(&saved.path().join("tokenizer.json")).unwrap();
    one.save_config(&saved.path().join("tokenizer_config.json"), 64)
        .unwrap();
    let other = read(&saved);
    assert_eq!(other.document_form().unwrap(), one.document_form().unwrap());
    assert_eq!(
        (other.bos_id(), other.eos_id(), other.pad_id()),
        (Some(280), Some(282), Some(283))
    );
}

#[test]
fn a_byte_order_mark_before_a_file_is_no_part_of_it() {
    let folder = folder(
        &["</s>", "<end>"],
        Value::Null,
        &[("tokenizer_config.json", json!({ "eos_token": "<end>" }))],
    );
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        let path = folder.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("\u{feff}{text}")).unwrap();
    }
    assert_eq!(read(&folder).eos_id(), Some(281));
    fs::write(folder.path().join("config.json"), "{").unwrap();
    let error = Tokenizer::from_file(&folder.path().join("tokenizer.json"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("config.json"), "{error}");
}

#[test]
fn an_id_that_no_embedding_could_have_a_row_for_is_refused() {
    for id in [1_u32 << 24, 1 << 31, u32::MAX] {
        let folder = folder(&[], Value::Null, &[]);
        let path = folder.path().join("tokenizer.json");
        let mut json: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        // The library numbers added tokens itself, but takes any number in the vocabulary.
        json["model"]["vocab"]["far"] = json!(id);
        fs::write(&path, json.to_string()).unwrap();
        let error = Tokenizer::from_file(&path).unwrap_err();
        assert!(error.to_string().contains(&id.to_string()), "{error}");
    }
}

#[test]
fn added_tokens_beyond_the_model_s_embeddings_do_no_harm_until_a_text_has_one() {
    let added = ["</s>", "<pad>", "<extra>"];
    let read = read(&folder(&added, Value::Null, &[]));
    assert_eq!((read.vocab_size(), read.pad_id()), (283, Some(281)));
    let fitted = read.clone().fitted(281).unwrap();
    assert_eq!((fitted.eos_id(), fitted.pad_id()), (Some(280), Some(280)));
    assert_eq!(fitted.encode("memory").unwrap(), read.encode("memory").unwrap());
    let error = fitted.encode("memory <extra>").unwrap_err();
    assert!(
        matches!(
            &error,
            DataError::TokenOutOfRange {
                id: 282,
                expected: 281,
                ..
            }
        ),
        "{error}"
    );
    let encoder = PairEncoder::new(fitted.clone(), 16).unwrap();
    let example = GlueExample {
        sentence: "memory <extra>".to_owned(),
        pair: None,
        label: None,
        index: 0,
    };
    assert!(matches!(
        encoder.encode(&example),
        Err(DataError::TokenOutOfRange { .. })
    ));
    // Without a row for the end token there is none, and a word must have one.
    assert_eq!(read.clone().fitted(280).unwrap().eos_id(), None);
    assert!(matches!(
        read.fitted(279),
        Err(DataError::VocabularyTooLarge { found: 280, .. })
    ));
}

#[test]
fn a_token_of_every_text_must_have_an_embedding() {
    let read = read(&folder(&["<s>"], form(Some(("<s>", 280)), None), &[]));
    assert!(matches!(
        read.fitted(280),
        Err(DataError::VocabularyTooLarge { found: 281, .. })
    ));
}

#[test]
fn a_template_that_cannot_be_used_is_refused_with_its_place() {
    let sequence = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    let special = |id: &str| json!({ "SpecialToken": { "id": id, "type_id": 0 } });
    let defined = |tokens: Value| json!({ "<s>": { "id": "<s>", "ids": [280], "tokens": tokens } });
    let whole = json!(["<s>"]);
    let cases = [
        (
            json!([special("<x>"), sequence("A")]),
            &whole,
            "`single` has the token `<x>`, which its `special_tokens` lack",
        ),
        (
            json!([sequence("A"), sequence("B")]),
            &whole,
            "`single` has a place for a second text",
        ),
        (
            json!([special("<s>"), sequence("A")]),
            &json!([]),
            "`single` has the token `<s>` of 1 ids, with 0 texts",
        ),
    ];
    for (single, tokens, expected) in cases {
        let form = json!({ "type": "TemplateProcessing", "single": single, "pair": [sequence("A"), sequence("B")],
            "special_tokens": defined(tokens.clone()) });
        let among_others = json!({ "type": "Sequence", "processors": [&form] });
        for form in [&form, &among_others] {
            let folder = folder(&["<s>"], form.clone(), &[]);
            let error = Tokenizer::from_file(&folder.path().join("tokenizer.json")).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
