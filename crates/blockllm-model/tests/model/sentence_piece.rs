//! Tokenizers of SentencePiece in llama2.c's and llama.cpp's files, against SentencePiece itself; files made by
//! `tests/fixtures/sentence_piece_reference.py`.

use std::fs;
use std::path::PathBuf;

use blockllm_data::Tokenizer;
use blockllm_fuzz::{Damage, cases};
use blockllm_model::gguf::GgufModel;
use blockllm_model::{TokenizerFiles, llama2c_tokenizer};
use proptest::prelude::*;
use serde_json::Value;

use crate::common::fixture;

fn file(name: &str) -> PathBuf {
    fixture("sentence_piece").join(name)
}

fn from_llama2c() -> TokenizerFiles {
    llama2c_tokenizer(&file("tokenizer.bin"), 64).unwrap()
}

fn from_gguf() -> TokenizerFiles {
    GgufModel::open(&file("model.gguf")).unwrap().tokenizer().unwrap()
}

/// What is said of `tokenizer.bin` after `change`.
fn refused(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = fs::read(file("tokenizer.bin")).unwrap();
    change(&mut bytes);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tok.bin");
    fs::write(&path, bytes).unwrap();
    let message = llama2c_tokenizer(&path, 64).unwrap_err().to_string();
    assert!(
        message.contains("tok.bin") && message.contains("tokenizer.json"),
        "{message}"
    );
    message
}

#[test]
fn texts_become_the_pieces_that_sentence_piece_makes_of_them() {
    let cases: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(file("encodings.json")).unwrap()).unwrap();
    for (kind, files) in [("llama2.c", from_llama2c()), ("llama.cpp", from_gguf())] {
        let tokenizer = Tokenizer::from_text(&files.tokenizer, &files.config, kind).unwrap();
        for case in &cases {
            let text = case["text"].as_str().unwrap();
            let expected: Vec<u64> = case["ids"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_u64)
                .collect();
            let ids = tokenizer.encode(text).unwrap();
            assert!(
                ids.iter().map(|&id| u64::from(id)).eq(expected),
                "{kind}: {text:?}"
            );
            assert_eq!(
                tokenizer.decode(&ids).unwrap(),
                case["decoded"].as_str().unwrap(),
                "{kind}"
            );
        }
        assert_eq!(
            (tokenizer.bos_id(), tokenizer.eos_id()),
            (Some(1), Some(2)),
            "{kind}"
        );
        assert_eq!(tokenizer.vocab_size(), 320, "{kind}");
    }
}

#[test]
fn both_files_give_the_same_tokenizer() {
    let [one, other] =
        [from_llama2c(), from_gguf()].map(|files| serde_json::from_str::<Value>(&files.tokenizer).unwrap());
    for key in ["added_tokens", "normalizer", "decoder", "model"] {
        assert_eq!(one[key], other[key], "{key}");
    }
    assert_eq!(from_gguf().config["add_bos_token"], true);
}

#[test]
fn a_file_that_is_no_tokenizer_is_refused_at_the_piece() {
    for (message, part) in [
        (refused(Vec::clear), "ends before its first number"),
        (refused(|bytes| bytes.truncate(40)), "piece 2 is cut off"),
        (refused(|bytes| bytes.truncate(198)), "pieces, fewer than"),
        (
            refused(|bytes| bytes[8] = 200),
            "piece 0 has a length of 200 bytes",
        ),
        (
            refused(|bytes| bytes[12] = b'!'),
            "piece 0 is \"!unk>\", where \"<unk>\" is expected",
        ),
        (
            refused(|bytes| bytes[6..8].copy_from_slice(&[0x80, 0x7F])),
            "piece 0 has a score of inf",
        ),
        (
            refused(|bytes| bytes.extend_from_within(bytes.len() - 9..)),
            "is there twice",
        ),
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn pieces_that_no_tokenizer_has_are_refused_before_they_cost_anything() {
    let with = |pieces: &[String]| {
        refused(|bytes| {
            bytes[..4].copy_from_slice(&100_000_u32.to_le_bytes());
            for text in pieces {
                bytes.extend((-1.0_f32).to_le_bytes());
                bytes.extend((text.len() as u32).to_le_bytes());
                bytes.extend(text.as_bytes());
            }
        })
    };
    let message = with(&["#".repeat(100_000)]);
    assert!(message.contains("a piece of 100000 bytes"), "{message}");
    // Every way to write two letters in order: all cuts of each are pieces again.
    let all = (0..300).flat_map(|a| (0..=300 - a).map(move |b| "#".repeat(a) + &"~".repeat(b)));
    let message = with(&all.filter(|text| text.len() > 1).collect::<Vec<_>>());
    assert!(message.contains("pairs of pieces"), "{message}");
}

proptest! {
    #![proptest_config(cases(120))]

    #[test]
    fn a_damaged_file_is_read_or_refused(damage in Damage::any()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tok.bin");
        fs::write(&path, damage.of(&fs::read(file("tokenizer.bin")).unwrap())).unwrap();
        if let Ok(files) = llama2c_tokenizer(&path, 64) {
            let _ = Tokenizer::from_text(&files.tokenizer, &files.config, "damaged");
        }
    }
}
