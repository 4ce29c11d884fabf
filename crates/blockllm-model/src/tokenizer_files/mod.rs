//! Tokenizers that come in other forms than Hugging Face's, made into its `tokenizer.json` and `tokenizer_config.json`.

mod llama2c;
pub(crate) mod sentence_piece;

use std::path::Path;

use serde_json::Value;

pub use self::llama2c::llama2c_tokenizer;
use crate::ModelError;
use crate::hf::save::write_text;

/// A tokenizer as transformers reads it from a folder.
#[derive(Clone, Debug)]
pub struct TokenizerFiles {
    /// The text of `tokenizer.json`.
    pub tokenizer: String,
    /// What `tokenizer_config.json` says: special tokens, the longest text, and the chat template where there is one.
    pub config: Value,
}

impl TokenizerFiles {
    /// Writes both files into `dir`, each whole or not at all.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        std::fs::create_dir_all(dir).map_err(ModelError::io(dir, "create"))?;
        write_text(&dir.join("tokenizer.json"), &self.tokenizer)?;
        write_text(
            &dir.join("tokenizer_config.json"),
            &format!("{:#}\n", self.config),
        )
    }
}
