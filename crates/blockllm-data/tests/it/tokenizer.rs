//! Tokenizers: learned here, and read from Hugging Face's files.

use std::fs;

use blockllm_data::{DataError, Tokenizer};
use proptest::prelude::*;

use crate::fixtures::{shared, texts, tokenizer};

#[test]
fn the_same_documents_give_the_same_tokenizer_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str| {
        let path = folder.path().join(name);
        let trained = Tokenizer::train_byte_level_bpe(texts(200), 400).unwrap();
        trained.save(&path).unwrap();
        fs::read(path).unwrap()
    };
    assert_eq!(save("one.json"), save("two.json"));
}

#[test]
fn a_trained_tokenizer_numbers_padding_and_end_first_and_survives_saving() {
    let trained = tokenizer();
    assert_eq!(
        (
            trained.pad_id(),
            trained.eos_id(),
            trained.bos_id(),
            trained.vocab_size()
        ),
        (Some(0), Some(1), None, 280)
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    trained.save(&path).unwrap();
    let read = Tokenizer::from_file(&path).unwrap();
    assert_eq!(read.sha256(), trained.sha256());
    assert_eq!(
        read.encode("sparse memory").unwrap(),
        trained.encode("sparse memory").unwrap()
    );
    assert!(
        trained.encode(" memory").unwrap().len() < 7,
        "frequent words are shorter than their bytes"
    );
}

#[test]
fn arbitrary_utf_8_comes_back_from_its_encoding() {
    let trained = tokenizer();
    proptest!(|(text in any::<String>())| {
        let ids = trained.encode(&text).unwrap();
        prop_assert!(ids.iter().all(|&id| (id as usize) < trained.vocab_size()));
        prop_assert_eq!(trained.decode(&ids).unwrap(), text);
    });
}

#[test]
fn a_vocabulary_without_room_for_the_bytes_is_refused() {
    let error = Tokenizer::train_byte_level_bpe(texts(3), 257).unwrap_err();
    assert!(error.to_string().contains("`vocab_size` is 257"), "{error}");
}

#[test]
fn a_tokenizer_larger_than_the_model_is_named_with_both_sizes_and_the_mend() {
    let trained = tokenizer();
    trained.clone().fitted(280).unwrap();
    let message = trained.fitted(279).unwrap_err().to_string();
    for part in ["trained here", "280", "279", "Set the model's `vocab_size`"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_tokenizer_without_an_end_token_is_refused_for_documents_and_a_file_that_is_none_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    tokenizer().save(&path).unwrap();
    let json = fs::read_to_string(&path)
        .unwrap()
        .replace("<|endoftext|>", "<|other|>");
    fs::write(&path, json).unwrap();
    let read = Tokenizer::from_file(&path).unwrap();
    assert_eq!(read.eos_id(), None);
    assert!(matches!(read.document_form(), Err(DataError::NoEndToken { .. })));
    fs::write(&path, "{}").unwrap();
    assert!(matches!(
        Tokenizer::from_file(&path),
        Err(DataError::Tokenizer { .. })
    ));
    assert!(matches!(
        Tokenizer::from_file(&path.join("no")),
        Err(DataError::Io { .. })
    ));
}

#[test]
fn a_tokenizer_file_that_was_cut_short_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let whole = include_bytes!("../fixtures/roberta_tokenizer.json");
    for length in (0..whole.len()).step_by(3) {
        fs::write(&path, &whole[..length]).unwrap();
        let read = Tokenizer::from_file(&path);
        assert!(matches!(read, Err(DataError::Tokenizer { .. })), "{length} bytes");
    }
}

/// The file writes a line break as `\n`, and a space at a line's end as `\s`.
fn unescaped(line: &str) -> String {
    line.replace("\\n", "\n").replace("\\s", " ")
}

#[test]
fn gpt2_gives_the_golden_ids() {
    let Some(folder) = shared("tokenizers/golden") else {
        return;
    };
    let gpt2 = Tokenizer::from_file(&folder.join("../gpt2/tokenizer.json")).unwrap();
    let inputs = fs::read_to_string(folder.join("small_input.txt")).unwrap();
    let golden = fs::read_to_string(folder.join("tokenizers__small_tokens_gpt2.txt")).unwrap();
    assert_eq!(inputs.lines().count(), golden.lines().count());
    for (input, golden) in inputs.lines().zip(golden.lines()) {
        let golden: Vec<u32> = golden.split(", ").map(|id| id.trim().parse().unwrap()).collect();
        assert_eq!(gpt2.encode(&unescaped(input)).unwrap(), golden, "{input}");
    }
}

#[test]
fn every_kind_of_file_gives_its_vocabulary_end_and_padding_and_neither_cuts_nor_pads() {
    let kinds = [
        ("t5-base", 32_100, 1, 0),
        ("gpt2", 50_257, 50_256, 50_256),
        ("roberta-base", 50_265, 2, 1),
        ("bert-base-uncased", 30_522, 102, 0),
    ];
    for (name, vocab_size, eos_id, pad_id) in kinds {
        let Some(path) = shared(&format!("tokenizers/{name}/tokenizer.json")) else {
            return;
        };
        let read = Tokenizer::from_file(&path).unwrap();
        assert_eq!(
            (read.vocab_size(), read.eos_id(), read.pad_id()),
            (vocab_size, Some(eos_id), Some(pad_id)),
            "{name}"
        );
        assert_eq!(read.encode("house").unwrap().len(), 1, "{name}");
        assert!(read.encode(&"house ".repeat(200)).unwrap().len() >= 200, "{name}");
    }
}
