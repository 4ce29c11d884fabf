//! The tokens that stand around a text, as the tokenizer's own files say: beginning, end, padding.

use std::path::Path;

use serde_json::Value;
use tokenizers::{Encoding, Token, Tokenizer};

use super::trained::{EOS_TOKEN, PAD_TOKEN};
use crate::DataError;
use crate::settings_file::settings;

/// Names that are looked for where no file says which token ends a text.
pub(super) const EOS_NAMES: [&str; 6] = [
    EOS_TOKEN,
    "</s>",
    "[SEP]",
    "<|end_of_text|>",
    "<|im_end|>",
    "<eos>",
];
/// The same for padding.
const PAD_NAMES: [&str; 4] = [PAD_TOKEN, "<pad>", "[PAD]", "<|padding|>"];

/// What the files beside a `tokenizer.json` say, as far as they are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Declared {
    bos: Vec<Name>,
    eos: Vec<Name>,
    pad: Vec<Name>,
    unk: Vec<Name>,
    add_bos: Option<bool>,
}

/// A token, by its text or by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Text(String),
    Id(u32),
}

impl Declared {
    /// Reads `tokenizer_config.json`, `special_tokens_map.json`, `generation_config.json` and `config.json` of a folder.
    ///
    /// # Errors
    /// [`DataError::Io`] when a file is there and cannot be read, [`DataError::Settings`] when it is not JSON.
    pub fn beside(tokenizer: &Path) -> Result<Self, DataError> {
        let folder = tokenizer.parent().unwrap_or(Path::new(""));
        let mut declared = Self::default();
        for file in [
            "tokenizer_config.json",
            "special_tokens_map.json",
            "generation_config.json",
            "config.json",
        ] {
            if let Some(settings) = settings(&folder.join(file))? {
                declared.add(&settings);
            }
        }
        Ok(declared)
    }

    /// What one such file says.
    pub fn of(settings: &Value) -> Self {
        let mut declared = Self::default();
        declared.add(settings);
        declared
    }

    /// Adds what one file says, behind what is known already.
    fn add(&mut self, settings: &Value) {
        for (names, key) in [
            (&mut self.bos, "bos_token"),
            (&mut self.eos, "eos_token"),
            (&mut self.pad, "pad_token"),
            (&mut self.unk, "unk_token"),
        ] {
            let by_id = &settings[format!("{key}_id")];
            names.extend(Name::of(&settings[key]).into_iter().chain(Name::of(by_id)));
        }
        self.add_bos = self.add_bos.or_else(|| settings["add_bos_token"].as_bool());
    }
}

impl Name {
    /// `"</s>"`, `{"content": "</s>", ..}`, `2`, or the first of `[2, 3]`.
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Object(token) => token.get("content").and_then(Self::of),
            Value::Array(all) => all.first().filter(|first| !first.is_array()).and_then(Self::of),
            Value::Number(id) => Some(Self::Id(u32::try_from(id.as_u64()?).ok()?)),
            _ => None,
        }
    }

    fn id(&self, tokenizer: &Tokenizer) -> Option<u32> {
        match self {
            Self::Text(text) => tokenizer.token_to_id(text),
            Self::Id(id) => tokenizer.id_to_token(*id).map(|_| *id),
        }
    }
}

/// The ids of a tokenizer's special tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SpecialTokens {
    /// What begins a text, if anything is known to.
    pub bos: Option<u32>,
    /// What ends a text.
    pub eos: Option<u32>,
    /// What is put before every text: mostly nothing, or `bos`.
    pub before: Vec<u32>,
    /// What the tokenizer's own form puts behind a text.
    pub behind: Vec<u32>,
    /// What may fill a row, the best first: never a token that the form puts behind texts, unless it is declared.
    pub pads: Vec<u32>,
}

impl SpecialTokens {
    /// Finds them: in the files beside the tokenizer, then in its own form of a text, then by names.
    pub fn find(tokenizer: &Tokenizer, declared: &Declared) -> Self {
        let known = |names: &[Name]| names.iter().find_map(|name| name.id(tokenizer));
        let (form_before, behind) = form(tokenizer);
        let mut before = form_before.clone();
        let bos = known(&declared.bos).or(before.first().copied());
        match (declared.add_bos, bos) {
            (Some(true), Some(bos)) if !before.contains(&bos) => before.insert(0, bos),
            (Some(false), Some(bos)) => before.retain(|&id| id != bos),
            _ => {}
        }
        let eos = known(&declared.eos)
            .or(behind.last().copied())
            .or_else(|| named(tokenizer, &EOS_NAMES));
        // A model's `pad_token_id` comes last: whoever compares it with the tokenizer's own token needs the latter.
        let (ids, texts): (Vec<Name>, Vec<Name>) = declared
            .pad
            .iter()
            .cloned()
            .partition(|name| matches!(name, Name::Id(_)));
        let by_names = known(&texts)
            .or_else(|| named(tokenizer, &PAD_NAMES))
            .or_else(|| known(&ids));
        // transformers pools the last token that is no padding: a token that ends texts cannot be padding.
        let ends = |id: &u32| behind.contains(id);
        let others = [eos, known(&declared.unk), tokenizer.token_to_id("<unk>"), bos];
        let others = others.into_iter().flatten().filter(|id| !ends(id));
        Self {
            bos,
            eos,
            pads: by_names.into_iter().chain(others).collect(),
            before,
            behind,
        }
    }
}

/// RoBERTa's vocabulary has an unused `<|endoftext|>`: a name among the added tokens says more.
fn named(tokenizer: &Tokenizer, names: &[&str]) -> Option<u32> {
    let added = tokenizer.get_added_vocabulary().get_vocab();
    let among_added = names.iter().find_map(|&name| added.get(name).copied());
    among_added.or_else(|| names.iter().find_map(|name| tokenizer.token_to_id(name)))
}

/// What the tokenizer puts before and behind a single text.
fn form(tokenizer: &Tokenizer) -> (Vec<u32>, Vec<u32>) {
    // No tokenizer has so many tokens, so the text is found again.
    const TEXT: u32 = u32::MAX;
    let text = Encoding::from_tokens(vec![Token::new(TEXT, "x".to_owned(), (0, 1))], 0);
    let ids = match tokenizer.post_process(text, None, true) {
        Ok(encoding) => encoding.get_ids().to_vec(),
        Err(_) => vec![TEXT],
    };
    match ids.iter().position(|&id| id == TEXT) {
        Some(at) => (ids[..at].to_vec(), ids[at + 1..].to_vec()),
        None => (Vec::new(), Vec::new()),
    }
}
