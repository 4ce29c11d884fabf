//! What presets of blocks train at every step by themselves, whatever is asked for by name.
use serde::{Deserialize, Serialize};

/// What a preset always trains: what of these a model has.
///
/// It is apart from the patterns that are asked for by name, each of which must match: a model whose head is its embedding has no
/// `lm_head`, which LISA passes over and `always=lm_head` does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PresetPaths {
    /// Nothing.
    #[default]
    None,
    /// What lies around the layers: LISA's in a pretraining.
    AroundLayers,
    /// Norms and biases of our models: SCALE's.
    Vectors,
}

impl PresetPaths {
    /// Its path patterns.
    pub fn patterns(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::AroundLayers => &["embed_tokens", "model.norm", "lm_head"],
            Self::Vectors => &[
                "input_layernorm",
                "post_attention_layernorm",
                "norm",
                "LayerNorm",
                "bias",
            ],
        }
    }
}
