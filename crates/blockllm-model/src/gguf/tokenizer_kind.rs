//! How byte-level tokenizers cut a text into words before they merge bytes: the kinds that GGUF files name.

use serde_json::{Value, json};

/// A kind of byte-level BPE.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenizerKind {
    /// llama.cpp's names of it.
    names: &'static [&'static str],
    words: Words,
    /// Whether texts are put into Unicode's normal form C.
    pub(super) is_normalized: bool,
    /// Whether a word that is a token is one, whatever merges say.
    pub(super) ignore_merges: bool,
    /// Whether a text begins with the beginning's token where the file does not say.
    pub(super) adds_bos: bool,
}

/// How words are found.
#[derive(Debug, Clone, Copy)]
enum Words {
    /// As by GPT-2.
    Gpt2,
    /// As by GPT-2, but every digit is a word.
    SingleDigits,
    /// By this pattern.
    Pattern(&'static str),
}

const PLAIN: TokenizerKind = TokenizerKind {
    names: &["gpt-2"],
    words: Words::Gpt2,
    is_normalized: false,
    ignore_merges: false,
    adds_bos: false,
};

/// Every kind that is known. The patterns are those of the models' own `tokenizer.json`.
const KINDS: [TokenizerKind; 4] = [
    PLAIN,
    TokenizerKind {
        names: &["smollm"],
        words: Words::SingleDigits,
        ..PLAIN
    },
    TokenizerKind {
        names: &["llama-bpe", "llama3", "llama-v3"],
        words: Words::Pattern(concat!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
            r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )),
        ignore_merges: true,
        adds_bos: true,
        ..PLAIN
    },
    TokenizerKind {
        names: &["qwen2"],
        words: Words::Pattern(concat!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
            r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )),
        is_normalized: true,
        ..PLAIN
    },
];

impl TokenizerKind {
    /// The kind of that name.
    pub(super) fn of(name: &str) -> Option<Self> {
        KINDS.into_iter().find(|kind| kind.names.contains(&name))
    }

    /// The names that are known, for an error.
    pub(super) fn known() -> String {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.names[0]).collect();
        format!("one of {}", names.join(", "))
    }

    /// The `pre_tokenizer` of a `tokenizer.json`.
    pub(super) fn pre_tokenizer(self) -> Value {
        let (before, use_regex) = match self.words {
            Words::Gpt2 => return byte_level(false, true),
            Words::SingleDigits => (json!({ "type": "Digits", "individual_digits": true }), true),
            Words::Pattern(words) => {
                let split = json!({
                    "type": "Split", "pattern": { "Regex": words }, "behavior": "Isolated", "invert": false,
                });
                (split, false)
            }
        };
        let bytes = byte_level(false, use_regex);
        json!({ "type": "Sequence", "pretokenizers": [before, bytes] })
    }
}

/// The part of a `tokenizer.json` that makes printable letters of bytes, or bytes of those.
pub(super) fn byte_level(add_prefix_space: bool, use_regex: bool) -> Value {
    json!({
        "type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true, "use_regex": use_regex,
    })
}
