//! Path patterns of what presets of blocks train at every step.

/// What lies around the layers: LISA trains it at every step of a pretraining.
pub(super) fn around_layers() -> Vec<String> {
    ["embed_tokens", "model.norm", "lm_head"]
        .map(String::from)
        .to_vec()
}

/// Norms and biases of our models, which SCALE always trains: what of these a model has.
pub(super) fn vectors() -> Vec<String> {
    [
        "input_layernorm",
        "post_attention_layernorm",
        "norm",
        "LayerNorm",
        "bias",
    ]
    .map(String::from)
    .to_vec()
}
