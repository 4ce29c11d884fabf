//! The JSON object that describes rotary scaling: `rope_scaling` or `rope_parameters`, both ways.

use serde::{Deserialize, Serialize};

use super::rope_long::LongRope;
use super::rope_scaling::RopeScaling;
use super::rope_yarn::Yarn;
use crate::ModelError;

/// `rope_scaling` of version 4 or `rope_parameters` of version 5.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RopeJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rope_theta: Option<f64>,
    #[serde(skip_serializing)]
    pub(super) partial_rotary_factor: Option<f64>,
    rope_type: Option<String>,
    /// The key before transformers 4.43; written beside the newer one in `rope_scaling` alone.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    legacy_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attention_factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low_freq_factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high_freq_factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beta_fast: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beta_slow: Option<f64>,
    /// Written as the `attention_factor` that it makes.
    #[serde(skip_serializing)]
    mscale: Option<f64>,
    #[serde(skip_serializing)]
    mscale_all_dim: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncate: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    short_factor: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    long_factor: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_max_position_embeddings: Option<usize>,
}

/// What a configuration says of lengths beside this object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    /// `max_position_embeddings`.
    pub(super) positions: usize,
    /// `original_max_position_embeddings` where it stands outside of the object, which counts more than inside.
    pub(super) original: Option<usize>,
}

impl RopeJson {
    /// The scaling that this object describes.
    pub(super) fn scaling(
        &self,
        origin: &str,
        field: &str,
        lengths: Lengths,
    ) -> Result<RopeScaling, ModelError> {
        let missing = |key: &str, expected: &str| {
            let mend = format!("add `{key}` to `{field}`");
            ModelError::config(origin, &format!("{field}.{key}"), expected, "missing", mend)
        };
        let need = |key: &str, value: Option<f64>| value.ok_or_else(|| missing(key, "a number"));
        let inside = self.original_max_position_embeddings;
        let original = lengths.original.or(inside).unwrap_or(lengths.positions);
        let stretch = self.factor.unwrap_or(lengths.positions as f64 / original as f64);
        match self.rope_type.as_deref().or(self.legacy_type.as_deref()) {
            None | Some("default") => Ok(RopeScaling::Default),
            Some("linear") => Ok(RopeScaling::Linear {
                factor: need("factor", self.factor)?,
            }),
            Some("dynamic") => Ok(RopeScaling::Dynamic {
                factor: need("factor", self.factor)?,
            }),
            Some("yarn") => {
                if lengths.original.or(inside).is_none() {
                    need("factor", self.factor)?;
                }
                Ok(RopeScaling::Yarn(self.yarn(stretch, original)))
            }
            Some("longrope") => {
                let need = |key: &str, factors: &Option<Vec<f64>>| {
                    factors.clone().ok_or_else(|| missing(key, "a list of numbers"))
                };
                let computed = LongRope::attention_factor_of(stretch, original);
                Ok(RopeScaling::LongRope(LongRope {
                    short_factor: need("short_factor", &self.short_factor)?,
                    long_factor: need("long_factor", &self.long_factor)?,
                    attention_factor: self.attention_factor.unwrap_or(computed),
                    original_max_position_embeddings: original,
                }))
            }
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: need("factor", self.factor)?,
                low_freq_factor: need("low_freq_factor", self.low_freq_factor)?,
                high_freq_factor: need("high_freq_factor", self.high_freq_factor)?,
                original_max_position_embeddings: original,
            }),
            Some(other) => {
                let mend = "use a model with one of these kinds of rotary embedding";
                let expected = "default, linear, dynamic, yarn, longrope or llama3";
                let path = format!("{field}.rope_type");
                Err(ModelError::config(origin, &path, expected, other, mend))
            }
        }
    }

    /// `YaRN` by this object; a zero stands for a default, as in transformers.
    fn yarn(&self, factor: f64, original: usize) -> Yarn {
        let given = |value: Option<f64>| value.filter(|value| *value != 0.0);
        let mut yarn = Yarn::new(factor, original);
        if let (Some(one), Some(all)) = (given(self.mscale), given(self.mscale_all_dim)) {
            yarn = yarn.with_mscale(one, all);
        }
        Yarn {
            attention_factor: self.attention_factor.unwrap_or(yarn.attention_factor),
            beta_fast: given(self.beta_fast).unwrap_or(yarn.beta_fast),
            beta_slow: given(self.beta_slow).unwrap_or(yarn.beta_slow),
            truncate: self.truncate.unwrap_or(true),
            ..yarn
        }
    }

    /// The object that describes `scaling`: with the base inside, as version 5 has it, or else with the old key of the type.
    pub(super) fn new(scaling: &RopeScaling, rope_theta: Option<f64>) -> Self {
        let json = Self {
            rope_theta,
            rope_type: Some(scaling.name().to_owned()),
            legacy_type: rope_theta.is_none().then(|| scaling.name().to_owned()),
            ..Self::default()
        };
        match scaling {
            RopeScaling::Default => json,
            RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor } => Self {
                factor: Some(*factor),
                ..json
            },
            RopeScaling::Yarn(yarn) => Self {
                factor: Some(yarn.factor),
                attention_factor: Some(yarn.attention_factor),
                beta_fast: Some(yarn.beta_fast),
                beta_slow: Some(yarn.beta_slow),
                truncate: Some(yarn.truncate),
                original_max_position_embeddings: Some(yarn.original_max_position_embeddings),
                ..json
            },
            RopeScaling::LongRope(long) => Self {
                attention_factor: Some(long.attention_factor),
                short_factor: Some(long.short_factor.clone()),
                long_factor: Some(long.long_factor.clone()),
                original_max_position_embeddings: Some(long.original_max_position_embeddings),
                ..json
            },
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => Self {
                factor: Some(*factor),
                low_freq_factor: Some(*low_freq_factor),
                high_freq_factor: Some(*high_freq_factor),
                original_max_position_embeddings: Some(*original_max_position_embeddings),
                ..json
            },
        }
    }
}
