//! Named model sizes: those of `GaLore`'s pretraining runs (Zhao et al. 2024, table 5), and one for CPUs.

use super::config::LlamaConfig;
use crate::ModelError;

/// Name, hidden size, intermediate size, layers, heads and vocabulary of every preset.
const SIZES: [(&str, [usize; 5]); 6] = [
    ("tiny", [256, 688, 4, 4, 4096]),
    ("60m", [512, 1376, 8, 8, 32_000]),
    ("130m", [768, 2048, 12, 12, 32_000]),
    ("350m", [1024, 2736, 24, 16, 32_000]),
    ("1b", [2048, 5461, 24, 32, 32_000]),
    ("7b", [4096, 11_008, 32, 32, 32_000]),
];

/// The names that [`LlamaConfig::preset`] knows, smallest model first.
pub const PRESETS: [&str; 6] = [
    SIZES[0].0, SIZES[1].0, SIZES[2].0, SIZES[3].0, SIZES[4].0, SIZES[5].0,
];

impl LlamaConfig {
    /// The preset called `name`: `tiny`, `60m`, `130m`, `350m`, `1b` or `7b`, in any case, with or without a
    /// leading `llama-`.
    ///
    /// # Errors
    ///
    /// [`ModelError::UnknownPreset`], listing the names.
    ///
    /// ```
    /// use blockllm_model::llama::LlamaConfig;
    ///
    /// let config = LlamaConfig::preset("Llama-130M")?.with_vocab_size(32_100);
    /// assert_eq!(config.hidden_size, 768);
    /// # Ok::<(), blockllm_model::ModelError>(())
    /// ```
    pub fn preset(name: &str) -> Result<Self, ModelError> {
        let lower = name.to_lowercase();
        let wanted = lower.strip_prefix("llama-").unwrap_or(&lower);
        match SIZES.iter().find(|(known, _)| *known == wanted) {
            Some((_, [hidden, intermediate, layers, heads, vocab])) => {
                Ok(Self::new(*vocab, *hidden, *intermediate, *layers, *heads))
            }
            None => Err(ModelError::UnknownPreset {
                expected: PRESETS.join(", "),
                found: name.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_and_has_its_size() {
        let millions = [5.3, 58.1, 134.1, 367.97, 1339.1, 6738.4];
        for (name, millions) in PRESETS.iter().zip(millions) {
            let config = LlamaConfig::preset(name).unwrap();
            config.validate().unwrap();
            let found = config.num_parameters() as f64 / 1e6;
            assert!((found - millions).abs() < 0.06, "{name}: {found} M");
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = LlamaConfig::preset("13b").unwrap_err().to_string();
        assert!(
            message.contains("`13b`") && message.contains("tiny, 60m, 130m, 350m, 1b, 7b"),
            "{message}"
        );
    }
}
