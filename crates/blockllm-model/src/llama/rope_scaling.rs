//! How rotary frequencies are stretched for long contexts.

use std::f64::consts::TAU;

use crate::ModelError;

/// How the rotary frequencies are stretched for contexts longer than those of pretraining.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    Default,
    /// All positions divided by `factor` (Chen et al. 2023).
    Linear {
        /// The divisor, at least 1.
        factor: f64,
    },
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
            Self::Llama3 { .. } => "llama3",
        }
    }

    /// Checks the factors.
    pub(super) fn validate(&self, origin: &str) -> Result<(), ModelError> {
        let refuse = |field: &str, expected: &str, found: f64| {
            Err(ModelError::config(
                origin,
                field,
                expected,
                found,
                "correct the rotary scaling",
            ))
        };
        match *self {
            Self::Linear { factor } | Self::Llama3 { factor, .. }
                if !(1.0..f64::INFINITY).contains(&factor) =>
            {
                refuse("rope_scaling.factor", "at least 1", factor)
            }
            Self::Llama3 {
                low_freq_factor: low,
                high_freq_factor: high,
                ..
            } if !(low > 0.0 && high > low) => refuse(
                "rope_scaling.high_freq_factor",
                &format!("more than low_freq_factor ({low})"),
                high,
            ),
            Self::Llama3 {
                original_max_position_embeddings: 0,
                ..
            } => refuse(
                "rope_scaling.original_max_position_embeddings",
                "more than 0",
                0.0,
            ),
            _ => Ok(()),
        }
    }

    /// The scaled form of one inverse frequency, in radians per position; step by step in f32, as transformers does it.
    pub(super) fn scale(&self, inv_freq: f32) -> f32 {
        match *self {
            Self::Default => inv_freq,
            Self::Linear { factor } => inv_freq / factor as f32,
            Self::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings,
            } => {
                let length = original_max_position_embeddings as f64;
                let wavelength = TAU as f32 / inv_freq;
                if wavelength < (length / high) as f32 {
                    inv_freq
                } else if wavelength > (length / low) as f32 {
                    inv_freq / factor as f32
                } else {
                    let smooth = (length as f32 / wavelength - low as f32) / (high - low) as f32;
                    (1.0 - smooth) * inv_freq / factor as f32 + smooth * inv_freq
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_keeps_high_and_divides_low_frequencies() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        };
        assert!((scaling.scale(1.0) - 1.0).abs() < 1e-12);
        assert!((scaling.scale(1e-6) - 1e-6 / 8.0).abs() < 1e-13);
    }

    #[test]
    fn senseless_factors_are_refused_by_name() {
        let message = RopeScaling::Linear { factor: 0.5 }
            .validate("config.json")
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("rope_scaling.factor") && message.contains("0.5"),
            "{message}"
        );
    }
}
