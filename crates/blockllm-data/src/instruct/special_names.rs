//! The special tokens by name, as chat templates see them.

use serde::Serialize;

use crate::Tokenizer;

/// The tokens of a tokenizer that a template may write. One that is not known is undefined in it, as in transformers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SpecialNames {
    /// What begins a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bos_token: Option<String>,
    /// What ends a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eos_token: Option<String>,
    /// What fills a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pad_token: Option<String>,
}

impl SpecialNames {
    /// Those of `tokenizer`.
    pub fn of(tokenizer: &Tokenizer) -> Self {
        let name = |id: Option<u32>| id.and_then(|id| tokenizer.inner().id_to_token(id));
        Self {
            bos_token: name(tokenizer.bos_id()),
            eos_token: name(tokenizer.eos_id()),
            pad_token: name(tokenizer.pad_id()),
        }
    }
}
