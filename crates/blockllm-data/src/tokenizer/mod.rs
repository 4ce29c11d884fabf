//! A tokenizer: any `tokenizer.json` of Hugging Face's, or a byte-level BPE learned from the corpus.

mod special_tokens;
mod template;
mod text_cut;
mod text_stream;
mod trained;

pub use self::text_stream::TextStream;
pub use self::trained::{EOS_TOKEN, PAD_TOKEN};

use std::panic::catch_unwind;
use std::path::Path;

use serde::de::IgnoredAny;
use serde_json::{Value, json};

use self::special_tokens::{Declared, EOS_NAMES, SpecialTokens};
use crate::atomic_file::write_atomically;
use crate::bounded_file::bounded;
use crate::hashing::sha256_hex;
use crate::settings_file::without_mark;
use crate::{DataError, DocumentForm};

const BYTES: usize = 256;
/// The largest published files have 35 MB.
const MAX_FILE_BYTES: u64 = 512 << 20;
/// No id is larger: vocabularies have up to a few hundred thousand tokens, and an embedding has a row for every id.
const MAX_VOCAB_SIZE: usize = 1 << 24;
/// A guess for the first try at the beginning of a text; in English 4.3, in other languages it is tried again.
const BYTES_PER_TOKEN: usize = 5;

/// Text to token ids and back. Adds no special token of itself, and neither truncates nor pads.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    label: String,
    json: String,
    sha256: String,
    vocab_size: usize,
    /// Ids are below this: the vocabulary's size, or that of the model that it was fitted to.
    id_limit: usize,
    special: SpecialTokens,
    can_cut: bool,
}

impl Tokenizer {
    /// Reads a `tokenizer.json` of any kind (BPE, Unigram, `WordPiece`); truncation and padding in it are switched off.
    ///
    /// Which tokens begin and end a text and fill a row is asked of `tokenizer_config.json`, `special_tokens_map.json`,
    /// `generation_config.json` and `config.json` beside it, then of the file's own form of a text, and only then guessed
    /// from usual names.
    ///
    /// # Errors
    /// [`DataError::Io`] when a file cannot be read, [`DataError::FileTooLarge`], and [`DataError::Tokenizer`] when it is
    /// no tokenizer.
    pub fn from_file(path: &Path) -> Result<Self, DataError> {
        let bytes = bounded(path, MAX_FILE_BYTES)?;
        let declared = Declared::beside(path)?;
        Self::from_json(without_mark(&bytes), path.display().to_string(), &declared)
    }

    /// A tokenizer that lies in no folder, such as a GGUF file's: the text of its `tokenizer.json`, and what `tokenizer_config.json`
    /// would say beside it. `label` names it in errors.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] when it is none.
    pub fn from_text(json: &str, config: &Value, label: &str) -> Result<Self, DataError> {
        Self::from_json(json.as_bytes(), label.to_owned(), &Declared::of(config))
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
        let json = trained::learn(documents, vocab_size).map_err(|error| library_error(label, &*error))?;
        Self::from_json(
            json.to_string().as_bytes(),
            label.to_owned(),
            &Declared::default(),
        )
    }

    fn from_json(bytes: &[u8], label: String, declared: &Declared) -> Result<Self, DataError> {
        let refuse = |error: tokenizers::Error| library_error(&label, &*error);
        let mut inner = parse(bytes, &label)?;
        // Hugging Face's BERT file, for one, cuts and pads every text to 128 tokens.
        inner.with_padding(None).with_truncation(None).map_err(refuse)?;
        let json = inner.to_string(true).map_err(refuse)?;
        let largest = inner.get_vocab(true).into_values().max();
        let vocab_size = largest.map_or(0, |id| id as usize + 1);
        if vocab_size > MAX_VOCAB_SIZE {
            let found = format!("it has a token of id {}, beyond {MAX_VOCAB_SIZE}", vocab_size - 1);
            return Err(DataError::Tokenizer {
                tokenizer: label,
                found,
            });
        }
        let parsed: Value = serde_json::from_str(&json).map_err(|error| library_error(&label, &error))?;
        if let Some(found) = template::fault(&parsed["post_processor"]) {
            return Err(DataError::Tokenizer {
                tokenizer: label,
                found,
            });
        }
        Ok(Self {
            special: SpecialTokens::find(&inner, declared),
            can_cut: text_cut::can_cut(&parsed),
            sha256: sha256_hex(json.as_bytes()),
            inner,
            label,
            json,
            vocab_size,
            id_limit: vocab_size,
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
        let end = self.document_form()?.end;
        let name = self.inner.id_to_token(end).unwrap_or_default();
        let separator = |sentence: u8| json!({ "SpecialToken": { "id": name, "type_id": sentence } });
        let text = |id: &str, sentence: u8| json!({ "Sequence": { "id": id, "type_id": sentence } });
        let single = [separator(0), text("A", 0), separator(0)];
        let pair = [&single[..], &[text("B", 1), separator(1)]].concat();
        let special = json!({ &name: { "id": name, "ids": [end], "tokens": [name] } });
        json["post_processor"] = json!({
            "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special,
        });
        Self::from_json(
            json.to_string().as_bytes(),
            self.label.clone(),
            &Declared::default(),
        )
    }

    /// The library's own tokenizer.
    pub(crate) fn inner(&self) -> &tokenizers::Tokenizer {
        &self.inner
    }

    /// The ids of a text, without special tokens around it.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] when the model has no token for a part of the text, nor one for the unknown;
    /// [`DataError::TokenOutOfRange`] for a token that the fitted model has no embedding for.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = self.inner.encode_fast(text, false);
        let encoding = encoding.map_err(|error| library_error(&self.label, &*error))?;
        self.check_ids(encoding.get_ids())?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The first `count` ids of [`encode`](Self::encode), for little more than their own work where the text can be cut.
    ///
    /// # Errors
    /// As [`encode`](Self::encode), for the part of the text that is looked at.
    pub fn encode_beginning(&self, text: &str, count: usize) -> Result<Vec<u32>, DataError> {
        let wanted = count.saturating_add(text_cut::MARGIN);
        let mut bytes = wanted.saturating_mul(BYTES_PER_TOKEN);
        let mut place = || {
            let place = self.can_cut.then(|| text_cut::place(text, bytes)).flatten();
            bytes = bytes.saturating_mul(2);
            place
        };
        while let Some(end) = place() {
            let mut ids = self.encode(&text[..end])?;
            if ids.len() >= wanted {
                ids.truncate(count);
                return Ok(ids);
            }
        }
        let mut ids = self.encode(text)?;
        ids.truncate(count);
        Ok(ids)
    }

    /// # Errors
    /// [`DataError::TokenOutOfRange`] for the first id that has no row in the model that this was fitted to.
    pub(crate) fn check_ids(&self, ids: &[u32]) -> Result<(), DataError> {
        match ids.iter().find(|&&id| id as usize >= self.id_limit) {
            None => Ok(()),
            Some(&id) => Err(DataError::TokenOutOfRange {
                tokenizer: self.label.clone(),
                token: self.inner.id_to_token(id).unwrap_or_default(),
                id,
                expected: self.id_limit,
            }),
        }
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

    /// The rows that an embedding needs: the largest id, added tokens included, + 1.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The token that begins a text, where one is known.
    pub fn bos_id(&self) -> Option<u32> {
        self.special.bos.filter(|&id| self.has_row(id))
    }

    /// The token that ends a document, where one is known.
    pub fn eos_id(&self) -> Option<u32> {
        self.special.eos.filter(|&id| self.has_row(id))
    }

    /// The token that fills a row: the tokenizer's own, else one that never ends a text, else none.
    pub fn pad_id(&self) -> Option<u32> {
        self.special.pads.iter().copied().find(|&id| self.has_row(id))
    }

    /// What is put before every text where its special tokens are asked for: mostly nothing, or [`bos_id`](Self::bos_id).
    pub(crate) fn before(&self) -> &[u32] {
        &self.special.before
    }

    /// What stands around a document in language modelling.
    ///
    /// # Errors
    /// [`DataError::NoEndToken`] when it is not known what ends a document.
    pub fn document_form(&self) -> Result<DocumentForm, DataError> {
        let end = self.eos_id().ok_or_else(|| DataError::NoEndToken {
            tokenizer: self.label.clone(),
            expected: EOS_NAMES.join(", "),
        })?;
        Ok(DocumentForm {
            before: self.special.before.clone(),
            end,
            pad: self.pad_id().unwrap_or(end),
        })
    }

    fn has_row(&self, id: u32) -> bool {
        (id as usize) < self.id_limit
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

    /// Writes the `tokenizer_config.json` that goes with [`save`](Self::save): which tokens begin and end a text and fill a
    /// row, for transformers and for [`from_file`](Self::from_file); and of how many tokens a text may be.
    ///
    /// # Errors
    /// [`DataError::Io`] when it cannot be written.
    pub fn save_config(&self, path: &Path, max_length: usize) -> Result<(), DataError> {
        let name = |id: Option<u32>| id.and_then(|id| self.inner.id_to_token(id));
        let begins = self
            .bos_id()
            .is_some_and(|bos| self.special.before.contains(&bos));
        let config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": name(self.bos_id()),
            "eos_token": name(self.eos_id()),
            "pad_token": name(self.pad_id()),
            "add_bos_token": begins,
            "model_max_length": max_length,
            "clean_up_tokenization_spaces": false,
        });
        let text = serde_json::to_string_pretty(&config).expect("the keys are strings");
        write_atomically(path, text.as_bytes())
    }

    /// The same tokenizer for a model of `model_vocab_size` embeddings: no id that it gives is larger.
    ///
    /// Added tokens beyond the embeddings (T5's sentinels, a padding token) do no harm while no text has them: a text that
    /// does is refused, and padding is done with another token.
    ///
    /// # Errors
    /// [`DataError::VocabularyTooLarge`] when a word of the vocabulary, or a token that stands around every text, has no
    /// embedding.
    pub fn fitted(mut self, model_vocab_size: usize) -> Result<Self, DataError> {
        let added = self.inner.get_added_vocabulary().get_vocab();
        let words = self.inner.get_vocab(false).into_iter();
        let words = words
            .filter(|(word, _)| !added.contains_key(word))
            .map(|(_, id)| id);
        let around = [&self.special.before, &self.special.behind].into_iter().flatten();
        let found = words.chain(around.copied()).max().map_or(0, |id| id as usize + 1);
        if found > model_vocab_size {
            return Err(DataError::VocabularyTooLarge {
                tokenizer: self.label,
                expected: model_vocab_size,
                found,
            });
        }
        self.id_limit = model_vocab_size;
        Ok(self)
    }
}

/// The library's tokenizer. It panics on some files that are cut short or damaged.
fn parse(bytes: &[u8], label: &str) -> Result<tokenizers::Tokenizer, DataError> {
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| library_error(label, &error))?;
    let parsed = catch_unwind(|| tokenizers::Tokenizer::from_bytes(bytes));
    let parsed = parsed.map_err(|_| DataError::Tokenizer {
        tokenizer: label.to_owned(),
        found: "the library fails on it, so it is damaged".to_owned(),
    })?;
    parsed.map_err(|error| library_error(label, &*error))
}

pub(crate) fn library_error(tokenizer: &str, error: &(dyn std::error::Error + Send + Sync)) -> DataError {
    DataError::Tokenizer {
        tokenizer: tokenizer.to_owned(),
        found: error.to_string(),
    }
}
