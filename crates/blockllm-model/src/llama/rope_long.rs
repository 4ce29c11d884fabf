//! `LongRoPE` (Ding et al. 2024): a divisor for every frequency, one set of them for short texts and one for long ones.

use crate::ModelError;

/// The numbers of `LongRoPE`, as transformers has them.
#[derive(Debug, Clone, PartialEq)]
pub struct LongRope {
    /// Divisors of the `head_dim / 2` frequencies in texts of at most the original length.
    pub short_factor: Vec<f64>,
    /// The same for longer texts.
    pub long_factor: Vec<f64>,
    /// What cosines and sines are multiplied by.
    pub attention_factor: f64,
    /// Context length of pretraining.
    pub original_max_position_embeddings: usize,
}

impl LongRope {
    /// The attention factor of the paper for a context that is `factor` times as long as the original one.
    pub(super) fn attention_factor_of(factor: f64, original: usize) -> f64 {
        if factor <= 1.0 {
            1.0
        } else {
            (1.0 + factor.ln() / (original as f64).ln()).sqrt()
        }
    }

    /// Checks the numbers for heads of `head_dim`.
    pub(super) fn validate(&self, origin: &str, head_dim: usize) -> Result<(), ModelError> {
        let refuse = |field: &str, expected: String, found: String| {
            let field = format!("rope_scaling.{field}");
            Err(ModelError::config(
                origin,
                &field,
                expected,
                found,
                "correct the rotary scaling",
            ))
        };
        let positive = |value: &f64| value.is_finite() && *value > 0.0;
        for (field, factors) in [
            ("short_factor", &self.short_factor),
            ("long_factor", &self.long_factor),
        ] {
            if factors.len() != head_dim / 2 {
                let found = format!("{} numbers", factors.len());
                return refuse(
                    field,
                    format!("{} numbers, half of `head_dim`", head_dim / 2),
                    found,
                );
            }
            if let Some(factor) = factors.iter().find(|factor| !positive(factor)) {
                return refuse(field, "more than 0 each".to_owned(), factor.to_string());
            }
        }
        if !positive(&self.attention_factor) {
            return refuse(
                "attention_factor",
                "more than 0".to_owned(),
                self.attention_factor.to_string(),
            );
        }
        Ok(())
    }

    /// Inverse frequencies of texts of `length` tokens from the powers of the base, in f32, as transformers does it.
    pub(super) fn inverse_frequencies(&self, powers: &[f32], length: usize) -> Vec<f32> {
        let is_long = length > self.original_max_position_embeddings;
        let factors = if is_long {
            &self.long_factor
        } else {
            &self.short_factor
        };
        let pairs = powers.iter().zip(factors);
        pairs
            .map(|(power, factor)| 1.0 / (*factor as f32 * power))
            .collect()
    }
}
