//! The settings of a loader.

use serde::{Deserialize, Serialize};

use crate::hashing::sha256_hex;
use crate::{Corpus, DataError, Layout, Tokenizer};

/// The way from settings to batches; another one gives other batches, and cursors that do not fit.
const STREAM_FORMAT: u32 = 2;

/// How batches are made. Together with corpus and tokenizer it determines every batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderConfig {
    /// Rows of a batch.
    pub batch_size: usize,
    /// Tokens of a row.
    pub seq_len: usize,
    /// How documents become rows.
    pub layout: Layout,
    /// Documents that are in memory and shuffled together; 0 or 1 keeps the corpus's order.
    pub shuffle_buffer: usize,
    /// The seed of the order.
    pub seed: u64,
    /// Batches prepared ahead of training. Changes no batch.
    pub prefetch: usize,
    /// Tokens kept in memory for the epochs after the first (2 or 4 bytes each), if all of the corpus fits: of a larger
    /// one none are kept. Changes no batch.
    pub cache_tokens: usize,
    /// Threads that tokenize beside training; 0 for one a core. Changes no batch.
    pub threads: usize,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            batch_size: 8,
            seq_len: 256,
            layout: Layout::TruncateAndPad,
            shuffle_buffer: 10_000,
            seed: 0,
            prefetch: 4,
            cache_tokens: 1 << 24,
            threads: 0,
        }
    }
}

impl LoaderConfig {
    /// Checks every setting's range.
    ///
    /// # Errors
    /// [`DataError::Config`] for the first setting that is outside of it.
    pub fn validate(&self) -> Result<(), DataError> {
        at_least("batch_size", self.batch_size, 1, "at least 1 row")?;
        at_least(
            "seq_len",
            self.seq_len,
            2,
            "at least 2 tokens, since a row of 1 has nothing to predict",
        )?;
        at_least("prefetch", self.prefetch, 1, "at least 1 batch")
    }

    /// Names the order of batches: 16 hexadecimal digits over corpus, tokenizer and the settings that shape
    /// batches.
    pub fn fingerprint(&self, corpus: &Corpus, tokenizer: &Tokenizer) -> String {
        let Self {
            batch_size,
            seq_len,
            layout,
            shuffle_buffer,
            seed,
            prefetch: _,
            cache_tokens: _,
            threads: _,
        } = self;
        let parts = format!(
            "{STREAM_FORMAT}|{}|{}|{:?}|{batch_size}|{seq_len}|{layout:?}|{shuffle_buffer}|{seed}",
            corpus.identity(),
            tokenizer.sha256(),
            tokenizer.document_form().ok()
        );
        sha256_hex(parts.as_bytes())[..16].to_owned()
    }
}

fn at_least(
    field: &'static str,
    found: usize,
    least: usize,
    expected: &'static str,
) -> Result<(), DataError> {
    if found >= least {
        return Ok(());
    }
    Err(DataError::Config {
        field,
        found: found.to_string(),
        expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_range_is_named_with_its_value() {
        let config = LoaderConfig {
            seq_len: 1,
            ..LoaderConfig::default()
        };
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("`seq_len` is 1"), "{message}");
    }

    #[test]
    fn an_unknown_field_in_a_settings_file_is_refused() {
        let config: LoaderConfig = serde_json::from_str(r#"{"layout": "packed"}"#).unwrap();
        assert_eq!(
            config,
            LoaderConfig {
                layout: Layout::Packed,
                ..LoaderConfig::default()
            }
        );
        assert!(serde_json::from_str::<LoaderConfig>(r#"{"seqlen": 3}"#).is_err());
    }
}
