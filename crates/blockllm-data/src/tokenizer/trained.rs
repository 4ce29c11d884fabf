//! The tokenizer that is learned here: a byte-level BPE, as the file that the library reads.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

use crate::bpe;

/// The padding token of a tokenizer that was trained here; its id is 0.
pub const PAD_TOKEN: &str = "<|pad|>";
/// The end-of-document token of a tokenizer that was trained here; its id is 1.
pub const EOS_TOKEN: &str = "<|endoftext|>";

/// The file of a byte-level BPE of at most `vocab_size` tokens, learned from `documents`.
pub(super) fn learn(
    documents: impl IntoIterator<Item = String>,
    vocab_size: usize,
) -> tokenizers::Result<Value> {
    let words = count_words(documents)?;
    let alphabet: BTreeSet<char> = ByteLevel::alphabet().into_iter().collect();
    Ok(byte_level_json(&bpe::learn(&words, &alphabet, vocab_size - 2)))
}

/// Splits as GPT-2 does, and counts the pieces in byte-level letters.
fn count_words(documents: impl IntoIterator<Item = String>) -> tokenizers::Result<BTreeMap<String, u64>> {
    let splitter = byte_level();
    let mut counts: HashMap<String, u64> = HashMap::new();
    for document in documents {
        let mut pieces = PreTokenizedString::from(document);
        splitter.pre_tokenize(&mut pieces)?;
        for (piece, _, _) in pieces.get_splits(OffsetReferential::Original, OffsetType::None) {
            match counts.get_mut(piece) {
                Some(count) => *count += 1,
                None => drop(counts.insert(piece.to_owned(), 1)),
            }
        }
    }
    Ok(counts.into_iter().collect())
}

fn byte_level() -> ByteLevel {
    ByteLevel::new(false, true, true)
}

fn byte_level_json(learned: &bpe::LearnedBpe) -> Value {
    let special = [PAD_TOKEN, EOS_TOKEN];
    let added: Vec<Value> = special
        .iter()
        .enumerate()
        .map(|(id, content)| added_token(id, content))
        .collect();
    let strings = special
        .iter()
        .map(|&token| token.to_owned())
        .chain(learned.symbols.iter().cloned());
    let vocab: BTreeMap<String, usize> = strings.zip(0..).collect();
    let byte_level =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": vocab,
            "merges": learned.merges,
        },
    })
}

fn added_token(id: usize, content: &str) -> Value {
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true,
    })
}
