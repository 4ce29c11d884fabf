//! The perplexity of a text as a whole: per token, per word, per byte.
use super::likelihood::Scorer;
use crate::TrainError;
use blockllm_data::tasks::RollingText;

/// How well a model predicts a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perplexity {
    /// Tokens that were predicted.
    pub tokens: usize,
    /// Words, as the harness counts them.
    pub words: usize,
    /// Bytes of UTF-8.
    pub bytes: usize,
    /// The log-likelihood of the whole text, in nats.
    pub log_likelihood: f64,
}

impl Perplexity {
    /// Of `text`; `done` hears how many more windows are scored.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn measure(scorer: &Scorer, text: &RollingText, done: &dyn Fn(usize)) -> Result<Self, TrainError> {
        let mut log_likelihood = 0.0;
        for windows in text.windows.chunks(scorer.batch()) {
            let found = scorer.score(windows, done)?;
            log_likelihood += found.iter().map(|one| one.log_likelihood).sum::<f64>();
        }
        Ok(Self {
            tokens: text.tokens,
            words: text.words,
            bytes: text.bytes,
            log_likelihood,
        })
    }

    /// Per token.
    pub fn per_token(&self) -> f64 {
        (-self.log_likelihood / self.tokens as f64).exp()
    }

    /// The harness' `word_perplexity`.
    pub fn per_word(&self) -> f64 {
        (-self.log_likelihood / self.words as f64).exp()
    }

    /// The harness' `byte_perplexity`.
    pub fn per_byte(&self) -> f64 {
        (-self.log_likelihood / self.bytes as f64).exp()
    }

    /// The harness' `bits_per_byte`.
    pub fn bits_per_byte(&self) -> f64 {
        -self.log_likelihood / self.bytes as f64 / std::f64::consts::LN_2
    }
}
