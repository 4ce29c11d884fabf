//! A tokenizer: any `tokenizer.json` of Hugging Face's, or a byte-level BPE learned from the corpus.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

use crate::atomic_file::write_atomically;
use crate::hashing::sha256_hex;
use crate::{DataError, bpe};

/// The padding token of a tokenizer that was trained here; its id is 0.
pub const PAD_TOKEN: &str = "<|pad|>";
/// The end-of-document token of a tokenizer that was trained here; its id is 1.
pub const EOS_TOKEN: &str = "<|endoftext|>";

const EOS_NAMES: [&str; 6] = [
    EOS_TOKEN,
    "</s>",
    "[SEP]",
    "<|end_of_text|>",
    "<|im_end|>",
    "<eos>",
];
const PAD_NAMES: [&str; 4] = [PAD_TOKEN, "<pad>", "[PAD]", "<|padding|>"];
const BYTES: usize = 256;

/// Text to token ids and back. Adds no special token of itself, and neither truncates nor pads.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    label: String,
    json: String,
    sha256: String,
    vocab_size: usize,
    eos_id: u32,
    pad_id: u32,
}

impl Tokenizer {
    /// Reads a `tokenizer.json` of any kind (BPE, Unigram, `WordPiece`); truncation and padding in it are
    /// switched off.
    ///
    /// # Errors
    /// [`DataError::Io`] when the file cannot be read, [`DataError::Tokenizer`] when it is no tokenizer,
    /// [`DataError::NoEndToken`] when none of the usual names of an end-of-document token is in it.
    pub fn from_file(path: &Path) -> Result<Self, DataError> {
        let bytes = fs::read(path).map_err(DataError::io("read", path))?;
        Self::from_json(&bytes, path.display().to_string())
    }

    /// Learns a byte-level BPE, so that every text has an encoding and comes back from it unchanged.
    ///
    /// Ids: `<|pad|>`, `<|endoftext|>`, the 256 bytes, then merges. A small corpus may give fewer than
    /// `vocab_size`. The same documents give the same tokenizer, byte for byte.
    ///
    /// # Errors
    /// [`DataError::Config`] when `vocab_size` has no room for the bytes; [`DataError::Tokenizer`] when the
    /// library cannot split a text.
    pub fn train_byte_level_bpe(
        documents: impl IntoIterator<Item = String>,
        vocab_size: usize,
    ) -> Result<Self, DataError> {
        if vocab_size < BYTES + 2 {
            let expected = "at least 258: 256 bytes and 2 special tokens";
            return Err(DataError::Config {
                field: "vocab_size",
                found: vocab_size.to_string(),
                expected,
            });
        }
        let label = "trained here";
        let words = count_words(documents).map_err(|error| library_error(label, &*error))?;
        let alphabet: BTreeSet<char> = ByteLevel::alphabet().into_iter().collect();
        let learned = bpe::learn(&words, &alphabet, vocab_size - 2);
        Self::from_json(byte_level_json(&learned).to_string().as_bytes(), label.to_owned())
    }

    fn from_json(bytes: &[u8], label: String) -> Result<Self, DataError> {
        let refuse = |error: tokenizers::Error| library_error(&label, &*error);
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(refuse)?;
        // Hugging Face's BERT file, for one, cuts and pads every text to 128 tokens.
        inner.with_padding(None).with_truncation(None).map_err(refuse)?;
        let json = inner.to_string(true).map_err(refuse)?;
        let added = inner.get_added_vocabulary().get_vocab();
        // RoBERTa's vocabulary has an unused `<|endoftext|>`: a name among the added tokens says more.
        let named = |names: &[&str]| {
            let among_added = names.iter().find_map(|&name| added.get(name).copied());
            among_added.or_else(|| names.iter().find_map(|name| inner.token_to_id(name)))
        };
        let Some(eos_id) = named(&EOS_NAMES) else {
            return Err(DataError::NoEndToken {
                tokenizer: label,
                expected: EOS_NAMES.join(", "),
            });
        };
        let pad_id = named(&PAD_NAMES).unwrap_or(eos_id);
        let vocab_size = inner
            .get_vocab(true)
            .into_values()
            .max()
            .map_or(0, |id| id as usize + 1);
        let sha256 = sha256_hex(json.as_bytes());
        Ok(Self {
            inner,
            label,
            json,
            sha256,
            vocab_size,
            eos_id,
            pad_id,
        })
    }

    /// The same tokenizer, with its end-of-document token before the first sentence and after each: for one that was
    /// trained here, where [`PairEncoder`](crate::glue::PairEncoder) needs a form for sentences and pairs.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] when the library refuses its own form.
    pub fn with_separators(&self) -> Result<Self, DataError> {
        let mut json: Value =
            serde_json::from_str(&self.json).map_err(|error| library_error(&self.label, &error))?;
        let name = self.inner.id_to_token(self.eos_id).unwrap_or_default();
        let separator = |sentence: u8| json!({ "SpecialToken": { "id": name, "type_id": sentence } });
        let text = |id: &str, sentence: u8| json!({ "Sequence": { "id": id, "type_id": sentence } });
        let single = [separator(0), text("A", 0), separator(0)];
        let pair = [&single[..], &[text("B", 1), separator(1)]].concat();
        let special = json!({ &name: { "id": name, "ids": [self.eos_id], "tokens": [name] } });
        json["post_processor"] = json!({
            "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special,
        });
        Self::from_json(json.to_string().as_bytes(), self.label.clone())
    }

    /// The library's own tokenizer.
    pub(crate) fn inner(&self) -> &tokenizers::Tokenizer {
        &self.inner
    }

    /// The ids of a text, without special tokens around it.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] when the model has no token for a part of the text, nor one for the unknown.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = self.inner.encode_fast(text, false);
        encoding
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|error| library_error(&self.label, &*error))
    }

    /// The text of ids; special tokens are written out.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] when the decoder refuses.
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        self.inner
            .decode(ids, false)
            .map_err(|error| library_error(&self.label, &*error))
    }

    /// The text of a token's own name, as `tokenizer_config.json` has it; `None` where there is no such id.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The rows that an embedding needs: the largest id, added tokens included, + 1.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The token that ends a document.
    pub fn eos_id(&self) -> u32 {
        self.eos_id
    }

    /// The token that fills a row; the end-of-document token where the tokenizer has none of its own.
    pub fn pad_id(&self) -> u32 {
        self.pad_id
    }

    /// The tokenizer's path, or `trained here`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The SHA-256 of the tokenizer as [`Tokenizer::save`] writes it, in hexadecimal; saving and reading
    /// keeps it.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Writes a `tokenizer.json`, whole or not at all.
    ///
    /// # Errors
    /// [`DataError::Io`] when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), DataError> {
        write_atomically(path, self.json.as_bytes())
    }

    /// Checks that a model of `model_vocab_size` embeddings knows every id of this tokenizer.
    ///
    /// # Errors
    /// [`DataError::VocabularyTooLarge`] when it does not.
    pub fn check_fits(&self, model_vocab_size: usize) -> Result<(), DataError> {
        if self.vocab_size <= model_vocab_size {
            return Ok(());
        }
        let tokenizer = self.label.clone();
        Err(DataError::VocabularyTooLarge {
            tokenizer,
            expected: model_vocab_size,
            found: self.vocab_size,
        })
    }
}

pub(crate) fn library_error(tokenizer: &str, error: &(dyn std::error::Error + Send + Sync)) -> DataError {
    DataError::Tokenizer {
        tokenizer: tokenizer.to_owned(),
        found: error.to_string(),
    }
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
