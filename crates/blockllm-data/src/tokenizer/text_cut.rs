//! Where a text may be cut so that the tokens before the cut are those of the whole text.
//!
//! Before a space that follows a letter, if no token reaches over such a place: then nothing that a tokenizer does to the
//! words before it depends on the words behind it. Whether that holds is read from the tokenizer's file; where it is not
//! certain, no text is cut. What a space itself may change (the last run of spaces, a token that was cut) is covered by
//! [`MARGIN`].

use serde_json::Value;
use std::collections::BTreeSet;

/// Tokens before the cut that are not relied on.
pub(super) const MARGIN: usize = 8;

/// Normalizers that change no place between two words.
const LOCAL_NORMALIZERS: [&str; 12] = [
    "Sequence",
    "Precompiled",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Nmt",
    "Lowercase",
    "StripAccents",
    "Strip",
    "BertNormalizer",
    "Prepend",
];
/// Pre-tokenizers that split at every space, if nothing else says otherwise.
const SPLITTING: [&str; 3] = ["Whitespace", "WhitespaceSplit", "BertPreTokenizer"];
/// Others whose pieces are no longer than a word and the spaces before it.
const LOCAL_PRE_TOKENIZERS: [&str; 7] = [
    "Sequence",
    "ByteLevel",
    "Metaspace",
    "Punctuation",
    "Digits",
    "Split",
    "CharDelimiterSplit",
];

/// Whether texts may be cut before the spaces in them, by the tokenizer's file.
pub(super) fn can_cut(json: &Value) -> bool {
    let normalizers_are_local = all_parts(&json["normalizer"], &|part| match part["type"].as_str() {
        Some("Replace") => replaces_locally(part),
        Some("ByteLevel") => true,
        Some(kind) => LOCAL_NORMALIZERS.contains(&kind),
        None => false,
    });
    let pre_tokenizers_are_local = all_parts(&json["pre_tokenizer"], &|part| {
        let kind = part["type"].as_str().unwrap_or_default();
        SPLITTING.contains(&kind) || LOCAL_PRE_TOKENIZERS.contains(&kind)
    });
    let splits = !json["pre_tokenizer"].is_null()
        && !all_parts(&json["pre_tokenizer"], &|part| !splits_at_spaces(part));
    // These two look a whole piece up, so that a piece must not reach beyond a word.
    let looks_up = matches!(json["model"]["type"].as_str(), Some("WordLevel" | "WordPiece"));
    normalizers_are_local && pre_tokenizers_are_local && (splits || !looks_up) && no_token_crosses(json)
}

/// Whether `holds` for a component, or for every part of a sequence of components. Nothing at all is no part.
fn all_parts(component: &Value, holds: &dyn Fn(&Value) -> bool) -> bool {
    if component.is_null() {
        return true;
    }
    let parts = [&component["normalizers"], &component["pretokenizers"]];
    let mut parts = parts.into_iter().filter_map(Value::as_array).flatten();
    let is_sequence = component["type"].as_str() == Some("Sequence");
    (is_sequence || holds(component)) && parts.all(|part| all_parts(part, holds))
}

/// A space may become another space, and runs of spaces one, but not a letter or nothing.
fn replaces_locally(replace: &Value) -> bool {
    let content = replace["content"].as_str().unwrap_or_default();
    let pattern = replace["pattern"]["String"].as_str();
    matches!(content, " " | "▁") || pattern.is_some_and(|pattern| !pattern.contains([' ', '▁']))
}

fn splits_at_spaces(part: &Value) -> bool {
    match part["type"].as_str().unwrap_or_default() {
        "Metaspace" => part["split"].as_bool().unwrap_or(true),
        "ByteLevel" => part["use_regex"].as_bool().unwrap_or(true),
        kind => SPLITTING.contains(&kind),
    }
}

/// Whether no token holds a space behind a letter. Tokens that are matched as they stand in the text must not hold one
/// either; the same string in the vocabulary is then no other token.
fn no_token_crosses(json: &Value) -> bool {
    let added = json["added_tokens"].as_array().into_iter().flatten();
    let added: BTreeSet<&str> = added.filter_map(|token| token["content"].as_str()).collect();
    if added.iter().any(|token| crosses(token, &[' '])) {
        return false;
    }
    let vocabulary = &json["model"]["vocab"];
    let unigram = vocabulary.as_array().into_iter().flatten();
    let unigram = unigram.filter_map(|piece| piece[0].as_str());
    let others = vocabulary.as_object().into_iter().flatten();
    let mut tokens = unigram.chain(others.map(|(token, _)| token.as_str()));
    tokens.all(|token| added.contains(token) || !crosses(token, &[' ', '▁', 'Ġ']))
}

fn crosses(token: &str, spaces: &[char]) -> bool {
    // Runs of spaces, tabs and line ends are often tokens; the last three are byte-level BPE's letters for them.
    let is_space =
        |letter: char| spaces.contains(&letter) || letter.is_whitespace() || "ĊĉčĠ▁".contains(letter);
    let mut pairs = token.chars().zip(token.chars().skip(1));
    pairs.any(|(left, right)| !is_space(left) && spaces.contains(&right))
}

/// The first place from `bytes` on where `text` may be cut; `None` when that is no shorter than the text.
pub(super) fn place(text: &str, bytes: usize) -> Option<usize> {
    let behind = text.as_bytes().get(bytes.max(1)..)?;
    let mut spaces = memchr::memchr_iter(b' ', behind).map(|space| bytes.max(1) + space);
    // A space is one byte, so the text before it is whole characters.
    spaces.find(|&space| {
        let before = text[..space].chars().next_back();
        before.is_some_and(|letter| !letter.is_whitespace() && !letter.is_control())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bpe(tokens: &[&str]) -> Value {
        let vocab: serde_json::Map<_, _> = tokens.iter().map(|&token| (token.to_owned(), json!(0))).collect();
        json!({ "model": { "type": "BPE", "vocab": vocab } })
    }

    #[test]
    fn a_token_over_a_word_s_end_forbids_cutting_and_runs_of_spaces_do_not() {
        assert!(can_cut(&bpe(&["▁the", "▁▁", "ĊĠĠ", "x"])));
        for crossing in ["of▁the", "ofĠthe", "a b", ".▁"] {
            assert!(!can_cut(&bpe(&["▁the", crossing])), "{crossing}");
        }
        let mut json = bpe(&["x"]);
        json["added_tokens"] = json!([{ "content": "<a b>" }]);
        assert!(!can_cut(&json));
    }

    #[test]
    fn what_is_not_known_to_leave_words_apart_forbids_cutting() {
        let with = |key: &str, component: Value| {
            let mut json = bpe(&["x"]);
            json[key] = component;
            can_cut(&json)
        };
        let replace = |pattern: Value, content: &str| json!({ "type": "Replace", "pattern": pattern, "content": content });
        assert!(with("normalizer", replace(json!({ "String": " " }), "▁")));
        assert!(with("normalizer", replace(json!({ "Regex": " {2,}" }), " ")));
        assert!(!with("normalizer", replace(json!({ "String": " " }), "")));
        assert!(!with("normalizer", replace(json!({ "Regex": "\\s" }), "x")));
        let sequence =
            json!({ "type": "Sequence", "normalizers": [{ "type": "NFC" }, { "type": "Reversed" }] });
        assert!(!with("normalizer", sequence));
        assert!(!with(
            "pre_tokenizer",
            json!({ "type": "FixedLength", "length": 5 })
        ));
    }

    #[test]
    fn a_model_that_looks_pieces_up_needs_a_splitter() {
        let mut json = bpe(&["x"]);
        json["model"]["type"] = json!("WordLevel");
        assert!(!can_cut(&json));
        json["pre_tokenizer"] = json!({ "type": "Sequence", "pretokenizers": [{ "type": "Punctuation" }] });
        assert!(!can_cut(&json));
        json["pre_tokenizer"] =
            json!({ "type": "Sequence", "pretokenizers": [{ "type": "WhitespaceSplit" }] });
        assert!(can_cut(&json));
    }

    #[test]
    fn a_text_is_cut_before_a_space_behind_a_letter_or_not_at_all() {
        assert_eq!(place("one two  three", 0), Some(3));
        assert_eq!(place("one two  three", 4), Some(7));
        assert_eq!(place("one two  three", 8), None);
        assert_eq!(place("\u{3000} a", 0), None);
        assert_eq!(place("äö ü", 1), Some(4));
        assert_eq!(place("a", 5), None);
    }
}
