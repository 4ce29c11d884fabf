//! The JSON object that describes rotary scaling: `rope_scaling` or `rope_parameters`, both ways.

use serde::{Deserialize, Serialize};

use super::rope_scaling::RopeScaling;
use crate::ModelError;

/// `rope_scaling` of version 4 or `rope_parameters` of version 5.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RopeJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rope_theta: Option<f64>,
    rope_type: Option<String>,
    /// The key before transformers 4.43; written beside the newer one in `rope_scaling` alone.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    legacy_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low_freq_factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high_freq_factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_max_position_embeddings: Option<usize>,
}

impl RopeJson {
    /// The scaling that this object describes.
    pub(super) fn scaling(&self, origin: &str, field: &str) -> Result<RopeScaling, ModelError> {
        let need = |key: &str, value: Option<f64>| {
            let path = format!("{field}.{key}");
            let mend = format!("add `{key}` to `{field}`");
            value.ok_or_else(|| ModelError::config(origin, &path, "a number", "missing", mend))
        };
        match self.rope_type.as_deref().or(self.legacy_type.as_deref()) {
            None | Some("default") => Ok(RopeScaling::Default),
            Some("linear") => Ok(RopeScaling::Linear {
                factor: need("factor", self.factor)?,
            }),
            Some("llama3") => {
                let original = self
                    .original_max_position_embeddings
                    .map(|positions| positions as f64);
                Ok(RopeScaling::Llama3 {
                    factor: need("factor", self.factor)?,
                    low_freq_factor: need("low_freq_factor", self.low_freq_factor)?,
                    high_freq_factor: need("high_freq_factor", self.high_freq_factor)?,
                    original_max_position_embeddings: need("original_max_position_embeddings", original)?
                        as usize,
                })
            }
            Some(other) => {
                let mend = "use a model with one of these kinds of rotary embedding";
                let path = format!("{field}.rope_type");
                Err(ModelError::config(
                    origin,
                    &path,
                    "default, linear or llama3",
                    other,
                    mend,
                ))
            }
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
        match *scaling {
            RopeScaling::Default => json,
            RopeScaling::Linear { factor } => Self {
                factor: Some(factor),
                ..json
            },
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => Self {
                factor: Some(factor),
                low_freq_factor: Some(low_freq_factor),
                high_freq_factor: Some(high_freq_factor),
                original_max_position_embeddings: Some(original_max_position_embeddings),
                ..json
            },
        }
    }
}
