//! How tokens are chosen in generation, and when it stops.

use crate::ModelError;

/// How tokens are chosen, and when to stop.
///
/// The fields work in transformers' order: the repetition penalty first, then temperature, `top_k`, `top_p` and `min_p`, of which
/// each sees what the one before has left. Greedy choice has the penalty alone.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateConfig {
    /// Most tokens to add to the prompt.
    pub max_new_tokens: usize,
    /// 0 always takes the likeliest token; higher is more random.
    pub temperature: f64,
    /// Draw from this many likeliest tokens only.
    pub top_k: Option<usize>,
    /// Draw from the fewest tokens that hold this share of the probability, in `(0, 1]`.
    pub top_p: f64,
    /// Draw from tokens at least this share as likely as the likeliest, in `[0, 1]`; 0 keeps all.
    pub min_p: f64,
    /// What logits of tokens of prompt and output are divided by where positive and multiplied with where negative: more than 0,
    /// and 1 changes nothing.
    pub repetition_penalty: f64,
    /// Seed of the draws. A token's draw depends on it, the row of the batch and the place in the text alone.
    pub seed: u64,
    /// Tokens after which generation stops; the token itself is kept. Empty never stops early.
    pub stop_at: Vec<u32>,
    /// Keep keys and values of past tokens; without, every token computes the whole text anew.
    pub use_cache: bool,
}

impl GenerateConfig {
    /// The likeliest token every time.
    pub fn greedy(max_new_tokens: usize) -> Self {
        Self::sampling(max_new_tokens, 0.0, 0)
    }

    /// Tokens drawn at `temperature` from all of the vocabulary.
    pub fn sampling(max_new_tokens: usize, temperature: f64, seed: u64) -> Self {
        Self {
            max_new_tokens,
            temperature,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed,
            stop_at: Vec::new(),
            use_cache: true,
        }
    }

    /// The same, stopping after any of `tokens` (such as `LlamaConfig::eos_token_id`).
    #[must_use]
    pub fn with_stop_at(mut self, tokens: impl Into<Vec<u32>>) -> Self {
        self.stop_at = tokens.into();
        self
    }

    /// The same, with or without a cache.
    #[must_use]
    pub fn with_use_cache(mut self, use_cache: bool) -> Self {
        self.use_cache = use_cache;
        self
    }

    /// Checks the fields.
    ///
    /// # Errors
    ///
    /// [`ModelError::Config`] naming the field.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.validate_as("GenerateConfig")
    }

    /// [`validate`](Self::validate), naming `origin` (a file) in the error.
    pub(crate) fn validate_as(&self, origin: &str) -> Result<(), ModelError> {
        let refuse = |field: &str, expected: &str, found: f64| {
            let mend = match field {
                "temperature" => "0 takes the likeliest token, 0.7 is usual",
                "top_p" => "1 leaves nothing out, 0.9 is usual",
                "top_k" => "leave it out to take all tokens, 50 is usual",
                "min_p" => "0 leaves nothing out, 0.05 is usual",
                _ => "1 penalizes nothing, 1.1 is usual",
            };
            Err(ModelError::config(origin, field, expected, shown(found), mend))
        };
        if !self.temperature.is_finite() || self.temperature < 0.0 {
            return refuse("temperature", "a finite number of 0 or more", self.temperature);
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return refuse("top_p", "more than 0, at most 1", self.top_p);
        }
        if self.top_k == Some(0) {
            return refuse("top_k", "at least 1", 0.0);
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return refuse("min_p", "at least 0, at most 1", self.min_p);
        }
        // In f32, which logits are in, it must still be a number above 0.
        let penalty = self.repetition_penalty as f32;
        if !(penalty.is_normal() && penalty > 0.0) {
            return refuse(
                "repetition_penalty",
                "more than 0, in f32 too",
                self.repetition_penalty,
            );
        }
        Ok(())
    }
}

/// A number in few digits, however large or small it is.
fn shown(number: f64) -> String {
    if number != 0.0 && !(1e-6..1e15).contains(&number.abs()) {
        format!("{number:e}")
    } else {
        number.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_numbers_are_told_in_few_digits() {
        for (number, text) in [
            (1e-300, "1e-300"),
            (-2.5e20, "-2.5e20"),
            (0.0, "0"),
            (0.25, "0.25"),
        ] {
            assert_eq!(shown(number), text);
        }
        assert_eq!(shown(f64::NAN), "NaN");
        let config = GenerateConfig {
            repetition_penalty: 1e-300,
            ..GenerateConfig::greedy(1)
        };
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("`repetition_penalty` is 1e-300,"), "{message}");
    }
}
