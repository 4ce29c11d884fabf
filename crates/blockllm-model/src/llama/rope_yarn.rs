//! `YaRN` (Peng et al. 2023): high frequencies kept, low ones divided, and attention made sharper.

use std::f64::consts::TAU;

use crate::ModelError;

/// The numbers of `YaRN`, as transformers has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Yarn {
    /// The divisor of low frequencies, at least 1.
    pub factor: f64,
    /// Context length of pretraining.
    pub original_max_position_embeddings: usize,
    /// What cosines and sines are multiplied by.
    pub attention_factor: f64,
    /// Rotations over the original length above which a frequency is kept.
    pub beta_fast: f64,
    /// Rotations over the original length below which a frequency is divided.
    pub beta_slow: f64,
    /// Whether the bounds between the two are rounded outwards to whole pairs.
    pub truncate: bool,
}

impl Yarn {
    /// The paper's constants: 32 and 1 rotations, and an attention factor of `0.1 ln(factor) + 1`.
    pub fn new(factor: f64, original_max_position_embeddings: usize) -> Self {
        Self {
            factor,
            original_max_position_embeddings,
            attention_factor: sharpness(factor, 1.0),
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
        }
    }

    /// With the attention factor that `DeepSeek`'s two keys give together: the one's sharpness over the other's.
    #[must_use]
    pub(super) fn with_mscale(mut self, mscale: f64, mscale_all_dim: f64) -> Self {
        self.attention_factor = sharpness(self.factor, mscale) / sharpness(self.factor, mscale_all_dim);
        self
    }

    /// Checks the numbers.
    pub(super) fn validate(&self, origin: &str) -> Result<(), ModelError> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let fields = [
            ("attention_factor", self.attention_factor),
            ("beta_fast", self.beta_fast),
            ("beta_slow", self.beta_slow),
        ];
        match fields.into_iter().find(|(_, value)| !positive(*value)) {
            None => Ok(()),
            Some((field, value)) => Err(ModelError::config(
                origin,
                &format!("rope_scaling.{field}"),
                "more than 0",
                value,
                "correct the rotary scaling",
            )),
        }
    }

    /// Inverse frequencies from the powers of `base` for heads of `2 * powers.len()`; step by step in f32, as transformers
    /// does it.
    pub(super) fn inverse_frequencies(&self, powers: &[f32], base: f64) -> Vec<f32> {
        let (low, high) = self.bounds(2 * powers.len(), base);
        let high = if low.to_bits() == high.to_bits() {
            high + 0.001
        } else {
            high
        };
        let blend = |(pair, power): (usize, &f32)| {
            let ramp = ((pair as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
            let kept = 1.0 - ramp;
            1.0 / (self.factor as f32 * power) * (1.0 - kept) + 1.0 / power * kept
        };
        powers.iter().enumerate().map(blend).collect()
    }

    /// The pairs between which frequencies are blended.
    fn bounds(&self, head_dim: usize, base: f64) -> (f64, f64) {
        let (width, length) = (head_dim as f64, self.original_max_position_embeddings as f64);
        let pair = |rotations: f64| width * (length / (rotations * TAU)).ln() / (2.0 * base.ln());
        let (low, high) = (pair(self.beta_fast), pair(self.beta_slow));
        let (low, high) = if self.truncate {
            (low.floor(), high.ceil())
        } else {
            (low, high)
        };
        (low.max(0.0), high.min(width - 1.0))
    }
}

/// How much sharper attention is made for a context that is `factor` times as long.
fn sharpness(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * mscale * factor.ln() + 1.0
    }
}
