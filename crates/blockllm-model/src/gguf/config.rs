//! The configuration of a GGUF file's model: the keys of a `config.json`, from the file's own.

use std::f64::consts::TAU;

use blockllm_tensors::TensorFileError;
use blockllm_tensors::gguf::{GgufFile, Metadata};
use burn::tensor::DType;
use serde_json::{Value, json};

use crate::ModelError;
use crate::llama::LlamaConfig;

/// Architectures that are read. A Mistral is a `llama` here, without a window: llama.cpp keeps none for these two, and heeds none.
const ARCHITECTURES: [&str; 2] = ["llama", "qwen2"];

/// Factors of rotary frequencies, which llama.cpp keeps in place of Llama 3's four numbers.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Where Llama 3's frequencies are low and high, and the context length of its pretraining: the same in all its releases.
const LLAMA3: [f64; 3] = [1.0, 4.0, 8192.0];

/// The configuration that `file` describes.
pub(super) fn config_of(file: &GgufFile) -> Result<LlamaConfig, ModelError> {
    let metadata = file.metadata();
    let known = ARCHITECTURES.join(" or ");
    let architecture = match metadata.text("general.architecture")? {
        Some(name) if ARCHITECTURES.contains(&name) => name,
        _ => return Err(metadata.refuse("general.architecture", known).into()),
    };
    let keys = Keys {
        metadata,
        architecture,
    };
    if keys.whole("expert_count")?.unwrap_or(0) > 0 {
        return Err(keys.refuse("expert_count", "none").into());
    }
    let width = keys.need("embedding_length")?;
    let heads = keys.need("attention.head_count")?;
    if heads == 0 {
        return Err(keys.refuse("attention.head_count", "more than 0").into());
    }
    let head_dim = keys.whole("attention.key_length")?.unwrap_or(width / heads);
    for key in ["attention.value_length", "rope.dimension_count"] {
        if keys.whole(key)?.is_some_and(|found| found != head_dim) {
            return Err(keys
                .refuse(key, format!("{head_dim}, the width of a head"))
                .into());
        }
    }
    let rope_theta = keys.number("rope.freq_base")?.unwrap_or(10_000.0);
    let has = |name: &str| file.tensors().contains_key(name);
    let table = file.tensors().get("token_embd.weight");
    let vocabulary = table.and_then(|table| table.shape().first().copied());
    let id = |name: &str| metadata.whole(&format!("tokenizer.ggml.{name}_token_id"));
    let mut ends: Vec<u64> = Vec::new();
    for end in [id("eos")?, id("eot")?].into_iter().flatten() {
        if !ends.contains(&end) {
            ends.push(end);
        }
    }
    let json = json!({
        "model_type": architecture,
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": keys.need("feed_forward_length")?,
        "num_hidden_layers": keys.need("block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": keys.whole("attention.head_count_kv")?.unwrap_or(heads),
        "head_dim": head_dim,
        "max_position_embeddings": keys.need("context_length")?,
        "rms_norm_eps": keys.number("attention.layer_norm_rms_epsilon")?,
        "rope_theta": rope_theta,
        "rope_scaling": rope_scaling(file, &keys, rope_theta, head_dim)?,
        "tie_word_embeddings": !has("output.weight"),
        "attention_bias": has("blk.0.attn_q.bias"),
        "mlp_bias": has("blk.0.ffn_gate.bias"),
        "bos_token_id": id("bos")?,
        "eos_token_id": ends,
        "pad_token_id": id("padding")?,
    });
    LlamaConfig::from_value(json, &file.path().display().to_string())
}

/// The keys of an architecture.
struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn refuse(&self, key: &str, expected: impl Into<String>) -> TensorFileError {
        self.metadata.refuse(&self.name(key), expected)
    }

    fn whole(&self, key: &str) -> Result<Option<u64>, TensorFileError> {
        self.metadata.whole(&self.name(key))
    }

    fn need(&self, key: &str) -> Result<u64, TensorFileError> {
        self.whole(key)?.ok_or_else(|| self.refuse(key, "a whole number"))
    }

    /// A number that JSON has a place for.
    fn number(&self, key: &str) -> Result<Option<f64>, TensorFileError> {
        match self.metadata.number(&self.name(key))? {
            Some(number) if !number.is_finite() => Err(self.refuse(key, "a finite number")),
            number => Ok(number.map(shortest)),
        }
    }
}

/// The number that somebody wrote, of one that was rounded to f32.
fn shortest(number: f64) -> f64 {
    let short = number as f32;
    if f64::from(short).to_bits() == number.to_bits() {
        short.to_string().parse().unwrap_or(number)
    } else {
        number
    }
}

/// The object of a `config.json`, or nothing where frequencies are not scaled.
fn rope_scaling(
    file: &GgufFile,
    keys: &Keys<'_>,
    rope_theta: f64,
    head_dim: u64,
) -> Result<Option<Value>, ModelError> {
    if let Some(stored) = file.tensors().get(ROPE_FACTORS) {
        let factors: Vec<f32> = stored.read(DType::F32, false)?.iter::<f32>().collect();
        let factor = f64::from(factors.iter().copied().fold(1.0, f32::max));
        let [low, high, original] = LLAMA3;
        // The count is compared first: whatever the file says of heads, it has no more factors than bytes.
        let is_llama3 = factors.len() as u64 == head_dim / 2 && {
            let expected = llama3_factors(factor, rope_theta, head_dim as usize);
            let near =
                |(found, expected): (&f32, f64)| (f64::from(*found) - expected).abs() < 1e-3 * expected;
            factors.iter().zip(expected).all(near)
        };
        if !is_llama3 {
            let found = "factors of another rule";
            let mend = "use the model's safetensors, whose config.json names the rule";
            let origin = file.path().display().to_string();
            return Err(ModelError::config(
                &origin,
                ROPE_FACTORS,
                "those of Llama 3",
                found,
                mend,
            ));
        }
        return Ok((factor > 1.0).then(|| {
            json!({
                "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
                "original_max_position_embeddings": original as u64,
            })
        }));
    }
    let kind = keys.name("rope.scaling.type");
    let need = |key: &str| keys.number(key)?.ok_or_else(|| keys.refuse(key, "a number"));
    // What llama.cpp takes where no type is told, and the older name of its factor.
    let linear = || {
        let factor = keys.number("rope.scaling.factor")?;
        Ok::<_, TensorFileError>(factor.or(keys.number("rope.scale_linear")?))
    };
    Ok(match keys.metadata.text(&kind)? {
        Some("none") => None,
        None => {
            let scales = linear()?.filter(|factor| *factor > 0.0 && (factor - 1.0).abs() > f64::EPSILON);
            scales.map(|factor| json!({ "rope_type": "linear", "factor": factor }))
        }
        Some("linear") => match linear()? {
            Some(factor) => Some(json!({ "rope_type": "linear", "factor": factor })),
            None => return Err(keys.refuse("rope.scaling.factor", "a number").into()),
        },
        Some("yarn") => {
            for key in YARN_OF_ITS_OWN {
                if keys.number(key)?.is_some() {
                    return Err(keys
                        .refuse(key, "none: yarn is read with its usual numbers only")
                        .into());
                }
            }
            Some(json!({
                "rope_type": "yarn",
                "factor": need("rope.scaling.factor")?,
                "original_max_position_embeddings": keys.need("rope.scaling.original_context_length")?,
            }))
        }
        Some(_) => return Err(keys.refuse("rope.scaling.type", "none, linear or yarn").into()),
    })
}

/// Numbers of yarn that a file may have for itself.
const YARN_OF_ITS_OWN: [&str; 6] = [
    "rope.scaling.attn_factor",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_log_multiplier",
];

/// By how much llama.cpp divides each of Llama 3's frequencies.
fn llama3_factors(factor: f64, rope_theta: f64, head_dim: usize) -> Vec<f64> {
    let [low, high, original] = LLAMA3;
    let of = |pair: usize| {
        let wavelength = TAU * rope_theta.powf((2 * pair) as f64 / head_dim as f64);
        if wavelength < original / high {
            1.0
        } else if wavelength > original / low {
            factor
        } else {
            let smooth = (original / wavelength - low) / (high - low);
            1.0 / ((1.0 - smooth) / factor + smooth)
        }
    };
    (0..head_dim / 2).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_were_rounded_to_f32_are_what_somebody_wrote() {
        for (rounded, written) in [
            (f64::from(1e-5_f32), 1e-5),
            (f64::from(1e6_f32), 1e6),
            (0.1, 0.1),
            (1e-5, 1e-5),
        ] {
            assert!((shortest(rounded) - written).abs() < 1e-20, "{rounded}");
        }
    }

    #[test]
    fn factors_of_llama_3_rise_from_one_to_the_whole_one() {
        let factors = llama3_factors(8.0, 500_000.0, 128);
        assert!((factors[0] - 1.0).abs() < 1e-12 && (factors[63] - 8.0).abs() < 1e-12);
        assert!(factors.is_sorted() && factors.iter().any(|factor| *factor > 1.5 && *factor < 7.5));
    }
}
