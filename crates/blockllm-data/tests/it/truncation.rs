//! Documents cut before they are tokenized: the tokens of the whole text, and rows as transformers makes them.
//!
//! Tokenizers and rows are made by `fixtures/truncation_reference.py`.

use std::path::Path;

use blockllm_data::{Layout, Packer, Tokenizer};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    tokenizer: String,
    max_length: usize,
    text: String,
    input_ids: Vec<i32>,
}

fn fixture(name: &str) -> Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    Tokenizer::from_file(&folder.join(name)).unwrap()
}

fn row(tokenizer: &Tokenizer, text: &str, seq_len: usize) -> Option<Vec<i32>> {
    let form = tokenizer.document_form().unwrap();
    let room = form.room(seq_len).unwrap();
    let mut document = Some(tokenizer.encode_beginning(text, room).unwrap());
    let mut packer = Packer::new(Layout::TruncateAndPad, seq_len, form);
    packer
        .next_row(|| Ok(document.take()))
        .unwrap()
        .map(|row| row.input_ids)
}

#[test]
fn a_padded_row_is_that_of_transformers_with_its_beginning_and_its_end() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../fixtures/truncation_reference.json")).unwrap();
    assert_eq!(cases.len(), 45);
    for case in cases {
        let tokenizer = fixture(&case.tokenizer);
        let (end, pad) = (
            tokenizer.eos_id().unwrap() as i32,
            tokenizer.pad_id().unwrap() as i32,
        );
        // An empty document gives no row here.
        let Some(found) = row(&tokenizer, &case.text, case.max_length) else {
            assert!(case.text.is_empty());
            continue;
        };
        let mut expected = case.input_ids;
        if case.tokenizer != "t5_tokenizer.json" {
            // Its form has no end; ours ends every document, in place of the last token where there is no room.
            let used = expected.iter().rposition(|&id| id != pad).unwrap() + 1;
            expected[used.min(case.max_length - 1)] = end;
            assert_eq!(
                tokenizer.document_form().unwrap().before,
                [tokenizer.bos_id().unwrap()]
            );
        }
        assert_eq!(
            found, expected,
            "{} at {}: {}",
            case.tokenizer, case.max_length, case.text
        );
    }
}

/// Words, numbers, punctuation, runs of spaces, other scripts, in any order.
fn text() -> impl Strategy<Value = String> {
    const SPACES: [&str; 10] = [
        " ",
        "  ",
        "\n",
        "\n\n ",
        "\t",
        ". ",
        "'s ",
        "\u{a0}",
        "\u{3000}",
        "\u{200b} ",
    ];
    const OTHERS: [&str; 8] = ["Über ", "東京都", "é", "e\u{301} ", "🦀 ", "</s>", "<s> ", "ﬁ "];
    let one_of = |pieces: &'static [&str]| prop::sample::select(pieces).prop_map(str::to_owned);
    let piece = prop_oneof![
        8 => "[a-z]{1,9} ",
        2 => "[0-9]{1,5}",
        2 => one_of(&SPACES),
        1 => one_of(&OTHERS),
        1 => any::<String>(),
    ];
    prop::collection::vec(piece, 0..200).prop_map(|pieces| pieces.concat())
}

#[test]
fn the_beginning_of_a_text_has_the_tokens_of_the_whole() {
    for name in [
        "t5_tokenizer.json",
        "llama_2_tokenizer.json",
        "llama_3_tokenizer.json",
        "bert_tokenizer.json",
        "roberta_tokenizer.json",
    ] {
        let tokenizer = fixture(name);
        proptest!(ProptestConfig::with_cases(100), |(text in text(), count in 0usize..60)| {
            let mut whole = tokenizer.encode(&text).unwrap();
            whole.truncate(count);
            prop_assert_eq!(tokenizer.encode_beginning(&text, count).unwrap(), whole, "{} of {:?}", name, text);
        });
    }
}

fn read(json: &serde_json::Value) -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, json.to_string()).unwrap();
    Tokenizer::from_file(&path).unwrap()
}

#[test]
fn of_a_long_document_only_the_beginning_is_looked_at() {
    // No tokenizer has a token for this word, and this one none for the unknown: whoever looks at it fails.
    let tokenizer = read(&serde_json::json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": { "type": "WhitespaceSplit" },
        "model": { "type": "WordLevel", "vocab": { "word": 0, "</s>": 1 }, "unk_token": "missing" },
    }));
    let text = "word ".repeat(1000) + "unknown";
    assert_eq!(tokenizer.encode_beginning(&text, 100).unwrap(), [0; 100]);
    assert!(tokenizer.encode(&text).is_err());
}

#[test]
fn a_text_is_not_cut_where_its_end_may_change_its_beginning() {
    let tokenizer = read(&serde_json::json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": { "type": "WhitespaceSplit" },
        "normalizer": { "type": "Replace", "pattern": { "Regex": "^.*end$" }, "content": "x" },
        "model": { "type": "WordLevel", "vocab": { "word": 0, "x": 1 }, "unk_token": "x" },
    }));
    assert_eq!(
        tokenizer
            .encode_beginning(&("word ".repeat(1000) + "end"), 100)
            .unwrap(),
        [1]
    );
    assert_eq!(
        tokenizer.encode_beginning(&"word ".repeat(1000), 100).unwrap(),
        [0; 100]
    );
}

#[test]
fn the_last_tokens_before_a_cut_are_not_relied_on() {
    // A word is a token if another one follows it, else its letters are.
    let split = serde_json::json!({
        "type": "Split", "behavior": "Isolated", "invert": false,
        "pattern": { "Regex": " ?[a-z]+(?= [a-z])|[a-z]| " },
    });
    let tokenizer = read(&serde_json::json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": split,
        "model": { "type": "BPE", "ignore_merges": true, "merges": [],
            "vocab": { " abcde": 0, "abcde": 1, "a": 2, "b": 3, "c": 4, "d": 5, "e": 6, " ": 7 } },
    }));
    let text = "abcde".to_owned() + &" abcde".repeat(999);
    let whole = tokenizer.encode(&text).unwrap();
    assert_eq!(whole[998..], [0, 7, 2, 3, 4, 5, 6]);
    for count in 1..200 {
        assert_eq!(tokenizer.encode_beginning(&text, count).unwrap(), whole[..count]);
    }
}
