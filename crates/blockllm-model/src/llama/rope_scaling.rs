//! How rotary frequencies are stretched for long contexts.

use super::rope_long::LongRope;
use super::rope_yarn::Yarn;
use crate::ModelError;

/// How the rotary frequencies are stretched for contexts longer than those of pretraining: every way that transformers has
/// for a Llama.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    Default,
    /// All positions divided by `factor` (Chen et al. 2023).
    Linear {
        /// The divisor, at least 1.
        factor: f64,
    },
    /// A larger base for texts beyond `max_position_embeddings`, by their length ("NTK-aware" scaling).
    Dynamic {
        /// How many times as long a text may be, at least 1.
        factor: f64,
    },
    /// Low frequencies divided, high ones kept, attention sharpened (Peng et al. 2023).
    Yarn(Yarn),
    /// A divisor for every frequency (Ding et al. 2024).
    LongRope(LongRope),
    /// Low frequencies divided by `factor`, high ones kept, a blend between (Llama 3.1).
    Llama3 {
        /// The divisor of low frequencies, at least 1.
        factor: f64,
        /// Wavelengths above the original length over this are low frequencies.
        low_freq_factor: f64,
        /// Wavelengths below the original length over this are high frequencies.
        high_freq_factor: f64,
        /// Context length of pretraining.
        original_max_position_embeddings: usize,
    },
}

impl RopeScaling {
    /// Hugging Face's name of this kind of scaling.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Linear { .. } => "linear",
            Self::Dynamic { .. } => "dynamic",
            Self::Yarn(_) => "yarn",
            Self::LongRope(_) => "longrope",
            Self::Llama3 { .. } => "llama3",
        }
    }

    /// What cosines and sines are multiplied by.
    pub(super) fn attention_factor(&self) -> f64 {
        match self {
            Self::Yarn(yarn) => yarn.attention_factor,
            Self::LongRope(long) => long.attention_factor,
            _ => 1.0,
        }
    }

    /// The context length of pretraining, where the scaling depends on it.
    fn original_length(&self) -> Option<usize> {
        match self {
            Self::Yarn(yarn) => Some(yarn.original_max_position_embeddings),
            Self::LongRope(long) => Some(long.original_max_position_embeddings),
            Self::Llama3 {
                original_max_position_embeddings,
                ..
            } => Some(*original_max_position_embeddings),
            _ => None,
        }
    }

    /// Checks the factors for heads of `head_dim`.
    pub(super) fn validate(&self, origin: &str, head_dim: usize) -> Result<(), ModelError> {
        let refuse = |field: &str, expected: &str, found: f64| {
            let field = format!("rope_scaling.{field}");
            Err(ModelError::config(
                origin,
                &field,
                expected,
                found,
                "correct the rotary scaling",
            ))
        };
        if let Some(original @ 0..2) = self.original_length() {
            return refuse("original_max_position_embeddings", "more than 1", original as f64);
        }
        match self {
            Self::Linear { factor }
            | Self::Dynamic { factor }
            | Self::Yarn(Yarn { factor, .. })
            | Self::Llama3 { factor, .. }
                if !(1.0..f64::INFINITY).contains(factor) =>
            {
                refuse("factor", "at least 1", *factor)
            }
            Self::Dynamic { .. } if head_dim <= 2 => {
                refuse("rope_type", "heads wider than 2", head_dim as f64)
            }
            Self::Llama3 {
                low_freq_factor: low,
                high_freq_factor: high,
                ..
            } if !(*low > 0.0 && high > low && high.is_finite()) => refuse(
                "high_freq_factor",
                &format!("more than low_freq_factor ({low})"),
                *high,
            ),
            Self::Yarn(yarn) => yarn.validate(origin),
            Self::LongRope(long) => long.validate(origin, head_dim),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_factors_are_refused_by_name() {
        let long = LongRope {
            short_factor: vec![1.0; 4],
            long_factor: vec![1.0; 3],
            attention_factor: 1.0,
            original_max_position_embeddings: 64,
        };
        let blunt = Yarn {
            beta_slow: 0.0,
            ..Yarn::new(4.0, 64)
        };
        for (scaling, field, found) in [
            (RopeScaling::Linear { factor: 0.5 }, "factor", "0.5"),
            (RopeScaling::Dynamic { factor: f64::NAN }, "factor", "NaN"),
            (RopeScaling::Yarn(Yarn::new(0.1, 64)), "factor", "0.1"),
            (
                RopeScaling::Yarn(Yarn::new(4.0, 1)),
                "original_max_position_embeddings",
                "1",
            ),
            (RopeScaling::Yarn(blunt), "beta_slow", "0"),
            (RopeScaling::LongRope(long), "long_factor", "3 numbers"),
        ] {
            let message = scaling.validate("config.json", 8).unwrap_err().to_string();
            assert!(
                message.contains(&format!("rope_scaling.{field}` is {found}")),
                "{message}"
            );
        }
    }
}
