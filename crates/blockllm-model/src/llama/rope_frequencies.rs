//! Inverse rotary frequencies, in f32 as transformers computes them: at position 131,071 the last bit of a frequency near one is
//! 0.008 rad.

use std::f64::consts::TAU;

use super::config::LlamaConfig;
use super::rope_scaling::RopeScaling;

/// The length that the frequencies of a text of `length` tokens depend on: 0 for all texts whose frequencies are those of a short
/// one.
pub(super) fn deciding_length(config: &LlamaConfig, length: usize) -> usize {
    match &config.rope_scaling {
        RopeScaling::Dynamic { .. } if length > config.max_position_embeddings => length,
        // All long texts have the same.
        RopeScaling::LongRope(long) if length > long.original_max_position_embeddings => {
            long.original_max_position_embeddings + 1
        }
        _ => 0,
    }
}

/// Inverse frequencies of the `head_dim / 2` pairs, in radians per position, for texts of that [`deciding_length`]: a power in f32
/// and one over it, scaled, to the bit what transformers has.
pub(super) fn inverse_frequencies(config: &LlamaConfig, length: usize) -> Vec<f32> {
    let base = base(config, length);
    let power = |pair: usize| {
        let exponent = (2 * pair) as f32 / config.head_dim as f32;
        // Rounded once, as PyTorch's power is; that of the standard library is not always.
        f64::from(base as f32).powf(f64::from(exponent)) as f32
    };
    let powers: Vec<f32> = (0..config.head_dim / 2).map(power).collect();
    match &config.rope_scaling {
        RopeScaling::Default | RopeScaling::Dynamic { .. } => {
            powers.iter().map(|power| 1.0 / power).collect()
        }
        RopeScaling::Linear { factor } => powers.iter().map(|power| 1.0 / power / *factor as f32).collect(),
        RopeScaling::Yarn(yarn) => yarn.inverse_frequencies(&powers, base),
        RopeScaling::LongRope(long) => long.inverse_frequencies(&powers, length),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor: low,
            high_freq_factor: high,
            original_max_position_embeddings: original,
        } => {
            let blend = |power: &f32| llama3(1.0 / power, *factor, [*low, *high], *original as f64);
            powers.iter().map(blend).collect()
        }
    }
}

/// `rope_theta`, or more of it for a text longer than the model was made for.
fn base(config: &LlamaConfig, length: usize) -> f64 {
    match config.rope_scaling {
        RopeScaling::Dynamic { factor } => {
            let (most, width) = (config.max_position_embeddings as f64, config.head_dim as f64);
            let stretch = factor * (length as f64).max(most) / most - (factor - 1.0);
            config.rope_theta * stretch.powf(width / (width - 2.0))
        }
        _ => config.rope_theta,
    }
}

/// One frequency of Llama 3.1, step by step in f32.
fn llama3(inv_freq: f32, factor: f64, [low, high]: [f64; 2], length: f64) -> f32 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_fall_from_one_by_the_base() {
        let config = LlamaConfig::new(16, 16, 16, 1, 2);
        let expected = [1.0, 0.1, 0.01, 0.001];
        for (found, expected) in inverse_frequencies(&config, 0).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-7);
        }
    }

    #[test]
    fn llama3_keeps_high_and_divides_low_frequencies() {
        assert!((llama3(1.0, 8.0, [1.0, 4.0], 8192.0) - 1.0).abs() < 1e-12);
        assert!((llama3(1e-6, 8.0, [1.0, 4.0], 8192.0) - 1e-6 / 8.0).abs() < 1e-13);
    }

    #[test]
    fn frequencies_and_the_angle_of_position_131071_are_those_of_transformers_to_the_bit() {
        let text = include_str!("../../tests/fixtures/rope_frequencies.json");
        let cases: serde_json::Value = serde_json::from_str(text).unwrap();
        for case in cases.as_array().unwrap() {
            let config: LlamaConfig = serde_json::from_value(case["config"].clone()).unwrap();
            let bits = |key: &str| -> Vec<u32> {
                let all = case[key].as_array().unwrap().iter();
                all.map(|bits| bits.as_u64().unwrap() as u32).collect()
            };
            let length = case["length"].as_u64().unwrap() as usize;
            let found = inverse_frequencies(&config, deciding_length(&config, length));
            let expected = bits("inv_freq_bits");
            assert_eq!(found.len(), expected.len());
            let angles = bits("angle_131071_bits");
            for (pair, found) in found.into_iter().enumerate() {
                let of = format!("pair {pair} of {length} tokens of {}", case["config"]);
                assert_eq!(found.to_bits(), expected[pair], "{of}");
                assert_eq!((131_071_f32 * found).to_bits(), angles[pair], "{of}");
            }
            let factor = config.rope_scaling.attention_factor() as f32;
            assert_eq!(
                factor.to_bits(),
                bits("attention_factor_bits")[0],
                "{}",
                case["config"]
            );
        }
    }
}
